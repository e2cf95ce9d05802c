"""Every preset of the profile `modern`, built from its own section: its classes with tiny parts make sixty frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest

from baselines.diffusers_checks import check_arguments, neighbours
from baselines.diffusers_video import DiffusersVideo
from bench.catalog import CLASS, find_plugins, own_settings
from bench.check import sample_start
from bench.profile import VideoSettings, load_profile
from bench.settings import construct, locations, resolve_settings
from generators.api import Request
from generators.weights import needed
from tests import tiny_modern

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]

PROFILE = load_profile("modern")
SECTIONS = {name: section for name, section in PROFILE.methods.items() if CLASS in section}
PIPELINES = [name for name, section in SECTIONS.items() if section[CLASS] == "diffusers_video"]
PROGRAMS = [name for name in SECTIONS if name not in PIPELINES]

PROMPT = {"template": "{}", "crop_start": 0}
IMAGE_PROMPT = PROMPT | {"image_emb_len": 49, "image_emb_start": 5, "image_emb_end": 54}

SHORT = {"max_sequence_length": 32}
TINY: dict[str, tuple[str, dict[str, Any]]] = {
    "anyflow_far_1_3b": ("anyflow_far", SHORT | {"chunk_partition": [1, 3, 3]}),
    "anyflow_far_14b": ("anyflow_far", SHORT | {"chunk_partition": [1, 3, 3]}),
    "cogvideox_5b_i2v": ("cogvideox_i2v", SHORT),
    "cogvideox15_5b_i2v": ("cogvideox15_i2v", SHORT),
    "cosmos2_2b": ("cosmos2_v2w", SHORT),
    "cosmos2_14b": ("cosmos2_v2w", SHORT),
    "cosmos25_2b": ("cosmos25_base", {"max_sequence_length": 64}),
    "framepack": ("framepack", {"max_sequence_length": 64, "prompt_template": PROMPT, "latent_window_size": 3}),
    "framepack_f1": ("framepack", {"max_sequence_length": 64, "prompt_template": PROMPT, "latent_window_size": 3}),
    "helios_base": ("helios", SHORT),
    # On a CPU the default gamma of the pyramid's noise, 1/3, leaves no room for rounding in a Cholesky factor.
    "helios_distilled": ("helios_pyramid", SHORT),
    "hunyuan_i2v": ("hunyuan_i2v_token_replace", {"max_sequence_length": 64, "prompt_template": IMAGE_PROMPT}),
    "hunyuan15_i2v": ("hunyuan15_i2v", {}),
    "kandinsky5_i2v_lite": ("kandinsky5_i2v", {"max_sequence_length": 1023}),
    "kandinsky5_i2v_pro": ("kandinsky5_i2v", {"max_sequence_length": 1023}),
    "ltx2_19b": ("ltx2_condition", SHORT | {"spatio_temporal_guidance_blocks": [1]}),
    "ltx_098_13b_distilled": ("ltx_condition", SHORT),
    "sana_video_2b": ("sana_i2v", SHORT | {"complex_human_instruction": None}),
    "skyreels_v2_df_1_3b": ("skyreels_v2_df_v2v", SHORT | {"base_num_frames": 33}),
    "skyreels_v2_df_14b": ("skyreels_v2_df_v2v", SHORT | {"base_num_frames": 33}),
    "wan21_i2v_14b": ("wan21_i2v", SHORT),
    "wan21_vace_14b": ("wan_vace", SHORT),
    "wan21_vace_1_3b": ("wan_vace", SHORT),
    "wan22_i2v_a14b": ("wan22_a14b_i2v", SHORT),
    "wan22_ti2v_5b": ("wan22_ti2v_5b", SHORT),
}
"""The tiny parts of every preset, and the arguments that tiny parts need beside those of its section."""


def scaled(name: str, folder: Path) -> dict[str, Any]:
    """Returns the settings of a preset for its tiny parts: its own section, with places, sizes and steps replaced."""
    table, extra = TINY[name]
    section = own_settings(SECTIONS[name])
    own = resolve_settings(DiffusersVideo, section, {}, name)
    facts = construct(DiffusersVideo, own | {"device": "cuda"}, name).facts
    tiny_modern.save(table, folder)
    steps = {"num_inference_steps": 2} if "num_inference_steps" in own["arguments"] else {}
    frames = neighbours(facts.context_frames + 12, facts.frame_step)[1] if own["num_frames"] else 0
    return own | {
        "weights": str(folder), "revision": "", "device": "cpu", "dtype": "float32", "offload": "none", "height": 64,
        "width": 64, "num_frames": 33 if "SkyReels" in own["pipeline"] else frames,
        "parts": {part: str(folder / part) for part in own["parts"]},
        "arguments": own["arguments"] | steps | extra,
    }  # fmt: skip


UNSOUND = frozenset({"kandinsky5_i2v_lite", "kandinsky5_i2v_pro"})
"""Presets whose pipeline leaves values that are not finite in latents of tiny random networks; cause unknown."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.xfail(raises=ValueError, reason="not finite") if name in UNSOUND else ())
        for name in PIPELINES
    ],
)
def test_a_preset_makes_sixty_frames(name: str, tmp_path: Path) -> None:
    settings = scaled(name, tmp_path)
    start = sample_start(VideoSettings(60, 64, 64, 10.0))
    before = start.frames.copy()

    def video(num_frames: int) -> np.ndarray:
        made = construct(DiffusersVideo, settings, name)
        with tiny_modern.permissive(getattr(diffusers, settings["pipeline"])):
            chunks = list(made.generate(Request("a red ball", 0, num_frames, 64, 64, 10.0), start))
        assert all(chunk.dtype == np.uint8 and chunk.shape[1:] == (64, 64, 3) for chunk in chunks)
        return np.concatenate(chunks)

    whole = video(60)
    assert len(whole) == 44
    assert whole.std() > 0
    np.testing.assert_array_equal(start.frames, before)
    if settings["num_frames"]:  # its first call does not depend on the length of the video
        np.testing.assert_array_equal(video(24), whole[:8])


