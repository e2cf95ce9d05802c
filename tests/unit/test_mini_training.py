"""Training of the miniature networks: a killed run goes on as if nothing had happened; batches are what they say."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from bench.studies.raft_training import flow_batch
from generators.mini.data import random_clip, to_tensor
from generators.mini.grammar import COLOURS, MOTIONS, SHAPES
from generators.mini.tasks.clip import SIBLINGS, family, spoil_frames
from generators.mini.tokenizer import build_tokenizer
from generators.mini.training import Recipe, StepRandom, one_cycle, train_task, update_average


class Line:
    """A task of one weight: find 3 from noisy targets."""

    name = "line"
    recipe = Recipe(steps=60, batch=8, learning_rate=0.2, average=0.9, save_minutes=60)
    compiled = ()

    def build(self):
        return nn.Linear(1, 1, bias=False)

    def loss(self, network, random):
        x = torch.randn(self.recipe.batch, 1, generator=random.noise)
        return (network(x) - 3 * x).square().mean(), {"drawn": float(random.scenes.random())}

    def export(self, network, weights):
        weights.mkdir()
        (weights / "line.json").write_text(json.dumps(network.weight.item()))


def test_a_run_that_stopped_ends_where_an_unbroken_one_does(tmp_path):
    whole = train_task(Line(), tmp_path / "a", tmp_path / "wa")
    train_task(Line(), tmp_path / "b", tmp_path / "wb", until=25)
    assert not (tmp_path / "wb").exists()
    parts = train_task(Line(), tmp_path / "b", tmp_path / "wb")
    assert torch.equal(whole.weight, parts.weight)
    assert json.loads((tmp_path / "wb" / "line.json").read_text()) == pytest.approx(3, abs=0.1)
    log = [json.loads(line) for line in (tmp_path / "a" / "line.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log] == [20, 40, 60]


def test_random_numbers_depend_on_task_and_step_only():
    assert StepRandom.of("a", 3).scenes.random() == StepRandom.of("a", 3).scenes.random()
    draws = {StepRandom.of(name, step).scenes.random() for name in "ab" for step in range(3)}
    assert len(draws) == 6


def test_the_learning_rate_rises_then_falls():
    rates = [one_cycle(step / 100) for step in range(101)]
    assert max(rates) == pytest.approx(1)
    assert rates.index(max(rates)) == 4
    assert rates[100] == pytest.approx(0.01)


def test_the_average_follows_slowly():
    average, network = nn.Linear(1, 1), nn.Linear(1, 1)
    with torch.no_grad():
        average.weight.fill_(0)
        network.weight.fill_(1)
    update_average(average, network, 0.75)
    assert average.weight.item() == pytest.approx(0.25)


def test_every_word_of_the_grammar_is_one_token():
    tokenizer = build_tokenizer()
    for phrase in (*COLOURS, *SHAPES, *MOTIONS):
        assert len(tokenizer.tokenize(phrase)) == len(phrase.split())
    assert tokenizer.decode(tokenizer("a panda, 12 bananas").input_ids, skip_special_tokens=True).split() == [
        "a", "panda", ",", "1", "2", "bananas",
    ]  # fmt: skip


def test_siblings_differ_from_the_first_in_one_word():
    scenes = family(np.random.default_rng(0))
    assert len(scenes) == SIBLINGS == len(set(scenes))
    for other in scenes[1:]:
        first = [scenes[0].background, scenes[0].camera, *(w for t in scenes[0].things for w in vars(t).values())]
        second = [other.background, other.camera, *(w for t in other.things for w in vars(t).values())]
        assert sum(a != b for a, b in zip(first, second, strict=True)) == 1


def test_batches_have_the_shapes_and_ranges_they_say():
    rng = np.random.default_rng(0)
    frames = to_tensor(random_clip(rng)[0].render(0, 3))
    assert frames.shape == (3, 3, 64, 64)
    assert frames.abs().max() <= 1
    spoiled = spoil_frames(frames, torch.Generator().manual_seed(0))
    assert spoiled.abs().max() <= 1
    assert not torch.equal(spoiled, frames)
    first, second, flow, weight = flow_batch(rng, 2)
    assert first.shape == second.shape == (2, 3, 128, 128)
    assert flow.shape == (2, 2, 128, 128)
    assert weight.mean() == pytest.approx(1)
