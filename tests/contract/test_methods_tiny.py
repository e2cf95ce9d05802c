"""Every adapter end to end over random tiny networks, saved and loaded in the layout of the released checkpoints."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from baselines.freenoise.animatediff import FreeNoiseAnimateDiff
from baselines.freenoise.method import FreeNoise
from baselines.i2vgen_xl.method import I2vgenXl
from baselines.naive import Naive
from baselines.padding import blackened, letterbox, unletterbox
from baselines.seine.method import Seine
from baselines.sparsectrl.method import SparseCtrl
from baselines.svd import Svd
from generators.api import Request, Start
from generators.first_chunk import FirstChunk
from generators.frames import to_frames
from generators.seeds import chunk_seed
from generators.streaming_t2v.method import StreamingT2V
from generators.weights import MissingWeightsError

SIZE = 32

# diffusers 0.42 hands torch tensors to numpy in its schedulers
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def tokenizer() -> Any:
    from transformers import CLIPTokenizer

    codes = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(code) for code in codes] + [chr(256 + i) for i in range(256 - len(codes))]
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={word: i for i, word in enumerate(words)}, merges=[], model_max_length=77)


def text_encoder() -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=514, hidden_size=32, intermediate_size=64, num_attention_heads=4, num_hidden_layers=3,
            max_position_embeddings=77, bos_token_id=512, eos_token_id=513, pad_token_id=513, projection_dim=32,
        )
    )  # fmt: skip


def image_encoder() -> Any:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    return CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=32, intermediate_size=64, num_attention_heads=4, num_hidden_layers=2, image_size=224,
            patch_size=32, projection_dim=32,
        )
    )  # fmt: skip


def autoencoder() -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        layers_per_block=1, norm_num_groups=4, sample_size=64, block_out_channels=[8, 8, 8, 8],
        down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4,
    )  # fmt: skip


@pytest.fixture(scope="module")
def text_to_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `TextToVideoSDPipeline` folder, the layout of the first-chunk model."""
    import torch
    from diffusers import DDIMScheduler, TextToVideoSDPipeline, UNet3DConditionModel

    torch.manual_seed(0)
    unet = UNet3DConditionModel(
        sample_size=8, down_block_types=["CrossAttnDownBlock3D", "DownBlock3D"],
        up_block_types=["UpBlock3D", "CrossAttnUpBlock3D"], block_out_channels=[8, 16], layers_per_block=1,
        norm_num_groups=4, cross_attention_dim=32, attention_head_dim=4,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("weights") / "text_to_video"
    scheduler = DDIMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction", clip_sample=False)
    TextToVideoSDPipeline(autoencoder(), text_encoder(), tokenizer(), unet, scheduler).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def stable_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `StableVideoDiffusionPipeline` folder."""
    import torch
    from diffusers import (
        AutoencoderKLTemporalDecoder,
        EulerDiscreteScheduler,
        StableVideoDiffusionPipeline,
        UNetSpatioTemporalConditionModel,
    )
    from transformers import CLIPImageProcessor

    torch.manual_seed(0)
    unet = UNetSpatioTemporalConditionModel(
        sample_size=8, num_frames=5, down_block_types=["CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"],
        up_block_types=["UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"], block_out_channels=[32, 64],
        num_attention_heads=[2, 4], cross_attention_dim=32, layers_per_block=1, addition_time_embed_dim=32,
        projection_class_embeddings_input_dim=96,
    )  # fmt: skip
    vae = AutoencoderKLTemporalDecoder(
        block_out_channels=[32, 32, 32, 32], down_block_types=["DownEncoderBlock2D"] * 4, layers_per_block=1,
        sample_size=64,
    )  # fmt: skip
    scheduler = EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type="v_prediction",
        sigma_max=700.0, sigma_min=0.002, steps_offset=1, timestep_spacing="leading", timestep_type="continuous",
        use_karras_sigmas=True,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("weights") / "svd"
    StableVideoDiffusionPipeline(vae, image_encoder(), unet, scheduler, CLIPImageProcessor()).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def i2vgen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An `I2VGenXLPipeline` folder."""
    import torch
    from diffusers import DDIMScheduler, I2VGenXLPipeline, I2VGenXLUNet
    from transformers import CLIPImageProcessor

    torch.manual_seed(0)
    unet = I2VGenXLUNet(
        sample_size=4, down_block_types=["CrossAttnDownBlock3D", "DownBlock3D"],
        up_block_types=["UpBlock3D", "CrossAttnUpBlock3D"], block_out_channels=[8, 16], layers_per_block=1,
        norm_num_groups=4, cross_attention_dim=32, attention_head_dim=4,
    )  # fmt: skip
    scheduler = DDIMScheduler(
        beta_schedule="squaredcos_cap_v2", rescale_betas_zero_snr=True, prediction_type="v_prediction",
        clip_sample=False, timestep_spacing="leading", steps_offset=1,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("weights") / "i2vgen_xl"
    parts = (autoencoder(), text_encoder(), tokenizer(), image_encoder(), CLIPImageProcessor(), unet, scheduler)
    I2VGenXLPipeline(*parts).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def animatediff(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of a Stable Diffusion pipeline (`base`), a motion adapter and a sparse encoder."""
    import torch
    from diffusers import (
        MotionAdapter,
        PNDMScheduler,
        SparseControlNetModel,
        StableDiffusionPipeline,
        UNet2DConditionModel,
    )

    torch.manual_seed(0)
    channels: dict[str, Any] = {"block_out_channels": [8, 16], "layers_per_block": 1, "norm_num_groups": 4}
    attention = {"cross_attention_dim": 32, "attention_head_dim": 4}
    unet = UNet2DConditionModel(
        **channels, **attention, sample_size=4, down_block_types=["CrossAttnDownBlock2D", "DownBlock2D"],
        up_block_types=["UpBlock2D", "CrossAttnUpBlock2D"],
    )  # fmt: skip
    adapter = MotionAdapter(
        block_out_channels=[8, 16], motion_layers_per_block=1, motion_norm_num_groups=4, motion_num_attention_heads=4,
        use_motion_mid_block=False,
    )  # fmt: skip
    control = SparseControlNetModel(
        **channels, **attention, down_block_types=["CrossAttnDownBlockMotion", "DownBlockMotion"],
        motion_num_attention_heads=4, concat_conditioning_mask=True, use_simplified_condition_embedding=True,
    )  # fmt: skip
    for network in (adapter, control):  # their output layers begin at zero, which would hide them
        for name, parameter in network.named_parameters():
            if "proj_out" in name or "controlnet_" in name:
                torch.nn.init.normal_(parameter, std=0.1)
    folder = tmp_path_factory.mktemp("weights")
    scheduler = PNDMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, steps_offset=1)
    parts = (autoencoder(), text_encoder(), tokenizer(), unet, scheduler, None, None)
    StableDiffusionPipeline(*parts, requires_safety_checker=False).save_pretrained(folder / "base")
    adapter.save_pretrained(folder / "motion_adapter")
    control.save_pretrained(folder / "controlnet")
    return folder


@pytest.fixture(scope="module")
def videocrafter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of VideoCrafter2's network, its autoencoder and its text tower."""
    import torch

    from baselines.networks.videocrafter import VideoCrafterUNet

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("weights") / "videocrafter"
    VideoCrafterUNet(
        block_out_channels=(8, 16), attention_levels=(True, False), layers_per_block=1, cross_attention_dim=32,
        head_channels=4, norm_num_groups=4,
    ).save_pretrained(folder / "unet")  # fmt: skip
    autoencoder().save_pretrained(folder / "vae")
    text_encoder().save_pretrained(folder / "text_encoder")
    tokenizer().save_pretrained(folder / "tokenizer")
    return folder


def start(height: int = SIZE, width: int = SIZE, frames: int = 16) -> Start:
    noise = np.random.default_rng(0).integers(0, 256, (frames, 4, 4, 3)).astype(np.uint8)
    video = noise.repeat(height // 4, axis=1).repeat(width // 4, axis=2)
    return Start(video, video)


def request_(prompt: str = "a red circle", seed: int = 0, num_frames: int = 26, size: int = SIZE) -> Request:
    return Request(prompt, seed, num_frames, size, size, 8.0)


def run(method: Any, request: Request, begin: Start) -> np.ndarray:
    chunks = list(method.generate(request, begin))
    for chunk in chunks:
        assert chunk.dtype == np.uint8
        assert chunk.shape[1:] == (request.height, request.width, 3)
        assert len(chunk) >= 1
    return np.concatenate(chunks)


def assert_contract(method: Any, again: Any, begin: Start, *, reads_prompt: bool, reads_start: bool) -> None:
    """Checks counts, determinism and what the frames depend on; `again` is a second instance with equal settings."""
    request = request_(num_frames=22)  # two chunks of most, the second one cut
    video = run(method, request, begin)
    assert len(video) == request.num_frames - len(begin.frames) * method.info.continues_start
    assert video.std() > 0
    np.testing.assert_array_equal(video, run(again, request, begin))
    np.testing.assert_array_equal(video, run(method, request, begin))
    assert (video != run(method, replace(request, seed=1), begin)).any()
    other = Start(255 - begin.frames, 255 - begin.base)
    assert (video != run(method, request, other)).any() == reads_start
    with pytest.MonkeyPatch.context() as patch:  # so that only the text can make a difference
        for module in ("autoregressive", "freenoise.method", "freenoise.animatediff"):
            patch.setattr(f"baselines.{module}.chunk_seed", lambda seed, prompt, chunk: chunk)
        patch.setattr("generators.first_chunk.chunk_seed", lambda seed, prompt, chunk: chunk)
        same_noise = [
            run(method, replace(request, prompt=prompt), begin) for prompt in ("a red circle", "a blue square")
        ]
    assert (same_noise[0] != same_noise[1]).any() == reads_prompt


def naive(folder: Path, **settings: Any) -> Naive:
    return Naive(
        weights=str(folder), base_height=SIZE, base_width=SIZE, num_frames=4, num_inference_steps=2, **settings
    )


def test_first_chunk_is_fixed_by_prompt_and_seed(text_to_video: Path) -> None:
    model = FirstChunk(
        weights=str(text_to_video), base_height=SIZE, base_width=SIZE, num_frames=4, num_inference_steps=2
    )
    drawn = model.draw(request_(size=48))
    assert drawn.base.shape == (4, SIZE, SIZE, 3)
    assert drawn.frames.shape == (4, 48, 48, 3)
    assert drawn.base.dtype == drawn.frames.dtype == np.uint8
    np.testing.assert_array_equal(drawn.base, model.draw(request_(num_frames=99)).base)
    assert (drawn.base != model.draw(request_(seed=1)).base).any()
    assert (drawn.base != model.draw(request_("a blue square")).base).any()


def test_first_chunk_solver_matters(text_to_video: Path) -> None:
    settings = {"weights": str(text_to_video), "base_height": SIZE, "base_width": SIZE, "num_frames": 4}
    solvers = ["", "DDIMScheduler", "DPMSolverMultistepScheduler"]
    bases = [FirstChunk(**settings, scheduler=s, num_inference_steps=3).draw(request_()).base for s in solvers]
    np.testing.assert_array_equal(bases[0], bases[1])  # the folder's own solver is DDIM
    assert (bases[0] != bases[2]).any()
    with pytest.raises(ValueError, match="scheduler"):
        FirstChunk(**settings, scheduler="Nobody").draw(request_())


def test_first_chunk_says_what_is_missing(text_to_video: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match="mini:nobody"):
        FirstChunk(weights="mini:nobody").draw(request_())
    with pytest.raises(MissingWeightsError, match=r"model_index\.json"):
        FirstChunk(weights=str(tmp_path)).draw(request_())
    refined = FirstChunk(
        weights=str(text_to_video), base_height=SIZE, base_width=SIZE, num_frames=4, refiner="mini:none"
    )
    with pytest.raises(MissingWeightsError, match="mini:none"):
        refined.draw(request_())


def test_first_chunk_is_refined_where_a_refiner_is_set(text_to_video: Path, tmp_path: Path) -> None:
    import torch
    from diffusers import UNet3DConditionModel

    torch.manual_seed(1)
    UNet3DConditionModel(
        sample_size=8, down_block_types=["CrossAttnDownBlock3D", "DownBlock3D"],
        up_block_types=["UpBlock3D", "CrossAttnUpBlock3D"], block_out_channels=[8, 16], layers_per_block=1,
        norm_num_groups=4, cross_attention_dim=32, attention_head_dim=4,
    ).save_pretrained(tmp_path / "unet")  # fmt: skip
    small: dict[str, Any] = {"base_height": 16, "base_width": 16, "num_frames": 4, "num_inference_steps": 2}
    refiner = {"refiner": str(tmp_path), "refiner_steps": 3, "canvas_height": 32, "canvas_width": 48}
    plain, refined, again = (
        FirstChunk(weights=str(text_to_video), **small, **settings).draw(request_())
        for settings in ({}, refiner, refiner)
    )
    np.testing.assert_array_equal(plain.base, refined.base)
    assert refined.frames.shape == (4, SIZE, SIZE, 3)
    assert (refined.frames != plain.frames).any()
    np.testing.assert_array_equal(refined.frames, again.frames)


def test_naive(text_to_video: Path) -> None:
    assert_contract(naive(text_to_video), naive(text_to_video), start(), reads_prompt=True, reads_start=False)


def test_naive_batches_change_rounding_at_most(text_to_video: Path) -> None:
    one = run(naive(text_to_video), request_(), start())
    three = run(naive(text_to_video, batch=3), request_(), start())
    assert len(one) == len(three) == 10
    assert np.abs(one.astype(int) - three.astype(int)).max() <= 1


def svd(folder: Path, **settings: Any) -> Svd:
    """SVD with two steps; what is no setting of the adapter is an argument of the pipeline."""
    arguments = {
        name: settings.pop(name)
        for name in ("motion_bucket_id", "noise_aug_strength", "max_guidance_scale")
        if name in settings
    }
    sizes = {"weights": str(folder), "num_frames": 5, "height": SIZE, "width": SIZE}
    return Svd(**sizes | settings, arguments={**Svd().arguments, "num_inference_steps": 2, **arguments})


def test_svd(stable_video: Path) -> None:
    assert_contract(svd(stable_video), svd(stable_video), start(), reads_prompt=False, reads_start=True)


@pytest.mark.parametrize(
    "settings", [{}, {"width": 2 * SIZE, "pad": "every_chunk"}, {"width": 2 * SIZE, "unpad": False}]
)
def test_svd_is_its_pipeline_called_chunk_by_chunk(stable_video: Path, settings: dict[str, Any]) -> None:
    import torch
    from diffusers import StableVideoDiffusionPipeline
    from PIL import Image

    pipeline = StableVideoDiffusionPipeline.from_pretrained(stable_video)
    pipeline.set_progress_bar_config(disable=True)
    width, crop = settings.get("width", SIZE), settings.get("unpad", True)
    last, expected = letterbox(start().frames[-1:], SIZE, width), []
    for chunk in (1, 2, 3):
        video = pipeline(
            Image.fromarray(last[0]), height=SIZE, width=width, num_frames=5, num_inference_steps=2, fps=7,
            min_guidance_scale=1.5, max_guidance_scale=3.0, motion_bucket_id=127, noise_aug_strength=0.02,
            decode_chunk_size=8, generator=torch.Generator().manual_seed(chunk_seed(0, "a red circle", chunk)),
            output_type="pt",
        ).frames[0]  # fmt: skip
        new = to_frames(video)[1:]
        last = blackened(new[-1:], SIZE, SIZE) if settings.get("pad") == "every_chunk" else new[-1:]
        expected.append(unletterbox(new, SIZE, SIZE, crop=crop))
    np.testing.assert_array_equal(
        run(svd(stable_video, **settings), request_(), start()), np.concatenate(expected)[:10]
    )


def test_svd_settings_reach_the_network(stable_video: Path) -> None:
    plain = run(svd(stable_video), request_(), start())
    for change in [{"motion_bucket_id": 20}, {"fps": 25.0}, {"noise_aug_strength": 0.5}, {"max_guidance_scale": 9.0}]:
        assert (plain != run(svd(stable_video, **change), request_(), start())).any(), change


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="dtype"):
        Svd(dtype="int8")
    with pytest.raises(ValueError, match="offload"):
        Svd(offload="disk")
    with pytest.raises(ValueError, match="cuda"):
        Svd(offload="model")
    for steps in (0, 30, 1000):
        with pytest.raises(ValueError, match=f"num_inference_steps = {steps}"):
            FreeNoise(num_inference_steps=steps)
    with pytest.raises(ValueError, match="blending"):
        StreamingT2V(blending="papr")
    with pytest.raises(ValueError, match="68 x 68 pixels: set a height and width that are multiples of 8"):
        next(Seine(height=68, width=68).generate(request_(), start()))


def test_half_precision_runs(text_to_video: Path) -> None:
    assert run(naive(text_to_video, dtype="bfloat16", vae_slicing=True, vae_tiling=True), request_(), start()).std() > 0


def i2vgen_xl(folder: Path, **settings: Any) -> I2vgenXl:
    return I2vgenXl(weights=str(folder), num_frames=4, height=SIZE, width=SIZE, num_inference_steps=2, **settings)


def test_i2vgen_xl(i2vgen: Path) -> None:
    assert_contract(i2vgen_xl(i2vgen), i2vgen_xl(i2vgen), start(), reads_prompt=True, reads_start=True)


def test_i2vgen_xl_counts_the_image_branch_twice(i2vgen: Path) -> None:
    twice = run(i2vgen_xl(i2vgen), request_(), start())
    once = run(i2vgen_xl(i2vgen, double_image_latents=False), request_(), start())
    assert (twice != once).any()


def test_what_fills_a_short_text_up_reaches_the_network(i2vgen: Path, videocrafter: Path) -> None:
    for build, folder in ((i2vgen_xl, i2vgen), (free_videocrafter, videocrafter)):
        zero, own = (run(build(folder, **fill), request_(), start()) for fill in ({}, {"text_fill": "tokenizer"}))
        assert (zero != own).any()
        with pytest.raises(ValueError, match="text_fill"):
            build(folder, text_fill="end")


def test_i2vgen_xl_leaves_global_noise_alone(i2vgen: Path) -> None:
    import torch

    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    run(i2vgen_xl(i2vgen), request_(), start())
    assert torch.equal(torch.rand(3), expected)


def sparsectrl(folder: Path, **settings: Any) -> SparseCtrl:
    places = {"weights": "base", "motion_adapter": "motion_adapter", "controlnet": "controlnet"}
    sizes: dict[str, Any] = {"num_frames": 6, "height": SIZE, "width": SIZE, "num_inference_steps": 2}
    settings = {"adapter_lora": "", **sizes, **settings}
    return SparseCtrl(**{name: str(folder / place) for name, place in places.items()}, **settings)


def test_sparsectrl(animatediff: Path) -> None:
    methods = [sparsectrl(animatediff) for _ in range(2)]
    assert_contract(methods[0], methods[1], start(), reads_prompt=True, reads_start=True)


@pytest.mark.parametrize("given", [1, 4])
def test_sparsectrl_adds_what_it_was_not_given(animatediff: Path, given: int) -> None:
    chunks = list(sparsectrl(animatediff, conditioning_frames=given).generate(request_(num_frames=25), start()))
    assert [len(chunk) for chunk in chunks] == ([5, 4] if given == 1 else [2, 2, 2, 2, 1])


def test_sparsectrl_reads_every_conditioning_frame(animatediff: Path) -> None:
    begin = start()
    plain = run(sparsectrl(animatediff), request_(num_frames=18), begin)
    for back in (1, 4, 5):
        frames = begin.frames.copy()
        frames[-back] = 255 - frames[-back]
        changed = run(sparsectrl(animatediff), request_(num_frames=18), Start(frames, frames))
        assert (plain != changed).any() == (back <= 4), back


def test_sparsectrl_adapter_lora(animatediff: Path, tmp_path: Path) -> None:
    import torch

    block = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor"
    halves = {"down": torch.ones(2, 8), "up": torch.ones(8, 2)}
    tensors = {
        f"module.{block}.{layer}_lora.{half}.weight": t for layer in ("to_v", "to_out") for half, t in halves.items()
    }
    torch.save({"state_dict": tensors, "global_step": 7}, tmp_path / "adapter.ckpt")
    videos = [
        run(sparsectrl(animatediff, adapter_lora=lora, adapter_lora_scale=scale), request_(), start())
        for lora, scale in [("", 1.0), (str(tmp_path / "adapter.ckpt"), 0.0), (str(tmp_path / "adapter.ckpt"), 1.0)]
    ]
    np.testing.assert_array_equal(videos[0], videos[1])
    assert (videos[0] != videos[2]).any()
    with pytest.raises(MissingWeightsError, match="not a file"):
        run(sparsectrl(animatediff, adapter_lora=str(tmp_path)), request_(), start())


def free_animatediff(folder: Path, **settings: Any) -> FreeNoiseAnimateDiff:
    settings = {"context_length": 8, "context_stride": 2, "num_inference_steps": 2, **settings}
    places = {"weights": str(folder / "base"), "motion_adapter": str(folder / "motion_adapter")}
    return FreeNoiseAnimateDiff(**places, height=SIZE, width=SIZE, **settings)


def free_videocrafter(folder: Path, **settings: Any) -> FreeNoise:
    settings = {"context_length": 8, "context_stride": 2, "num_inference_steps": 2, **settings}
    places = {"weights": str(folder), "encoders": str(folder), "variant": ""}
    return FreeNoise(**places, height=SIZE, width=SIZE, **settings)


@pytest.mark.parametrize("shared_start", ["none", "noised"])
def test_freenoise_animatediff(animatediff: Path, shared_start: str) -> None:
    methods = [free_animatediff(animatediff, shared_start=shared_start) for _ in range(2)]
    assert_contract(methods[0], methods[1], start(), reads_prompt=True, reads_start=shared_start == "noised")


@pytest.mark.parametrize("shared_start", ["none", "noised"])
def test_freenoise(videocrafter: Path, shared_start: str) -> None:
    methods = [free_videocrafter(videocrafter, shared_start=shared_start) for _ in range(2)]
    assert_contract(methods[0], methods[1], start(), reads_prompt=True, reads_start=shared_start == "noised")


def test_freenoise_makes_any_number_of_frames_without_seams(videocrafter: Path, animatediff: Path) -> None:
    for method in (free_videocrafter(videocrafter), free_animatediff(animatediff)):
        for num_frames in (5, 8, 11):
            chunks = list(method.generate(request_(num_frames=num_frames), start()))
            assert [len(chunk) for chunk in chunks] == [num_frames]


def test_freenoise_noise_comes_from_one_window() -> None:
    import torch

    from baselines.freenoise.noise_rescheduling import long_noise

    first = torch.randn(1, 4, 8, 2, 2)
    noise = long_noise(first, 14, 2, torch.Generator().manual_seed(0))
    assert torch.equal(noise[:, :, :8], first)
    for t in range(8, 14):
        assert any(torch.equal(noise[:, :, t], first[:, :, k]) for k in range(8))


def test_freenoise_refuses_a_short_start(videocrafter: Path) -> None:
    with pytest.raises(ValueError, match="shared_start"):
        run(free_videocrafter(videocrafter, shared_start="noised"), request_(), start(frames=4))
    for bad in ({"shared_start": "maybe"}, {"schedule": "any"}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            free_videocrafter(videocrafter, **bad)


def test_freenoise_schedule_matters(videocrafter: Path) -> None:
    uniform, trailing = (
        run(free_videocrafter(videocrafter, schedule=schedule), request_(), start())
        for schedule in ("uniform", "trailing")
    )
    assert (uniform != trailing).any()


def test_freenoise_decodes_in_chunks(animatediff: Path, videocrafter: Path) -> None:
    for make, folder in ((free_animatediff, animatediff), (free_videocrafter, videocrafter)):
        whole = run(make(folder), request_(), start())
        chunked = run(make(folder, decode_chunk_size=3), request_(), start())
        assert np.abs(whole.astype(int) - chunked.astype(int)).max() <= 1
