"""`python -m baselines.miniature.train NAME`: trains the miniature network of one baseline and exports its weights."""

from __future__ import annotations

from generators.mini.train import train_named

TASKS = {
    "animatediff": "baselines.miniature.animatediff:AnimateDiff",
    "sparsectrl": "baselines.miniature.sparsectrl:SparseCtrl",
    "i2vgen_xl": "baselines.miniature.i2vgen_xl:I2vgenXl",
    "freenoise": "baselines.miniature.freenoise:FreeNoise",
    "seine": "baselines.miniature.seine:Seine",
    "dynamicrafter_xl": "baselines.miniature.dynamicrafter_xl:DynamiCrafterXl",
    "opensora_vae": "baselines.miniature.opensora_vae:OpenSoraVae",
    "opensora": "baselines.miniature.opensora:OpenSora",
    "opensora_plan_vae": "baselines.miniature.opensora_plan_vae:OpenSoraPlanVae",
    "opensora_plan": "baselines.miniature.opensora_plan:OpenSoraPlan",
}
"""Name on the command line -> where the task lives; later tasks read the exports of earlier ones."""

if __name__ == "__main__":
    train_named(TASKS, "python -m baselines.miniature.train", __doc__)
