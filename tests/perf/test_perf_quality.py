"""Speed of consistency, dynamics and pixel metrics against plain loops over the same random weights, and their memory.

The loops do what VBench 45e79ec does: DINO sees one frame at a time, CLIP all frames of a video in one batch with
gradients, RAFT one pair at a time, flickering floats of both frames of a pair. CPU time of one thread is compared at
480 x 832, a few frames in place of 240: every loop is linear in them.
"""

import gc
import itertools
import json
import time

import numpy as np
import open_clip
import psutil
import pytest
import torch
from safetensors.torch import save_file
from torchvision.models.optical_flow import raft_large

from metrics.consistency import SubjectConsistency
from metrics.dynamic_degree import RAFT_UPDATES
from metrics.exposure import Exposure
from metrics.features.clip import ClipFeatures
from metrics.features.dino import DinoFeatures
from metrics.features.vit import Shape, VisionTransformer
from metrics.flickering import Flickering
from metrics.flow.raft_streaming import RaftFlow
from metrics.repetition import Repetition, SinkCollapse
from metrics.scoring import VideoScorer
from metrics.scuts import SceneCuts
from metrics.stillness import Stillness

HEIGHT, WIDTH = 480, 832

DINO_SPEEDUP, CLIP_SPEEDUP, RAFT_SPEEDUP, PIXEL_SPEEDUP = 0.9, 1.0, 1.2, 3.0
"""How many times faster than the plain loop."""


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def film(num_frames, height=HEIGHT, width=WIDTH):
    coarse = np.random.default_rng(0).integers(30, 225, (height // 8 + 40, width // 8 + 40, 3)).astype(np.uint8)
    texture = coarse.repeat(8, 0).repeat(8, 1)
    return np.stack([texture[i : i + height, 2 * i : 2 * i + width] for i in range(num_frames)])


def seconds(run, *arguments):
    begin = time.process_time()
    result = run(*arguments)
    return time.process_time() - begin, result


def compared(benchmark, ours, theirs, rounds=2):
    """Returns how many times faster ours is, and both results; the fastest of some turns counts."""
    mine, plain = [], []
    for _ in range(rounds):
        plain.append(seconds(theirs))
        mine.append(seconds(ours))
    speedup = min(s for s, _ in plain) / min(s for s, _ in mine)
    benchmark.extra_info |= {"speedup": speedup, "seconds": min(s for s, _ in mine)}
    benchmark.pedantic(lambda: None, rounds=1)
    return speedup, mine[0][1], plain[0][1]


@pytest.mark.by_hand
def test_dino_features_in_batches(benchmark, tmp_path):
    torch.manual_seed(0)
    network = VisionTransformer(Shape(width=768, depth=12, heads=12, patch=16, table=14, mlp=3072)).eval()
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    loaded = DinoFeatures(str(tmp_path)).load()
    frames = film(8)

    def plain():
        found = []
        with torch.no_grad():
            pictures = loaded.pictures(frames)
            for picture in pictures:
                found.append(network(picture[None]))
        return torch.cat(found)

    speedup, ours, theirs = compared(benchmark, lambda: loaded.features(frames), plain)
    assert (ours - theirs).abs().max() < 1e-4
    assert speedup >= DINO_SPEEDUP, speedup


@pytest.mark.by_hand
def test_clip_features_without_gradients(benchmark, tmp_path):
    vision = {"image_size": 224, "layers": 12, "width": 768, "patch_size": 32, "head_width": 64}
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    config = {"embed_dim": 512, "vision_cfg": vision, "text_cfg": text, "quick_gelu": True}
    torch.manual_seed(0)
    model = open_clip.CLIP(**config).eval()
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    save_file(
        {name: tensor.contiguous() for name, tensor in model.state_dict().items() if name != "attn_mask"},
        tmp_path / "open_clip_model.safetensors",
    )
    loaded = ClipFeatures(weights=str(tmp_path), preprocess="vbench").load()
    frames = film(48)

    def ours():
        return torch.cat([loaded.images(frames[i : i + 8]) for i in range(0, len(frames), 8)])

    speedup, mine, theirs = compared(benchmark, ours, lambda: model.encode_image(loaded.preprocess(frames)))
    assert (mine - theirs).abs().max() < 1e-4
    assert speedup >= CLIP_SPEEDUP, speedup


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
def test_dino_features_on_a_gpu_are_those_of_the_cpu(tmp_path):
    torch.manual_seed(0)
    network = VisionTransformer(Shape(width=192, depth=4, heads=3, patch=16, table=14, mlp=768))
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    frames = film(4)
    cpu, gpu = (DinoFeatures(str(tmp_path), device=device).load().features(frames).cpu() for device in ("cpu", "cuda"))
    assert (cpu - gpu).abs().max() < 1e-2


@pytest.mark.by_hand
def test_flow_of_the_dynamic_degree(benchmark):
    torch.manual_seed(0)
    network = raft_large(weights=None).eval()
    with torch.no_grad():
        network.update_block.flow_head.conv2.weight.mul_(0.2)  # a flow of a few pixels, as a trained one's
    # Half the size: the plain loop takes a minute of CPU at the full one.
    frames = torch.from_numpy(film(4, HEIGHT // 2, WIDTH // 2)).permute(0, 3, 1, 2)
    stream = RaftFlow(network, updates=RAFT_UPDATES).stream()
    first = [*stream.push(frames[:2])]  # the first pair encodes two frames

    def ours():
        return torch.cat([first[0].flow, *(pairs.flow for pairs in stream.push(frames[2:]))])

    def plain():
        pictures = frames.float() / 127.5 - 1
        with torch.no_grad():
            pairs = itertools.pairwise(pictures)
            return torch.cat([network(a[None], b[None], num_flow_updates=RAFT_UPDATES)[-1] for a, b in pairs])

    mine, theirs = seconds(ours), seconds(plain)
    speedup = (theirs[0] / 3) / (mine[0] / 2)
    benchmark.extra_info["speedup"] = speedup
    benchmark.pedantic(lambda: None, rounds=1)
    assert (mine[1] - theirs[1]).abs().max() <= 1e-3
    assert speedup >= RAFT_SPEEDUP, speedup


def plain_flickering(frames):
    return [np.mean(np.abs(a.astype(np.float32) - b.astype(np.float32))) for a, b in itertools.pairwise(frames)]


def plain_exposure(frames):
    found = []
    for frame in frames:
        pixels = frame.astype(np.float64)
        largest, smallest = pixels.max(axis=2), pixels.min(axis=2)
        luma = pixels @ np.array([0.2126, 0.7152, 0.0722])
        saturation = (largest - smallest) / np.maximum(largest, 1)
        clipped = (largest >= 252).mean() + (largest <= 3).mean()
        found.append((luma.mean() / 255, saturation.mean(), clipped, luma.std() / 255))
    return found


def test_flickering_and_exposure_in_one_pass(benchmark):
    frames = film(24)

    def ours():
        scorer = VideoScorer({"flickering": Flickering(), "exposure": Exposure()}, "", 8.0)
        scorer.update(frames)
        return scorer.compute()

    speedup, scores, (differences, exposure) = compared(
        benchmark, ours, lambda: (plain_flickering(frames), plain_exposure(frames)), rounds=3
    )
    assert scores["flickering"].value == pytest.approx((255 - np.mean(differences)) / 255, abs=1e-5)
    np.testing.assert_allclose(scores["exposure"].series["luma"], [row[0] for row in exposure], atol=1e-5)
    assert speedup >= PIXEL_SPEEDUP, speedup


@pytest.mark.parametrize(
    ("warm_up", "num_frames", "limit"),
    [
        # 600 frames are 28 MiB, and what must stay of them is one; an allocator scatters up to 14 on top.
        pytest.param(600, 600, 24, id="short", marks=pytest.mark.slow),
        # 8,000 frames are 375 MiB, and what must stay of them is 11: 848 bytes a frame of frame statistics, 128 of
        # features, five numbers of flow as Python floats. Small arrays kept one by one would add 66.
        pytest.param(2_000, 8_000, 30, id="long", marks=pytest.mark.by_hand),
    ],
)
def test_memory_is_flat_over_a_long_video(tmp_path, warm_up, num_frames, limit):
    """All that streams without released weights, and subject consistency on a small network."""
    tiny = VisionTransformer(Shape(width=32, depth=1, heads=2, patch=32, table=7, mlp=64))
    save_file(tiny.state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"num_heads": 2}))
    metrics = {
        "scuts": SceneCuts(),
        "stillness": Stillness(flow="dis", size=64),
        "exposure": Exposure(),
        "flickering": Flickering(),
        "collapse": SinkCollapse(),
        "repetition": Repetition(),
        "subject": SubjectConsistency(weights=str(tmp_path)),
    }
    scorer = VideoScorer(metrics, "", 10.0)
    frames = film(100, 128, 128)

    def resident_after(count):
        for _ in range(0, count, len(frames)):
            scorer.update(frames.copy())  # whoever keeps one array given twice keeps nothing more
        gc.collect()
        return psutil.Process().memory_info().rss / 2**20

    before = resident_after(warm_up)
    assert resident_after(num_frames) - before < limit
    scores = scorer.compute()
    assert all(score.value is not None for score in scores.values())
