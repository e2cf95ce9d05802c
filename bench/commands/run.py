"""The command `run`: makes and scores videos.

Example:
    $ python -m bench run --methods all
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.options import (
    PLUGIN_HELP,
    PROFILE_HELP,
    SET_HELP,
    SHARD_HELP,
    carrying_out,
    end,
    numbers,
    run_options,
    shard_of,
)
from bench.terminal import say

if TYPE_CHECKING:
    from bench.profile import Profile


@click.command()
@click.option("--methods", default="all", show_default=True, help="all, a group such as ablations, or names: a,b.")
@click.option("--metrics", default="", help="Names: a,b. Default: those of the profile.")
@click.option("--prompts", default="", help="A number of the profile's prompts, all, a packaged set, or a file.")
@click.option("--seeds", default="", help="Whole numbers: 0,1. Default: those of the profile.")
@click.option("--frames", type=int, help="Frames per video, the first chunk included.")
@click.option("--profile", default="mini", show_default=True, help=PROFILE_HELP)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help=SET_HELP)
@click.option("--out", help="Folder of the run, or s3://BUCKET/RUN. Default: results/PROFILE-HASH.")
@carrying_out
@click.option("--weights-dir", help="Folder of released weights, owner/name below it. Default: the hub's cache.")
@click.option("--redo", type=click.Choice(["failed", "all"]), help="Make these cells again.")
@click.option("--shard", default="", metavar="I/N", help=SHARD_HELP)
@click.option("--dry-run", is_flag=True, help="Say what would be done, by whom and how long, and do nothing.")
@click.option("--plugin", "plugins", multiple=True, help=PLUGIN_HELP)
def run(
    methods: str,
    metrics: str,
    prompts: str,
    seeds: str,
    frames: int | None,
    profile: str,
    overrides: tuple[str, ...],
    out: str | None,
    carried: list[str],
    weights_dir: str | None,
    redo: str | None,
    shard: str,
    dry_run: bool,
    plugins: tuple[str, ...],
) -> None:
    """Make and score videos: methods x prompts x seeds. The same command again does only what is left."""
    from bench.catalog import find_plugins
    from bench.dry_run import describe
    from bench.locations import open_store
    from bench.plan import part_of, plan, run_name, with_plugin_metrics
    from bench.profile import load_profile
    from bench.run import execute

    options = [*carried, *run_options(weights_dir, metrics)]
    options += [f"video.num_frames={frames}"] if frames is not None else []
    settings: Profile = load_profile(profile, [*overrides, *options])
    files = [str(Path(plugin).resolve()) for plugin in plugins]
    catalog = find_plugins(files)
    settings, notes = with_plugin_metrics(settings, catalog, named=bool(metrics))
    for note in notes:
        say(f"note: {note}")
    spec = plan(catalog, settings, methods=methods, prompts=prompts, seeds=numbers(seeds, "--seeds"), plugins=files)
    store, part = open_store(out or f"results/{run_name(spec)}"), shard_of(shard)
    if dry_run:
        for line in describe(part_of(spec, part), catalog, store, redo or ""):
            click.echo(line)
        return
    summary = execute(spec, catalog, store, Path(str(store)).name, redo or "", part)
    for line in summary.remarks():
        say(line)
    click.echo(f"{store}: {summary.sentence()}. Next: python -m bench report --out {shlex.quote(str(store))}")
    end(summary.exit_code, summary)
