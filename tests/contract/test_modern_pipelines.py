"""What today's pipelines of diffusers do silently, and that the adapter does not let them: real classes, tiny parts."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers

from baselines.diffusers_video import DiffusersVideo
from generators.api import Frames, Request, Start, TextChange
from generators.weights import MissingWeightsError
from tests import tiny_modern

pytestmark = pytest.mark.filterwarnings("ignore")  # of diffusers and transformers, about tiny configurations

SIZE = 64
QUICK = {"num_inference_steps": 2, "max_sequence_length": 32}

Folder = Callable[[str], Path]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Returns the folder of a tiny pipeline, written once."""
    root, made = tmp_path_factory.mktemp("tiny"), {}

    def get(name: str) -> Path:
        if name not in made:
            made[name] = tiny_modern.save(name, root / name)
        return made[name]

    return get


def method(folder: Folder, name: str, **settings: Any) -> DiffusersVideo:
    arguments = {**QUICK, **settings.pop("arguments", {})}
    pipeline = settings.pop("pipeline", tiny_modern.table()[name]["pipeline"])
    return DiffusersVideo(pipeline=pipeline, weights=str(folder(name)), arguments=arguments, **settings)


def moving(count: int = 16, size: int = SIZE) -> Start:
    row, column = np.mgrid[0:size, 0:size]
    frames = [
        np.stack([(column * 3 + 5 * t) % 256, (row * 3 + 2 * t) % 256, (row + column + 7 * t) % 256], -1)
        for t in range(count)
    ]
    video = np.stack(frames).astype(np.uint8)
    return Start(video, video)


def ask(num_frames: int = 40, seed: int = 0, **options: Any) -> Request:
    return Request("a red ball", seed, num_frames, SIZE, SIZE, 10.0, **options)


def run(made: DiffusersVideo, request: Request, start: Start | None = None) -> Frames:
    start = start or moving()
    before = start.frames.copy()
    video = np.concatenate(list(made.generate(request, start)))
    np.testing.assert_array_equal(start.frames, before)
    return video


# -- what is refused before any weights load ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"pipeline": "WanImageToVideoPipeline", "num_frames": 80}, "num_frames = 80: .* give 77 or 81"),
        ({"pipeline": "LTXConditionPipeline", "num_frames": 120}, "give 113 or 121"),
        ({"pipeline": "Cosmos2_5_PredictBasePipeline", "num_frames": 92}, "give 89 or 93"),
        ({"pipeline": "SkyReelsV2DiffusionForcingVideoToVideoPipeline", "num_frames": 17}, "17 of them are not new"),
        ({"pipeline": "WanImageToVideoPipeline", "height": 488}, "height = 488: .* set height to 480 or 496"),
        ({"pipeline": "HeliosPyramidPipeline", "width": 80}, "set width to 64 or 128"),
        ({"pipeline": "WanVACEPipeline", "context_frames": 16}, "lose the newest 3: give 13 or 17"),
        ({"pipeline": "LTX2ConditionPipeline", "context_frames": 16}, "lose the newest 7: give 9 or 17"),
        ({"pipeline": "AnyFlowFARPipeline", "context_frames": 9}, "give 1 or 13"),
        ({"pipeline": "HeliosPipeline", "context_frames": 16}, "takes 33 or more"),
        ({"pipeline": "WanImageToVideoPipeline", "context_frames": 5}, "takes a single image"),
        ({"pipeline": "SomebodysPipeline"}, "nothing is known of SomebodysPipeline: say takes, frame_step"),
        ({"pipeline": "WanPipeline", "drop": "all"}, "drop = 'all'"),
        ({"pipeline": "WanPipeline", "takes": "sound"}, "takes"),
        ({"pipeline": "WanPipeline", "names": {"rate": "fps"}}, r"names\.rate is not read"),
        ({}, "pipeline is missing"),
    ],
)  # fmt: skip
def test_settings_that_a_pipeline_would_change_silently_are_refused(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        DiffusersVideo(weights="nowhere", **settings)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"arguments": {"guidence_scale": 5.0}}, "has no argument 'guidence_scale'; there are guidance_scale"),
        ({"arguments": {"num_frames": 17}}, "use the setting num_frames"),
        ({"arguments": {"height": 64}}, "use the setting height"),
        ({"names": {"fps": "frame_rate"}}, "names: .* has no argument 'frame_rate'"),
        ({"pipeline": "WanImageToVidPipeline", "takes": "image", "frame_step": 4, "size_multiple": 16, "drop": 1},
         "has no pipeline 'WanImageToVidPipeline'; close to it are WanImageToVideoPipeline"),
        ({"height": 72, "width": 64, "size_multiple": 8, "arguments": {"nothing": 1}}, "no argument 'nothing'"),
    ],
)  # fmt: skip
def test_arguments_are_checked_before_weights_are_looked_for(settings: dict[str, Any], sentence: str) -> None:
    made = DiffusersVideo(**{"pipeline": "WanImageToVideoPipeline", "weights": "nowhere/at/all"} | settings)
    with pytest.raises(ValueError, match=sentence):
        run(made, ask())


