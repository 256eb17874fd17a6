"""Windows that are given as such, beats or images, for training and scoring without a recording around them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import export, scaling
from models.base import Hyperparameters, Networks, ScalingMethod, Shape, find
from models.cells import Cells
from models.feeding import Feed
from models.fitting import Fitter, Outcome
from models.settings import TrainSettings


def cells(windows: NDArray[np.float32]) -> Cells:
    """Return windows `(n, L, F)` as a recording: each is a stream of its own, with a row a second."""
    count, length, features = windows.shape
    return Cells(
        np.ascontiguousarray(windows, np.float32).reshape(-1, features),
        np.repeat(np.arange(count), length).astype(np.int32),
        np.tile(np.arange(length, dtype=np.int64) * 1000, count),
        np.arange(count, dtype=np.int64) * length,
        np.zeros(count * length, np.bool_),
    )


@dataclass(frozen=True)
class Fitted:
    """Networks that were fitted.

    Attributes:
        outcome: how it went.
        seconds: processor time of this process, which waiting for other programs does not count in.
        scale: how raw units became scaled ones.
    """

    outcome: Outcome
    seconds: float
    scale: scaling.Scaling


class Workbench:
    """One kind with its settings, compiled once, fitted to one set of windows after the other."""

    def __init__(self, shape: Shape, settings: TrainSettings) -> None:
        """Build and compile."""
        self.kind, self.shape = find(settings.kind), shape
        self.hyper: Hyperparameters = settings.resolve(shape)
        self._method: ScalingMethod = settings.scaling
        self.fitter = Fitter(self.kind, shape, self.hyper)
        self._scale: scaling.Scaling | None = None

    @property
    def networks(self) -> Networks:
        """The networks as the last fit left them."""
        return self.fitter.networks

    def fit(self, training: NDArray[np.float32], validation: NDArray[np.float32], seed: int) -> Fitted:
        """Fit to windows `(n, L, F)` in raw units."""
        known = cells(np.concatenate([training, validation]))
        rows = np.arange(len(known.values)) < len(training) * self.shape.length
        scale = self._scale = scaling.fit(scaling.measure(known.values, rows), self._method)
        parts = np.arange(len(training)), np.arange(len(training), len(known.starts))
        feeds = [
            Feed(known, part, self.shape.length, scale, batch)
            for part, batch in zip(parts, (self.hyper.batch_size, 256), strict=True)
        ]
        began = time.process_time()
        outcome = self.fitter.fit(*feeds, seed=seed)
        return Fitted(outcome, time.process_time() - began, scale)

    def compute(self, windows: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Return scores `(n,)`, reconstructions `(n, L, F)` in raw units, and codes `(n, Z)` of complete windows."""
        if self._scale is None:
            raise RuntimeError
        core = export.core(self.kind, self.networks, self.shape, self.hyper)
        scaled = self._scale.apply(np.asarray(windows, np.float32))
        errors, rebuilt, codes = core.predict(scaled, batch_size=256, verbose=0)
        raw = rebuilt * np.asarray(self._scale.scale) + np.asarray(self._scale.offset)
        return errors.astype(np.float64).mean(axis=(1, 2)), raw, codes
