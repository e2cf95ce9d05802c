"""The command `score`: scores videos made elsewhere.

Example:
    $ python -m bench score clips/*.mp4 --prompts prompts.txt
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.options import PLUGIN_HELP, SET_HELP, SHARD_HELP, carrying_out, end, run_options, shard_of
from bench.terminal import say

if TYPE_CHECKING:
    from bench.run import RunSummary
    from bench.spec import RunSpec
    from bench.store import Store


@click.command()
@click.argument("paths", nargs=-1)
@click.option("--prompts", default="", help="A prompt file: one prompt per video in order, or one for all.")
@click.option("--manifest", default="", help="videos.csv or .jsonl with path, prompt, method, seed.")
@click.option("--extra", type=click.Choice(["keep"]), help="Carry further columns of the manifest into the tables.")
@click.option("--method", default="", metavar="NAME", help="Name of their row. Default: the manifest's, or the folder.")
@click.option("--title", default="", help="Its name in tables.")
@click.option("--metrics", default="", help="Names: a,b. Default: those of the profile.")
@click.option("--flow", default="", help="Flow estimator, such as dis (no weights), mini, raft_large.")
@click.option("--flow-weights", default="", metavar="FILE", help="Weights of the --flow estimator, SHA-256 checked.")
@click.option("--frames", type=click.IntRange(min=2), help="Score the first so many frames only.")
@click.option("--seams", default="", help="First frame of every chunk but the first: 16,24,32.")
@click.option("--chunk", type=int, help="Frames per chunk, in place of --seams.")
@click.option("--first", type=int, help="Frames of the first chunk, with --chunk.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write all results as one JSON file, too.")
@click.option("--out", default="results/scores", show_default=True, help="Folder, or s3://BUCKET/RUN.")
@click.option("--profile", help="Gives the settings of the metrics. Default: those of the run in --out, or paper.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help=SET_HELP)
@click.option("--device", help="A torch device. Default: that of the run in --out, or cpu.")
@carrying_out
@click.option("--weights-dir", help="Folder of released weights, owner/name below it. Default: the hub's cache.")
@click.option("--redo", type=click.Choice(["failed", "all"]), help="Score these videos again.")
@click.option("--shard", default="", metavar="I/N", help=SHARD_HELP)
@click.option("--max-damaged", type=click.IntRange(min=0), help="Refuse videos with more damaged frames than this.")
@click.option("--no-cache", is_flag=True, help="Neither read nor keep flow numbers and CLIP features.")
@click.option(
    "--dry-run", is_flag=True, help="Show which prompt goes with which video, say what would be done, and do nothing."
)
@click.option("--plugin", "plugins", multiple=True, help=PLUGIN_HELP)
def score(
    paths: tuple[str, ...],
    prompts: str,
    manifest: str,
    extra: str | None,
    method: str,
    title: str,
    metrics: str,
    flow: str,
    flow_weights: str,
    frames: int | None,
    seams: str,
    chunk: int | None,
    first: int | None,
    json_path: Path | None,
    out: str,
    profile: str | None,
    overrides: tuple[str, ...],
    device: str | None,
    carried: list[str],
    weights_dir: str | None,
    redo: str | None,
    shard: str,
    max_damaged: int | None,
    no_cache: bool,
    dry_run: bool,
    plugins: tuple[str, ...],
) -> None:
    """Score videos made elsewhere: files, folders of pictures, globs. They become rows of the folder --out."""
    from bench import given, given_settings
    from bench.catalog import find_plugins
    from bench.dry_run import describe
    from bench.files import check_output
    from bench.listing import text_table
    from bench.locations import open_store
    from bench.manifest import collect, pairs
    from bench.plan import part_of, with_plugin_metrics
    from bench.run import execute

    if json_path is not None:
        check_output(json_path, "--json", ".json", made=Path(out))
    collected = collect(paths, prompts, manifest, keep_extra=extra is not None)
    for warning in collected.warnings:
        say(f"warning: {warning}")
    files = [str(Path(plugin).resolve()) for plugin in plugins]
    store, catalog, part = open_store(out), find_plugins(files), shard_of(shard)
    run = store.known()
    options = [*overrides, *carried, *run_options(weights_dir, metrics)]
    settings = given_settings.scoring_profile(run, profile, options, device)
    settings, left_out = with_plugin_metrics(settings, catalog, named=bool(metrics))
    settings = given_settings.with_flow(catalog, settings, flow, flow_weights, overrides)
    cache = "" if no_cache or dry_run else given_settings.cache_folder()
    words = [manifest] if manifest else paths
    ends = given_settings.boundaries(seams, chunk, first)
    choices = given.GivenChoices(words, method, title, frames, ends, cache, max_damaged, files)
    planned = given.plan_given(catalog, settings, collected.videos, choices, run)
    for note in (*left_out, *planned.notes, *given.news(store, planned.spec)):
        say(f"note: {note}")
    if dry_run:
        click.echo(text_table(pairs(collected.videos)))
        for line in describe(part_of(planned.spec, part), catalog, store, redo or ""):
            click.echo(line)
        return
    summary = execute(planned.spec, catalog, store, Path(out).name, redo or "", part)
    _conclude_scores(part_of(planned.spec, part), store, summary, json_path)


def _conclude_scores(spec: RunSpec, store: Store, summary: RunSummary, json_path: Path | None) -> None:
    """Prints what scoring given videos found, writes it as JSON where asked, and ends the process."""
    from bench import given_table

    for line in summary.remarks():
        say(line)
    metrics = list(spec.metrics)
    records = [record for cell in spec.cells if (record := store.find(cell)) is not None]
    for hint in given_table.without_weights(records):
        say(hint)
    for warning in given_table.damage(records):
        say(f"warning: {warning}")
    click.echo(given_table.results_table(records, metrics))
    click.echo(f"{store}: {summary.sentence()}. Next: python -m bench report --out {shlex.quote(str(store))}")
    if json_path is not None:  # last: a disk that is full by now takes no table away
        given_table.write_results(json_path, records, metrics)
    end(summary.exit_code or int(bool(spec.cells) and not given_table.any_score(records)), summary)