def test_a_request_of_another_size_is_refused() -> None:
    made = DiffusersVideo(pipeline="WanImageToVideoPipeline", weights="nowhere")
    with pytest.raises(ValueError, match=r"height = 72: .* set height to 64 or 80"):
        run(made, Request("a ball", 0, 40, 72, 64, 10.0))


# -- what of an answer is new ------------------------------------------------------------------------------------------


class Spy:
    """Stands before a pipeline and keeps what it was called with and what it answered."""

    def __init__(self, made: DiffusersVideo) -> None:
        self.calls: list[dict[str, Any]] = []
        self.answers: list[np.ndarray] = []
        self._pipeline = made._pipeline
        made.__dict__["_pipeline"] = self

    def __call__(self, **arguments: Any) -> Any:
        self.calls.append(arguments)
        answer = self._pipeline(**arguments)
        self.answers.append(answer.frames[0])
        return answer


def levels(answer: np.ndarray) -> Frames:
    return np.rint(answer * 255).astype(np.uint8)


def test_an_image_is_the_newest_frame_and_the_first_of_an_answer_is_dropped(folder: Folder) -> None:
    made = method(folder, "wan22_a14b_i2v", num_frames=17)
    spy = Spy(made)
    video = run(made, ask())
    assert [len(answer) for answer in spy.answers] == [17, 17]
    np.testing.assert_array_equal(np.asarray(spy.calls[0]["image"]), moving().frames[-1])
    np.testing.assert_array_equal(np.asarray(spy.calls[1]["image"]), video[15])
    np.testing.assert_array_equal(video[:16], levels(spy.answers[0])[1:])
    np.testing.assert_array_equal(video[16:], levels(spy.answers[1])[1:9])


def test_a_video_is_the_newest_frames_in_order_and_no_frame_of_it_counts_as_new(folder: Folder) -> None:
    made = method(folder, "skyreels_v2_df_v2v", num_frames=33, arguments={"base_num_frames": 33})
    spy = Spy(made)
    video = run(made, ask(56))
    sent = [np.stack([np.asarray(picture) for picture in call["video"]]) for call in spy.calls]
    assert [(len(frames), call["overlap_history"]) for frames, call in zip(sent, spy.calls, strict=True)] == [
        (13, 13), (17, 17), (17, 17)
    ]  # fmt: skip
    np.testing.assert_array_equal(sent[0], moving().frames[3:])
    np.testing.assert_array_equal(sent[1], video[3:20])
    assert [len(answer) for answer in spy.answers] == [46, 50, 50]  # the clip, then 33 frames that begin with it again
    np.testing.assert_array_equal(video[:20], levels(spy.answers[0])[26:])


def test_conditions_hold_exactly_the_nine_newest_frames(folder: Folder) -> None:
    for name in ("ltx_condition", "ltx2_condition"):
        extra = {"spatio_temporal_guidance_blocks": [1]} if name == "ltx2_condition" else {}
        made = method(folder, name, num_frames=17, arguments=extra)
        spy = Spy(made)
        start = moving()
        run(made, ask(24), start)
        (condition,) = spy.calls[0]["conditions"]
        frames = condition.frames if name == "ltx2_condition" else condition.video
        np.testing.assert_array_equal(np.stack([np.asarray(frame) for frame in frames]), start.frames[7:])


