"""A search for hyper-parameters with Optuna, within a number of trials and a budget of time.

What is searched: layers and nodes around the kind's own, activation, learning rate and batch size. What is best: where
the recording has labels, the average precision of labelled windows against held-out normal ones, and the size of the
code is searched too. Without labels, the squared error of the validation windows; the code then keeps its size, for a
larger one always reconstructs better, anomalies too. The first trial is what the settings say by themselves, so the
result is never worse than they are. What a search chose on labels is no longer measured honestly by the same labels.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from models import export, extras, ranking
from models.base import Shape, find
from models.cells import TrainingError, check, scorable
from models.feeding import Feed
from models.fitting import Fitter
from models.scaling import Scaling
from models.settings import TrainSettings
from models.split import split
from models.training import measured_scaling

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from models.base import Hyperparameters
    from models.bundle import WindowShape
    from models.cells import Cells
    from models.checkpoint import Epoch

_LABELLED = 20_000  # labelled windows that a trial scores at most


@dataclass(frozen=True)
class Trial:
    """One trial.

    Attributes:
        number: from 1.
        chosen: what it changed in the settings.
        value: average precision (with labels, more is better) or validation error (less is better); NaN if it was
            broken off.
        seconds: wall time.
        outcome: `done`, `stopped` (it was worse than the others so far), `late` (the budget was used up) or `failed`.
    """

    number: int
    chosen: dict[str, Any]
    value: float
    seconds: float
    outcome: str


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        settings: the best settings.
        best: the trial that they come from.
        trials: all trials, in order.
        labelled: whether labels decided.
    """

    settings: TrainSettings
    best: Trial
    trials: tuple[Trial, ...]
    labelled: bool


def require() -> None:
    """Look whether Optuna is installed.

    Raises:
        TrainingError: if it is not.
    """
    extras.require("a search", ["optuna"], "search")


def search(
    cells: Cells,
    window: WindowShape,
    features: Sequence[str],
    settings: TrainSettings,
    trials: int,
    seconds: float,
    progress: Callable[[Trial], None] | None = None,
) -> Found:
    """Search around `settings`.

    Args:
        cells: rows, windows and labels of the recording.
        window: how the windows were cut.
        features: names of the columns.
        settings: where the search begins; what it does not search stays as it is.
        trials: most trials.
        seconds: budget of wall time; the trial that it ends in is broken off, but not the first.
        progress: called after each trial.

    Raises:
        TrainingError: if Optuna is missing, the recording cannot be trained on, or not even the first trial succeeds.
    """
    require()
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    check(cells, window, tuple(features))
    case = _Case(cells, window, tuple(features), settings, time.monotonic() + seconds)
    told: list[Trial] = []

    def objective(trial: Any) -> float:  # noqa: ANN401 - Optuna's trial
        began, chosen = time.monotonic(), case.choose(trial)
        value, outcome = math.nan, "failed"
        try:
            value = case.value(chosen, trial)
            outcome = "done"
        except _StoppedError as stopped:
            outcome = stopped.outcome
            raise optuna.TrialPruned from None
        except TrainingError:
            if not told:
                raise
            raise optuna.TrialPruned from None
        finally:
            told.append(Trial(len(told) + 1, chosen, value, time.monotonic() - began, outcome))
            if progress is not None:
                progress(told[-1])
        return value

    study = optuna.create_study(
        direction="maximize" if case.labelled else "minimize",
        sampler=optuna.samplers.TPESampler(seed=settings.seed, n_startup_trials=5),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=5),
    )
    study.enqueue_trial(case.own())
    study.optimize(objective, n_trials=trials, timeout=seconds)
    done = [trial for trial in told if trial.outcome == "done"]
    best = (max if case.labelled else min)(done, key=lambda trial: trial.value)
    return Found(case.settings(best.chosen), best, tuple(told), case.labelled)


class _StoppedError(Exception):
    """A trial is broken off."""

    def __init__(self, outcome: str) -> None:
        super().__init__(outcome)
        self.outcome = outcome


