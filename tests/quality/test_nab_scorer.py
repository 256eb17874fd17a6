"""The NAB score against the published scores of five detectors."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.quality import recordings
from tests.quality.nab_scorer import PROFILES, Labelled, Tally, left_out, sigma, steps, tally
from tests.quality.recordings import Series

PUBLISHED = {"standard": "standard", "low_fp": "reward_low_FP_rate", "low_fn": "reward_low_FN_rate"}
CHI_SQUARED = 13.276704135987622
"""The 0.99 quantile of chi squared with 4 degrees of freedom."""

Corpus = Sequence[tuple[Series, Labelled]]


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    """NAB, or a skip that says where it is missed."""
    try:
        return recordings.nab()
    except recordings.MissingDataError as error:
        pytest.skip(str(error))


def recorded(name: str) -> Callable[[Series], NDArray[np.float64]]:
    """Return the detections that the authors published, row by row."""
    arrays = np.load(recordings.folder("nab") / "published_detections.npz", allow_pickle=False)
    return lambda series: arrays[f"{name}/{series.name}"]


def silent(series: Series) -> NDArray[np.float64]:
    """Never detect anything."""
    return np.full(len(series.time), -np.inf)


def windowed_gaussian(series: Series) -> NDArray[np.float64]:
    """NAB's detector `windowedGaussian`: tail probability under mean and deviation of the last 6,400 values."""
    values = recordings.nab_values(series.name)
    out = np.zeros(len(values))
    start = end = 0
    for row, value in enumerate(values.tolist()):
        if end > start:
            window = values[start:end]
            out[row] = 1 - 0.5 * math.erfc(abs(value - window.mean()) / (window.std() or 1e-6) / math.sqrt(2))
        if end < 6400:
            end += 1
        elif row + 1 - end == 100:  # the window moves on by a hundred rows at once
            start, end = start + 100, end + 100
    return out


def relative_entropy(series: Series) -> NDArray[np.float64]:
    """NAB's detector `relativeEntropy`: a histogram of 52 values that agrees with none that came before."""
    values = recordings.nab_values(series.name)
    out = np.zeros(len(values))
    width = (values.max() - values.min()) / 5
    if width == 0:
        return out
    bins = np.minimum(np.ceil((values - values.min()) / width), 4)
    counts = np.cumsum(np.concatenate([np.zeros((1, 5)), bins[:, None] == np.arange(5)]), axis=0)
    known = np.zeros((0, 5))
    for row in range(51, len(values)):
        share = (counts[row + 1] - counts[row - 51]) / 52
        with np.errstate(divide="ignore", invalid="ignore"):
            entropies = 2 * 52 * np.where(share > 0, share * np.log(share / known), 0).sum(axis=1)
        if not (entropies < CHI_SQUARED).any():
            out[row] = float(len(known) > 0)
            known = np.vstack([known, share])
    return out


THRESHOLDS: dict[str, Callable[[str], float]] = {
    "numenta": lambda key: published_threshold("numenta", key),
    "randomCutForest": lambda key: published_threshold("randomCutForest", key),
    "null": lambda _: 0.5,
    "windowedGaussian": lambda _: 0.99999999999950,  # one threshold gives all three published scores
    "relativeEntropy": lambda _: 1.0,
}
DETECTORS = {"null": silent, "windowedGaussian": windowed_gaussian, "relativeEntropy": relative_entropy}


def published_threshold(name: str, key: str) -> float:
    """Return the threshold that the authors published with a score."""
    found = json.loads((recordings.folder("nab") / "published_thresholds.json").read_text())
    return float(found[name][key]["threshold"])


@pytest.mark.slow
@pytest.mark.parametrize("name", THRESHOLDS)
def test_published_scores_come_out(name: str, corpus: Corpus) -> None:
    """If it failed, our figures could not stand beside anybody else's."""
    published = json.loads((recordings.folder("nab") / "published_scores.json").read_text())[name]
    run = DETECTORS.get(name) or recorded(name)
    made = steps((labelled, run(series)) for series, labelled in corpus)
    assert made.windows == 116
    for profile, key in PUBLISHED.items():
        assert made.at(THRESHOLDS[name](key), PROFILES[profile]) == pytest.approx(published[key], abs=1e-6)
        assert made.best(PROFILES[profile])[1] >= published[key] - 1e-6


def test_a_window_pays_once_and_early_detections_pay_most() -> None:
    """If it failed, many detections of one event would count as many events."""
    labelled = Labelled("g", 1000, ((400, 499),))

    def score(*rows: int) -> float:
        found = np.full(1000, -np.inf)
        found[list(rows)] = 1.0
        return steps([(labelled, found)]).at(1.0, PROFILES["standard"])

    assert score(400) == pytest.approx(100)
    assert score(400, 450, 499) == pytest.approx(100)
    assert 50 < score(499) < score(450) < 100
    assert score(10) == pytest.approx(0)  # probation
    assert score(300) == pytest.approx(100 * -0.11 / 2)
    assert -5.5 < score(510) < 0


def test_a_threshold_from_the_other_groups_cannot_be_better() -> None:
    """If it failed, the honest column would be the flattering one."""
    random = np.random.default_rng(5)
    corpus = [
        (Labelled(group, 2000, ((900, 1000),)), random.random(2000) + (np.arange(2000) == 950) * height)
        for group, height in (("a", 0.5), ("b", 1.0), ("c", 0.1))
    ]
    whole = steps(corpus).best(PROFILES["standard"])[1]
    out = left_out(
        ("a", "b", "c"),
        lambda wanted: steps((labelled, score) for labelled, score in corpus if wanted(labelled.group)),
        PROFILES["standard"],
    )
    assert out <= whole + 1e-9


def test_rows_are_tallied() -> None:
    """If it failed, hits and false alarms in the report would be wrong."""
    score = np.zeros(1000)
    score[[5, 300, 301, 450]] = 1.0
    assert tally([(Labelled("g", 1000, ((400, 499),)), score)], 1.0) == Tally(1, 2)


def test_weights_fall_from_one_to_minus_one() -> None:
    """If it failed, late detections would pay more than early ones."""
    found = sigma(np.array([-1.0, -0.5, 0.0, 0.5, 3.0, 3.1, np.inf]))
    assert np.all(np.diff(found) <= 0)
    assert found[2] == pytest.approx(0)
    assert found[-1] == found[-2] == -1
