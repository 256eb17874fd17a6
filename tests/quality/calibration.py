"""Set `calibration`: whether a line keeps its promise on normal rows, and still finds bursts.

The normal halves of 19 machines of SMD. A linear autoencoder of single rows (principal components of the first rows,
closed form) gives each row a log error; that stream of scores is held against the product's line, which is calibrated
on 2,000 rows. What is counted are events, as the line counts them: the first window over it with none over it in the 20
before. Four courses: in order; after a step of three standard deviations of the log error (rows 0 to 2,000 and 2,000
to 6,000 after it); and bursts of 30 rows by eight standard deviations, one in 1,000 rows. A burst is found if one of
its rows is over the line.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import calibration
from monitor.table import StreamTable
from monitor.threshold import Prior, Threshold, ThresholdSettings, build
from tests.quality import recordings
from tests.quality.shelf import Shelf

CALIBRATED = 2000
STEP_AT = 8000
QUIET = 20
BURST, EVERY = 30, 1000
RATES = (1e-3, 2e-4)
MINUTE = 60_000


def log_errors() -> list[NDArray[np.float64]]:
    """Return the log errors of each machine's normal rows behind those that the linear autoencoder was fitted on."""
    found = []
    for _, values in recordings.smd():
        rows = values.astype(np.float64)
        fitted = len(rows) // 4
        mean, spread = rows[:fitted].mean(axis=0), rows[:fitted].std(axis=0) + 0.01
        scaled = (rows - mean) / spread
        _, sizes, axes = np.linalg.svd(scaled[:fitted], full_matrices=False)
        kept = 1 + int(np.searchsorted(np.cumsum(sizes**2) / np.sum(sizes**2), 0.9))
        left = scaled - scaled @ axes[:kept].T @ axes[:kept]
        found.append(np.log((left**2).mean(axis=1) + 1e-6)[fitted:])
    return found


def prior_of(logs: NDArray[np.float64]) -> Prior:
    """Return what a bundle's calibration would say of these log errors, one row a minute."""
    made = calibration.calibrate(np.exp(logs).astype(np.float32), len(logs) / 20, 1, float(len(logs)), 1440.0)
    return Prior(made.log_mean, made.log_variance, list(made.quantiles), made.windows_per_stream, made.windows_per_day)


def overs(settings: ThresholdSettings, prior: Prior, courses: Sequence[NDArray[np.float64]]) -> NDArray[np.bool_]:
    """Return which rows of each course (a stream of log errors) are over its line."""
    line: Threshold = build(settings, prior, 1)
    table = StreamTable(line.columns)
    slots = np.array([table.assign(str(number).encode()) for number in range(len(courses))], np.int32)
    table.admit(slots.astype(np.intp))
    score, never = np.exp(np.array(courses)), np.zeros(len(courses), np.bool_)
    found = np.zeros(score.shape, np.bool_)
    for row in range(score.shape[1]):
        now = score[:, row]
        found[:, row] = now > line.step(table, slots, now, np.full(len(slots), row * MINUTE, np.int64), never)
    return found


def events(over: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the rows over the line with none over it in the `QUIET` before."""
    rows = np.flatnonzero(over)
    found = np.zeros(len(over), np.bool_)
    found[rows[np.diff(rows, prepend=-QUIET - 1) > QUIET]] = True
    return found


def promise(settings: ThresholdSettings, rate: float, machines: Sequence[NDArray[np.float64]]) -> dict[str, float]:
    """Return realised ÷ configured rates and the share of bursts found, for one line."""
    counts = {name: [0, 0] for name in ("in_order", "first_2000", "next_4000", "bursts")}
    each: list[float] = []
    for logs in machines:
        prior = prior_of(logs[:CALIBRATED])
        rest = logs[CALIBRATED:]
        spread = float(rest.std())
        stepped, burst = rest.copy(), rest.copy()
        stepped[STEP_AT:] += 3 * spread
        starts = np.arange(EVERY, len(rest) - BURST, EVERY)
        for start in starts:
            burst[start : start + BURST] += 8 * spread
        over = overs(settings, prior, (rest, stepped, burst))
        quiet, after = events(over[0]), events(over[1])
        _add(counts["in_order"], quiet, slice(None))
        each.append(float(quiet.mean() / rate))
        _add(counts["first_2000"], after, slice(STEP_AT, STEP_AT + 2000))
        _add(counts["next_4000"], after, slice(STEP_AT + 2000, STEP_AT + 6000))
        counts["bursts"][0] += sum(bool(over[2, start : start + BURST].any()) for start in starts)
        counts["bursts"][1] += len(starts)
    found = {name: hit / rows / (1 if name == "bursts" else rate) for name, (hit, rows) in counts.items()}
    return {**found, "in_order_least": min(each), "in_order_most": max(each)}


def _add(count: list[int], found: NDArray[np.bool_], rows: slice) -> None:
    count[0] += int(np.count_nonzero(found[rows]))
    count[1] += len(found[rows])


def measure(seeds: Sequence[int], shelf: Shelf) -> dict[str, Any]:
    """Measure every kind of line at each rate; there is nothing random in it, seeds do not matter.

    A kind at a rate is a piece, such as `unified-0.0002` (`shelf`).
    """
    del seeds
    from monitor.threshold import KINDS

    machines = log_errors()
    found: dict[str, Any] = {}
    for rate in RATES:
        for kind in KINDS:
            name = f"{kind.Settings.model_fields['type'].default}-{rate:f}".rstrip("0")
            if shelf.wants(name):
                figures = shelf.piece(0, name, functools.partial(promise, kind.Settings(q=1 - rate), rate, machines))
                found |= {f"{name}_{figure}": round(value, 3) for figure, value in figures.items()}
    return found
