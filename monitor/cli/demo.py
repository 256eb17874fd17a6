"""`tidegauge demo`: the newcomer's first command."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click
from rich import box
from rich.console import Console
from rich.table import Table

from monitor import logs
from monitor.cli._options import json_option
from monitor.cli._progress import Steps
from monitor.cli.train import require_training
from monitor.demo import RULE, Demo, demo
from monitor.demo.incidents import INCIDENTS, TRAINED, Raised
from monitor.logs import LogSettings
from monitor.times import to_iso


@click.command(name="demo")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("demo"), show_default=True, help="Folder to write."
)
@json_option
def command(out: Path, *, as_json: bool) -> None:
    """Train on a real recording and find its incidents, without Kafka.

    The flow through a pipeline, two months of hourly rows with four documented incidents; nothing is downloaded. The
    folder gets the bundle, the recording, alerts.jsonl, scores.parquet and a picture.
    """
    require_training("pyarrow", "river")
    logs.configure(LogSettings(level="warning"))
    with Steps() as steps:
        finished = demo(out, step=steps.step, progress=steps.epoch)
    if as_json:
        click.echo(json.dumps(finished.figures()))
    else:
        _show(finished, Console(file=sys.stdout, width=None if sys.stdout.isatty() else 100))


def _show(finished: Demo, console: Console) -> None:
    """Print alerts beside incidents, in order of time."""
    time, verdict = finished.recording.time, finished.verdict
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for name in ("incident", "rows", "began", "opened", "resolved", "× line", "found"):
        table.add_column(name, no_wrap=True, justify="right" if name == "× line" else "left")
    rows: list[tuple[int, list[str]]] = []
    for incident, alerts in zip(INCIDENTS, verdict.matches, strict=True):
        begin = int(time[incident.first])
        span = str(incident.first) if incident.first == incident.last else f"{incident.first}–{incident.last}"
        names = [incident.what, span, _minute(begin)]
        for alert in alerts:
            rows.append((begin, [*names, *_cells(alert), f"after {(alert.opened - begin) / 3_600_000:g} h"]))
            names = ["", "", ""]
        if not alerts:
            rows.append((begin, [*names, "–", "–", "–", "missed"]))
    rows += [(alert.opened, ["–", "–", "–", *_cells(alert), "false alarm"]) for alert in verdict.false_alarms]
    begin = int(time[TRAINED.start])
    rows.append((begin, ["trained on", f"{TRAINED.start}–{TRAINED.stop - 1}", _minute(begin), "", "", "", ""]))
    rows += [(alert.opened, ["", "", "", *_cells(alert), "not counted"]) for alert in verdict.trained]
    for _, row in sorted(rows, key=lambda row: row[0]):
        table.add_row(*row)
    figures = finished.figures()
    console.print(table)
    console.print(
        f"{figures['found']} of {figures['incidents']} incidents found, {figures['missed']} missed,"
        f" {figures['false_alarms']} false alarms, in {figures['seconds']} s. Times are event times of 2022, in UTC.",
        highlight=False,
    )
    console.print(RULE, highlight=False)
    console.print(f"Look at {finished.out / 'demo.png'}; alerts, scores and the bundle lie beside it.", highlight=False)


def _cells(alert: Raised) -> list[str]:
    """Return what the table says of an alert."""
    resolved = "not yet" if alert.resolved is None else _minute(alert.resolved)
    return [_minute(alert.opened), resolved, f"{alert.anomaly_score:.3g}"]


def _minute(ms: int) -> str:
    """Return month, day, hour and minute."""
    return to_iso(ms)[5:16].replace("T", " ")
