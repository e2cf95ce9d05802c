"""Weights for torchvision raft_large from numpy only, so that none are stored.

For every entry of `state_dict()` in its own order: PCG64 seeded with crc32(f"{seed}:{name}"), the rule below in
float64, cast to float32.
"""

import zlib

import numpy as np
import torch


def fill(model, seed):
    sd = model.state_dict()
    out = {}
    for name, t in sd.items():
        g = np.random.Generator(np.random.PCG64(zlib.crc32(f"{seed}:{name}".encode())))
        if name.endswith("num_batches_tracked"):
            out[name] = t
            continue
        z = g.standard_normal(tuple(t.shape))
        if name.endswith("running_mean"):
            w = 0.1 * z
        elif name.endswith("running_var"):
            w = 1.0 + 0.2 * np.abs(z)
        elif t.ndim == 4:
            w = z * np.sqrt(1.6 / (t.shape[1] * t.shape[2] * t.shape[3]))
            if name == "update_block.flow_head.conv2.weight":
                w = w * 0.2
            if name.startswith("update_block.motion_encoder.convcorr1"):
                w = w * 2.0
        elif name == "update_block.flow_head.conv2.bias":
            w = 0.005 * z
        elif name.endswith("bias"):
            w = 0.05 * z
        else:
            w = 1.0 + 0.1 * z  # norm weights
        out[name] = torch.from_numpy(np.asarray(w)).to(torch.float32)
    model.load_state_dict(out)
    return model.eval()
