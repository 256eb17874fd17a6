"""What a trained bundle makes of the labelled windows of a recording, to compare kinds by.

Windows that were trained on are left out of the figures by window. The series of rows that VUS-PR needs cannot do
without them; there the training rows count, as they do in the benchmark that the figure comes from.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from models import ranking
from models.cells import scorable
from models.serving import Model
from models.split import split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.bundle import Bundle
    from models.cells import Cells

_CELLS = 4_000_000  # cells of the windows held at a time: 16 MB


@dataclass(frozen=True, slots=True)
class Ranking:
    """How well a model's scores put labelled windows above the others; NaN where the recording cannot tell.

    Attributes:
        labelled: windows that a label touches.
        normal: windows without a labelled row that training has not seen.
        auc_roc: chance that a labelled window has the higher score.
        auc_pr: average precision over these windows.
        vus_pr: mean over the streams that have both labelled and other rows, margins up to a window's length. A row
            has the score of the last window that ended by then; before the first window, that of the first.
    """

    labelled: int
    normal: int
    auc_roc: float
    auc_pr: float
    vus_pr: float


def scores(model: Model, cells: Cells, windows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the scores of the windows at these positions of `cells.starts`."""
    length = model.bundle.manifest.window.length
    batch = max(1, _CELLS // (length * cells.values.shape[1]))
    found = [model.score(cells.gather(windows[at : at + batch], length)).score for at in range(0, len(windows), batch)]
    return np.concatenate([np.zeros(0, np.float32), *found])


def rank(bundle: Bundle, cells: Cells) -> Ranking:
    """Score a recording with a bundle that was trained on it, and hold the scores against its labels.

    Raises:
        TrainingError: if the recording is not the one that the bundle was trained on.
    """
    window, hyper = bundle.manifest.window, bundle.manifest.members[0].hyperparameters
    usable = np.flatnonzero(scorable(cells, window, cells.values.shape[1])).astype(np.int64)
    score = scores(Model(bundle), cells, usable).astype(np.float64)
    touched = cells.touched(cells.label, window.length)[usable]
    parts = split(cells, window, hyper.validation_split, hyper.calibration_split, hyper.seed)
    counted = touched | np.isin(usable, np.concatenate([parts.validation, parts.calibration]))
    found = volumes(cells, window.length, usable, score)
    return Ranking(
        labelled=int(touched.sum()),
        normal=int((counted & ~touched).sum()),
        auc_roc=ranking.auc_roc(score[counted], touched[counted]),
        auc_pr=ranking.auc_pr(score[counted], touched[counted]),
        vus_pr=float(np.mean(found)) if found else float("nan"),
    )


def volumes(cells: Cells, length: int, windows: NDArray[np.int64], score: NDArray[np.float64]) -> list[float]:
    """Return VUS-PR of each stream that has both kinds of rows and a scored window, margins up to `length` rows.

    Args:
        cells: rows, windows and labels.
        length: rows of a window.
        windows: `(n,)` positions in `cells.starts` of the scored windows, rising.
        score: `(n,)` their scores.
    """
    ends = cells.starts[windows] + length - 1
    found = []
    for first, behind in _streams(cells.stream):
        label = cells.label[first:behind]
        own = slice(*np.searchsorted(ends, [first, behind]).tolist())
        if label.all() or not label.any() or own.start == own.stop:
            continue
        latest = np.searchsorted(ends[own], np.arange(first, behind), side="right") - 1
        found.append(ranking.vus_pr(score[own][np.maximum(latest, 0)], label, length))
    return found


def _streams(stream: NDArray[np.int32]) -> list[tuple[int, int]]:
    """Return first row and row behind the last of each stream."""
    edges = np.concatenate([[0], np.flatnonzero(np.diff(stream)) + 1, [len(stream)]]).tolist()
    return list(pairwise(edges))
