"""Released weights of every system of Table 1 and of every scorer: where they are published and under which licence.

Names, sizes, licences and hashes are those of the repositories' pages as they stood in 2024 and 2025; what no page
says is marked. Sizes are the download in GB; GPU memory is the peak of the method that reads the weights, in GB, in the
profile paper's precision, no offload, estimated from parameter counts. Revisions stay "main": a fetched folder keeps
its commit in its name, and a file with a known hash is refused if it is another one.

Example:
    >>> TABLE[0].repository
    'ali-vilab/text-to-video-ms-1.7b'
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

SCHEDULER = ("model_index.json", "scheduler/scheduler_config.json")
"""Files of a diffusers pipeline's own configuration."""

TOKENIZER = ("tokenizer/*", "tokenizer/merges.txt", "tokenizer/vocab.json")
"""Files of CLIP's tokenizer: all are fetched, the two without which there is none must be there."""

TEXT_FP16 = (*TOKENIZER, "text_encoder/config.json", "text_encoder/model.fp16.safetensors")
"""Files of a pipeline's text encoder in half precision."""

IMAGE_FP16 = (
    "feature_extractor/preprocessor_config.json", "image_encoder/config.json", "image_encoder/model.fp16.safetensors",
)  # fmt: skip
"""Files of a pipeline's image encoder in half precision."""

NETWORKS_FP16 = (
    "unet/config.json", "unet/diffusion_pytorch_model.fp16.safetensors",
    "vae/config.json", "vae/diffusion_pytorch_model.fp16.safetensors",
)  # fmt: skip
"""Files of a pipeline's U-Net and autoencoder in half precision."""

T5_TOKENIZER = ("spiece.model", "special_tokens_map.json", "tokenizer_config.json")
"""Files of the tokenizers of T5 and mT5."""


@dataclass(frozen=True)
class Weights:
    """One repository of weights.

    Attributes:
        repository: hub repository "owner/name", or the library's own name of the weights for `source` "torchvision".
        system: the paper's name of what it is.
        methods: methods and metrics that read it.
        files: names of the files needed, relative to the repository; each must be there. A pattern takes what it
            matches along, and only `fetch` knows whether that is all: where names are known, they stand beside it.
        licence: licence of the weights.
        commercial: whether the licence allows commercial use.
        size_gb: download in GB.
        gpu_gb: peak GPU memory in GB of the method that reads it; 0 where it is a part of another entry's figure.
        revision: branch, tag or commit.
        sha256: SHA-256, or its first digits, by file, where known.
        source: who fetches it.
        gated: the licence must be accepted on the model page first.
        known_as: name by which the settings of its metrics choose these weights, see `bench.released_weights`.
    """

    repository: str
    system: str
    methods: tuple[str, ...]
    files: tuple[str, ...]
    licence: str
    commercial: Literal["yes", "no", "unclear"]
    size_gb: float
    gpu_gb: float
    revision: str = "main"
    sha256: Mapping[str, str] = field(default_factory=dict)
    source: Literal["hub", "torchvision"] = "hub"
    gated: bool = False
    known_as: str = ""


STREAMING = (
    "streaming_t2v", "streaming_t2v_refined", "streaming_t2v_concat", "streaming_t2v_no_apm", "streaming_t2v_no_cam",
    "streaming_t2v_sparse",
)  # fmt: skip
"""StreamingT2V and its ablations, which stand on the same base model and refiner."""

