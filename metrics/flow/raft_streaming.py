"""RAFT over a stream of frames: torchvision's modules, its numbers, about two thirds of its work.

RAFT is over 98 % of the cost of MAWE. Called pair by pair it encodes every frame twice, upsamples twelve flows of which
eleven are thrown away, and convolves the context, which never changes, in each of its twelve updates. None of that
changes the result, so none of it is done here; what is left runs on torchvision's own blocks, several pairs at once
where that is faster. Batches lie at fixed places of the video and are always full, so a pair's flow depends neither on
how the video was cut into pushes nor on where it ends.

Example:
    >>> from metrics.flow.raft import RAFT_MINI, build_raft
    >>> stream = RaftFlow(build_raft(RAFT_MINI)).stream()
    >>> pairs = list(stream.push(torch.zeros(3, 3, 64, 64, dtype=torch.uint8))) + list(stream.flush())
    >>> sum(len(p.flow) for p in pairs)
    2

Source: Teed and Deng, RAFT (arXiv:2003.12039), section 3 and appendix B; torchvision `models/optical_flow/raft.py`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from metrics.errors import SettingError
from metrics.flow.api import FlowPairs

if TYPE_CHECKING:
    from torchvision.models.optical_flow import RAFT

PRECISIONS = MappingProxyType({"float32": None, "tf32": None, "bfloat16": torch.bfloat16, "float16": torch.float16})
"""Arithmetic of the networks: "float32" is the parity setting, the others are faster and move the flow."""

PAIRS_PER_BATCH = 8
"""Pairs that go through a network together, where that pays."""

SMALL_FRAME = 128 * 128
"""Largest frame, in pixels, whose pairs are batched on a CPU."""

NUM_UPDATES = 12
"""Updates of the flow. Source: torchvision's default argument, which the released MAWE script leaves as it is."""


class RaftFlow:
    """A RAFT network as a flow estimator."""

    def __init__(
        self,
        model: RAFT,
        weights_sha256: str = "",
        device: str = "cpu",
        precision: str = "float32",
        updates: int = NUM_UPDATES,
    ) -> None:
        """Takes a network.

        Args:
            model: any torchvision RAFT; it is moved to the device and put into evaluation mode.
            weights_sha256: hash of the file its weights came from.
            device: a torch device.
            precision: a key of `PRECISIONS`.
            updates: how often the flow of a pair is updated, >= 1.

        Raises:
            SettingError: for an unknown precision.
        """
        if precision not in PRECISIONS:
            raise SettingError(f"no flow precision is called {precision!r}: choose one of {', '.join(PRECISIONS)}")
        self.weights_sha256, self.device, self.precision = weights_sha256, device, precision
        self._network = StreamingRaft(model.to(device).eval(), updates)
        self.smallest_side = self._network.smallest_side

    def stream(self) -> _RaftStream:
        """Returns a fresh stream for one video."""
        return _RaftStream(self._network, self.precision)


