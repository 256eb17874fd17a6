"""Where the time of a poll's work goes: a handful of clock readings a poll, whatever its size."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from monitor.score import Model, ModelScores

PARTS = ("decode", "windows", "score", "alerts", "encode")
"""What the work of a poll consists of, in order: bytes to columns; records to windows, until the model gets the first
of them; the model; the rest of the pipeline, which is lines and alerts; events to bytes, and what is counted."""


class TimedModel:
    """A model whose time is taken.

    Attributes:
        seconds: time in it since the last `reset`.
        begun: moment of its first call since then; None = there was none.
    """

    def __init__(self, model: Model) -> None:
        """Take the time of `model`."""
        self._model = model
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self.seconds = 0.0
        self.begun: float | None = None

    def score(self, windows: NDArray[np.float32]) -> ModelScores:
        """Score `(n, L, F)` windows as the model does."""
        begin = time.perf_counter()
        if self.begun is None:
            self.begun = begin
        try:
            return self._model.score(windows)
        finally:
            self.seconds += time.perf_counter() - begin


class Stopwatch:
    """Takes the time of each part of a poll's work.

    Attributes:
        models: what scores, each timed.
    """

    def __init__(self, models: Mapping[str, Model]) -> None:
        """Wrap `models`."""
        self.models = {name: TimedModel(model) for name, model in models.items()}
        self._moments: list[float] = []

    def start(self) -> None:
        """Decoding begins."""
        for model in self.models.values():
            model.reset()
        self._moments = [time.perf_counter()]

    def next(self) -> None:
        """The next part begins: the pipeline, and then what comes behind it."""
        self._moments.append(time.perf_counter())

    @property
    def scoring(self) -> float:
        """Seconds in the models."""
        return sum(model.seconds for model in self.models.values())

    def stop(self) -> dict[str, float]:
        """Return the seconds of each of `PARTS`; windows that are made after the first scoring count as alerts."""
        decoding, piping, behind = self._moments
        firsts: Sequence[float] = [model.begun for model in self.models.values() if model.begun is not None]
        first = min(firsts, default=behind)
        scoring = self.scoring
        parts = (piping - decoding, first - piping, scoring, behind - first - scoring, time.perf_counter() - behind)
        return dict(zip(PARTS, parts, strict=True))
