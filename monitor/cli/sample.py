"""`tidegauge sample`: new windows from a prior → a recording."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from models import backend
from models.bundle import WindowShape
from models.codes import Decoder
from models.sampling import between, drawn, require_prior
from models.serving import Model
from monitor import times
from monitor.cli import _cut, _lines
from monitor.cli._cut import Cut
from monitor.cli._options import config_option, set_option
from monitor.dataset import recording
from monitor.dataset.recording import Rows
from monitor.duration import Duration

_START = 946_684_800_000
"""2000-01-01, where the windows begin: nobody takes it for a time of recording."""


@click.command(name="sample")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("recordings", nargs=-1, metavar="[RECORDING…]")
@click.option("-n", "count", type=click.IntRange(1), default=10, show_default=True, help="How many windows.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Another seed, other windows.")
@click.option(
    "--interpolate",
    nargs=2,
    metavar="A B",
    help="Go from one window of RECORDING to another: each its number, from 0, or STREAM@TIME, the last that ended.",
)
@click.option(
    "--step", default="1s", show_default=True, metavar="DURATION", help="From row to row, unless on a time grid."
)
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, metavar="RECORDING", help=".csv, .jsonl or .parquet."
)
@config_option()
@set_option
def command(  # noqa: PLR0913, PLR0917 - click hands over one argument for each option
    bundle: Path,
    recordings: tuple[str, ...],
    count: int,
    seed: int,
    interpolate: tuple[str, str] | None,
    step: str,
    out: Path,
    config_path: Path | None,
    overrides: tuple[str, ...],
) -> None:
    """Draw windows that were never recorded from a variational autoencoder; needs the extra train.

    Each window is a stream of its own, sample-1, sample-2 and so on, from 2000-01-01 on, without the noise of the
    sensors. With --interpolate the windows lead from A to B, whose reconstructions are the first and the last.
    """
    found, config = _cut.begin(bundle, config_path, overrides, "sample")
    require_prior(found)
    if (interpolate is None) != (not recordings):
        message = "--interpolate A B goes with a recording that A and B are windows of; without it name none"
        raise click.UsageError(message)
    recording.check(out)
    backend.require("sample")
    gap = _milliseconds(step)
    if interpolate is None:
        codes = drawn(count, found.manifest.members[0].hyperparameters.code_size, seed)
    else:
        cut = _cut.cut(found, config, recordings)
        chosen = np.array([_window(cut, text) for text in interpolate])
        ends = Model(found).encode(cut.found.cells.gather(chosen, cut.window.length))
        codes = between(ends[0], ends[1], count)
    windows = Decoder(found).decode(codes)
    written = recording.write(out, rows(windows, found.manifest.window, found.manifest.features, gap))
    _lines.say("recording", f"{out}: {count:,} windows of {windows.shape[1]} rows, {written:,} rows")


def rows(windows: NDArray[np.float32], shape: WindowShape, features: Sequence[str], step: int) -> Rows:
    """Return the windows as rows, each window a stream."""
    count, length = windows.shape[:2]
    gap, first = step, _START
    if shape.interval is not None:
        gap = shape.interval
        cell = -(-_START // gap) + length - 1  # the last one; a window ends where its number is one of the stride's
        first = (cell + -cell % shape.stride - length + 1) * gap
    return Rows(
        [f"sample-{number}" for number in range(1, count + 1)],
        np.repeat(np.arange(count, dtype=np.int32), length),
        np.tile(first + gap * np.arange(length), count),
        features,
        windows.reshape(count * length, -1),
    )


def _milliseconds(text: str) -> int:
    """Return the option `--step` in ms.

    Raises:
        UsageError: if it is no duration above 0.
    """
    try:
        step = Duration(text).ms
    except ValueError as error:
        message = f"--step {error}"
        raise click.UsageError(message) from None
    if step < 1:
        message = f"--step {text}: a millisecond at least"
        raise click.UsageError(message)
    return step


def _window(cut: Cut, text: str) -> int:
    """Return the position in `cells.starts` of a window that the command line names.

    Raises:
        UsageError: if there is none such.
    """
    cells, last = cut.found.cells, len(cut.windows) - 1
    if text.isdecimal():
        if int(text) > last:
            message = f"--interpolate {text}: the recording's windows have the numbers 0 to {last}"
            raise click.UsageError(message)
        return int(cut.windows[int(text)])
    stream, mark, moment = text.rpartition("@")
    try:
        if not mark or stream not in cut.found.streams:
            some = ", ".join(cut.found.streams[:5])
            message = f"write the number of a window, or STREAM@TIME with one of the streams {some}"
            raise ValueError(message)  # noqa: TRY301 - said as what a time cannot be
        until = times.from_iso(moment)
    except ValueError as error:
        message = f"--interpolate {text}: {error}"
        raise click.UsageError(message) from None
    own = cells.stream[cells.starts[cut.windows]] == cut.found.streams.index(stream)
    ended = cut.windows[own & (cells.time[cells.starts[cut.windows] + cut.window.length - 1] <= until)]
    if len(ended) == 0:
        message = f"--interpolate {text}: no window of that stream ends by then"
        raise click.UsageError(message)
    return int(ended[-1])
