"""StreamingT2V on OpenSora: the paper's section 6, OpenSora with both memories.

Every window continues the last 17 frames, as OpenSora's chunks do; what differs is the network, and how many of those
frames are given to the flow itself (`network.MemoryConfig`).

Example:
    >>> StreamingOpenSora.info.title
    'StreamingT2V (OpenSora)'
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from baselines.autoregressive import continue_video
from baselines.opensora.method import STRETCH, OpenSora
from generators.api import Frames, Request, Start, method
from generators.pipelines import PipelineSettings, cpu_generator, torch_dtype
from generators.weights import resolve_weights

if TYPE_CHECKING:
    from torch import Tensor

    from baselines.streaming_opensora.network import StreamingSTDiT3
    from generators.streaming_t2v.encoders import ImageEncoder


@method(
    name="streaming_opensora",
    title="StreamingT2V (OpenSora)",
    paper="arXiv:2403.14773",
    licence="none",
    continues_start=True,
    follows_prompts=True,
)
@dataclass
class StreamingOpenSora(OpenSora):
    """OpenSora's transformer with CAM and APM.

    Attributes:
        memories: location of a folder with `network`: what differs from OpenSora's transformer, which `weights` is; the
            paper's were never released.
        image_weights: location of a folder with `image_encoder`, which reads the anchor frame.
    """

    memories: str = (
        "unreleased:weights of StreamingT2V on OpenSora: train a network with "
        "`python -m baselines.streaming_opensora.train` and point `memories` at its folder"
    )
    image_weights: str = "hub:PAIR/StreamingT2V"

    def __post_init__(self) -> None:
        """Raises ValueError if a setting is not one of its options."""
        super().__post_init__()
        if self.conditioning_frames != STRETCH:
            raise ValueError(
                f"conditioning_frames = {self.conditioning_frames} must be {STRETCH}, the frames CAM reads; how many "
                "of them the flow is given belongs to the network"
            )

    def generate(self, request: Request, start: Start) -> Iterator[Frames]:
        """Yields the new frames, window by window.

        Raises:
            ValueError: the request's size is used and is no multiple of 8.
            MissingWeightsError: weights are not on this machine; nobody has released any for this method.
            CheckpointError: weights do not fit.
        """
        self._check_size(request)
        longer, given = self._with_whole_stretch(request, start)
        network = self._network
        images = self._embed(start.frames[:1])
        begin = lru_cache(maxsize=1)(self._read)

        def make(text: str, history: Frames, seed: int, wanted: int) -> Frames:
            from baselines.opensora.continuation import OpenSoraSampling
            from baselines.streaming_opensora.continuation import continue_history

            settings = OpenSoraSampling(self.num_frames, self.num_inference_steps, self.guidance_scale, self.fps)
            return continue_history(
                network, self._autoencoder, begin(text), images, history, settings, cpu_generator(seed)
            )

        size = (self.height or request.height, self.width or request.width)
        yield from continue_video(make, longer, given, size, keep=STRETCH, pad=self.pad, unpad=self.unpad)

    def _embed(self, anchor: Frames) -> Tensor:
        """Returns embeddings of the anchor frame [1, H, W, 3] and of mid grey, [2, W]."""
        import torch

        from generators.streaming_t2v.pipeline import tensor_frames

        frame = tensor_frames(torch.from_numpy(anchor))
        return self._image_encoder(torch.cat([frame, torch.zeros_like(frame)]))

    @cached_property
    def _image_encoder(self) -> ImageEncoder:
        from generators.streaming_t2v.loading import load_image_encoder, streaming_folder

        settings = PipelineSettings(device=self.device, weights_dir=self.weights_dir)
        folder = resolve_weights(self.image_weights, self.weights_dir)
        if not (folder / "image_encoder" / "config.json").is_file():  # the released checkpoint, which holds it
            folder = streaming_folder(self.image_weights, self.weights_dir)
        return load_image_encoder([folder], settings)

    @cached_property
    def _network(self) -> StreamingSTDiT3:
        import torch

        from baselines.opensora.continuation import load_stdit3
        from baselines.streaming_opensora.network import StreamingSTDiT3

        folder = resolve_weights(self.memories, self.weights_dir) / "network"
        base = load_stdit3(resolve_weights(self.weights, self.weights_dir), "cpu", torch.float32)
        return StreamingSTDiT3.load(folder, torch_dtype(self.dtype), self.device, base.state_dict())
