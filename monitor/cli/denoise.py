"""`tidegauge denoise`: a recording → the same, cleaned."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from models.base import find
from models.codes import Loss, encode, loss
from models.serving import Model
from monitor.cli import _cut, _lines
from monitor.cli._cut import Cut
from monitor.cli._options import config_option, json_option, set_option
from monitor.dataset import recording
from monitor.sources.base import SourceError


@click.command(name="denoise")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("recordings", nargs=-1, required=True, metavar="RECORDING…")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, metavar="RECORDING", help=".csv, .jsonl or .parquet."
)
@click.option("--fill", is_flag=True, help="Write an estimate where a value is missing, too.")
@click.option("--clean", metavar="RECORDING", help="The same without noise, to measure what was gained.")
@config_option()
@set_option
@json_option
def command(
    bundle: Path,
    recordings: tuple[str, ...],
    out: Path,
    clean: str | None,
    config_path: Path | None,
    overrides: tuple[str, ...],
    *,
    fill: bool,
    as_json: bool,
) -> None:
    """Write a recording as the model rebuilds it: what it knows stays, noise goes.

    Each value becomes the mean of what the windows say that have it, those that production would score. What is
    missing stays missing, and gaps stay gaps, unless --fill. Rows that no window has, such as the last ones of a
    stream, stay as they were recorded, and are counted. The kind denoising is trained for this; others only smooth.
    """
    found, config = _cut.begin(bundle, config_path, overrides, "denoise")
    recording.check(out)
    kind = found.manifest.members[0].kind
    if not find(kind).cleans:
        _lines.say(
            "warning", f"the kind {kind} was not trained to take noise away: what it writes is its reconstruction"
        )
    cut = _cut.cut(found, config, recordings)
    made = _cleaned(cut, fill=fill)
    gain = None if clean is None else _gain(cut, made, _cut.cut(found, config, [clean], told=False), clean)
    part = np.arange(len(made.values)) if fill else np.flatnonzero(~cut.found.made)
    written = recording.write(out, cut.rows(made.values, part))
    if as_json:
        click.echo(json.dumps({"recording": str(out), "bundle": found.sha256, **_fields(cut, made, gain, written)}))
        return
    features = found.manifest.features
    left = len(made.values) - made.cleaned
    rest = f"; {left:,} in no whole window stay as they were" if left else ""
    _lines.say("cleaned", f"{made.cleaned:,} of {len(made.values):,} rows{rest}")
    changed = ", ".join(f"{name} {value:.4g}" for name, value in zip(features, made.change.deviations, strict=True))
    _lines.say("changed", f"by (root mean squared, own units): {changed}")
    if fill:
        _lines.say("filled", f"{made.filled:,} missing values")
    if gain is not None:
        _lines.say("gain", f"{gain:.2f} dB: so much less of the squared difference from {clean} is left")
    _lines.say("recording", f"{out}: {written:,} rows")


@dataclass(frozen=True, slots=True)
class _Cleaned:
    """What came out: values `(N, F)`, how many rows a window had, how much they changed, what was filled."""

    values: NDArray[np.float32]
    cleaned: int
    change: Loss
    filled: int


def _cleaned(cut: Cut, *, fill: bool) -> _Cleaned:
    """Return the cleaned values of all rows."""
    actual = cut.measured
    rebuilt = encode(Model(cut.bundle), cut.found.cells, cut.windows).rebuilt
    known = ~np.isnan(rebuilt)
    missing = np.isnan(actual)
    used = known if fill else known & ~missing
    return _Cleaned(
        np.where(used, rebuilt, actual),
        int(np.count_nonzero(known.any(axis=1))),
        loss(actual, rebuilt, cut.bundle.manifest.scaling),
        int(np.count_nonzero(known & missing)) if fill else 0,
    )


def _gain(cut: Cut, made: _Cleaned, clean: Cut, name: str) -> float:
    """Return 10 log₁₀ of noise before ÷ noise after, in scaled units, over values that all have.

    Raises:
        SourceError: if the clean recording has other rows.
    """
    ours, theirs = cut.found.cells, clean.found.cells
    if not (np.array_equal(ours.time, theirs.time) and np.array_equal(ours.stream, theirs.stream)):
        message = (
            f"{name}: not the rows of the recording that is cleaned: it needs the same streams and times (--clean)"
        )
        raise SourceError(message)
    truth = np.where(np.isnan(cut.measured), np.nan, clean.measured).astype(np.float32)
    scaling = cut.bundle.manifest.scaling
    before, after = loss(truth, cut.measured, scaling).error, loss(truth, made.values, scaling).error
    if before == 0:
        return -math.inf if after else 0.0
    return math.inf if after == 0 else 10 * math.log10(before / after)


def _fields(cut: Cut, made: _Cleaned, gain: float | None, written: int) -> dict[str, Any]:
    """Return what a program reads."""
    deviations = zip(cut.bundle.manifest.features, made.change.deviations, strict=True)
    return {
        "rows": written,
        "cleaned_rows": made.cleaned,
        "filled_values": made.filled,
        "root_mean_squared_change": {name: value if math.isfinite(value) else None for name, value in deviations},
        "gain_db": gain if gain is None or math.isfinite(gain) else None,
        **_lines.reading(cut.found),
    }