class _Case:
    """What all trials share."""

    def __init__(
        self, cells: Cells, window: WindowShape, features: tuple[str, ...], settings: TrainSettings, deadline: float
    ) -> None:
        self._cells, self._window, self._base, self._deadline = cells, window, settings, deadline
        self._shape = Shape(window.length, len(features))
        self._own: Hyperparameters = settings.resolve(self._shape)
        self._parts = split(cells, window, settings.validation_split, settings.calibration_split, settings.seed)
        self._scaling: Scaling = measured_scaling(cells, self._parts, features, window.length, self._own)[0]
        usable = cells.touched(cells.label, window.length) & scorable(cells, window, len(features))
        found = np.flatnonzero(usable).astype(np.int64)
        self._anomalous = found[:: max(1, len(found) // _LABELLED)]
        self.labelled = len(found) > 0
        self._first = True

    def own(self) -> dict[str, Any]:
        """Return what the settings say by themselves, in the terms of the search."""
        own = self._own
        found: dict[str, Any] = {"learning_rate": own.learning_rate, "batch_size": own.batch_size}
        if own.nodes:
            found |= {"width": 1.0, "layers": own.layers, "activation": own.activation}
        if self.labelled:
            found["code_size"] = own.code_size
        return found

    def choose(self, trial: Any) -> dict[str, Any]:  # noqa: ANN401 - Optuna's trial
        """Return a trial's changes of the settings."""
        own = self._own
        rates, batches = sorted({own.learning_rate, 3e-4, 1e-2}), sorted({own.batch_size, 16, 32, 64, 128})
        chosen: dict[str, Any] = {
            "learning_rate": trial.suggest_float("learning_rate", rates[0], rates[-1], log=True),
            "batch_size": trial.suggest_categorical("batch_size", batches),
        }
        if own.nodes:
            width = trial.suggest_float("width", 0.5, 2.0, log=True)
            layers = trial.suggest_int("layers", max(1, own.layers - 1), own.layers + 1)
            names = sorted({own.activation, "tanh", "relu", "elu"})
            chosen["activation"] = trial.suggest_categorical("activation", names)
            nodes = (*own.nodes, own.nodes[-1])[:layers]
            chosen["nodes"] = tuple(max(1, round(units * width)) for units in nodes)
        if self.labelled:
            cells = self._shape.length * self._shape.features
            most = max(own.code_size, min(64, max(1, cells - 1)))
            chosen["code_size"] = trial.suggest_int("code_size", min(2, own.code_size), most, log=True)
        return chosen

    def settings(self, chosen: dict[str, Any]) -> TrainSettings:
        """Return the settings with a trial's changes."""
        return TrainSettings.model_validate(self._base.model_dump() | {"layers": None} | chosen)

    def value(self, chosen: dict[str, Any], trial: Any) -> float:  # noqa: ANN401 - Optuna's trial
        """Train, and return what is compared."""
        hyper = self.settings(chosen).resolve(self._shape)
        kind = find(self._base.kind)
        fitter = Fitter(kind, self._shape, hyper)
        training = self._feed(self._parts.training, hyper.batch_size)
        validation = self._feed(self._parts.validation, 256)
        first, self._first = self._first, False

        def watch(epoch: Epoch) -> None:
            trial.report(-epoch.validation_loss if self.labelled else epoch.validation_loss, epoch.epoch)
            late = not first and time.monotonic() > self._deadline
            if late or trial.should_prune():
                raise _StoppedError("late" if late else "stopped")

        fitter.fit(training, validation, progress=watch)
        core = export.core(kind, fitter.networks, self._shape, hyper)
        if not self.labelled:
            return self._error(core, validation)
        held = self._feed(np.concatenate([self._parts.validation, self._parts.calibration]), 256)
        normal, anomalous = self._scores(core, held), self._scores(core, self._feed(self._anomalous, 256))
        label = np.repeat([False, True], [len(normal), len(anomalous)])
        return ranking.auc_pr(np.concatenate([normal, anomalous]), label)

    def _feed(self, windows: NDArray[np.int64], batch: int) -> Feed:
        return Feed(self._cells, windows, self._window.length, self._scaling, batch)

    def _scores(self, core: Any, feed: Feed) -> NDArray[np.float64]:  # noqa: ANN401 - a Keras model
        """Return the mean error of each window's present cells."""
        found = []
        for inputs, targets in feed.once():
            present = ~np.isnan(targets)
            errors = np.asarray(core(inputs)[0], np.float64) * present
            found.append(errors.sum(axis=(1, 2)) / np.maximum(present.sum(axis=(1, 2)), 1))
        return np.concatenate(found)

    def _error(self, core: Any, feed: Feed) -> float:  # noqa: ANN401 - a Keras model
        """Return the mean squared error of the present cells."""
        total, count = 0.0, 0
        for inputs, targets in feed.once():
            total += float(np.nansum((np.asarray(core(inputs)[1], np.float64) - targets) ** 2))
            count += int((~np.isnan(targets)).sum())
        return total / count
