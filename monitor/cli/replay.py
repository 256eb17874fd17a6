"""`tidegauge replay`: production over a recording."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click

from monitor.cli import _quiet
from monitor.cli._engine import bundles_of, load_models
from monitor.cli._options import config_option, json_option, set_option
from monitor.config import load
from monitor.dataset import read_ranges
from monitor.replay import EventFile, ScoreFile, replay_fleets
from monitor.sources import for_recording


@click.command(name="replay")
@click.argument("recordings", nargs=-1, required=True, metavar="RECORDING...")
@config_option()
@click.option("--bundle", type=click.Path(path_type=Path), help="Bundle directory, instead of the configuration's.")
@click.option("--labels", help="Labelled events, CSV with stream,start,end; instead of the recording's column label.")
@click.option("--out", help="Where events go, as JSON Lines; - for standard output.")
@click.option("--scores", "scores_path", type=click.Path(path_type=Path), help="Scores, .parquet or .csv.")
@click.option(
    "--state", type=click.Path(path_type=Path), help="Begin with a saved state: `tidegauge state export` writes one."
)
@set_option
@json_option
def command(  # noqa: PLR0913, PLR0917 - each is an option
    recordings: tuple[str, ...],
    config_path: Path | None,
    bundle: Path | None,
    labels: str | None,
    out: str | None,
    scores_path: Path | None,
    state: Path | None,
    overrides: tuple[str, ...],
    as_json: bool,  # noqa: FBT001 - click passes it by name
) -> None:
    """Run the pipeline over recordings, as production would have done.

    A recording is a file of JSON Lines, `kcat -J` output, CSV or Parquet (.gz, .zst), - for standard input, or a range
    of a topic, kafka://TOPIC?from=...&to=... . Nothing that the configuration names is written to. With --state it
    goes on where that state stands, and makes from there on what the daemon makes, byte for byte.
    """
    if config_path is None and bundle is None:
        message = "name a configuration (--config FILE) or a bundle (--bundle DIR)"
        raise click.UsageError(message)
    if as_json and out == "-":
        message = "--json and --out - both want standard output: name a file for one of them"
        raise click.UsageError(message)
    config = load(config_path, overrides)
    _quiet.configure(config)
    ranges = None if labels is None else read_ranges(labels, config.record)
    bundles = bundles_of(config, bundle)
    features = tuple(dict.fromkeys(name for each in bundles.values() for name in each.manifest.features))
    with ExitStack() as outputs:
        events = None if out is None else outputs.enter_context(EventFile(out))
        scores = None if scores_path is None else outputs.enter_context(ScoreFile.open(scores_path))
        source = for_recording(recordings, config.source).build(config.record, features)
        began = time.monotonic()
        with _bar() as progress:
            report = replay_fleets(
                config,
                load_models(bundles, config),
                source,
                out=events,
                scores=scores,
                ranges=ranges,
                progress=progress,
                state=state,
            )
        took = time.monotonic() - began
    for start in (*report.cold, *report.warm):
        click.echo(str(start), err=True)
    if as_json or out != "-":  # else the text below goes there
        for line in report.warnings():
            click.echo(f"labels: {line}", err=True)
    if as_json:
        click.echo(json.dumps(report.fields(), indent=2, ensure_ascii=False))
        return
    rate = f"{report.records / took:,.0f} records a second" if took > 0 else "at once"
    click.echo("\n".join([*report.lines(), f"{took:.1f} s, {rate}"]), err=out == "-")


@contextmanager
def _bar() -> Iterator[Callable[[int], None] | None]:
    """Show the number of records on a terminal; give what tells it."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.completed:,.0f} records"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("replay", total=None)
        yield lambda records: progress.update(task, completed=records)
