"""How well scores put what is labelled above what is not: figures that need no threshold.

`auc_roc` and `auc_pr` take each entry for itself; of several with one score, none comes before another. `vus_pr` is
for rows in time: anomalies are ranges whose edges count in part, and finding any part of one counts (Paparrizos et
al., Volume under the surface, 2022). It is computed as TSB-AD 1.5 does (`generate_curve`, `opt`), with sums over
sorted rows in place of a pass for each threshold.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

THRESHOLDS = 250
"""Thresholds that `vus_pr` tries, at evenly spread ranks of the scores."""


def auc_roc(score: NDArray[np.floating], label: NDArray[np.bool_]) -> float:
    """Return the chance that a labelled entry has a higher score than another; NaN if one of the two is missing.

    Args:
        score: `(n,)`, no NaN.
        label: `(n,)`.
    """
    _, total, hits = steps(score, label)
    normal = total - hits
    if hits[-1] == 0 or normal[-1] == 0:
        return float("nan")
    heights, widths = np.append(0, hits), np.diff(normal, prepend=0)
    return float(((heights[1:] + heights[:-1]) / 2 * widths).sum() / (hits[-1] * normal[-1]))


def auc_pr(score: NDArray[np.floating], label: NDArray[np.bool_]) -> float:
    """Return the average precision: precision at each threshold, weighted by the recall that it adds; NaN as above."""
    _, total, hits = steps(score, label)
    if hits[-1] == 0 or hits[-1] == total[-1]:
        return float("nan")
    return float((hits / total * np.diff(hits, prepend=0)).sum() / hits[-1])


def steps(
    score: NDArray[np.floating], label: NDArray[np.bool_]
) -> tuple[NDArray[np.floating], NDArray[np.int64], NDArray[np.int64]]:
    """Return each different score, falling, and how many entries and how many labelled ones are not below it."""
    order = np.argsort(-score, kind="stable")
    last = np.append(np.flatnonzero(np.diff(score[order])), len(order) - 1)
    return score[order][last], last + 1, np.cumsum(label[order], dtype=np.int64)[last]


def vus_pr(score: NDArray[np.floating], label: NDArray[np.bool_], window: int) -> float:
    """Return the volume under the precision-recall surface of one series; NaN if all or none of it is labelled.

    Args:
        score: `(n,)` score of each row, in order of time, no NaN.
        label: `(n,)` whether the row is anomalous.
        window: widest margin around a range, in rows; the figure is the mean over the margins from 0 to it.
    """
    if label.all() or not label.any():
        return float("nan")
    edges = np.flatnonzero(np.diff(np.concatenate([[False], label, [False]]).astype(np.int8)))
    ranges = [(int(first), int(behind) - 1) for first, behind in edges.reshape(-1, 2)]
    order = np.argsort(-score, kind="stable")
    ranks = np.linspace(0, len(score) - 1, THRESHOLDS).astype(int)
    thresholds = score[order][ranks]
    # how many rows are not below each threshold
    above = np.searchsorted(-score[order], -thresholds, side="right")
    inside = np.zeros(len(score), np.bool_)
    for first, last in _merged(ranges, window, len(score)):
        inside[first : last + 1] = True
    found = np.cumsum(label[order])[above - 1]
    volumes = []
    for margin in range(window + 1):
        partly = np.where(inside & ~label, _widened(label, ranges, margin), 0.0)
        extra = np.cumsum(partly[order])[above - 1]
        peaks = [float(score[first : last + 1].max()) for first, last in _merged(ranges, margin, len(score))]
        touched = (np.array(peaks)[:, None] >= thresholds).mean(axis=0)
        positives = label.sum() + extra / 2
        recall = np.minimum((found + extra) / positives, 1) * touched
        volumes.append(float(np.diff(recall, prepend=0) @ ((found + extra) / above)))
    return float(np.mean(volumes))


def _merged(ranges: Sequence[tuple[int, int]], margin: int, rows: int) -> list[tuple[int, int]]:
    """Return the ranges with half the margin on both sides, those that then meet as one."""
    half = margin // 2
    merged: list[tuple[int, int]] = []
    begin = max(ranges[0][0] - half, 0)
    for (_, last), (first, _) in pairwise(ranges):
        if last + half < first - half:
            merged.append((begin, last + half))
            begin = first - half
    merged.append((begin, min(ranges[-1][1] + half, rows - 1)))
    return merged


def _widened(label: NDArray[np.bool_], ranges: Sequence[tuple[int, int]], margin: int) -> NDArray[np.float64]:
    """Return how much each row counts as labelled: 1 within a range, less and less up to half the margin from it."""
    amount = label.astype(np.float64)
    for first, last in ranges:
        after = np.arange(last + 1, min(last + margin // 2 + 1, len(label)))
        before = np.arange(max(first - margin // 2, 0), first)
        amount[after] += np.sqrt(1 - (after - last) / max(margin, 1))
        amount[before] += np.sqrt(1 - (first - before) / max(margin, 1))
    widened: NDArray[np.float64] = np.minimum(amount, 1)
    return widened
