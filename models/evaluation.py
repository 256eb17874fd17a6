"""Scores held against labels, window by window: curves over all thresholds, and what single lines make of the windows.

A window is labelled if one of its rows is; it is called anomalous if its score is above the line. Windows that overlap
are counted each for itself, so one incident counts as often as windows touch it: for incidents as a whole, `tidegauge
replay` counts by event.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from models import ranking
from models.comparison import volumes
from models.serving import calibration_windows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from models.bundle import Bundle
    from models.cells import Cells


_BATCH = 1_000  # windows compared at a time


class EvaluationError(Exception):
    """Scores cannot be held against these labels; the message is one line that says what to change."""


@dataclass(frozen=True, slots=True)
class Confusion:
    """What a line makes of the windows, counted.

    Attributes:
        hits: labelled windows above the line (true positives).
        false_alarms: other windows above it (false positives).
        misses: labelled windows that are not above it (false negatives).
        quiet: other windows that are not above it (true negatives).
    """

    hits: int
    false_alarms: int
    misses: int
    quiet: int

    @classmethod
    def of(cls, over: NDArray[np.bool_], label: NDArray[np.bool_]) -> Confusion:
        """Count windows `(n,)`."""
        labelled, called, hits = (int(np.count_nonzero(which)) for which in (label, over, over & label))
        return cls(hits, called - hits, labelled - hits, len(label) - labelled - called + hits)

    @property
    def accuracy(self) -> float:
        """Share of the windows that the line is right about."""
        return (self.hits + self.quiet) / (self.hits + self.false_alarms + self.misses + self.quiet)

    @property
    def precision(self) -> float:
        """Share of the windows above the line that are labelled; NaN if none is above."""
        called = self.hits + self.false_alarms
        return self.hits / called if called else float("nan")

    @property
    def recall(self) -> float:
        """Share of the labelled windows that are above the line."""
        return self.hits / (self.hits + self.misses)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 0 if nothing is found."""
        return 2 * self.hits / (2 * self.hits + self.false_alarms + self.misses)

    def figures(self) -> dict[str, float | int]:
        """Return the four counts and the four shares by name."""
        shares = {name: getattr(self, name) for name in ("accuracy", "precision", "recall", "f1")}
        return {**asdict(self), **shares}


