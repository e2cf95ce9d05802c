"""`python -m bench.studies.flop_count`: network calls, FLOP and bytes of the released sizes, without weights.

Everything runs on torch's meta device, so the counts need neither weights nor a GPU. FLOP are those of matrix products
and convolutions (a multiply-add is two); bytes are weights read in half precision, the least a call can move.

Example:
    >>> round(Cost(calls=50, flop=2e12, read=1e9).times(2).flop / 1e12)
    4
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from generators.streaming_t2v.checkpoint import refiner_module, released_modules
from generators.streaming_t2v.network import StreamingNetwork
from generators.streaming_t2v.refiner import pad_rows_when_downsampling
from generators.streaming_t2v.unet import decode, encode, share_text_between_frames, text_attentions

STEPS, REFINER_STEPS, BRANCHES, HALF = 50, 30, 2, 2
NEW_FRAMES, REFINED_FRAMES = 8, 16


@dataclass(frozen=True)
class Cost:
    """Calls of a network, their FLOP and the bytes of weights they read."""

    calls: int
    flop: float
    read: float

    def times(self, count: int) -> Cost:
        """The cost of doing it `count` times."""
        return Cost(self.calls * count, self.flop * count, self.read * count)


def count_operations(module: nn.Module, call: Callable[[], object]) -> Cost:
    """The cost of one call of (part of) a module on the meta device."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        call()
    weights = sum(parameter.numel() for parameter in module.parameters())
    return Cost(1, counter.get_total_flops(), weights * HALF)


def text_flop(network: StreamingNetwork) -> float:
    """FLOP of one call's keys, values and projection blocks for one text, which released code makes once a frame."""
    config = network.config
    assert network.cam is not None
    width, total = config.unet.cross_attention_dim, 0.0
    tokens = config.text_tokens + config.image_tokens
    for half, mixed in ((network.unet, True), (network.cam.encoder, False)):
        for _, attention in text_attentions(half):
            total += 2 * 2 * config.text_tokens * width * attention.to_k.out_features
            total += mixed * 2 * config.text_tokens * tokens * 3 * width
    return total


def streaming_costs() -> tuple[Mapping[str, Cost], Mapping[str, Cost]]:
    """Per window: our costs and those of the released way of calling the same networks."""
    modules = released_modules()
    network, vae = modules["network"].eval(), modules["vae"]
    assert isinstance(network, StreamingNetwork)
    assert network.cam is not None
    cam = network.cam
    with torch.device("meta"):
        text, images = torch.empty(BRANCHES, 77, 1024), torch.empty(BRANCHES, 1, 1024)
        frames, latents = torch.empty(1, 8, 3, 256, 256), torch.empty(1, 4, 16, 32, 32)
        moment, pixels, ids = torch.empty((), dtype=torch.long), torch.empty(2, 3, 224, 224), torch.empty(2, 77).long()
    shared = network.prepare(text, images, frames)
    doubled = network.prepare(text, images, frames.repeat(2, 1, 1, 1, 1))
    step = count_operations(network, lambda: network(latents, moment, shared))
    plain = count_operations(network, lambda: network(latents.repeat(2, 1, 1, 1, 1), moment, doubled))
    embed = count_operations(cam.controlnet_cond_embedding, lambda: cam.embed(frames))
    decode_frame = count_operations(vae.decoder, lambda: vae.decode(latents[:, :, 0]))  # type: ignore[operator,arg-type]
    encode_frame = count_operations(vae.encoder, lambda: vae.encode(frames[0, :1]))  # type: ignore[operator,arg-type]
    look = count_operations(modules["image_encoder"], lambda: modules["image_encoder"](pixels))
    words = count_operations(modules["text_encoder"], lambda: modules["text_encoder"](ids))
    per_frame = 15 * BRANCHES * text_flop(network)
    ours = {
        "UNet + CAM": step.times(STEPS),
        "frame encoder": embed,
        "decoder (frames)": decode_frame.times(8),
    }
    released = {
        "UNet + CAM": Cost(1, plain.flop + per_frame, plain.read).times(STEPS),
        "frame encoder": Cost(1, 2 * embed.flop, embed.read).times(STEPS),
        "decoder (frames)": decode_frame.times(16),
        "encoder (frames)": encode_frame.times(16),
        "image encoder": look,
        "text encoder": words,
    }
    return ours, released


def refiner_costs() -> Mapping[str, Cost]:
    """Per chunk of 24 frames: the refiner's costs."""
    unet = pad_rows_when_downsampling(refiner_module())
    share_text_between_frames(unet)
    vae = released_modules()["vae"]
    with torch.device("meta"):
        latents, text = torch.empty(1, 4, 24, 90, 160), torch.empty(BRANCHES, 77, 1024)
        moment, frame = torch.empty((), dtype=torch.long), torch.empty(1, 3, 720, 1280)
    step = count_operations(unet, lambda: decode(unet, encode(unet, latents, moment, text), text))
    decoder = count_operations(vae.decoder, lambda: vae.decode(latents[:, :, 0]))  # type: ignore[operator,arg-type]
    encoder = count_operations(vae.encoder, lambda: vae.encode(frame))  # type: ignore[operator,arg-type]
    return {
        "refiner UNet": step.times(REFINER_STEPS),
        "decoder (frames)": decoder.times(REFINED_FRAMES),
        "encoder (frames)": encoder.times(REFINED_FRAMES),
    }


def operations_table(title: str, costs: Mapping[str, Cost], frames: int) -> str:
    """The costs as Markdown, the last line per new frame."""
    total = Cost(*(sum(getattr(cost, name) for cost in costs.values()) for name in ("calls", "flop", "read")))
    rows = [_row(name, str(cost.calls), cost, 1) for name, cost in costs.items()]
    last = _row("**per new frame**", f"{total.calls / frames:.1f}", total, frames)
    return "\n".join([f"| {title} | calls | TFLOP | GB of weights read |", "|---|---|---|---|", *rows, last])


def _row(name: str, calls: str, cost: Cost, frames: int) -> str:
    return f"| {name} | {calls} | {cost.flop / frames / 1e12:.2f} | {cost.read / frames / 1e9:.2f} |"


def main() -> None:
    """Prints the three tables."""
    ours, released = streaming_costs()
    print(operations_table("window, ours", ours, NEW_FRAMES), end="\n\n")
    print(operations_table("window, released", released, NEW_FRAMES), end="\n\n")
    print(operations_table("refiner chunk", refiner_costs(), REFINED_FRAMES))


if __name__ == "__main__":
    main()