@pytest.mark.parametrize("name", PIPELINES)
def test_a_preset_calls_its_pipeline_with_what_it_takes(name: str) -> None:
    settings = resolve_settings(DiffusersVideo, own_settings(SECTIONS[name]), {"device": "cuda"}, name)
    made = construct(DiffusersVideo, settings, name)
    assert set(made.arguments) <= check_arguments(made.pipeline, made.facts, made.arguments, False)


def test_every_preset_is_tried_and_says_what_it_is() -> None:
    assert set(TINY) == set(PIPELINES)
    methods = find_plugins().with_sections(PROFILE.methods)
    assert set(methods.choose_methods("modern")) == set(PIPELINES)
    assert set(methods.choose_methods("modern_programs")) == set(PROGRAMS)
    for name in SECTIONS:
        info = methods.methods[name].info
        assert info.title != name
        assert info.licence != "not said"
        assert info.note.startswith("not run here") == (name in PROGRAMS)
        assert info.continues_start == (name in PIPELINES or name in ("magi1", "longcat_video"))


@pytest.mark.parametrize("name", PIPELINES)
def test_a_presets_weights_are_in_the_table(name: str) -> None:
    own = {location.removeprefix("hub:") for location in locations({name: SECTIONS[name]}).values()}
    repositories = {"/".join(location.split("/")[:2]) for location in own}
    assert repositories == {entry.repository for entry in needed(name)}
    assert {entry.revision for entry in needed(name)} == {SECTIONS[name].get("revision", "main")}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_can_be_constructed(name: str) -> None:
    plugin = find_plugins().with_sections(PROFILE.methods).methods[name]
    construct(plugin.cls, resolve_settings(plugin.cls, own_settings(SECTIONS[name]), {}, name), name)
