"""Scores held against labels."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.testing import assert_allclose

from models import curves
from models.evaluation import Confusion, EvaluationError, curve, evaluate, known
from models.split import split
from tests.models.waves import WINDOW, settings, waves

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from models.bundle import Bundle


def drawn(seed: int, count: int = 300) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return scores, many of them equal, and labels."""
    random = np.random.default_rng(seed)
    label = random.random(count) < 0.3
    return np.exp(random.normal(size=count) + label).round(1), label


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_line_has_a_higher_f1_than_the_best(seed: int) -> None:
    """An analyst would be told that less is possible than is, or a threshold that does not do what is said of it."""
    score, label = drawn(seed)
    best = Confusion.of(score > curve(score, label).best(), label).f1
    candidates = [*np.unique(score), -1.0]
    assert best == max(Confusion.of(score > line, label).f1 for line in candidates)


def test_the_best_line_separates_neighbouring_floats() -> None:
    """Where scores hardly differ, the line would fall onto the upper one, which then is not above it."""
    low = 0.5
    high = float(np.nextafter(low, 1.0))
    score, label = np.array([low, low, high]), np.array([False, False, True])
    assert Confusion.of(score > curve(score, label).best(), label) == Confusion(1, 0, 0, 2)
    everything = curve(np.array([0.0, 0.0, 0.0]), label).best()
    assert everything < 0


def test_curves_are_those_of_their_definitions() -> None:
    """A picture would show another detector's trade."""
    score, label = drawn(3)
    found = curve(score, label)
    for at in (0, len(found.threshold) // 2, len(found.threshold) - 1):
        over = score >= found.threshold[at]
        assert_allclose(found.recall[at], over[label].mean())
        assert_allclose(found.false_alarm_rate[at], over[~label].mean())
        assert_allclose(found.precision[at], label[over].mean())
        assert_allclose(found.f1[at], Confusion.of(over, label).f1)
    assert (found.recall[-1], found.false_alarm_rate[-1]) == (1, 1)


def test_windows_are_counted() -> None:
    """Accuracy, precision and recall would be those of other counts, or divide by nothing."""
    label = np.array([True, True, True, False, False])
    counted = Confusion.of(np.array([True, True, False, True, False]), label)
    assert counted == Confusion(hits=2, false_alarms=1, misses=1, quiet=1)
    assert_allclose((counted.accuracy, counted.precision, counted.recall, counted.f1), (0.6, 2 / 3, 2 / 3, 2 / 3))
    nothing = Confusion.of(np.zeros(5, np.bool_), label)
    assert np.isnan(nothing.precision)
    assert (nothing.recall, nothing.f1) == (0, 0)


def test_one_class_or_no_window_is_refused() -> None:
    """A recording without labels, or with nothing else, would get figures that mean nothing."""
    cells = waves()
    windows = np.arange(len(cells.starts))
    score = np.linspace(1, 2, len(windows))
    for label, said in ((False, "no label touches one of"), (True, "a label touches every one of")):
        one = replace(cells, label=np.full(len(cells.label), label))
        with pytest.raises(EvaluationError, match=said):
            evaluate(one, WINDOW.length, windows, score, 1.5, {})
    with pytest.raises(EvaluationError, match="could be scored"):
        evaluate(cells, WINDOW.length, windows[:0], score[:0], 1.5, {})


def test_the_picture_of_an_evaluation_is_drawn(tmp_path: Path) -> None:
    """`--picture` would fail where scores are 0, or a line calls nothing anomalous."""
    cells = waves()
    label = np.zeros(len(cells.label), np.bool_)
    label[50:60] = True
    cells = replace(cells, label=label)
    windows = np.arange(len(cells.starts))
    score = np.where(cells.touched(label, WINDOW.length), 3.0, 0.0)
    found = evaluate(cells, WINDOW.length, windows, score, 5.0, {"own": score > 1})
    assert (found.auc_roc, found.at["chosen"].hits, found.at["own"].misses, found.volumes) == (1, 0, 0, 1)
    curves.write(tmp_path / "picture.png", found, score, cells.touched(label, WINDOW.length), "a test")
    content = (tmp_path / "picture.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert len(content) > 20_000


def test_the_recording_of_the_training_is_known(bundle: Bundle) -> None:
    """Nobody would be warned that the figures are those of windows that the model has learned by heart."""
    cells, hyper = waves(), settings()
    everything = np.arange(len(cells.starts))
    assert known(bundle, cells, everything)
    parts = split(cells, WINDOW, hyper.validation_split, hyper.calibration_split, hyper.seed)
    assert not known(bundle, cells, parts.training)
    assert not known(bundle, waves(seed=5), everything)
