"""Released weights of today's systems (the group `modern`): where they are published and under which licence.

As in `generators.weights_table`, sizes are estimates from parameter counts (twice the billions, text encoder included)
except where the authors or the hub state them, GPU memory is what the authors state (0 where they do not), and licences
marked "unverified" are to be confirmed on first access. docs/modern-systems.md says what is not verified.

Example:
    >>> [entry.repository for entry in MODERN if "framepack" in entry.methods][0]
    'hunyuanvideo-community/HunyuanVideo'
"""

from __future__ import annotations

from generators.weights_table import Weights

PIPELINE = ("model_index.json", "tokenizer*/*", "*/*.json", "*/*.safetensors")
"""Files of a diffusers pipeline: configurations, networks, and tokenizers with the vocabularies that are no JSON."""

_WITH_SENTENCES = (*PIPELINE, "tokenizer/spiece.model")
"""The same where T5's tokenizer has its vocabulary in a file of SentencePiece alone."""

_PARTS_BUT_TRANSFORMER = (
    "model_index.json", "scheduler/*", "text_encoder/*", "text_encoder_2/*", "tokenizer/*", "tokenizer_2/*", "vae/*",
)  # fmt: skip
_HUNYUAN = "Tencent Hunyuan community licence (not in the EU, UK, South Korea)"
_COGVIDEOX = "CogVideoX licence (registration for commercial use)"
_NVIDIA = "NVIDIA Open Model licence"

