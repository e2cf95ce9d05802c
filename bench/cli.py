"""The command line: parses, calls, prints. Everything else is imported when a command needs it.

Example:
    $ python -m bench run --methods all
    $ python -m bench report
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from bench.commands.run import run
from bench.commands.score import score
from bench.errors import BenchError, ConfigError, StoreError
from bench.options import PLUGIN_HELP, PROFILE_HELP, SET_HELP
from bench.terminal import escape_what_cannot_be_printed, open_what_is_closed, say

if TYPE_CHECKING:
    from bench.profile import Settings

SCRIPT = "longvideo-bench"
"""Name of the installed command."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="longvideo-bench")
@click.pass_context
def cli(context: click.Context) -> None:
    """A benchmark for long text-to-video: who continues a shared first chunk without cuts, drift or standstill?"""
    if context.invoked_subcommand != "fetch":
        _stay_offline()


cli.add_command(run)
cli.add_command(score)


@cli.command()
@click.argument("runs", nargs=-1)
@click.option("--out", help="With RUNS, where to write; else the run itself.")
@click.option("--methods", default="", help="Rows to show: a,b. Default: all that the folders hold.")
@click.option("--drift", default="", metavar="NAME", help="Table 1 of drifts by one definition, such as start_end_15.")
@click.option("--scale", type=click.Choice(["vbench"]), help="Table 1 on VBench's final scale.")
@click.option("--sort", default="", metavar="METRIC", help="Order rows by it. Default: the published table's order.")
@click.option(
    "--bundle", type=click.Path(path_type=Path), metavar="FILE.zip", help="Pack all but the videos, to share."
)
def report(
    runs: tuple[str, ...], out: str | None, methods: str, drift: str, scale: str | None, sort: str, bundle: Path | None
) -> None:
    """Write tables, curves, frames and one page that shows them all; of several RUNS or bundles in one table."""
    from bench.locations import open_store
    from bench.report import write_report
    from bench.report.bundle import unpack
    from bench.store import latest

    zipped = [run for run in runs if run.endswith(".zip") or Path(run).is_file()]  # no file is a run folder
    if (len(runs) > 1 or zipped) and out is None:
        raise ConfigError("say with --out where the report of several runs, or of a bundle, goes")
    with TemporaryDirectory() as scratch:
        stores = [
            unpack(Path(run), Path(scratch) / str(number)) if run in zipped else open_store(run)
            for number, run in enumerate(runs or [out or str(latest(Path("results")))])
        ]
        folder = Path(out) if runs and out else None
        page = write_report(
            *stores, folder=folder, methods=methods, drift=drift, scale=scale or "", sort=sort, bundle=bundle
        )
        click.echo(f"Open {stores[0].published(page)}" + (f"; packed into {bundle}" if bundle else ""))
        for store in stores:
            store.records()  # the page says what is damaged, and so does the end of the command


@cli.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Folder of the run; once for each run of a page of several. Default: the latest under results/.",
)
def judge(files: tuple[Path, ...], out: tuple[Path, ...]) -> None:
    """Fold exported judgements (FILES) into a run: Bradley-Terry strengths, and how well each metric agrees.

    Judgements of a page of several runs are kept in the first one.
    """
    from bench.judgements import keep_judgements, read_judgements
    from bench.report import write_report
    from bench.report.derive import report_data
    from bench.report.judged import judged, judged_lines
    from bench.report.published import load_published
    from bench.report.sources import gather
    from bench.store import Store, latest

    stores = [Store(folder) for folder in out or (latest(Path("results")),)]
    sources = gather(stores)
    for file in files:
        read_judgements(file, sources.records)  # all of them are sound before any is kept
    for file in files:
        keep_judgements(file, stores[0].path)
    findings = report_data(sources.info, sources.records, load_published())
    found = judged(sources, findings)
    if found is not None:
        titles = {row.method: row.title for row in findings.rows} | {c.name: c.title for c in findings.columns}
        click.echo("\n".join(judged_lines(found, titles)))
    if len(stores) > 1:
        runs = " ".join(shlex.quote(str(store)) for store in stores)
        click.echo(f"Kept in {stores[0]}. Next: python -m bench report {runs} --out FOLDER")
    else:
        click.echo(f"Open {write_report(stores[0])}")


@cli.command()
@click.argument("run", required=False)
def verify(run: str | None) -> None:
    """Read every file of a RUN (default: the latest under results/) and say which are damaged; change nothing."""
    from bench.locations import open_store
    from bench.store import latest
    from bench.verify import verify as verify_store

    store = open_store(run or str(latest(Path("results"))))
    found = verify_store(store)
    for sentence in found.damage:
        click.echo(sentence)
    click.echo(f"{store}: {found.sentence()}")
    sys.exit(StoreError.exit_code if found.damage else 0)


