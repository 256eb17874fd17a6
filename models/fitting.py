"""Fitting autoencoders with Keras: the same weights from the same seed.

With the schedule `plateau` training stops early, and the epoch with the lowest loss of the validation windows is kept.
That needs validation windows worth believing: of one stream's first 600 rows the newest tenth is three independent
windows. `cosine` asks nobody: all epochs, ever smaller steps (Loshchilov and Hutter, SGDR, 2017, without restarts), and
the last weights. For a stream's own model on NAB it is worth from nothing to two points, by how its
voices are fused.

A `Fitter` builds and compiles the networks of one kind, shape and settings once; each `fit` begins with fresh weights.
Compiling takes longer than training on a few hundred windows, so whoever trains the same networks on many streams uses
one `Fitter` for all.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from models import backend
from models.cells import TrainingError
from models.checkpoint import Epoch, State

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from models.base import Autoencoder, Hyperparameters, Loss, Networks, Shape
    from models.checkpoint import Checkpoint
    from models.feeding import Feed

__all__ = ["Epoch", "Fitter", "Outcome"]

_LEAST_FALL = 1e-4  # of the validation loss, below which the learning rate is not kept


@dataclass(frozen=True)
class Outcome:
    """How a fit went.

    Attributes:
        history: its epochs.
        best: the epoch whose weights were kept; with `cosine` the last.
        baseline: validation loss of the training mean as the reconstruction.
        seconds: wall time.
        resumed: the epoch after which a checkpoint was gone on from; 0 = from the beginning.
    """

    history: tuple[Epoch, ...]
    best: Epoch
    baseline: float
    seconds: float
    resumed: int


def present_loss(loss: Loss) -> Callable[[Any, Any], Any]:
    """Return the loss of a window: mean over the cells whose target is present (not NaN); 0 if none is."""
    from keras import ops

    def over_cells(targets: Any, outputs: Any) -> Any:  # noqa: ANN401 - Keras tensors
        present = ops.logical_not(ops.isnan(targets))
        weight = ops.cast(present, "float32")
        known = ops.where(present, targets, 0.0)
        if loss == "mse":
            errors = ops.square(known - outputs)
        else:  # held-out values can lie outside the range of the training rows
            errors = ops.binary_crossentropy(ops.clip(known, 0.0, 1.0), outputs)
        return ops.sum(errors * weight, axis=(1, 2)) / ops.maximum(ops.sum(weight, axis=(1, 2)), 1.0)

    return over_cells


class Fitter:
    """The networks of one kind, shape and settings, compiled once.

    Attributes:
        networks: the networks; `fit` trains them, and leaves them with the best weights.
    """

    def __init__(self, kind: type[Autoencoder], shape: Shape, hyper: Hyperparameters) -> None:
        """Build and compile.

        Raises:
            TrainingError: if TensorFlow is not installed, or the kind refuses the hyper-parameters.
        """
        try:
            kind.check(shape, hyper)
        except ValueError as error:
            raise TrainingError(str(error)) from None
        backend.load()
        import keras

        keras.backend.clear_session()
        self.kind, self.shape, self.hyper = kind, shape, hyper
        keras.utils.set_random_seed(hyper.seed)
        self.networks: Networks = kind.build(shape, hyper)
        self._loss = present_loss(hyper.loss)
        self._trainer = kind.trainer(self.networks, shape, hyper)
        config = {"learning_rate": hyper.learning_rate, "clipnorm": 1.0}
        optimizer = keras.optimizers.get({"class_name": hyper.optimizer, "config": config})
        # XLA takes 7 s to compile and was no faster on a CPU
        self._trainer.compile(optimizer=optimizer, loss=self._loss, jit_compile=False)
        optimizer.build(self._trainer.trainable_variables)
        self._fresh = self._values()

    def fit(
        self,
        training: Feed,
        validation: Feed,
        *,
        seed: int | None = None,
        checkpoint: Checkpoint | None = None,
        progress: Callable[[Epoch], None] | None = None,
    ) -> Outcome:
        """Train from fresh weights, or go on from the checkpoint if it is one of this training.

        Args:
            training: training windows.
            validation: validation windows.
            seed: of the weights and the order of windows; None = that of the hyper-parameters.
            checkpoint: where the state is kept now and then; removed at the end, and where training fails.
            progress: called after each epoch.

        Raises:
            TrainingError: if the loss stops being a number.
        """
        began = time.monotonic()
        seed = self.hyper.seed if seed is None else seed
        self._assign(self._fresh)
        if seed != self.hyper.seed:
            self._redraw(seed)
        baseline = _baseline(self._loss, validation)
        state = None if checkpoint is None else checkpoint.read()
        resumed = len(state.history) if state else 0
        if self.kind.solve(self.networks, training.inputs):
            losses = [self._evaluate(feed) for feed in (training, validation)]
            best = Epoch(1, 1, losses[0], losses[1], time.monotonic() - began, 0.0)
            history: tuple[Epoch, ...] = (best,)
            if progress is not None:
                progress(best)
        else:
            run = _Run(self, checkpoint, progress, state, began)
            try:
                run.go(training, validation, seed)
            except TrainingError:
                if checkpoint is not None:
                    checkpoint.remove()
                raise
            history = tuple(run.history)
            best = history[-1] if self.hyper.schedule == "cosine" else min(history, key=lambda e: e.validation_loss)
        self.kind.settle(self.networks, self.hyper, training.inputs)
        if checkpoint is not None:
            checkpoint.remove()
        return Outcome(history, best, baseline, time.monotonic() - began, resumed)

    def _values(self) -> tuple[NDArray[Any], ...]:
        """Return the values of everything that training changes."""
        return tuple(np.array(variable) for variable in self._variables())

    def _variables(self) -> list[Any]:
        return [*self._trainer.variables, *self._trainer.optimizer.variables]

    def _assign(self, values: Sequence[NDArray[Any]]) -> None:
        """Set variables in their order; `values` may be only the model's, which come first."""
        for variable, value in zip(self._variables(), values, strict=False):
            variable.assign(value)

    def _redraw(self, seed: int) -> None:
        """Give the networks the weights that they would have had with another seed."""
        import keras

        keras.utils.set_random_seed(seed)
        hyper = self.hyper.model_copy(update={"seed": seed})
        drawn = self.kind.build(self.shape, hyper)
        trainer = self.kind.trainer(drawn, self.shape, hyper)
        self._assign([np.array(variable) for variable in trainer.variables])

    def _evaluate(self, feed: Feed) -> float:
        """Return the mean loss of all windows of a feed."""
        return float(self._trainer.evaluate(feed.passes(), verbose=0))


