"""The refinement stage: a long small video made large and sharp, chunk by chunk, without seams.

SDEdit with MS-Vid2Vid-XL: enlarge, add noise, denoise with randomized blending. Frames go in and come out as a stream;
the number of frames never changes.

Example:
    for frame in refiner.refine(frames, "a red ball", height=720, width=720, seed=7):
        show(frame)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from diffusers import UNet3DConditionModel
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from generators.streaming_t2v.blending import Blender, Blending, LatentChunk, cut, random_thresholds, wavefront
from generators.streaming_t2v.encoders import LatentCodec, TextEncoder
from generators.streaming_t2v.sdedit import FrameNoise, GuidedVelocity, SDEdit, refiner_sigmas
from generators.streaming_t2v.unet import decode, encode, share_text_between_frames

BLACK = -1.0

Texts = Sequence[tuple[int, str]]
"""What a video shows from which frame on, by rising frame from 0."""


class CroppedUpsample(nn.Module):
    """Doubles both sides, drops the first and the last row, convolves.

    Undoes downsampling with two rows of padding: h rows became h / 2 + 1 and become h again.

    Source: ModelScope's video_to_video, unet_v2v.py.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, hidden: Tensor, output_size: object = None) -> Tensor:
        """[N, C, 2 h - 2, 2 w] from [N, C, h, w]; the wanted size that diffusers passes is not needed."""
        doubled: Tensor = self.conv(interpolate(hidden, scale_factor=2.0, mode="nearest")[:, :, 1:-1])
        return doubled


def pad_rows_when_downsampling(unet: UNet3DConditionModel) -> UNet3DConditionModel:
    """The same network with the asymmetric down- and upsampling that MS-Vid2Vid-XL was trained with, in place."""
    for block in unet.down_blocks:
        for downsampler in block.downsamplers or ():
            downsampler.conv.padding = (2, 1)
    for block in unet.up_blocks:
        if block.upsamplers is not None:
            block.upsamplers = nn.ModuleList(
                CroppedUpsample(up.conv) if isinstance(up, Upsample2D) else up for up in block.upsamplers
            )
    return unet


def check_latent_size(rows: int, columns: int, levels: int) -> None:
    """Raises ValueError unless a latent of this size survives the refiner's downsampling and upsampling."""
    for _ in range(levels - 1):
        if rows % 2 or columns % 2:
            raise ValueError(
                f"the refiner cannot take latents of {rows} rows and {columns} columns at one of its levels: choose a "
                "canvas whose rows and columns are even at each (720x1280 pixels are)"
            )
        rows, columns = rows // 2 + 1, columns // 2


@dataclass(frozen=True)
class Placement:
    """Where a picture of height x width lies, centred, on the canvas the refiner works on.

    Raises:
        ValueError: the picture is larger than the canvas.
    """

    height: int
    width: int
    canvas_height: int
    canvas_width: int

    def __post_init__(self) -> None:
        """Checks the sizes."""
        if self.height > self.canvas_height or self.width > self.canvas_width:
            raise ValueError(
                f"{self.width}x{self.height} pixels do not fit the refiner's canvas of "
                f"{self.canvas_width}x{self.canvas_height}: set a larger canvas"
            )

    @property
    def top_left(self) -> tuple[int, int]:
        """First row and column of the picture."""
        return (self.canvas_height - self.height) // 2, (self.canvas_width - self.width) // 2

    def enlarge(self, frames: Tensor) -> Tensor:
        """Canvas frames [N, 3, canvas] with frames [N, 3, h, w] in -1..1, bicubic, black around them.

        Source: Picsart-AI-Research/StreamingT2V, inference_utils.py (Pillow's bicubic, zero padding).
        """
        if frames.shape[-2:] != (self.height, self.width):
            size = (self.height, self.width)
            frames = interpolate(frames, size=size, mode="bicubic", antialias=True).clamp(-1, 1)
        top, left = self.top_left
        bottom, right = self.canvas_height - self.height - top, self.canvas_width - self.width - left
        return pad(frames, (left, right, top, bottom), value=BLACK)

    def crop(self, canvas: Tensor) -> Tensor:
        """The picture [N, 3, height, width] on canvas frames."""
        top, left = self.top_left
        return canvas[..., top : top + self.height, left : left + self.width]