@cli.command(name="list")
@click.argument("what", type=click.Choice(["methods", "metrics", "prompts", "profiles"]))
@click.option("--plugin", "plugins", multiple=True, help=PLUGIN_HELP)
@click.option("--profile", default="", help="A .toml file whose sections are methods as well.")
def list_(what: str, plugins: tuple[str, ...], profile: str) -> None:
    """Show what there is to choose from."""
    from bench import listing
    from bench.catalog import find_plugins
    from bench.profile import load_profile, packaged_sections

    def sections() -> dict[str, Settings]:
        return packaged_sections() | (dict(load_profile(profile).methods) if profile else {})

    rows = {
        "methods": lambda: listing.methods(find_plugins(plugins).with_sections(sections())),
        "metrics": lambda: listing.metrics(find_plugins(plugins)),
        "prompts": listing.prompts,
        "profiles": listing.profiles,
    }[what]()
    click.echo(listing.text_table(rows))


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--profile", default="mini", show_default=True, help=PROFILE_HELP)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help=SET_HELP)
@click.option("--frames", type=click.IntRange(min=17), default=27, show_default=True, help="Frames per video made.")
@click.option("--size", type=click.IntRange(min=8), help="Height and width in pixels. Default: those of the profile.")
def check(file: Path, profile: str, overrides: tuple[str, ...], frames: int, size: int | None) -> None:
    """Try a FILE against the contract: a drop-in file, or a profile (.toml) whose sections are methods of their own."""
    from bench.check import checks_of
    from bench.profile import load_profile

    square = [f"video.height={size}", f"video.width={size}"] if size is not None else []
    source = str(file) if file.suffix == ".toml" else profile
    settings = load_profile(source, [*overrides, *square])
    checks = []
    for check in checks_of(
        str(file), settings, frames, lambda plugin, what: click.echo(f"...  {plugin}: {what}", err=True)
    ):
        click.echo(f"{'ok  ' if check.ok else 'FAIL'} {check.plugin}: {check.check}{check.detail}")
        checks.append(check)
    broken = sum(not check.ok for check in checks)
    click.echo(f"{file}: {len(checks) - broken} of {len(checks)} checks passed")
    sys.exit(3 if broken else 0)


@cli.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("docs/metric-cards"), show_default=True)
@click.option("--quick", is_flag=True, help="A quick look: too few videos to quote a number.")
def validate(out: Path, quick: bool) -> None:
    """Measure the metrics against ground truth, and write a page about each."""
    from bench.validate import FULL, QUICK, run_validation, summary

    validation = run_validation(out, QUICK if quick else FULL, lambda line: click.echo(line, err=True))
    for line in summary(validation):
        click.echo(line)
    click.echo(f"See {out / 'README.md'}")


@cli.command()
@click.argument("names", nargs=-1, metavar="[METHOD]...")
@click.option("--profile", default="mini", show_default=True, help=PROFILE_HELP)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help=SET_HELP)
@click.option("--weights-dir", default="", help="Folder of released weights; default: the hub's cache.")
@click.option("--plugin", "plugins", multiple=True, help=PLUGIN_HELP)
def doctor(
    names: tuple[str, ...], profile: str, overrides: tuple[str, ...], weights_dir: str, plugins: tuple[str, ...]
) -> None:
    """Say what this machine can run: packages, GPU, weights, every method; with METHODs, all they lack."""
    from bench.catalog import find_plugins
    from bench.doctor import examine, examine_methods
    from bench.profile import load_profile

    settings = load_profile(profile, [*overrides, *([f"run.weights_dir={weights_dir}"] if weights_dir else [])])
    for line in () if names else examine(weights_dir):
        click.echo(line)
    for line in examine_methods(find_plugins(plugins), settings, names):
        click.echo(line)


@cli.command()
@click.argument("names", nargs=-1, required=True, metavar="METHOD...")
@click.option("--weights-dir", default="", help="Folder to put them in; default: the hub's cache.")
def fetch(names: tuple[str, ...], weights_dir: str) -> None:
    """Download the released weights of methods or metrics; nothing else here touches the network."""
    from bench.doctor import fetch_all

    for line in fetch_all(names, weights_dir):
        click.echo(line)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line; ends the process with the exit code of the error, if there is one."""
    open_what_is_closed()
    escape_what_cannot_be_printed()
    try:
        cli.main(args=arguments, prog_name=_program(), standalone_mode=False)
    except click.exceptions.Abort:
        say("\ninterrupted; finished cells are kept, the same command goes on")
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(ConfigError.exit_code)
    except BenchError as error:
        say(f"error: {error}")
        sys.exit(error.exit_code)
    except _metric_errors() as error:
        say(f"error: {error}")
        sys.exit(ConfigError.exit_code)


def _program() -> str:
    """Returns the name this was started by: a shell completes the words of `longvideo-bench` only."""
    return SCRIPT if Path(sys.argv[0]).stem == SCRIPT else "python -m bench"


def _metric_errors() -> type[Exception]:
    """Returns the root of the other error tree, which is imported when something has gone wrong only."""
    from metrics.errors import MetricError

    return MetricError


def _stay_offline() -> None:
    """Keeps the hub's client in this process and its workers from the network: only `fetch` downloads."""
    os.environ["HF_HUB_OFFLINE"] = "1"
