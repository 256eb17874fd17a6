"""Decoded windows → rows: overlapping windows put together, times spread between the ends of windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.codes import Overlap
from monitor.dataset.codes import Codes
from monitor.dataset.recording import Rows


@dataclass(frozen=True)
class Decoded:
    """What codes became.

    Attributes:
        row: `(n,)` int64, which row of the encoded recording each is.
        rows: the rows.
    """

    row: NDArray[np.int64]
    rows: Rows


def decoded(codes: Codes, windows: NDArray[np.float32], features: Sequence[str], interval: int) -> Decoded:
    """Put windows together.

    The time of a window's first and last row is known. What lies between is evenly spread; on a time grid that is
    exact. All windows' ends are knots of one line over the rows, so that times rise where windows overlap, too.

    Args:
        codes: the codes; their order does not matter.
        windows: `(n, L, F)` float32, what they became, raw units.
        features: names of the columns.
        interval: width of a cell in ms; the time of a row is then the start of its cell. 0 without a grid.
    """
    length = windows.shape[1]
    row, place = np.unique(codes.row[:, None] + np.arange(length), return_inverse=True)
    place = place.reshape(len(windows), length)
    back = Overlap(len(row), len(features))
    back.add(place[:, 0], windows)
    ids = {name: number for number, name in enumerate(dict.fromkeys(codes.stream))}
    stream = np.zeros(len(row), np.int32)
    stream[place] = np.array([ids[name] for name in codes.stream], np.int32)[:, None]
    knots = np.concatenate([codes.row, codes.row + length - 1])
    known = np.concatenate([codes.start, codes.end - interval])
    order = np.argsort(knots, kind="stable")
    time = np.rint(np.interp(row, knots[order], known[order])).astype(np.int64) if len(row) else row
    return Decoded(row, Rows(tuple(ids), stream, time, features, back.mean()))
