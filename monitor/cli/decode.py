"""`tidegauge decode`: codes → a recording."""

from __future__ import annotations

import json
import math
from pathlib import Path

import click
import numpy as np

from models import backend
from models.codes import Decoder, Loss, loss
from monitor.cli import _cut, _lines
from monitor.cli._loss import compression, describe, fields
from monitor.cli._options import config_option, json_option, set_option
from monitor.dataset import codes as files
from monitor.dataset import recording
from monitor.dataset.codes import Codes
from monitor.dataset.decoded import Decoded, decoded
from monitor.sources.base import SourceError


@click.command(name="decode")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("codes", type=click.Path(path_type=Path), metavar="CODES.parquet")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, metavar="RECORDING", help=".csv, .jsonl or .parquet."
)
@click.option("--original", metavar="RECORDING", help="What was encoded, to measure the loss anew.")
@config_option()
@set_option
@json_option
def command(
    bundle: Path,
    codes: Path,
    out: Path,
    original: str | None,
    config_path: Path | None,
    overrides: tuple[str, ...],
    *,
    as_json: bool,
) -> None:
    """Make a recording of codes, in the units of the original; needs the extra train.

    What comes back is an estimate, complete where the original had holes. Where windows overlap, a row is the mean of
    what they say. Times are exact at both ends of each window, and evenly spread between them. Ratio and error are
    printed: the error that encode measured, or, with --original, a new one.
    """
    found, config = _cut.begin(bundle, config_path, overrides, "decode")
    recording.check(out)
    backend.require("decode")
    window, features = found.manifest.window, found.manifest.features
    size = found.manifest.members[0].hyperparameters.code_size
    kept = files.read(codes, size)
    if kept.origin is not None and kept.origin.bundle != found.sha256:
        message = f"{codes}: another bundle made these codes ({kept.origin.bundle[:12]}…, this is {found.sha256[:12]}…)"
        raise SourceError(message)
    compared = None if original is None else _cut.cut(found, config, [original], told=False)
    made = decoded(kept, Decoder(found).decode(kept.codes), features, window.interval or 0)
    lost = _told(kept, len(features)) if compared is None else _measured(compared, kept, made, codes)
    written = recording.write(out, made.rows)
    said = compression(len(made.row), len(features), len(kept.codes), size)
    if as_json:
        told = {"recording": str(out), "bundle": found.sha256, "windows": len(kept.codes), "rows": written}
        click.echo(json.dumps({**told, **said, **fields(lost, features)}))
        return
    describe(said, lost, features, "" if compared is not None else ", as encode measured it")
    if math.isnan(lost.error):
        _lines.say("error", "not known: the codes do not say; name the recording that they are of with --original")
    _lines.say("recording", f"{out}: {written:,} rows")


def _told(kept: Codes, features: int) -> Loss:
    """Return the loss that the codes' file names, NaN if it names none."""
    told = kept.origin
    if told is None or len(told.deviations) != features:
        return Loss(math.nan, math.nan, (math.nan,) * features)
    return Loss(_number(told.error), _number(told.baseline), tuple(map(_number, told.deviations)))


def _measured(compared: _cut.Cut, kept: Codes, made: Decoded, path: Path) -> Loss:
    """Return the loss against the original.

    Raises:
        SourceError: if the codes are not of that recording.
    """
    cells, last = compared.found.cells, kept.row + compared.window.length - 1
    inside = len(last) == 0 or int(last.max()) < len(cells.values)
    if not (inside and np.array_equal(cells.time[last], kept.end)):
        message = f"{path}: these are not the codes of that recording: name the one that encode was given (--original)"
        raise SourceError(message)
    return loss(compared.measured[made.row], made.rows.values, compared.bundle.manifest.scaling)


def _number(value: float | None) -> float:
    return math.nan if value is None else value
