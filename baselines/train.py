"""`python -m baselines.train NAME`: trains the miniature network of one baseline and exports its weights."""

from __future__ import annotations

from generators.mini.train import train_named

BASELINE_TASKS = {
    "animatediff": "baselines.animatediff.training:AnimateDiffTask",
    "sparsectrl": "baselines.sparsectrl.training:SparseCtrlTask",
    "i2vgen_xl": "baselines.i2vgen_xl.training:I2vgenXlTask",
    "freenoise": "baselines.freenoise.training:FreeNoiseTask",
    "seine": "baselines.seine.training:SeineTask",
    "dynamicrafter_xl": "baselines.dynamicrafter_xl.training:DynamiCrafterXlTask",
    "opensora_vae": "baselines.opensora.vae_training:OpenSoraVaeTask",
    "opensora": "baselines.opensora.training:OpenSoraTask",
    "opensora_plan_vae": "baselines.opensora_plan.vae_training:OpenSoraPlanVaeTask",
    "opensora_plan": "baselines.opensora_plan.training:OpenSoraPlanTask",
}
"""Name on the command line -> where the task lives; later tasks read the exports of earlier ones."""

if __name__ == "__main__":
    train_named(BASELINE_TASKS, "python -m baselines.train", __doc__)
