"""From cells to a bundle."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.testing import assert_allclose

from models import fitting
from models.base import Shape, find
from models.calibration import RESIDUAL_LEVELS
from models.cells import TrainingError
from models.feeding import Feed
from models.fitting import Fitter
from models.split import split
from models.training import train
from tests.models.waves import FEATURES, WINDOW, feeds, settings, waves

if TYPE_CHECKING:
    from pathlib import Path

    from models.bundle import Bundle
    from models.cells import Cells
    from models.serving import Model
    from models.training import Epoch


def test_progress_is_reported_for_every_epoch(bundle: Bundle, epochs: list[Epoch]) -> None:
    """The user would look at a silent terminal."""
    assert [epoch.epoch for epoch in epochs] == list(range(1, bundle.manifest.training.epochs + 1))
    assert all(epoch.epochs == 4 and epoch.loss > 0 and epoch.validation_loss > 0 for epoch in epochs)
    assert all(earlier.seconds < later.seconds for earlier, later in pairwise(epochs))
    assert all(epoch.eta >= 0 for epoch in epochs)


def test_the_best_epoch_is_kept(bundle: Bundle, epochs: list[Epoch], cells: Cells) -> None:
    """The last epoch's weights would be served, though an earlier one was better."""
    summary, hyper = bundle.manifest.training, bundle.manifest.members[0].hyperparameters
    best = min(epochs, key=lambda epoch: epoch.validation_loss)
    assert (summary.best_epoch, summary.validation_loss) == (best.epoch, best.validation_loss)
    assert summary.validation_loss < summary.baseline_loss
    from models.serving import Model

    parts = split(cells, WINDOW, hyper.validation_split, hyper.calibration_split, hyper.seed)
    scores = Model(bundle).score(cells.gather(parts.validation, 12)).score
    assert_allclose(scores.mean(), best.validation_loss, rtol=1e-3)


def test_a_steady_training_asks_no_validation_window(cells: Cells) -> None:
    """A short recording's few validation windows would break training off, or choose the weights."""
    hyper = settings(epochs=3, patience=1, schedule="cosine").resolve(Shape(12, 2))
    training, validation = feeds(cells, 32)
    values = cells.values.copy()
    values[cells.covered(validation.windows, 12)] = 1000  # nothing that is learned makes these any better
    misled = Feed(replace(cells, values=values), validation.windows, 12, validation.scaling, 256)
    fitter, made = Fitter(find("lstm"), Shape(12, 2), hyper), []
    for told in (validation, misled):
        outcome = fitter.fit(training, told)
        assert len(outcome.history) == outcome.best.epoch == 3
        made.append([np.array(weight) for weight in fitter.networks.autoencoder.weights])
    assert all((one == other).all() for one, other in zip(*made, strict=True))


def test_steps_become_ever_smaller() -> None:
    """The last epoch of a steady training, whose weights are kept, would still leap about."""
    shares = [fitting._cosine(epoch, 6) for epoch in range(7)]
    assert shares[0] == 1
    assert all(earlier > later for earlier, later in pairwise(shares))
    assert 0 < shares[5] < 0.1
    assert shares[6] == 0


def test_calibration_is_measured_on_held_out_windows(bundle: Bundle, model: Model, cells: Cells) -> None:
    """Lines would begin too low, at the error of windows that the network was fitted to."""
    hyper, made = bundle.manifest.members[0].hyperparameters, bundle.manifest.calibration
    parts = split(cells, WINDOW, hyper.validation_split, hyper.calibration_split, hyper.seed)
    windows = cells.gather(parts.calibration, 12)
    scores = model.score(windows)
    logs = np.log(scores.score.astype(np.float64))
    assert (made.count, made.streams) == (len(parts.calibration), 3)
    assert_allclose([made.log_mean, made.log_variance], [logs.mean(), logs.var()])
    assert_allclose(dict(made.quantiles)[0.5], np.quantile(scores.score.astype(np.float64), 0.5))
    assert (made.windows_per_stream, made.windows_per_day) == (109, 1440)
    distance = np.abs(windows.astype(np.float64) - scores.reconstruction)[:, :, 1]
    assert_allclose(bundle.manifest.residual(0.99)[1], np.nanquantile(distance, 0.99))
    assert tuple(dict(bundle.manifest.residuals[0].quantiles)) == RESIDUAL_LEVELS


