"""Appearance Preservation Module (APM): the long-term memory that keeps objects what they were in the first chunk.

One frame of the first chunk, the anchor, is read by a CLIP image encoder. An MLP turns its embedding into a few tokens
that stand beside the text tokens; in every text cross attention a projection block mixes them back to the length of
the text and a learned weight decides how much of the mix replaces the plain text.

Example:
    >>> import torch
    >>> AnchorTokens(image_width=6, hidden_width=10, token_width=8, tokens=4)(torch.randn(2, 1, 6)).shape
    torch.Size([2, 4, 8])
"""

from __future__ import annotations

import torch
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn
from torch.nn.functional import interpolate, scaled_dot_product_attention, silu

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class AnchorTokens(nn.Module):
    """MLP from CLIP image embeddings to tokens in the text's space.

    Source: StreamingT2V section 4.2; Picsart-AI-Research/StreamingT2V, image_embedder.py.
    """

    def __init__(self, image_width: int, hidden_width: int, token_width: int, tokens: int) -> None:
        super().__init__()
        self.tokens = tokens
        self.context_embedding = nn.Sequential(
            nn.Linear(image_width, hidden_width), nn.SiLU(), nn.Linear(hidden_width, tokens * token_width)
        )

    def forward(self, embeddings: Tensor) -> Tensor:
        """Image tokens [B, tokens, token_width] from the embeddings [B, A, image_width] of A anchor frames."""
        embedded: Tensor = self.context_embedding(embeddings.mean(dim=1))
        return embedded.reshape(len(embedded), self.tokens, -1)


class TextCrossAttention:
    """Attention processor whose frames share the tokens of their clip.

    Keys and values are made once per clip, not once per frame: the frames of a clip are laid out as one long query.
    """

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """Attention output [(B F), L, C] of queries [(B F), L, C] to tokens [B, N, D]; there is no mask."""
        return _attend(attn, hidden_states, encoder_hidden_states)


class AnchoredCrossAttention(nn.Module):
    """Attention processor that mixes anchor tokens into the text: one projection block per layer.

    Source: StreamingT2V eq. 6. As in the released code the projection is a convolution along the feature axis with
    the tokens as channels, then a layer norm, and each layer has its own. At initialisation alpha is 0, so SiLU(alpha)
    is 0 and the layer attends to the plain text.
    """

    def __init__(self, text_tokens: int, image_tokens: int, width: int) -> None:
        super().__init__()
        self.text_tokens = text_tokens
        self.conv = nn.Conv1d(text_tokens + image_tokens, text_tokens, kernel_size=3, padding=1)
        self.conv_ln = nn.LayerNorm(width)
        self.alpha = nn.Parameter(torch.zeros(()))

    def context(self, tokens: Tensor) -> Tensor:
        """What the layer attends to, [B, text_tokens, D], from text ++ image tokens [B, text + image tokens, D]."""
        return tokens[:, : self.text_tokens] + self.mix(tokens)

    def mix(self, tokens: Tensor) -> Tensor:
        """What is added to the text, [B, text_tokens, D], from text ++ image tokens; zeros at initialisation."""
        mixed: Tensor = self.conv_ln(self.conv(tokens))
        return silu(self.alpha) * mixed

    def forward(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """Attention output [(B F), L, C] of queries [(B F), L, C] to text ++ image tokens; there is no mask."""
        return _attend(attn, hidden_states, self.context(encoder_hidden_states))


def _attend(attn: Attention, hidden: Tensor, tokens: Tensor) -> Tensor:
    """Multi-head attention of all frames of a clip to its tokens, with the layer's own projections."""
    clips, heads = tokens.shape[0], attn.heads
    query, key, value = attn.to_q(hidden), attn.to_k(tokens), attn.to_v(tokens)
    split = [part.reshape(clips, -1, heads, part.shape[-1] // heads).transpose(1, 2) for part in (query, key, value)]
    attended = scaled_dot_product_attention(*split)
    attended = attended.transpose(1, 2).reshape(query.shape)
    output: Tensor = attn.to_out[1](attn.to_out[0](attended))
    return output


def clip_pixels(
    frames: Tensor,
    size: int,
    mean: tuple[float, ...] = CLIP_MEAN,
    std: tuple[float, ...] = CLIP_STD,
) -> Tensor:
    """Frames [B, 3, size, size] as CLIP reads them, from frames [B, 3, H, W] in -1..1.

    Bicubic with corners aligned. The released code blurs before it shrinks; at its 256 pixels that blur changes
    nothing, and other sizes are ours.

    Source: Picsart-AI-Research/StreamingT2V, image_embedder.py.
    """
    if frames.shape[-2:] != (size, size):
        frames = interpolate(frames, size=(size, size), mode="bicubic", align_corners=True)
    offset = torch.tensor(mean, device=frames.device, dtype=frames.dtype)[:, None, None]
    scale = torch.tensor(std, device=frames.device, dtype=frames.dtype)[:, None, None]
    return ((frames + 1) / 2 - offset) / scale
