"""What each memory buys: runs the grids behind docs/streaming-t2v.md and prints their tables.

A grid that was stopped goes on where it was; one that is finished is only read.

Example:
    python -m bench.studies.ablations memories results/ablations --variant streaming_t2v_positions=FOLDER
    python -m bench.studies.ablations forgetting results/forgetting
    python -m bench.studies.ablations transformer results/transformer
    python -m bench.studies.ablations losses generators/mini/cache        (after a training)
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.catalog import find_plugins
from bench.errors import ConfigError
from bench.plan import plan
from bench.profile import load_profile
from bench.records import Record
from bench.run import execute
from bench.store import Store
from bench.studies.ablation_figures import draw_contact_sheets, draw_losses, draw_over_time
from bench.studies.ablation_scores import (
    ABLATION_COLUMNS,
    Read,
    Records,
    ablation_table,
    clip_at_end,
    clip_drift,
    motion,
    paired_table,
    ratio,
    value,
)
from bench.studies.identity import IDENTITY, LAST_SECONDS, identities

DOCUMENT = Path("docs/streaming-t2v")
"""Where the figures and logs of the document lie, from the root of the repository."""

SCORED = "run.metrics=['mawe','scuts','clip','seams','stillness']"
"""What the tables read of a video of usual length."""


@dataclass(frozen=True)
class Study:
    """A grid and what is read from it.

    Attributes:
        methods: its methods, as `bench run --methods` takes them; the first one is what the others are compared with.
        prompts: how many prompts, unless the command says otherwise.
        seeds: likewise.
        settings: of the mini profile that differ.
        goals: says how the goals are met.
    """

    methods: str
    prompts: int
    seeds: tuple[int, ...]
    settings: tuple[str, ...]
    goals: Callable[[Records], str]

    @property
    def first(self) -> str:
        """The method that the others are compared with."""
        return self.methods.partition(",")[0]


def memory_goals(records: Records) -> str:
    """Returns by how much seams and motion meet what they are held to."""
    lines = []
    if "naive" in records:
        lines.append(f"seam contrast: {ratio(records, 'streaming_t2v', 'naive', value('seams')):.2f} of naive's")
    if "truth" in records:
        lines.append(f"optical flow score: {ratio(records, 'streaming_t2v', 'truth', motion):.0%} of the truth's")
    return "; ".join(lines)


def transformer_goals(records: Records) -> str:
    """Returns the seam contrast over OpenSora's, goal at most 0.7."""
    found = ratio(records, "streaming_opensora", "opensora", value("seams"))
    return f"seam contrast: {found:.2f} of OpenSora's, goal at most 0.7: {'reached' if found <= 0.7 else 'MISSED'}"


def no_goals(records: Records) -> str:
    """Returns nothing: the study asks what a memory does, and holds it to nothing."""
    return ""


STUDIES: Mapping[str, Study] = {
    "memories": Study("streaming_t2v,ablations,naive,still,truth", 16, (0, 1), (SCORED,), memory_goals),
    "forgetting": Study(
        "streaming_t2v,streaming_t2v_no_apm", 8, (0,), ("run.metrics=['clip']", "video.num_frames=1200"), no_goals
    ),
    "transformer": Study("opensora,streaming_opensora", 8, (0,), (SCORED,), transformer_goals),
}


def finished(study: Study, folder: Path, options: argparse.Namespace) -> Records:
    """Returns the finished videos of a study by method, after making and scoring those that are missing.

    Args:
        study: which grid.
        folder: of the run.
        options: the command line's: further settings of the profile, prompts and seeds.
    """
    catalog = find_plugins()
    profile = load_profile("mini", [*study.settings, *options.set])
    prompts, seeds = options.prompts or study.prompts, options.seeds or study.seeds
    spec = plan(catalog, profile, methods=study.methods, prompts=str(prompts), seeds=tuple(seeds))
    store = Store(folder)
    summary = execute(spec, catalog, store, folder.name)
    for remark in summary.remarks():
        print(remark)
    found: dict[str, list[Record]] = {}
    for cell in spec.cells:
        record = store.find(cell)
        if record is not None and record.status == "ok":
            found.setdefault(record.method, []).append(record)
    return found