@dataclass
class PinnedSDEdit(SDEdit):
    """SDEdit in which texts change on the way, and the first frames are known: the prediction for them is the truth.

    Attributes:
        known: their latents [C, T, h, w].
        velocities: (first frame, network with the text in force from there on), by rising frame; `velocity` is what
            reads the first text.
        overlap: frames that a chunk shares with the one before it.
    """

    known: Tensor = field(default_factory=lambda: torch.empty(0, 0))
    velocities: Sequence[tuple[int, GuidedVelocity]] = ()
    overlap: int = 0

    def velocity_of(self, chunk: LatentChunk) -> GuidedVelocity:
        """Returns the network that reads the text of the chunk's first new frame."""
        first_new = chunk.start + (self.overlap if chunk.index else 0)
        return next(velocity for first, velocity in reversed(self.velocities) if first <= first_new)

    def predict(self, chunk: LatentChunk, step: int) -> Tensor:
        """As `SDEdit.predict`, with the known frames put in."""
        predicted = super().predict(chunk, step)
        count = self.known.shape[1] - chunk.start
        if count <= 0:
            return predicted
        part = self.known[:, chunk.start : chunk.start + predicted.shape[1]]
        return torch.cat([part.to(predicted), predicted[:, part.shape[1] :]], dim=1)


