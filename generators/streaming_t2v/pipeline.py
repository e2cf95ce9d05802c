"""The streaming stage: a video of any length, one window after another, in constant memory.

Every window has sixteen frames. Its first eight repeat the end of the video so far, which conditions it through CAM;
its last eight are new. The anchor frame of the first chunk conditions all windows through APM. Text and anchor are
encoded once per video, conditioning frames once per window, and only new frames are decoded.

Example:
    state = stage.begin(start_frames, seed=7)
    for window in stage.stream("a red ball", state, new_frames=224):
        show(window.frames)          # keep window.state to go on from here another day
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from diffusers import DDIMScheduler
from torch import Tensor

from generators.streaming_t2v.encoders import ImageEncoder, LatentCodec, TextEncoder
from generators.streaming_t2v.network import Prepared, StreamingNetwork

Draw = Callable[[tuple[int, ...]], Tensor]
"""Unit noise of a shape; calls come in a fixed order."""


@dataclass(frozen=True)
class StreamState:
    """All that a later window needs of the video so far.

    Attributes:
        windows: windows made so far.
        frames: the last conditioning frames [K, 3, H, W] in -1..1.
        anchor: the anchor frame [1, 3, H, W] in -1..1.
        generator: state of the noise generator.
    """

    windows: int
    frames: Tensor
    anchor: Tensor
    generator: Tensor


@dataclass(frozen=True)
class Window:
    """New frames [T, 3, H, W] in 0..1 and the state of the video after them."""

    frames: Tensor
    state: StreamState


@dataclass
class StreamingStage:
    """Text and a first chunk in, windows of new frames out.

    Attributes:
        network: predicts noise (or velocity, as its scheduler says).
        scheduler: noise schedule the network was trained with, as DDIM.
        codec: the autoencoder.
        encode_text: the text encoder.
        encode_image: the CLIP image encoder; None for a network without appearance memory.
        num_inference_steps: DDIM steps a window.
        eta: share of fresh noise in a step, 0 deterministic to 1.
        guidance_scale: weight of classifier-free guidance; 1 or less turns it off, at half the cost.
        negative_prompt: what the unconditional branch reads.

    Source: Picsart-AI-Research/StreamingT2V, video_ldm.py (predict_step) and its pipeline; defaults as there.
    """

    network: StreamingNetwork
    scheduler: DDIMScheduler
    codec: LatentCodec
    encode_text: TextEncoder
    encode_image: ImageEncoder | None = None
    num_inference_steps: int = 50
    eta: float = 1.0
    guidance_scale: float = 7.5
    negative_prompt: str = ""

    def begin(self, start: Tensor, seed: int) -> StreamState:
        """The state after a first chunk [T, 3, H, W] in -1..1; its frame 0 is the anchor.

        Raises:
            ValueError: fewer frames than a window has, or a size the networks cannot take.
        """
        config = self.network.config
        frames, _, height, width = start.shape
        if frames < config.window:
            raise ValueError(
                f"the first chunk has {frames} frames but a window has {config.window}: give at least that many"
            )
        multiple = self.codec.factor * 2 ** (len(config.unet.block_out_channels) - 1)
        if height % multiple or width % multiple:
            raise ValueError(
                f"the first chunk is {width}x{height} pixels; both sides must be multiples of {multiple} here"
            )
        generator = torch.Generator().manual_seed(seed).get_state()
        return StreamState(0, start[-config.conditioning_frames :], start[:1], generator)

    def stream(self, prompt: str, state: StreamState, new_frames: int) -> Iterator[Window]:
        """Yields windows until there are `new_frames` new frames; the last window gives fewer where it must.

        Going on from any yielded state gives the same frames as never having stopped.
        """
        text = self.encode_text([self.negative_prompt, prompt] if self._guided else [prompt])
        anchors = self._embed_anchor(state.anchor)
        while new_frames > 0:
            window = self._window(text, anchors, state)
            state = window.state
            yield Window(window.frames[:new_frames], state)
            new_frames -= len(window.frames)

    @property
    def _guided(self) -> bool:
        """Whether there is an unconditional branch."""
        return self.guidance_scale > 1

    @torch.no_grad()
    def _embed_anchor(self, anchor: Tensor) -> Tensor | None:
        """CLIP embeddings [1 or 2, 1, W]; under guidance both branches', and mid grey stands for no anchor."""
        if self.encode_image is None:
            return None
        frames = torch.cat([torch.zeros_like(anchor), anchor]) if self._guided else anchor
        return self.encode_image(frames)[:, None]

    @torch.no_grad()
    def _window(self, text: Tensor, anchors: Tensor | None, state: StreamState) -> Window:
        config = self.network.config
        device, dtype = text.device, text.dtype
        frames = state.frames.to(device, dtype)
        latents_of_frames = None
        if config.short_term == "concat":
            latents_of_frames = self.codec.encode(frames).to(dtype).transpose(0, 1)[None]
        prepared = self.network.prepare(text, anchors, frames[None], latents_of_frames)
        generator = torch.Generator()
        generator.set_state(state.generator)
        height, width = (side // self.codec.factor for side in frames.shape[-2:])
        shape = (1, config.unet.out_channels, config.window, height, width)
        latents = self.denoise(prepared, shape, lambda size: torch.randn(size, generator=generator))
        new = self.codec.decode(latents[0].transpose(0, 1)[-config.new_frames :]).float()
        known = torch.cat([state.frames.to(new), new])[-config.conditioning_frames :].cpu()
        after = StreamState(state.windows + 1, known, state.anchor, generator.get_state())
        return Window((new + 1) / 2, after)

    @torch.no_grad()
    def denoise(self, prepared: Prepared, shape: tuple[int, ...], draw: Draw) -> Tensor:
        """Clean latents [1, C, F, h, w] of one window.

        Args:
            prepared: conditioning of both branches of guidance, the one without prompt first; or of the prompt alone.
            shape: of the latents.
            draw: first the start noise in that shape, then, if eta > 0, one noise [F, C, h, w] a step, as released.
        """
        device, dtype = prepared.text.device, prepared.text.dtype
        latents: Tensor = draw(shape).to(device) * self.scheduler.init_noise_sigma
        self.scheduler.set_timesteps(self.num_inference_steps)
        for timestep in self.scheduler.timesteps:
            scaled = self.scheduler.scale_model_input(latents, timestep)
            guided = self.network(scaled.to(dtype), timestep, prepared).float()
            if self._guided:
                without, with_prompt = guided.chunk(2)
                guided = without + self.guidance_scale * (with_prompt - without)
            noise = None
            if self.eta > 0:
                noise = draw((shape[2], shape[1], *shape[3:])).transpose(0, 1)[None].to(device)
            step = self.scheduler.step(guided, timestep, latents, eta=self.eta, variance_noise=noise)
            latents = step.prev_sample
        return latents


def tensor_frames(frames: Tensor) -> Tensor:
    """Frames [T, 3, H, W] in -1..1 from uint8 frames [T, H, W, 3]."""
    return frames.permute(0, 3, 1, 2).float() / 127.5 - 1