class _Run:
    """One training by gradient steps: what happens after each epoch.

    Learning rate, early stopping and the best epoch follow from the history alone, so that they need no state.
    """

    def __init__(
        self,
        fitter: Fitter,
        checkpoint: Checkpoint | None,
        progress: Callable[[Epoch], None] | None,
        state: State | None,
        began: float,
    ) -> None:
        self._fitter, self._checkpoint, self._progress, self._began = fitter, checkpoint, progress, began
        self.history: list[Epoch] = []
        self._best: tuple[NDArray[Any], ...] = ()
        if state is not None:
            self.history, self._best = list(state.history), state.best
            fitter._assign(state.variables)  # noqa: SLF001 - one thing in two classes
            self._began -= self.history[-1].seconds

    def go(self, training: Feed, validation: Feed, seed: int) -> None:
        """Train, and leave the networks with the best weights."""
        import keras

        run, trainer, first = self, self._fitter._trainer, len(self.history)  # noqa: SLF001 - one thing in two classes

        class After(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
            """Calls back."""

            def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
                trainer.stop_training = run.after(epoch, logs["loss"], logs["val_loss"])

        if not (self.history and self._ended()):
            trainer.fit(
                training.epochs(seed, first),
                validation_data=validation.passes(),
                initial_epoch=first,
                epochs=self._fitter.hyper.epochs,
                steps_per_epoch=training.steps(),
                shuffle=False,  # the dataset draws its own order
                verbose=0,
                callbacks=[After()],
            )
        self._fitter._assign(self._best)  # noqa: SLF001 - one thing in two classes

    def after(self, epoch: int, loss: float, validation_loss: float) -> bool:
        """Note an epoch (from 0); return whether it was the last."""
        fitter, hyper = self._fitter, self._fitter.hyper
        seconds = time.monotonic() - self._began
        eta = seconds / (epoch + 1) * (hyper.epochs - epoch - 1)
        self.history.append(Epoch(epoch + 1, hyper.epochs, loss, validation_loss, seconds, eta))
        if not np.isfinite([loss, validation_loss]).all():
            message = (
                f"the loss is not a number after epoch {epoch + 1}: set train.learning_rate lower"
                f" ({hyper.learning_rate:g} now)"
            )
            raise TrainingError(message)
        losses = [entry.validation_loss for entry in self.history]
        variables = fitter._values()  # noqa: SLF001 - one thing in two classes
        steady = hyper.schedule == "cosine"
        if steady or not self._best or losses[-1] < min(losses[:-1], default=np.inf):
            self._best = variables[: len(fitter._trainer.variables)]  # noqa: SLF001 - the same
        share = _cosine(epoch + 1, hyper.epochs) if steady else 0.5 ** _halvings(losses, max(1, hyper.patience // 3))
        fitter._trainer.optimizer.learning_rate.assign(hyper.learning_rate * share)  # noqa: SLF001 - the same
        last = self._ended()
        if self._checkpoint is not None and (last or self._checkpoint.due()):
            self._checkpoint.write(State(tuple(self.history), fitter._values(), self._best))  # noqa: SLF001 - the same
        if self._progress is not None:
            self._progress(self.history[-1])
        return last

    def _ended(self) -> bool:
        """Return whether the last epoch that was run is the last one there is."""
        losses, hyper = [epoch.validation_loss for epoch in self.history], self._fitter.hyper
        waited = len(losses) - 1 - int(np.argmin(losses))
        return len(losses) >= hyper.epochs or (hyper.schedule == "plateau" and waited >= hyper.patience)


def _cosine(epoch: int, epochs: int) -> float:
    """Return what the learning rate of an epoch (from 0) of so many is multiplied by: 1 for the first, never 0."""
    return 0.5 * (1 + math.cos(math.pi * epoch / epochs)) if epoch < epochs else 0.0


def _halvings(losses: Sequence[float], patience: int) -> int:
    """Return how often the learning rate is halved after these validation losses.

    It is whenever so many epochs have passed, since the lowest loss or the last time, without a lower one.
    """
    lowest, waited, count = np.inf, 0, 0
    for loss in losses:
        waited += 1
        if loss < lowest - _LEAST_FALL:
            lowest, waited = loss, 0
        if waited >= patience:
            count, waited = count + 1, 0
    return count


def _baseline(loss: Callable[[Any, Any], Any], validation: Feed) -> float:
    """Return the loss of reconstructing every validation window as the training mean."""
    total = 0.0
    for _, targets in validation.once():
        mean = np.broadcast_to(validation.scaling.missing(), targets.shape)
        total += float(np.asarray(loss(targets, mean)).sum())
    return total / len(validation.windows)