def test_a_masked_video_keeps_black_and_fills_white(folder: Folder) -> None:
    made = method(folder, "wan_vace", num_frames=17)
    spy = Spy(made)
    run(made, ask(20))
    call = spy.calls[0]
    assert len(call["video"]) == len(call["mask"]) == call["num_frames"] == 17
    assert [int(np.asarray(mask).max()) for mask in call["mask"]] == [0] * 13 + [255] * 4
    np.testing.assert_array_equal(np.asarray(call["video"][12]), moving().frames[-1])
    assert {int(np.asarray(frame).min()) for frame in call["video"][13:]} == {128}


def test_too_few_frames_are_filled_up_in_front(folder: Folder) -> None:
    made = method(folder, "helios")
    spy = Spy(made)
    video = run(made, ask(40))
    sent = np.stack([np.asarray(picture) for picture in spy.calls[0]["video"]])
    assert len(sent) == 33
    np.testing.assert_array_equal(sent[17:], moving().frames)
    assert (sent[:17] == moving().frames[0]).all()
    np.testing.assert_array_equal(video, levels(spy.answers[0])[:24])


def test_every_one_of_the_newest_frames_counts(folder: Folder) -> None:
    """A frame that a pipeline loses silently changes nothing: of 16 the 13, 9 or 1 that are handed over must all."""
    for name, read, num_frames in (("skyreels_v2_df_v2v", 13, 21), ("ltx_condition", 9, 17)):
        extra = {"base_num_frames": 21} if name == "skyreels_v2_df_v2v" else {}
        made = method(folder, name, num_frames=num_frames, arguments=extra)
        request = ask(17)
        plain = run(made, request)
        for back in (1, read, read + 1):
            start = moving()
            start.frames[-back] = 255 - start.frames[-back]
            assert (run(made, request, start) != plain).any() == (back <= read), (name, back)


def test_floats_where_floats_are_meant(folder: Folder) -> None:
    made = method(folder, "anyflow_far", num_frames=25, arguments={"chunk_partition": [1, 3, 3]})
    spy = Spy(made)
    run(made, ask(28))
    video = spy.calls[0]["video"]
    assert tuple(video.shape) == (1, 13, 3, SIZE, SIZE)
    assert video.is_floating_point()
    assert float(video.max()) <= 1.0
    np.testing.assert_array_equal(levels(video[0].permute(0, 2, 3, 1).numpy()), moving().frames[3:])


# -- the rest of the loop ----------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bytes_even_where_a_pipeline_reads_global_noise(folder: Folder) -> None:
    import torch

    noisy = {"base_num_frames": 33, "addnoise_condition": 20}
    made = method(folder, "skyreels_v2_df_v2v", num_frames=33, arguments=noisy)
    request = ask(36)
    first = run(made, request)
    torch.manual_seed(99)
    expected = torch.rand(2)
    torch.manual_seed(99)
    np.testing.assert_array_equal(first, run(made, request))
    assert torch.equal(torch.rand(2), expected)
    assert (first != run(made, ask(36, seed=1))).any()


def test_a_frame_rate_of_its_own_or_that_of_the_request(folder: Folder) -> None:
    for fps, told in ((24.0, 24), (0.0, 10)):
        made = method(folder, "ltx_condition", num_frames=17, fps=fps)
        spy = Spy(made)
        run(made, ask(18))
        assert spy.calls[0]["frame_rate"] == told


def test_native_size_differs_from_the_requests(folder: Folder) -> None:
    made = method(folder, "wan22_a14b_i2v", num_frames=17, height=64, width=96)
    spy = Spy(made)
    video = run(made, ask(20))
    assert video.shape == (4, SIZE, SIZE, 3)
    assert np.asarray(spy.calls[0]["image"]).shape == (64, 96, 3)
    assert np.asarray(spy.calls[0]["image"])[:, :16].max() == 0  # padded with black


def test_a_size_that_is_floored_silently_is_found_in_the_answer(folder: Folder) -> None:
    made = method(folder, "wan22_ti2v_5b", num_frames=17, height=80, width=80)
    with pytest.raises(ValueError, match="changed the size silently; set size_multiple"):
        run(made, ask(20))


def test_all_missing_frames_in_one_call(folder: Folder) -> None:
    made = method(folder, "ltx_i2v_long", arguments={
        "temporal_tile_size": 24, "temporal_overlap": 8, "decode_horizontal_tiles": 1, "decode_vertical_tiles": 1,
    })  # fmt: skip
    spy = Spy(made)
    assert len(run(made, ask(56))) == 40
    assert [call["num_frames"] for call in spy.calls] == [41]
    assert spy.calls[0]["seed"] != 0  # its own default would make every chunk's noise the same


