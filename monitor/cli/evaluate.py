"""`tidegauge evaluate`: how well a bundle's scores tell labelled windows from others."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from models import bundle as bundles
from models import curves
from models.evaluation import Curves, Evaluation, EvaluationError, evaluate, known
from monitor import evaluation
from monitor.cli import _lines, _quiet
from monitor.cli._options import config_option, json_option, set_option
from monitor.cli._progress import Steps
from monitor.config import load
from monitor.dataset import read_ranges
from monitor.evaluation import Scored
from monitor.sources import for_recording

_POINTS = 200
"""Points of a curve in the JSON object."""

_LINES = {
    "best": "the highest F1 that one line can have here, found with these labels",
    "chosen": "the line that a new stream begins with (section threshold and the bundle's calibration)",
    "adapted": "each stream's own line, as it is when the window comes",
}


@click.command(name="evaluate")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("recordings", nargs=-1, required=True, metavar="RECORDING…")
@click.option("--labels", metavar="FILE", help="CSV stream,start,end; instead of the recording's column label.")
@click.option("--picture", type=click.Path(path_type=Path), metavar="FILE.png", help="Where the curves are drawn.")
@config_option()
@set_option
@json_option
def command(
    bundle: Path,
    recordings: tuple[str, ...],
    labels: str | None,
    picture: Path | None,
    config_path: Path | None,
    overrides: tuple[str, ...],
    *,
    as_json: bool,
) -> None:
    """Hold the scores of a labelled recording against its labels: areas under curves, and what lines make of it.

    Windows are scored as production scores them. A window is labelled if one of its rows is, by the recording's column
    label (0 or 1) or by --labels. Every window counts for itself; for incidents as a whole there is replay --labels.
    Choose another line with --set threshold.q=0.95.
    """
    config = load(config_path, overrides)
    _quiet.configure(config)
    if picture is not None:
        _drawable(picture)
    ranges = None if labels is None else read_ranges(labels, config.record)
    checked = bundles.read(bundle)
    from models.serving import Model  # after the checks above: it loads the engine that runs networks

    with Steps() as steps:
        steps.step("scoring")
        source = for_recording(recordings, config.source).build(config.record, checked.manifest.features)
        model = Model(checked, config.model.most_threads, config.model.engine)
        scored = evaluation.read(config, checked, model, source, ranges, steps.records)
    if not scored.labels:
        message = f"{recordings[0]}: no labels: it has no column label (0 or 1), so name a file of them with --labels"
        raise EvaluationError(message)
    over = {"adapted": scored.score > scored.line}
    cells, length = scored.dataset.cells, scored.window.length
    found = evaluate(cells, length, scored.windows, scored.score, scored.first_line, over)
    _lines.tell(scored.dataset)
    if known(checked, cells, scored.windows):
        _lines.say("warning", "the bundle was made from rows of this recording: it knows some of the normal windows")
    if picture is not None:
        kind = checked.manifest.members[0].kind if checked.manifest.detector is None else "detector"
        title = f"{bundle.resolve().name} ({kind}) on {Path(recordings[0]).name}"
        _draw(picture, found, scored.score, scored.label, title)
    if as_json:
        told = {"bundle": str(bundle), "sha256": checked.sha256, **_fields(found, scored)}
        click.echo(json.dumps(told, indent=2))
        return
    click.echo("\n".join(_table(found, scored)))


def _drawable(path: Path) -> None:
    """Refuse a picture that cannot be drawn before the recording is read.

    Raises:
        UsageError: if the name is not that of a PNG, or its folder is not there.
    """
    if path.suffix.lower() != ".png":
        message = f"--picture {path}: pictures are PNG: its name must end in .png"
        raise click.UsageError(message)
    if not path.absolute().parent.is_dir():
        message = f"--picture {path}: there is no folder {path.parent}"
        raise click.UsageError(message)
    curves.require()


def _draw(path: Path, found: Evaluation, score: NDArray[np.float64], label: NDArray[np.bool_], title: str) -> None:
    """Write the picture.

    Raises:
        EvaluationError: if that fails.
    """
    try:
        curves.write(path, found, score, label, title)
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror}"
        raise EvaluationError(message) from None
    _lines.say("picture", str(path))


def _fields(found: Evaluation, scored: Scored) -> dict[str, Any]:
    """Return what a program reads; figures that there are none of are null."""
    line = {"best": found.best, "chosen": found.chosen}
    return {
        "windows": found.labelled + found.normal,
        "labelled_windows": found.labelled,
        "unscored_windows": len(scored.dataset.cells.starts) - len(scored.windows),
        "auc_roc": found.auc_roc,
        "auc_pr": found.auc_pr,
        "vus_pr": _number(found.vus_pr),
        "vus_pr_streams": found.volumes,
        "thresholds": {
            name: {"threshold": line.get(name), **{each: _number(value) for each, value in counted.figures().items()}}
            for name, counted in found.at.items()
        },
        "curves": _points(found.curves),
        **_lines.reading(scored.dataset),
    }


def _points(found: Curves) -> dict[str, Sequence[float]]:
    """Return the curves at evenly spread thresholds, the outermost among them."""
    count = len(found.threshold)
    at = np.unique(np.linspace(0, count - 1, min(count, _POINTS)).round().astype(np.int64))
    names = ("threshold", "recall", "false_alarm_rate", "precision")
    return {name: getattr(found, name)[at].tolist() for name in names}


def _table(found: Evaluation, scored: Scored) -> list[str]:
    """Return the lines for people."""
    count = found.labelled + found.normal
    volume = "–    (needs a stream with labelled and other rows)"
    if found.volumes:
        volume = (
            f"{found.vus_pr:.4f}    (mean over streams: {found.volumes:,}; margins up to {scored.window.length} rows)"
        )
    head = [
        f"{count:,} windows, {found.labelled:,} of them labelled ({found.labelled / count:.1%})",
        f"AUC-ROC  {found.auc_roc:.4f}",
        f"AUC-PR   {found.auc_pr:.4f}    (chance: {found.labelled / count:.4f})",
        f"VUS-PR   {volume}",
        "",
    ]
    line = {"best": f"{found.best:.4g}", "chosen": f"{found.chosen:.4g}"}
    rows = [["line", "score", "hits", "misses", "false alarms", "quiet", "accuracy", "precision", "recall", "F1"]]
    for name, counted in found.at.items():
        shares = (counted.accuracy, counted.precision, counted.recall, counted.f1)
        counts = (counted.hits, counted.misses, counted.false_alarms, counted.quiet)
        shown = ("–" if math.isnan(share) else f"{share:.4f}" for share in shares)
        rows.append([name, line.get(name, "its own"), *(f"{count:,}" for count in counts), *shown])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    body = ["  ".join([r[0].ljust(widths[0]), *map(str.rjust, r[1:], widths[1:])]) for r in rows]
    return [*head, *body, "", *(f"{name.ljust(widths[0])}  {text}" for name, text in _LINES.items())]


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
