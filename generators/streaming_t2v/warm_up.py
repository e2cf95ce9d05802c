"""The frame encoder's warm-up: it is taught alone, cheaply, before the network it belongs to is trained.

Example:
    for error in warm_up_frame_encoder(network, samples, steps=1000, batch=8, seed=0):
        print(error)
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch.nn.functional import conv2d, mse_loss

from generators.streaming_t2v.clips import SampleSource
from generators.streaming_t2v.network import StreamingNetwork
from generators.streaming_t2v.training import draws

WARM_UP_RATE = 3e-3
"""Peak learning rate of the frame encoder's warm-up."""


def warm_up_frame_encoder(
    network: StreamingNetwork, data: SampleSource, steps: int, batch: int, seed: int
) -> Iterator[float]:
    """Teaches the frame encoder to stand in for autoencoder and input convolution; yields each step's share of error.

    Its features of a frame become those the copied encoder half would make of the frame's latents, which the rest of
    that half can already read; it costs next to nothing. A network without a frame encoder yields nothing.

    Args:
        network: at initialisation; only its frame encoder is changed.
        data: training samples.
        steps: optimiser steps.
        batch: samples in each.
        seed: fixes the samples.
    """
    memory = network.cam or network.sparse
    if memory is None:
        return
    encoder, first = memory.controlnet_cond_embedding, network.unet.conv_in.weight.detach()
    optimiser = torch.optim.AdamW(encoder.parameters(), lr=WARM_UP_RATE)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = WARM_UP_RATE * 0.5 * (1 + math.cos(math.pi * step / steps))
        rng, _ = draws(seed, step, 0)
        samples = [data.sample(rng) for _ in range(batch)]
        frames = torch.cat([sample.frames for sample in samples]).to(first)
        known = torch.cat([sample.known.transpose(0, 1) for sample in samples]).to(first)
        if network.sparse is not None:
            frames = torch.cat([frames, torch.ones_like(frames[:, :1])], dim=1)
        target = conv2d(known, first, padding=1)
        loss = mse_loss(encoder(frames), target)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        optimiser.zero_grad()
        yield float(loss.detach() / target.var())