@dataclass
class Refiner:
    """Frames of a long video -> the same frames, enlarged and with new detail.

    Attributes:
        unet: a UNet with `pad_rows_when_downsampling`, predicting velocity.
        codec: the autoencoder.
        encode_text: the text encoder.
        blending: how chunks are brought together.
        chunk: frames of a chunk.
        overlap: frames two chunks share.
        canvas_height: rows in pixels the network works on.
        canvas_width: columns in pixels the network works on.
        start: noise level, a timestep of 1000.
        steps: solver steps.
        guidance_scale: weight of classifier-free guidance; 1 or less turns it off, at half the cost.
        guidance_rescale: how far its spread is pulled back, 0..1.
        prompt_suffix: put behind every prompt.
        negative_prompt: what the unconditional branch reads.

    Source: Picsart-AI-Research/StreamingT2V, model_func.py (video2video_randomized) and video_to_video_model.py.
    """

    unet: UNet3DConditionModel
    codec: LatentCodec
    encode_text: TextEncoder
    blending: Blending = "released"
    chunk: int = 24
    overlap: int = 8
    canvas_height: int = 720
    canvas_width: int = 1280
    start: int = 599
    steps: int = 30
    guidance_scale: float = 7.5
    guidance_rescale: float = 0.2
    prompt_suffix: str = ", "
    negative_prompt: str = ""

    def __post_init__(self) -> None:
        """Lets the text attentions of the network take one text per clip."""
        share_text_between_frames(self.unet)

    def refine(
        self,
        frames: Iterable[Tensor],
        prompt: str | Texts,
        height: int,
        width: int,
        seed: int,
        known: Tensor | None = None,
    ) -> Iterator[Tensor]:
        """Yields pieces [T, 3, height, width] in 0..1 of the refined video, in order, each as soon as it is finished.

        Args:
            frames: the small video, frame by frame, [3, h, w] in -1..1.
            prompt: what it shows; where the text changes, (first frame, text) from frame 0 on by rising frame.
            height: of the refined frames in pixels.
            width: of the refined frames in pixels.
            seed: fixes the result.
            known: frames [T, 3, height, width] in -1..1 the refined video begins with; None if all are to be made.

        Raises:
            ValueError: sizes the network or its canvas cannot take, an overlap of more than half a chunk.
        """
        place = self.placement(height, width)
        pinned = None if known is None else self._encode(known, place)
        for latents in self.denoise(self.latents(frames, place, seed), prompt, seed, pinned):
            canvas = self.codec.decode(latents.to(self.codec.vae.device))
            yield (place.crop(canvas).float() + 1) / 2

    def placement(self, height: int, width: int) -> Placement:
        """Where frames of height x width pixels lie on the canvas.

        Raises:
            ValueError: sizes the network or its canvas cannot take.
        """
        factor, levels = self.codec.factor, len(self.unet.config.block_out_channels)
        check_latent_size(self.canvas_height // factor, self.canvas_width // factor, levels)
        return Placement(height, width, self.canvas_height, self.canvas_width)

    def latents(self, frames: Iterable[Tensor], place: Placement, seed: int) -> Iterator[Tensor]:
        """Yields latents [C, h, w] of the enlarged frames on the CPU, sampled from the posterior."""
        posterior = torch.Generator().manual_seed(seed)
        for frame in frames:
            yield self._encode(frame[None], place, posterior)[0]

    def denoise(
        self, latents: Iterable[Tensor], prompt: str | Texts, seed: int, known: Tensor | None = None
    ) -> Iterator[Tensor]:
        """Yields pieces [T, C, h, w] of the refined latents on the CPU, in order, each as soon as it is finished.

        Args:
            latents: of the enlarged video, frame by frame.
            prompt: what it shows, or its texts; see `refine`.
            seed: fixes the noise and the thresholds.
            known: latents [T, C, h, w] the refined video begins with; None if all are to be made.

        Raises:
            ValueError: an overlap of more than half a chunk.
        """
        noise = FrameNoise(seed, per_chunk=self.blending == "independent")
        denoiser = self._denoiser([(0, prompt)] if isinstance(prompt, str) else prompt, noise, known)
        blender = Blender(denoiser, self.blending, self.overlap, random_thresholds(self.blending, self.overlap, seed))

        def noisy() -> Iterator[LatentChunk]:
            for chunk in cut(latents, self.chunk, self.overlap):
                denoiser.begin(chunk)
                yield chunk

        for piece in wavefront(noisy(), blender):
            yield piece.transpose(0, 1)

    def _denoiser(self, texts: Texts, noise: FrameNoise, known: Tensor | None) -> SDEdit:
        velocities = [(first, self._velocity(text)) for first, text in texts]
        pinned = torch.empty(0, 0) if known is None else known.transpose(0, 1)
        return PinnedSDEdit(
            velocities[0][1], noise, refiner_sigmas(), self.start, self.steps, self.guidance_scale,
            self.guidance_rescale, known=pinned, velocities=velocities, overlap=self.overlap,
        )  # fmt: skip

    def _velocity(self, text: str) -> GuidedVelocity:
        """Returns the network, reading a text."""
        prompts = [text + self.prompt_suffix]
        if self.guidance_scale > 1:
            prompts.insert(0, self.negative_prompt)
        context = self.encode_text(prompts).to(self.unet.dtype)

        @torch.no_grad()
        def velocity(latents: Tensor, timestep: int) -> tuple[Tensor, Tensor]:
            clip = latents[None].to(context.device, context.dtype)
            moment = torch.tensor(timestep, device=context.device)
            out = decode(self.unet, encode(self.unet, clip, moment, context), context)
            branches = out.float().cpu()
            return branches[0], branches[-1]  # without guidance the same one twice

        return velocity

    def _encode(self, frames: Tensor, place: Placement, posterior: torch.Generator | None = None) -> Tensor:
        """Latents [N, C, h, w] on the CPU; a sample of the posterior if a generator is given."""
        canvas = place.enlarge(frames)
        noise = None
        if posterior is not None:
            sides = (side // self.codec.factor for side in canvas.shape[-2:])
            noise = torch.randn(len(frames), self.codec.vae.config.latent_channels, *sides, generator=posterior)
        return self.codec.encode(canvas, noise).float().cpu()