def test_a_change_of_text_ends_a_chunk(folder: Folder) -> None:
    made = method(folder, "wan22_a14b_i2v", num_frames=17)
    spy = Spy(made)
    request = ask(40, changes=(TextChange(20, "a blue ball"), TextChange(30, "night")))
    chunks = list(made.generate(request, moving()))
    assert [len(chunk) for chunk in chunks] == [4, 10, 10]
    assert [call["prompt"] for call in spy.calls] == ["a red ball", "a blue ball", "night"]


def text_to_video(folder: Folder, **settings: Any) -> DiffusersVideo:
    """Wan 2.2 5B, whose network takes text alone as well; its folder names another class."""
    sizes = {"num_frames": 17, "size_multiple": 32} | settings
    return method(folder, "wan22_ti2v_5b", pipeline="WanPipeline", **sizes)


def test_a_first_chunk_from_text(folder: Folder) -> None:
    made = text_to_video(folder, height=64, width=96)
    start = made.draw(ask())
    assert start.frames.shape == (16, SIZE, SIZE, 3)
    assert start.base.shape == (16, 64, 64, 3)
    np.testing.assert_array_equal(start.frames, made.draw(ask(99)).frames)
    assert (start.frames != made.draw(ask(seed=1)).frames).any()
    with pytest.raises(ValueError, match="cannot draw"):
        method(folder, "wan22_a14b_i2v").draw(ask())
    with pytest.raises(ValueError, match="raise num_frames"):
        text_to_video(folder, num_frames=9).draw(ask())


def test_a_text_only_method_makes_every_frame(folder: Folder) -> None:
    made = text_to_video(folder)
    assert len(run(made, ask(20))) == 20


def test_parts_scheduler_and_precision(folder: Folder) -> None:
    import torch

    own = folder("wan22_a14b_i2v")
    made = method(folder, "wan22_a14b_i2v", num_frames=17, dtype="bfloat16", part_dtypes={"vae": "float32"},
                  parts={"transformer_2": str(own / "transformer")}, scheduler="UniPCMultistepScheduler",
                  scheduler_settings={"flow_shift": 3.0})  # fmt: skip
    pipeline = made._pipeline
    assert pipeline.vae.dtype == torch.float32
    assert pipeline.text_encoder.dtype == torch.bfloat16
    assert pipeline.scheduler.config.flow_shift == 3.0
    for a, b in zip(pipeline.transformer.parameters(), pipeline.transformer_2.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"scheduler": "FlowMatchEulerDiscreteScheduler", "scheduler_settings": {"flow_shift": 3.0}}, "'flow_shift'"),
        ({"parts": {"unet": "transformer"}}, r"parts\.unet"),
    ],
)
def test_what_a_pipeline_would_ignore_is_refused(folder: Folder, settings: dict[str, Any], sentence: str) -> None:
    own = folder("wan22_a14b_i2v")
    parts = {name: str(own / place) for name, place in settings.pop("parts", {}).items()}
    with pytest.raises(ValueError, match=sentence):
        run(method(folder, "wan22_a14b_i2v", num_frames=17, parts=parts, **settings), ask())


def test_a_tokenizer_without_its_vocabulary_is_refused(folder: Folder, tmp_path: Path) -> None:
    """As transformers opens one whose file of SentencePiece is missing: every word is unknown."""
    blind = transformers.T5Tokenizer(vocab=[("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -1.0)], extra_ids=0)
    blind.save_pretrained(tmp_path)
    made = method(folder, "wan22_a14b_i2v", num_frames=17, parts={"tokenizer": str(tmp_path)})
    with pytest.raises(MissingWeightsError, match=r"tokenizer of .* reads every text alike"):
        run(made, ask())


def test_the_guider_is_set(folder: Folder) -> None:
    made = DiffusersVideo(
        pipeline="HunyuanVideo15ImageToVideoPipeline", weights=str(folder("hunyuan15_i2v")), num_frames=17,
        guider={"guidance_scale": 2.5}, arguments={"num_inference_steps": 2},
    )  # fmt: skip
    assert made._pipeline.guider.guidance_scale == 2.5
    assert "height" not in inspect.signature(type(made._pipeline).__call__).parameters
    assert run(made, ask(20)).shape == (4, SIZE, SIZE, 3)  # its own bucket of sizes, brought back
