"""Fitting one autoencoder with Keras: early stopping, the best epoch kept, the same weights from the same seed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from models import backend
from models.cells import TrainingError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from models.base import Autoencoder, Hyperparameters, Loss, Networks, Shape
    from models.feeding import Feed


@dataclass(frozen=True, slots=True)
class Epoch:
    """One epoch that was run.

    Attributes:
        epoch: its number, from 1.
        epochs: most epochs there can be.
        loss: training loss.
        validation_loss: validation loss.
        seconds: wall time since the fit began.
        eta: seconds to the end, if training does not stop early.
    """

    epoch: int
    epochs: int
    loss: float
    validation_loss: float
    seconds: float
    eta: float


@dataclass(frozen=True)
class Outcome:
    """How a fit went.

    Attributes:
        history: its epochs.
        best: the epoch whose weights were kept.
        baseline: validation loss of the training mean as the reconstruction.
        seconds: wall time.
    """

    history: tuple[Epoch, ...]
    best: Epoch
    baseline: float
    seconds: float


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


def fit(
    kind: type[Autoencoder],
    shape: Shape,
    hyper: Hyperparameters,
    training: Feed,
    validation: Feed,
    checkpoint: Path,
    progress: Callable[[Epoch], None] | None = None,
) -> tuple[Networks, Outcome]:
    """Fit fresh networks.

    Args:
        kind: kind of autoencoder.
        shape: shape of a window.
        hyper: hyper-parameters.
        training: training windows.
        validation: validation windows.
        checkpoint: file for the best weights so far; removed at the end.
        progress: called after each epoch.

    Raises:
        TrainingError: if the loss stops being a number.
    """
    backend.load()
    import keras

    keras.backend.clear_session()
    keras.utils.set_random_seed(hyper.seed)
    began = time.monotonic()
    networks = kind.build(shape, hyper)
    trainer = kind.trainer(networks, shape, hyper)
    config = {"learning_rate": hyper.learning_rate, "clipnorm": 1.0}
    optimizer = keras.optimizers.get({"class_name": hyper.optimizer, "config": config})
    loss = present_loss(hyper.loss)
    # XLA takes 7 s to compile and was no faster on a CPU
    trainer.compile(optimizer=optimizer, loss=loss, jit_compile=False)
    baseline = _baseline(loss, validation)
    history: list[Epoch] = []

    class Report(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
        """Keeps the history and tells the caller."""

        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            seconds = time.monotonic() - began
            eta = seconds / (epoch + 1) * (hyper.epochs - epoch - 1)
            history.append(Epoch(epoch + 1, hyper.epochs, logs["loss"], logs["val_loss"], seconds, eta))
            if not np.isfinite([logs["loss"], logs["val_loss"]]).all():
                rate = f"{hyper.learning_rate:g} now"
                message = f"the loss is not a number after epoch {epoch + 1}: set train.learning_rate lower ({rate})"
                raise TrainingError(message)
            if progress is not None:
                progress(history[-1])

    if kind.solve(networks, lambda: (inputs for inputs, _ in training.once())):
        losses = [_evaluate(trainer, feed) for feed in (training, validation)]
        best = Epoch(1, 1, losses[0], losses[1], time.monotonic() - began, 0.0)
        if progress is not None:
            progress(best)
        return networks, Outcome((best,), best, baseline, best.seconds)
    trainer.fit(
        training.dataset(hyper.seed),
        validation_data=validation.passes(),
        epochs=hyper.epochs,
        shuffle=False,  # the dataset draws its own order
        verbose=0,
        callbacks=[
            Report(),
            keras.callbacks.ModelCheckpoint(checkpoint, save_best_only=True, save_weights_only=True),
            keras.callbacks.ReduceLROnPlateau(factor=0.5, patience=max(1, hyper.patience // 3)),
            keras.callbacks.EarlyStopping(patience=hyper.patience),
        ],
    )
    trainer.load_weights(checkpoint)
    checkpoint.unlink()
    best = min(history, key=lambda epoch: epoch.validation_loss)
    return networks, Outcome(tuple(history), best, baseline, time.monotonic() - began)


def _evaluate(trainer: Any, feed: Feed) -> float:  # noqa: ANN401 - a Keras model; Keras has no types
    """Return the mean loss of all windows of a feed."""
    return float(trainer.evaluate(feed.passes(), verbose=0))


def _baseline(loss: Callable[[Any, Any], Any], validation: Feed) -> float:
    """Return the loss of reconstructing every validation window as the training mean."""
    total = 0.0
    for _, targets in validation.once():
        mean = np.broadcast_to(validation.scaling.missing(), targets.shape)
        total += float(np.asarray(loss(targets, mean)).sum())
    return total / len(validation.windows)