class StreamingRaft:
    """The parts of a RAFT, called in an order that does no work twice."""

    def __init__(self, model: RAFT, updates: int = NUM_UPDATES) -> None:
        """Takes a torchvision RAFT in evaluation mode; its parameters are used, not copied, but for the GRU's.

        Args:
            model: the network.
            updates: how often the flow is updated, >= 1.
        """
        self._model, self._updates = model, updates
        self.smallest_side = 8 * 2**model.corr_block.num_levels  # in pixels: the coarsest level keeps 2 x 2 cells
        block = model.update_block
        context = block.recurrent_block.convgru1.convz.in_channels - block.hidden_state_size
        context -= block.motion_encoder.out_channels
        grus = [block.recurrent_block.convgru1]
        if isinstance(block.recurrent_block.convgru2, nn.Module):
            grus.append(block.recurrent_block.convgru2)
        self._grus = [_ContextFreeGru(gru, block.hidden_state_size, context) for gru in grus]

    def encode(self, frames: Tensor) -> Tensor:
        """Returns the features [N, C, H/8, W/8] that are correlated, of frames [N, 3, H, W] in -1..1."""
        features: Tensor = self._model.feature_encoder(frames)
        return features

    def flow(self, frames: Tensor, features: Tensor, next_features: Tensor) -> Tensor:
        """Returns the flow float32 [N, 2, H, W], in pixels (x, y), from frames to the frames that follow them.

        Args:
            frames: the left frames [N, 3, H, W] in -1..1.
            features: their features.
            next_features: the features of the right frames.
        """
        model = self._model
        self._correlate(features, next_features)
        hidden, context = self._context(frames)
        steady = [gru.context_terms(context) for gru in self._grus]
        n, _, height, width = features.shape
        start = _grid(n, height, width, frames.device)
        coordinates = start
        for _ in range(self._updates):
            looked_up = model.corr_block.index_pyramid(centroids_coords=coordinates)
            motion = model.update_block.motion_encoder(coordinates - start, looked_up)
            for gru, terms in zip(self._grus, steady, strict=True):
                hidden = gru.step(hidden, motion, terms)
            coordinates = coordinates + model.update_block.flow_head(hidden)
        model.corr_block.corr_pyramid = []  # a third of a gigabyte at 720 x 720
        mask = None if model.mask_predictor is None else model.mask_predictor(hidden)
        with torch.autocast(frames.device.type, enabled=False):  # half precision is for the network, not for the flow
            return upsample(coordinates - start, mask)

    def _correlate(self, features: Tensor, next_features: Tensor) -> None:
        """Fills the correlation block's pyramid; one factor is scaled instead of the whole volume."""
        n, channels, height, width = features.shape
        scaled = (features.float() * channels**-0.5).flatten(2).transpose(1, 2)
        with torch.autocast(features.device.type, enabled=False):  # half precision is for the network alone
            volume = torch.matmul(scaled, next_features.float().flatten(2)).view(n * height * width, 1, height, width)
        pyramid = [volume]
        for _ in range(self._model.corr_block.num_levels - 1):
            pyramid.append(functional.avg_pool2d(pyramid[-1], kernel_size=2, stride=2))
        self._model.corr_block.corr_pyramid = pyramid

    def _context(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        encoded: Tensor = self._model.context_encoder(frames)
        size = self._model.update_block.hidden_state_size
        return torch.tanh(encoded[:, :size]), functional.relu(encoded[:, size:])


class _ContextFreeGru:
    """A convolutional GRU whose input is (context, motion), with the context's share of each convolution set apart.

    A convolution of concatenated inputs is the sum of convolutions of its parts, and the context is the same in every
    update: its terms are computed once. The two gates that read the same input become one convolution.
    """

    def __init__(self, gru: Any, hidden: int, context: int) -> None:
        of_context, of_motion = slice(hidden, hidden + context), slice(hidden + context, None)
        self._padding = gru.convz.padding
        convolutions = (gru.convz, gru.convr, gru.convq)
        self._context_weight = torch.cat([c.weight.detach()[:, of_context] for c in convolutions])
        self._bias = torch.cat([c.bias.detach() for c in convolutions])
        zrq = [torch.cat([c.weight.detach()[:, :hidden], c.weight.detach()[:, of_motion]], dim=1) for c in convolutions]
        self._gates_weight, self._candidate_weight = torch.cat(zrq[:2]), zrq[2].contiguous()
        self._hidden = hidden

    def context_terms(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Returns what the context and the biases add to both gates and to the candidate."""
        terms = functional.conv2d(context, self._context_weight, self._bias, padding=self._padding)
        return terms[:, : 2 * self._hidden], terms[:, 2 * self._hidden :]

    def step(self, hidden: Tensor, motion: Tensor, terms: tuple[Tensor, Tensor]) -> Tensor:
        """Returns the next hidden state."""
        gates_input = torch.cat([hidden, motion], dim=1)
        gates = functional.conv2d(gates_input, self._gates_weight, padding=self._padding).add_(terms[0]).sigmoid_()
        update, reset = gates.chunk(2, dim=1)
        candidate_input = torch.cat([reset * hidden, motion], dim=1)
        candidate = functional.conv2d(candidate_input, self._candidate_weight, padding=self._padding)
        return torch.lerp(hidden, candidate.add_(terms[1]).tanh_(), update)


def upsample(flow: Tensor, mask: Tensor | None) -> Tensor:
    """Returns the flow at eight times its size, in pixels of that size.

    Args:
        flow: [N, 2, h, w].
        mask: [N, 9 * 64, h, w], logits of each fine pixel's weights over its cell's 3 x 3 neighbourhood; without it
            the flow is interpolated.

    Source: RAFT, appendix B (convex upsampling).
    """
    n, _, height, width = flow.shape
    if mask is None:
        return 8 * functional.interpolate(flow, scale_factor=8, mode="bilinear", align_corners=True)
    weights = mask.float().view(n, 9, 8, 8, height, width).softmax(dim=1)
    neighbours = functional.unfold(8 * flow, kernel_size=3, padding=1).view(n, 2, 9, height, width)
    fine = torch.einsum("nkabhw,nckhw->nchawb", weights, neighbours)
    return fine.reshape(n, 2, 8 * height, 8 * width)


def _grid(n: int, height: int, width: int, device: torch.device) -> Tensor:
    """Returns the (x, y) coordinates of every cell, float32 [N, 2, height, width]."""
    x = torch.arange(width, dtype=torch.float32, device=device).expand(height, width)
    y = torch.arange(height, dtype=torch.float32, device=device)[:, None].expand(height, width)
    return torch.stack([x, y]).expand(n, -1, -1, -1)


class _RaftStream:
    """Flow of one video: every frame is encoded once, pairs go through the network in fixed batches."""

    def __init__(self, network: StreamingRaft, precision: str) -> None:
        self._network, self._precision = network, precision
        self._batch = 0  # pairs, known when the first frame is
        self._frames: list[Tensor] = []
        self._features: Tensor | None = None  # of the last frame that was encoded

    def push(self, frames: Tensor) -> Iterator[FlowPairs]:
        if not self._batch:
            _check_size(frames, self._network)
            self._batch = _pairs_per_batch(frames)
        for frame in frames:
            self._frames.append(frame)
            if len(self._frames) == self._batch + 1:
                yield from self._run()

    def flush(self) -> Iterator[FlowPairs]:
        """Fills the last batch with its last frame: networks may round differently in batches of another size."""
        missing = len(self._frames) - 1
        self._frames += self._frames[-1:] * (self._batch - missing)
        for pairs in self._run() if missing > 0 else ():
            yield FlowPairs(pairs.left[:missing], pairs.right[:missing], pairs.flow[:missing])
            missing -= len(pairs.flow)
            if missing <= 0:
                return

    def _run(self) -> Iterator[FlowPairs]:
        held = torch.stack(self._frames)
        self._frames = self._frames[-1:]
        with torch.inference_mode(), _arithmetic(self._precision, held.device):
            found = list(self._pairs(held))  # inside, so that whoever reads the pairs keeps an arithmetic of its own
        yield from found

    def _pairs(self, held: Tensor) -> Iterator[FlowPairs]:
        """Yields all pairs of these frames, halving the batch for as long as the device runs out of memory."""
        try:
            flow, features = self._flow(held)
        except torch.OutOfMemoryError:
            if len(held) == 2:
                raise
            torch.cuda.empty_cache()
            self._batch = max(1, (len(held) - 1) // 2)
        else:
            self._features = features
            yield FlowPairs(held[:-1], held[1:], flow)
            return
        size = self._batch  # which may shrink further on the way
        for first in range(0, len(held) - 1, size):
            yield from self._pairs(held[first : first + size + 1])

    def _flow(self, held: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the flow of every pair of the held frames, and the features of the last frame."""
        pictures = held.float().div_(127.5).sub_(1)
        fresh = pictures if self._features is None else pictures[1:]
        encoded = self._network.encode(fresh)
        features = encoded if self._features is None else torch.cat([self._features, encoded])
        flow = self._network.flow(pictures[:-1], features[:-1], features[1:])
        return flow, features[-1:]


def _check_size(frames: Tensor, network: StreamingRaft) -> None:
    height, width = frames.shape[-2:]
    if height % 8 or width % 8 or min(height, width) < network.smallest_side:
        raise SettingError(
            f"this RAFT needs frame sides divisible by 8 and of at least {network.smallest_side} pixels, "
            f"not {height} x {width}: set `size` to such a number"
        )


def _pairs_per_batch(frames: Tensor) -> int:
    """Returns how many pairs of these frames go through the network at once: many on a GPU, or where frames are small.

    On a CPU, calling an operator costs more than its arithmetic at 128 x 128 pixels; at 256 x 256 it no longer matters.
    """
    small = frames.shape[-2] * frames.shape[-1] <= SMALL_FRAME
    return PAIRS_PER_BATCH if frames.is_cuda or small else 1


@contextlib.contextmanager
def _arithmetic(precision: str, device: torch.device) -> Iterator[None]:
    """Sets float32 arithmetic to what was asked for, whatever the process has set, and puts it back."""
    fast = precision == "tf32"
    matmul = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = fast
    try:
        with (
            torch.backends.cudnn.flags(
                enabled=True, benchmark=False, benchmark_limit=0, deterministic=True, allow_tf32=fast
            ),
            torch.autocast(device.type, dtype=PRECISIONS[precision], enabled=PRECISIONS[precision] is not None),
        ):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = matmul