TABLE: tuple[Weights, ...] = (
    Weights(
        repository="ali-vilab/text-to-video-ms-1.7b",
        system="ModelScope text-to-video (first chunk)",
        methods=("first_chunk", "naive", *STREAMING),
        files=(*SCHEDULER, *TEXT_FP16, *NETWORKS_FP16),
        licence="CC-BY-NC-4.0",
        commercial="no",
        size_gb=3.7,
        gpu_gb=8,
    ),
    Weights(
        repository="ali-vilab/MS-Vid2Vid-XL",
        system="MS-Vid2Vid-XL (refiner)",
        methods=("first_chunk", "naive", *STREAMING),
        files=("non_ema_0035000.pth",),
        licence="CC-BY-NC-ND-4.0",
        commercial="no",
        size_gb=5.6,
        gpu_gb=40,
    ),
    Weights(
        repository="PAIR/StreamingT2V",
        system="StreamingT2V",
        methods=("streaming_t2v", "streaming_t2v_refined", "streaming_opensora"),
        files=("streaming_t2v.ckpt",),
        licence="no licence on its page; derived from ModelScope (CC-BY-NC-4.0)",
        commercial="no",
        size_gb=25.6,
        gpu_gb=47,
        sha256={"streaming_t2v.ckpt": "821f94e00bb9e25b0b03ab5a37ac01d31a24df4573f2b7809c34c54c9712aa5c"},
    ),
    Weights(
        repository="stabilityai/stable-video-diffusion-img2vid-xt",
        system="SVD-XT",
        methods=("svd",),
        files=(*SCHEDULER, *IMAGE_FP16, *NETWORKS_FP16),
        licence="Stability AI Community (free below 1 M USD revenue; terms not seen in the repository)",
        commercial="unclear",
        size_gb=4.5,
        gpu_gb=20,
    ),
    Weights(
        repository="ali-vilab/i2vgen-xl",
        system="I2VGen-XL (its CLIP towers also serve DynamiCrafter and FreeNoise)",
        methods=("i2vgen_xl", "dynamicrafter_xl", "freenoise"),
        files=(*SCHEDULER, *TEXT_FP16, *IMAGE_FP16, *NETWORKS_FP16),
        licence="MIT on the model page; authors: research and non-commercial use only",
        commercial="no",
        size_gb=5.0,
        gpu_gb=20,
    ),
    Weights(
        repository="stable-diffusion-v1-5/stable-diffusion-v1-5",
        system="Stable Diffusion 1.5 (base of AnimateDiff)",
        methods=("sparsectrl", "freenoise_animatediff"),
        files=(*SCHEDULER, *TEXT_FP16, *NETWORKS_FP16),
        licence="CreativeML OpenRAIL-M",
        commercial="yes",
        size_gb=2.1,
        gpu_gb=14,
    ),
    Weights(
        repository="guoyww/animatediff-motion-adapter-v1-5-3",
        system="AnimateDiff v3 motion adapter",
        methods=("sparsectrl", "freenoise_animatediff"),
        files=("config.json", "diffusion_pytorch_model.fp16.safetensors"),
        licence="no licence on its page (guoyww/animatediff: Apache-2.0)",
        commercial="unclear",
        size_gb=1.7,
        gpu_gb=0,
    ),
    Weights(
        repository="guoyww/animatediff-sparsectrl-rgb",
        system="SparseCtrl RGB encoder",
        methods=("sparsectrl",),
        files=("config.json", "diffusion_pytorch_model.fp16.safetensors"),
        licence="no licence on its page (guoyww/animatediff: Apache-2.0)",
        commercial="unclear",
        size_gb=1.0,
        gpu_gb=0,
    ),
    Weights(
        repository="guoyww/animatediff",
        system="AnimateDiff v3 adapter LoRA",
        methods=("sparsectrl",),
        files=("v3_sd15_adapter.ckpt",),
        licence="Apache-2.0",
        commercial="yes",
        size_gb=0.1,
        gpu_gb=0,
        sha256={"v3_sd15_adapter.ckpt": "fd2d8e26480f6ab013c1e6af86fdf1dedbb1ed5baf850ccd5f365f39d6c3472c"},
    ),
    Weights(
        repository="VideoCrafter/VideoCrafter2",
        system="VideoCrafter2 (base of FreeNoise)",
        methods=("freenoise",),
        files=("model.ckpt",),
        licence="Apache-2.0 file; authors: research and non-commercial use only",
        commercial="no",
        size_gb=7.4,
        gpu_gb=60,
        sha256={"model.ckpt": "1edf769ece3308e977228943eeeed39286806aba9da17350449a3fbf4324ccfb"},
    ),
    Weights(
        repository="Vchitect/SEINE",
        system="SEINE",
        methods=("seine",),
        files=("seine.pt",),
        licence="academic research; commercial use free after applying to the authors",
        commercial="unclear",
        size_gb=3.6,
        gpu_gb=12,
        sha256={"seine.pt": "f98cfc7be5069a7f00a916e502f69c0c8c0ea5b77187704652daaedfb8ec3daf"},
    ),
    Weights(
        repository="CompVis/stable-diffusion-v1-4",
        system="Stable Diffusion 1.4 (text encoder and autoencoder of SEINE)",
        methods=("seine",),
        files=(
            *TOKENIZER, "text_encoder/config.json", "text_encoder/model.safetensors", "vae/config.json",
            "vae/diffusion_pytorch_model.safetensors",
        ),
        licence="CreativeML OpenRAIL-M",
        commercial="yes",
        size_gb=0.8,
        gpu_gb=0,
    ),
    Weights(
        repository="Doubiiu/DynamiCrafter_1024",
        system="DynamiCrafter-XL (1024)",
        methods=("dynamicrafter_xl",),
        files=("model.ckpt",),
        licence="see LICENSE on the model page (not seen)",
        commercial="unclear",
        size_gb=10.4,
        gpu_gb=18.3,
        sha256={"model.ckpt": "97181be1431cc1c08fe31f8d0385a43c2beb1c7f36d25d2df301636f0c4f20f2"},
    ),
    Weights(
        repository="hpcai-tech/OpenSora-STDiT-v3",
        system="OpenSora 1.2 transformer",
        methods=("opensora", "streaming_opensora"),
        files=("config.json", "model.safetensors"),
        licence="Apache-2.0",
        commercial="yes",
        size_gb=4.8,
        gpu_gb=41,
    ),
    Weights(
        repository="hpcai-tech/OpenSora-VAE-v1.2",
        system="OpenSora 1.2 autoencoder",
        methods=("opensora", "streaming_opensora"),
        files=("config.json", "model.safetensors"),
        licence="Apache-2.0",
        commercial="yes",
        size_gb=1.6,
        gpu_gb=0,
        sha256={"model.safetensors": "057f368f538ca04540c0728a6b8ef80ff529077c5a1c4ba810eb8ba017b8d7c9"},
    ),
    Weights(
        repository="DeepFloyd/t5-v1_1-xxl",
        system="T5-XXL (text encoder of OpenSora 1.2)",
        methods=("opensora", "streaming_opensora"),
        files=(
            "config.json", "pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin",
            "pytorch_model.bin.index.json", *T5_TOKENIZER,
        ),
        licence="none on its page; a copy of Google's (Apache-2.0)",
        commercial="unclear",
        size_gb=19,
        gpu_gb=0,
    ),
    Weights(
        repository="LanguageBind/Open-Sora-Plan-v1.2.0",
        system="OpenSoraPlan 1.2 (93x480p image-to-video)",
        methods=("opensora_plan",),
        files=(
            "93x480p_i2v/config.json", "93x480p_i2v/diffusion_pytorch_model.safetensors", "vae/config.json",
            "vae/checkpoint.ckpt",
        ),
        licence="MIT",
        commercial="yes",
        size_gb=6.5,
        gpu_gb=40,
        sha256={"vae/checkpoint.ckpt": "a7123138121651f316e14d6c6337f1f0b45b8c7b533f129da95e74219c0900c2"},
    ),
    Weights(
        repository="google/mt5-xxl",
        system="mT5-XXL (text encoder of OpenSoraPlan 1.2)",
        methods=("opensora_plan",),
        files=("config.json", "pytorch_model.bin", *T5_TOKENIZER),
        licence="Apache-2.0",
        commercial="yes",
        size_gb=52,
        gpu_gb=0,
    ),
    Weights(
        repository="timm/vit_base_patch32_clip_224.openai",
        system="OpenAI CLIP ViT-B/32 (CLIP score)",
        methods=("clip", "seams", "vbench", "vbench-long", "background_consistency", "background_consistency_long"),
        files=("open_clip_config.json", "open_clip_model.safetensors"),
        licence="MIT (page: Apache-2.0)",
        commercial="yes",
        size_gb=0.6,
        gpu_gb=1,
        known_as="ViT-B-32-quickgelu/openai",
    ),
    Weights(
        repository="Raft_Large_Weights.C_T_SKHT_V2",
        system="RAFT large (MAWE)",
        methods=("mawe", "seams", "stillness"),
        files=("raft_large_C_T_SKHT_V2-ff5fadd5.pth",),
        licence="BSD-3-Clause",
        commercial="yes",
        size_gb=0.02,
        gpu_gb=3,
        sha256={"raft_large_C_T_SKHT_V2-ff5fadd5.pth": "ff5fadd5"},
        source="torchvision",
        known_as="raft_large",
    ),
    Weights(
        repository="timm/vit_base_patch16_224.dino",
        system="DINO ViT-B/16 (subject consistency)",
        methods=("vbench", "subject_consistency", "subject_consistency_long", "vbench-long"),
        files=("model.safetensors",),
        licence="Apache-2.0",
        commercial="yes",
        size_gb=0.34,
        gpu_gb=1,
    ),
    Weights(
        repository="timm/vit_base_patch14_dinov2.lvd142m",
        system="DINOv2 ViT-B/14 (subject consistency of VBench-Long)",
        methods=("vbench-long", "subject_consistency_long"),
        files=("model.safetensors",),
        licence="Apache-2.0",
        commercial="yes",
        size_gb=0.35,
        gpu_gb=1,
    ),
    Weights(
        repository="timm/vit_large_patch14_clip_224.openai",
        system="OpenAI CLIP ViT-L/14 (aesthetic quality)",
        methods=("vbench", "aesthetic_quality"),
        files=("open_clip_model.safetensors",),
        licence="MIT",
        commercial="yes",
        size_gb=1.7,
        gpu_gb=2,
        known_as="ViT-L-14-quickgelu/openai",
    ),
    Weights(
        repository="chaofengc/IQA-PyTorch-Weights",
        system="MUSIQ trained on SPAQ (imaging quality)",
        methods=("vbench", "imaging_quality"),
        files=("musiq_spaq_ckpt-358bb6af.pth",),
        licence="CC-BY-NC-SA-4.0 (converted from Google's, Apache-2.0)",
        commercial="no",
        size_gb=0.11,
        gpu_gb=2,
        sha256={"musiq_spaq_ckpt-358bb6af.pth": "358bb6af"},
    ),
    Weights(
        repository="Raft_Large_Weights.C_T_V1",
        system="RAFT large, Chairs and Things (dynamic degree)",
        methods=("vbench", "dynamic_degree"),
        files=("raft_large_C_T_V1-22a6c225.pth",),
        licence="BSD-3-Clause",
        commercial="yes",
        size_gb=0.02,
        gpu_gb=3,
        sha256={"raft_large_C_T_V1-22a6c225.pth": "22a6c225"},
        source="torchvision",
        known_as="raft_large",
    ),
)  # fmt: skip
"""Every repository, in the order of Table 1. Sources: the model pages and READMEs named by each paper."""