@dataclass(frozen=True, slots=True)
class Curves:
    """What every threshold makes of the windows; one entry a different score, falling.

    Attributes:
        threshold: `(k,)` windows with this score or more are called anomalous.
        recall: `(k,)` share of the labelled windows that then are; also the true positive rate.
        false_alarm_rate: `(k,)` share of the other windows that then are; the false positive rate.
        precision: `(k,)` share of what is called anomalous that is labelled.
        f1: `(k,)` harmonic mean of precision and recall.
    """

    threshold: NDArray[np.float64]
    recall: NDArray[np.float64]
    false_alarm_rate: NDArray[np.float64]
    precision: NDArray[np.float64]
    f1: NDArray[np.float64]

    def best(self) -> float:
        """Return the line with the highest F1, the highest such: half way from the scores above it to the next."""
        at = int(self.f1.argmax())
        lowest = float(self.threshold[at])
        following = float(self.threshold[at + 1]) if at + 1 < len(self.threshold) else lowest / 2
        middle = (lowest + following) / 2
        # Between neighbours among the numbers there is no middle; then what is above the lower one is above the line.
        return middle if following < middle < lowest else min(following, float(np.nextafter(lowest, -np.inf)))


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How well scores tell labelled windows from others.

    Attributes:
        labelled: windows that a label touches.
        normal: the other windows.
        auc_roc: chance that a labelled window has a higher score than another.
        auc_pr: average precision.
        vus_pr: volume under the precision-recall surface, mean over streams; NaN if no stream has both labelled and
            other rows. As in the published benchmark (TSB-AD), with margins up to a window's length.
        volumes: streams that `vus_pr` is the mean over.
        curves: ROC and precision-recall, at every threshold.
        best: the line with the highest F1, found with these labels: what is possible, not what to expect.
        chosen: the line that a new stream begins with.
        at: what each line makes of the windows, by name; `best` and `chosen` first.
    """

    labelled: int
    normal: int
    auc_roc: float
    auc_pr: float
    vus_pr: float
    volumes: int
    curves: Curves
    best: float
    chosen: float
    at: Mapping[str, Confusion]


def evaluate(
    cells: Cells,
    length: int,
    windows: NDArray[np.int64],
    score: NDArray[np.float64],
    chosen: float,
    more: Mapping[str, NDArray[np.bool_]],
) -> Evaluation:
    """Hold scores against labels.

    Args:
        cells: rows, windows and labels of a recording.
        length: rows of a window.
        windows: `(n,)` positions in `cells.starts` of the scored windows, rising.
        score: `(n,)` their scores, finite.
        chosen: the line that a new stream begins with.
        more: for lines that are not one number, `(n,)` whether each window is above its own, by name.

    Raises:
        EvaluationError: if there is no window, or all or none of them is labelled.
    """
    label = cells.touched(cells.label, length)[windows]
    labelled, count = int(np.count_nonzero(label)), len(label)
    if count == 0:
        message = f"none of the recording's windows of {length} rows could be scored: record more, or look at its gaps"
        raise EvaluationError(message)
    if labelled in {0, count}:
        found = (
            f"no label touches one of the {count:,} windows: there is nothing to find"
            if labelled == 0
            else f"a label touches every one of the {count:,} windows: there is nothing normal to tell them from"
        )
        message = f"one class only: {found}; name the labels of this recording (--labels), or take a longer one"
        raise EvaluationError(message)
    found_volumes = volumes(cells, length, windows, score)
    curves = curve(score, label)
    best = curves.best()
    lines = {"best": score > best, "chosen": score > chosen, **more}
    return Evaluation(
        labelled=labelled,
        normal=count - labelled,
        auc_roc=ranking.auc_roc(score, label),
        auc_pr=ranking.auc_pr(score, label),
        vus_pr=float(np.mean(found_volumes)) if found_volumes else float("nan"),
        volumes=len(found_volumes),
        curves=curves,
        best=best,
        chosen=chosen,
        at={name: Confusion.of(over, label) for name, over in lines.items()},
    )


def curve(score: NDArray[np.float64], label: NDArray[np.bool_]) -> Curves:
    """Return the curves of scores `(n,)`, no NaN, whose labels `(n,)` are of both kinds."""
    threshold, total, hits = ranking.steps(score, label)
    labelled, count = int(hits[-1]), int(total[-1])
    return Curves(
        threshold.astype(np.float64),
        hits / labelled,
        (total - hits) / (count - labelled),
        hits / total,
        2 * hits / (total + labelled),
    )


def known(bundle: Bundle, cells: Cells, windows: NDArray[np.int64]) -> bool:
    """Return whether windows that the bundle was calibrated on are among these: then others of them trained it.

    Args:
        bundle: the bundle; without calibration windows in it the answer is False.
        cells: rows and windows of a recording.
        windows: positions in `cells.starts`.
    """
    kept = calibration_windows(bundle)
    if len(kept) == 0 or len(windows) == 0:
        return False
    # Most windows differ in their first row already, which is cheap to look at.
    first = cells.values[cells.starts[windows]].view(np.int32)
    alike = np.flatnonzero(np.isin(first[:, 0], kept[:, 0, 0].view(np.int32)))
    theirs = {window.tobytes() for window in kept}
    length = bundle.manifest.window.length
    batches = (windows[alike[at : at + _BATCH]] for at in range(0, len(alike), _BATCH))
    return any(window.tobytes() in theirs for batch in batches for window in cells.gather(batch, length))