def test_the_bundle_keeps_windows_to_check_it_with(bundle: Bundle, model: Model) -> None:
    """Serving could not compare chunk sizes, nor a reader the graph with its scores."""
    with np.load(bundle.path / "calibration.npz", allow_pickle=False) as arrays:
        assert len(arrays["windows"]) == min(256, bundle.manifest.calibration.count)
        assert model.score(arrays["windows"]).score.tobytes() == arrays["score"].tobytes()


def test_training_is_told_as_json_and_picture(bundle: Bundle, epochs: list[Epoch]) -> None:
    """The curves of a training would be lost."""
    told = json.loads((bundle.path / "training.json").read_text())
    assert [entry["validation_loss"] for entry in told["history"]] == [epoch.validation_loss for epoch in epochs]
    assert told["hyperparameters"]["nodes"] == [16]
    assert (bundle.path / "training.png").read_bytes().startswith(b"\x89PNG")


def test_labelled_windows_are_in_no_part(cells: Cells) -> None:
    """The network would learn to reconstruct the anomalies."""
    label = np.zeros(len(cells.label), bool)
    label[30:33] = True
    parts = split(replace(cells, label=label), WINDOW, 0.15, 0.15, 0)
    every = np.concatenate([parts.training, parts.validation, parts.calibration])
    assert not replace(cells, label=label).touched(label, 12)[every].any()


def test_a_feature_without_values_is_one_line(cells: Cells, tmp_path: Path) -> None:
    """A sensor that is not in the recording would train a network on nothing."""
    values = cells.values.copy()
    values[:, 1] = np.nan
    with pytest.raises(TrainingError, match="'flow' has no value in the training rows"):
        train(replace(cells, values=values), WINDOW, FEATURES, settings(), tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_values_that_are_no_probabilities_are_refused_with_the_remedy(cells: Cells, tmp_path: Path) -> None:
    """Binary cross-entropy of other values would fall for ever and mean nothing."""
    wrong = settings(loss="binary_crossentropy", scaling="none")
    with pytest.raises(TrainingError, match=r"reach from 4\d.* to 10\d\d.*: set train.scaling to minmax"):
        train(cells, WINDOW, FEATURES, wrong, tmp_path / "bundle")


@pytest.mark.slow
def test_a_training_that_diverges_is_one_line(cells: Cells, tmp_path: Path) -> None:
    """A bundle of NaN would be written, or a traceback shown."""
    wild = settings(learning_rate=1e38, optimizer="sgd", activation="relu")
    with pytest.raises(TrainingError, match=r"the loss is not a number after epoch 1: set train.learning_rate lower"):
        train(cells, WINDOW, FEATURES, wild, tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_constant_features_are_trained_with_a_warning(tmp_path: Path) -> None:
    """A recording in which a valve never moved could not be used, or its change would not stand out."""
    cells = waves(1, 60)
    cells.values[:, 1] = 7
    made = train(cells, WINDOW, FEATURES, settings(epochs=1), tmp_path / "bundle")
    assert "feature 'flow' is constant (7) in training" in made.manifest.training.warnings[0]
    assert "calibration has" in " ".join(made.manifest.training.warnings)
    from models.serving import Model

    changed = cells.gather(np.arange(4), 12)
    changed[:, :, 1] = 8
    assert (Model(made).score(changed).errors[:, 1] > 10).all()


@pytest.mark.slow
def test_other_losses_optimizers_and_scalings_train(tmp_path: Path) -> None:
    """A hyper-parameter of the settings would not reach the network, or not survive the export."""
    chosen = settings(
        loss="binary_crossentropy",
        scaling="minmax",
        optimizer="rmsprop",
        nodes=[8],
        epochs=1,
        options={"bidirectional": True},
    )
    made = train(waves(), WINDOW, FEATURES, chosen, tmp_path / "bundle")
    assert made.manifest.training.validation_loss < made.manifest.training.baseline_loss
    assert made.manifest.members[0].hyperparameters.options == {
        "bidirectional": True,
        "decoder": "repeat",
        "rows_per_step": None,
    }