MODERN: tuple[Weights, ...] = (
    Weights(
        "Wan-AI/Wan2.1-I2V-14B-480P-Diffusers", "Wan 2.1 I2V 14B", ("wan21_i2v_14b",), PIPELINE,
        "Apache-2.0", "yes", size_gb=80, gpu_gb=76.7,
    ),
    Weights(
        "Wan-AI/Wan2.2-I2V-A14B-Diffusers", "Wan 2.2 I2V A14B", ("wan22_i2v_a14b",), PIPELINE,
        "Apache-2.0", "yes", size_gb=126, gpu_gb=41,
    ),
    Weights(
        "Wan-AI/Wan2.2-TI2V-5B-Diffusers", "Wan 2.2 TI2V 5B", ("wan22_ti2v_5b",), PIPELINE,
        "Apache-2.0", "yes", size_gb=34, gpu_gb=22.8,
    ),
    Weights(
        "Wan-AI/Wan2.1-VACE-1.3B-diffusers", "Wan 2.1 VACE 1.3B", ("wan21_vace_1_3b",), PIPELINE,
        "Apache-2.0", "yes", size_gb=19, gpu_gb=8.2,
    ),
    Weights(
        "Wan-AI/Wan2.1-VACE-14B-diffusers", "Wan 2.1 VACE 14B", ("wan21_vace_14b",), PIPELINE,
        "Apache-2.0", "yes", size_gb=75, gpu_gb=0,
    ),
    Weights(
        "Skywork/SkyReels-V2-DF-1.3B-540P-Diffusers", "SkyReels-V2 DF 1.3B", ("skyreels_v2_df_1_3b",), PIPELINE,
        "Skywork community licence", "unclear", size_gb=17, gpu_gb=14.7,
    ),
    Weights(
        "Skywork/SkyReels-V2-DF-14B-540P-Diffusers", "SkyReels-V2 DF 14B", ("skyreels_v2_df_14b",), PIPELINE,
        "Skywork community licence", "unclear", size_gb=40, gpu_gb=51.2,
    ),
    Weights(
        "Lightricks/LTX-Video-0.9.8-13B-distilled", "LTX-Video 0.9.8 13B", ("ltx_098_13b_distilled",), _WITH_SENTENCES,
        "LTX Video open weights licence", "unclear", size_gb=36, gpu_gb=0,
    ),
    Weights(
        "Lightricks/LTX-2", "LTX-2 19B", ("ltx2_19b",), PIPELINE,
        "LTX-2 community licence (free below 10 M$ revenue)", "unclear", size_gb=65, gpu_gb=0,
    ),
    Weights(
        "hunyuanvideo-community/HunyuanVideo", "HunyuanVideo (encoders and autoencoder of FramePack)",
        ("framepack", "framepack_f1"), _PARTS_BUT_TRANSFORMER, _HUNYUAN, "unclear", size_gb=16.3, gpu_gb=0,
    ),
    Weights(
        "lllyasviel/FramePackI2V_HY", "FramePack", ("framepack",), ("*.json", "*.safetensors"),
        "Tencent Hunyuan community licence (unverified)", "unclear", size_gb=25.6, gpu_gb=6,
    ),
    Weights(
        "lllyasviel/FramePack_F1_I2V_HY_20250503", "FramePack-F1", ("framepack_f1",), ("*.json", "*.safetensors"),
        "Tencent Hunyuan community licence (unverified)", "unclear", size_gb=25.6, gpu_gb=6,
    ),
    Weights(
        "lllyasviel/flux_redux_bfl", "SigLIP (image encoder of FramePack)", ("framepack", "framepack_f1"),
        ("feature_extractor/*", "image_encoder/*"), "unverified", "unclear", size_gb=0.9, gpu_gb=0,
    ),
    Weights(
        "BestWishYsh/Helios-Base", "Helios base 14B", ("helios_base",), PIPELINE, "Apache-2.0", "yes",
        size_gb=40, gpu_gb=6,
    ),
    Weights(
        "BestWishYsh/Helios-Distilled", "Helios distilled 14B", ("helios_distilled",), PIPELINE, "Apache-2.0", "yes",
        size_gb=40, gpu_gb=6,
    ),
    Weights(
        "nvidia/AnyFlow-FAR-Wan2.1-1.3B-Diffusers", "AnyFlow-FAR 1.3B", ("anyflow_far_1_3b",), PIPELINE,
        "unverified (code: Apache-2.0)", "unclear", size_gb=15, gpu_gb=0,
    ),
    Weights(
        "nvidia/AnyFlow-FAR-Wan2.1-14B-Diffusers", "AnyFlow-FAR 14B", ("anyflow_far_14b",), PIPELINE,
        "unverified (code: Apache-2.0)", "unclear", size_gb=51.9, gpu_gb=0,
    ),
    Weights(
        "THUDM/CogVideoX-5b-I2V", "CogVideoX 5B I2V", ("cogvideox_5b_i2v",), _WITH_SENTENCES,
        _COGVIDEOX, "unclear", size_gb=20, gpu_gb=26,
    ),
    Weights(
        "THUDM/CogVideoX1.5-5B-I2V", "CogVideoX 1.5 5B I2V", ("cogvideox15_5b_i2v",), _WITH_SENTENCES,
        _COGVIDEOX, "unclear", size_gb=20, gpu_gb=76,
    ),
    Weights(
        "hunyuanvideo-community/HunyuanVideo-I2V", "HunyuanVideo-I2V 13B", ("hunyuan_i2v",), PIPELINE,
        _HUNYUAN, "unclear", size_gb=42, gpu_gb=60,
    ),
    Weights(
        "hunyuanvideo-community/HunyuanVideo-1.5-480p_i2v", "HunyuanVideo 1.5 I2V (name unverified)",
        ("hunyuan15_i2v",), PIPELINE, _HUNYUAN, "unclear", size_gb=36, gpu_gb=14,
    ),
    Weights(
        "kandinskylab/Kandinsky-5.0-I2V-Lite-5s-Diffusers", "Kandinsky 5.0 I2V Lite (name unverified)",
        ("kandinsky5_i2v_lite",), PIPELINE, "MIT", "yes", size_gb=21, gpu_gb=0,
    ),
    Weights(
        "kandinskylab/Kandinsky-5.0-I2V-Pro-sft-5s-Diffusers", "Kandinsky 5.0 I2V Pro", ("kandinsky5_i2v_pro",),
        PIPELINE, "MIT", "yes", size_gb=55, gpu_gb=0,
    ),
    Weights(
        "Efficient-Large-Model/SANA-Video_2B_480p_diffusers", "SANA-Video 2B", ("sana_video_2b",), PIPELINE,
        "unverified", "unclear", size_gb=10, gpu_gb=0,
    ),
    Weights(
        "nvidia/Cosmos-Predict2-2B-Video2World", "Cosmos-Predict2 2B", ("cosmos2_2b",), PIPELINE,
        _NVIDIA, "yes", size_gb=14, gpu_gb=32.5, gated=True,
    ),
    Weights(
        "nvidia/Cosmos-Predict2-14B-Video2World", "Cosmos-Predict2 14B", ("cosmos2_14b",), PIPELINE,
        _NVIDIA, "yes", size_gb=38, gpu_gb=56.4, gated=True,
    ),
    Weights(
        "nvidia/Cosmos-Predict2.5-2B", "Cosmos-Predict2.5 2B", ("cosmos25_2b",), PIPELINE,
        _NVIDIA, "yes", size_gb=21, gpu_gb=0, revision="diffusers/base/post-trained", gated=True,
    ),
)  # fmt: skip
