"""The networks of the quality goldens: weights by rule from a seed, as `networks.json` describes them."""

import importlib.util
import json

import torch

from tests.conftest import golden

NETWORKS = json.loads(golden("quality", "networks.json", travels=False).read_text(encoding="utf-8"))


def filled(module, name, prefix=""):
    """Returns the module with the weights of a golden network; `prefix` stands before its names when they are drawn."""
    spec = importlib.util.spec_from_file_location("fill_quality", golden("quality", "fill_quality.py", travels=False))
    rule = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(rule)
    network = NETWORKS[name]
    holder = torch.nn.Module()
    target = holder
    for part in [p for p in prefix.split(".") if p][:-1]:
        target.add_module(part, torch.nn.Module())
        target = getattr(target, part)
    if prefix:
        target.add_module(prefix.rsplit(".", 1)[-1], module)
    rule.fill(holder if prefix else module, network["seed"], network["gains"], table=network.get("table", 0.5))
    added = network.get("added_to_bias", network.get("added_to_head_bias"))
    if added is not None:
        head = module.head if hasattr(module, "head") else module
        with torch.no_grad():
            head.bias += added
    return module, rule.fingerprint(module), network
