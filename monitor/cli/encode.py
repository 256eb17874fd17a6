"""`tidegauge encode`: a recording → codes."""

from __future__ import annotations

import json
import math
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from models.codes import Encoded, Loss, encode, fewest, loss
from models.serving import Model
from monitor.cli import _cut, _lines
from monitor.cli._cut import Cut
from monitor.cli._loss import compression, describe, fields
from monitor.cli._options import config_option, json_option, set_option
from monitor.dataset import codes as files
from monitor.dataset.codes import Codes, Origin


@click.command(name="encode")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("recordings", nargs=-1, required=True, metavar="RECORDING…")
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="FILE.parquet", help="Where codes go.")
@click.option(
    "--every-window",
    is_flag=True,
    help="A code for each window that production scores, not only for as few as cover the recording.",
)
@config_option()
@set_option
@json_option
def command(
    bundle: Path,
    recordings: tuple[str, ...],
    out: Path,
    config_path: Path | None,
    overrides: tuple[str, ...],
    *,
    every_window: bool,
    as_json: bool,
) -> None:
    """Write the codes of a recording's windows as Parquet: a few numbers in place of each window.

    Columns: stream, start, end, row (the window's first row), label, code_0, code_1 and so on. As few windows are taken
    as cover the recording, so that decode gives it back, with a loss that is printed; with --every-window each that
    production would score, as features for other models. Rows that no window has, at the end of a stream or between
    two gaps, have no code.
    """
    found, config = _cut.begin(bundle, config_path, overrides, "encode")
    files.check(out)
    cut = _cut.cut(found, config, recordings)
    cells, length = cut.found.cells, cut.window.length
    windows = cut.windows if every_window else cut.windows[fewest(cells.starts[cut.windows], length)]
    made = encode(Model(found), cells, windows)
    lost = loss(cut.measured, made.rebuilt, found.manifest.scaling)
    files.write(out, _codes(cut, windows, made, lost))
    covered = int(np.count_nonzero(cells.covered(windows, length)))
    shape = (covered, len(found.manifest.features), *made.codes.shape)
    said = compression(*shape)
    if as_json:
        told = {"codes": str(out), "bundle": found.sha256, "windows": len(windows), "rows": len(cells.values)}
        click.echo(json.dumps({**told, **said, **fields(lost, found.manifest.features), **_lines.reading(cut.found)}))
        return
    left = len(cells.values) - covered
    if left:
        _lines.say("left out", f"{left:,} of {len(cells.values):,} rows: in no whole window, or too much is missing")
    describe(said, lost, found.manifest.features)
    _lines.say("codes", f"{out}: {len(windows):,} windows of {length} rows, {made.codes.shape[1]} numbers each")


def _codes(cut: Cut, windows: NDArray[np.int64], made: Encoded, lost: Loss) -> Codes:
    """Return the columns of the file."""
    cells, length = cut.found.cells, cut.window.length
    first = cells.starts[windows]
    return Codes(
        [cut.found.streams[number] for number in cells.stream[first].tolist()],
        cells.time[first] - cut.interval,
        cells.time[first + length - 1],
        first,
        cells.touched(cells.label, length)[windows],
        made.codes,
        Origin(
            bundle=cut.bundle.sha256,
            error=_known(lost.error),
            baseline=_known(lost.baseline),
            deviations=tuple(map(_known, lost.deviations)),
        ),
    )


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
