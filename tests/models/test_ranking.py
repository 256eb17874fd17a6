"""Figures of scores against labels."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.testing import assert_allclose

from models.ranking import THRESHOLDS, auc_pr, auc_roc, vus_pr

if TYPE_CHECKING:
    from numpy.typing import NDArray


def drawn(seed: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return scores, some of them equal, that are higher in labelled ranges, of which two lie close together."""
    random = np.random.default_rng(seed)
    label = np.zeros(400, np.bool_)
    label[40:52] = label[58:61] = label[200] = label[390:] = True
    score = random.normal(size=400) + np.where(label, 1.2, 0.0)
    return score.round(1), label


def test_areas_are_those_of_their_definitions() -> None:
    """A table would rank the kinds by something else than it says."""
    score, label = drawn(0)
    pairs = [np.sign(one - other) / 2 + 0.5 for one, other in product(score[label], score[~label])]
    assert_allclose(auc_roc(score, label), np.mean(pairs))
    area, recall = 0.0, 0.0
    for threshold in sorted(set(score.tolist()), reverse=True):
        over = score >= threshold
        now = label[over].sum() / label.sum()
        area, recall = area + (now - recall) * label[over].mean(), now
    assert_allclose(auc_pr(score, label), area)


def test_perfect_and_useless_scores_are_known() -> None:
    """The figures would have another scale than the literature's."""
    label = np.repeat([False, True], [90, 10])
    high, flat = label.astype(np.float64), np.zeros(100)
    assert (auc_roc(high, label), auc_pr(high, label), auc_roc(-high, label)) == (1, 1, 0)
    assert_allclose((auc_roc(flat, label), auc_pr(flat, label)), (0.5, 0.1))


def test_without_both_kinds_of_entries_there_is_no_figure() -> None:
    """A recording without labels would get a figure that means nothing."""
    for label in (np.zeros(5, np.bool_), np.ones(5, np.bool_)):
        for found in (auc_roc(np.arange(5.0), label), auc_pr(np.arange(5.0), label), vus_pr(np.arange(5.0), label, 2)):
            assert np.isnan(found)


@pytest.mark.parametrize(("seed", "window"), [(0, 0), (1, 5), (2, 16)])
def test_vus_pr_is_that_of_the_definition(seed: int, window: int) -> None:
    """Published figures could not be compared with ours; this is the benchmark's own procedure, step by step."""
    score, label = drawn(seed)
    assert_allclose(vus_pr(score, label, window), _slowly(score, label, window), rtol=1e-12)


@pytest.mark.parametrize(("window", "published"), [(3, 0.2811167266515101), (20, 0.30452524533456987)])
def test_vus_pr_is_that_of_the_benchmark(window: int, published: float) -> None:
    """The figure would not be the published one: these are what TSB-AD 1.5's `generate_curve` gives for this series."""
    assert_allclose(vus_pr(*drawn(3), window), published, rtol=1e-12)


def test_the_benchmark_still_says_the_same() -> None:
    """The numbers above would be those of a version that nobody uses; runs where TSB-AD is installed."""
    metrics = pytest.importorskip("TSB_AD.evaluation.basic_metrics")
    score, label = drawn(3)
    for window in (3, 20):
        assert_allclose(
            vus_pr(score, label, window),
            metrics.generate_curve(label.astype(int), score, window, "opt", THRESHOLDS)[7],
            rtol=1e-12,
        )


def _slowly(score: NDArray[np.float64], label: NDArray[np.bool_], window: int) -> float:
    """Return VUS-PR with a pass over all rows for each margin and threshold, as TSB-AD's `RangeAUC_volume_opt` does."""
    ranges = [(40, 51), (58, 60), (200, 200), (390, len(label) - 1)]
    volumes = []
    for margin in range(window + 1):
        near = label.astype(float)
        for first, last in ranges:
            for row in range(len(label)):
                away = max(first - row, row - last)
                if 0 < away <= margin // 2:
                    near[row] += np.sqrt(1 - away / margin)
        near = np.minimum(near, 1)
        areas, inside = _joined(ranges, margin, len(label)), _joined(ranges, window, len(label))
        volume, before = 0.0, 0.0
        for rank in np.linspace(0, len(score) - 1, THRESHOLDS).astype(int):
            over = score >= -np.sort(-score)[rank]
            amount = np.where(label, 1.0, near * over)
            hits = sum((amount * over)[first : last + 1].sum() for first, last in inside)
            positives = (label.sum() + sum(amount[first : last + 1].sum() for first, last in inside)) / 2
            touched = np.mean([over[first : last + 1].any() for first, last in areas])
            recall = min(hits / positives, 1) * touched
            volume, before = volume + (recall - before) * hits / over.sum(), recall
        volumes.append(volume)
    return float(np.mean(volumes))


def _joined(ranges: list[tuple[int, int]], margin: int, rows: int) -> list[tuple[int, int]]:
    """Return the ranges with half the margin on both sides; those that touch are one."""
    half, found = margin // 2, [[max(ranges[0][0] - margin // 2, 0), ranges[0][1] + margin // 2]]
    for first, last in ranges[1:]:
        if first - half <= found[-1][1]:
            found[-1][1] = last + half
        else:
            found.append([first - half, last + half])
    return [(first, min(last, rows - 1)) for first, last in found]