def finished_with_variants(study: Study, options: argparse.Namespace) -> dict[Path, Records]:
    """Returns what `finished` does for the study and for each `--variant`, by the folder of its run.

    A variant is the study's first method with other weights, under a name of its own, in a folder beside the run's.

    Raises:
        ConfigError: a variant names no weights.
    """
    grids = {options.run: finished(study, options.run, options)}
    for variant in options.variant:
        name, _, weights = variant.partition("=")
        if not weights:
            raise ConfigError(f"--variant {variant}: give NAME=WEIGHTS, the folder of a trained network")
        setting = f"methods.{study.first}.weights={weights}"
        changed = replace(study, methods=study.first, settings=(*study.settings, setting))
        beside = options.run.with_name(f"{options.run.name}-{name}")
        grids[beside] = {name: finished(changed, beside, options)[study.first]}
    return grids


def identity_columns(grids: Mapping[Path, Records]) -> dict[str, Read]:
    """Returns the columns of the long videos: CLIP at their end, drift, and whether things kept colour and shape."""
    known: dict[str, dict[str, float]] = {}
    for folder, records in grids.items():
        videos = [record for found in records.values() for record in found]
        known |= identities(Store(folder), videos, folder / "identity.json")

    def named(word: str) -> Read:
        return lambda record: known[f"{record.method}/{record.key}"][word]

    return {
        f"CLIP of the last {LAST_SECONDS:g} s ↑": clip_at_end(LAST_SECONDS),
        "CLIP drift": clip_drift,
        **{f"{word} named rightly, % ↑": named(word) for word in IDENTITY},
    }


def run_study(name: str, options: argparse.Namespace) -> None:
    """Runs or reads a study, prints its tables and draws its figures."""
    study = STUDIES[name]
    grids = finished_with_variants(study, options)
    records = {method: videos for found in grids.values() for method, videos in found.items()}
    columns = identity_columns(grids) if name == "forgetting" else ABLATION_COLUMNS
    print(
        ablation_table(records, columns), paired_table(records, study.first, columns), study.goals(records), sep="\n\n"
    )
    options.figures.mkdir(parents=True, exist_ok=True)
    draw_over_time(records, options.figures / f"{name}.png")
    for folder, found in grids.items():
        draw_contact_sheets(Store(folder), found, options.figures, name)


def keep_losses(cache: Path, figures: Path) -> None:
    """Copies the logs of training runs beside the document and draws them."""
    for log in cache.glob("streaming_*/log.jsonl"):
        shutil.copyfile(log, figures / f"{log.parent.name}.jsonl")
    draw_losses(sorted(figures.glob("streaming_t2v*.jsonl")), figures / "losses.png")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the study that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m bench.studies.ablations", description=__doc__)
    parser.add_argument("study", choices=(*STUDIES, "losses"))
    parser.add_argument("run", type=Path, help="folder of the run; for `losses`, that of the training runs")
    parser.add_argument("--prompts", type=int, default=0, help="16 for memories, 8 for the others")
    parser.add_argument("--seeds", type=int, nargs="+", help="0 1 for memories, 0 for the others")
    parser.add_argument(
        "--set", action="append", default=[], help="a setting of the mini profile, such as run.workers=1"
    )
    parser.add_argument(
        "--variant",
        action="append",
        default=[],
        metavar="NAME=WEIGHTS",
        help="one more row: the first method with them",
    )
    parser.add_argument("--figures", type=Path, default=DOCUMENT, help="where figures go")
    options = parser.parse_args(arguments)
    if options.study == "losses":
        keep_losses(options.run, options.figures)
    else:
        run_study(options.study, options)


if __name__ == "__main__":
    main()
