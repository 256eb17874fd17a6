"""Training, validation and calibration parts of a recording.

A stream with 20 usable windows or more is cut by time: its oldest windows train, then come validation and calibration.
Shorter streams go whole into one part: those for validation and calibration are drawn, with the seed, from the short
streams in order of first appearance, until the part has its share of the short streams' windows.

A window with a labelled row is in no part, nor one with more missing than `window.max_missing`. Training and held-out
parts share no row: training windows of a stream that reach into the rows of its held-out windows are left out, unless
that would leave fewer than half of the stream's training windows (with windows as long as the part, there would be
nothing to train on).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from models.cells import Cells, TrainingError, scorable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.bundle import WindowShape

BY_TIME = 20
"""The number of usable windows from which a stream is cut by time."""

_STREAMS = 3  # short streams needed to give one to each part


@dataclass(frozen=True)
class Parts:
    """Positions in `Cells.starts`, rising, int64.

    Attributes:
        training: windows to fit on.
        validation: windows that decide when to stop.
        calibration: windows that scores and residuals are measured on.
        shared: training windows that share rows with a held-out part, because leaving them out would leave too few.
    """

    training: NDArray[np.int64]
    validation: NDArray[np.int64]
    calibration: NDArray[np.int64]
    shared: int


def split(cells: Cells, window: WindowShape, validation: float, calibration: float, seed: int) -> Parts:
    """Cut the windows into parts.

    Args:
        cells: rows and windows.
        window: how windows were cut.
        validation: share of the usable windows for validation, above 0.
        calibration: share of the usable windows for calibration, above 0.
        seed: decides which short streams are held out.

    Raises:
        TrainingError: if the windows are too few for three parts.
    """
    if validation + calibration >= 1:
        message = (
            "train.validation_split and train.calibration_split leave nothing to train on: their sum must be below 1"
        )
        raise TrainingError(message)
    usable = ~cells.touched(cells.label, window.length) & scorable(cells, window, cells.values.shape[1])
    positions = np.flatnonzero(usable)
    owner = cells.stream[cells.starts[positions]]
    streams, first, counts = np.unique(owner, return_index=True, return_counts=True)
    part = np.zeros(len(cells.starts), np.int8)  # 0 = none, 1 = training, 2 = validation, 3 = calibration
    shared = 0
    short: list[NDArray[np.int64]] = []
    for at, count in zip(first, counts, strict=True):
        own = positions[at : at + count]
        if count < BY_TIME:
            short.append(own)
            continue
        held = [max(1, round(count * validation)), max(1, round(count * calibration))]
        train = own[: count - sum(held)]
        part[own[len(train) : count - held[1]]], part[own[count - held[1] :]] = 2, 3
        apart = train[cells.starts[train] + window.length <= cells.starts[own[len(train)]]]
        if len(apart) * 2 < len(train):
            shared += int(len(train) - len(apart))
            apart = train
        part[apart] = 1
    _whole(part, short, validation, calibration, seed)
    training, validating, calibrating = (np.flatnonzero(part == number).astype(np.int64) for number in (1, 2, 3))
    if min(len(training), len(validating), len(calibrating)) == 0:
        message = (
            f"{len(positions)} usable windows of {window.length} rows in {len(streams)} streams are too few: a stream"
            f" needs {BY_TIME}, or {_STREAMS} streams one each (labelled ones and those above window.max_missing"
            " do not count)"
        )
        raise TrainingError(message)
    return Parts(training, validating, calibrating, shared)


def _whole(
    part: NDArray[np.int8], short: list[NDArray[np.int64]], validation: float, calibration: float, seed: int
) -> None:
    """Give whole short streams to the parts. Where there are fewer than three, they all train."""
    order = np.random.default_rng(seed).permutation(len(short))
    total = sum(len(own) for own in short)
    if len(short) < _STREAMS:
        order = order[:0]
    taken = 0
    for number, share in ((2, validation), (3, calibration)):
        got = 0
        while taken < len(order) - (4 - number) and (got == 0 or got < share * total):
            part[short[order[taken]]] = number
            got += len(short[order[taken]])
            taken += 1
    for index in np.setdiff1d(np.arange(len(short)), order[:taken]):
        part[short[index]] = 1
