"""Ignore rules: what operators know of their sensors, and no recording says. They take alerts away, and add none.

A rule speaks of features of streams. Where one is ignored in a window over its line, its part of the error is taken out
of the score; the window counts only if what is left is still over the line. Lines learn from all scores as they are.
The names are those of vmanomaly (https://docs.victoriametrics.com/anomaly-detection/), the figures those of the event:
actual and expected of a feature at its worst row.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from monitor.score import Scored, shares, worst_rows
from monitor.table import StreamTable
from monitor.window.windows import Windows


class IgnoreRule(BaseModel):
    """An entry of `alert.ignore`: which deviations of some features of some streams do not count."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    streams: Annotated[str, Field(min_length=1)] = Field("*", description="glob of the streams that it is for")
    features: tuple[str, ...] = Field((), description="names of the features that it is for; empty: all")
    detection_direction: Literal["above", "below", "both"] = Field(
        "both", description="only values above, or only those below what was expected count; both: all do"
    )
    min_dev_from_expected: Annotated[FiniteFloat, Field(gt=0)] | None = Field(
        None, description="deviations smaller than this, in the feature's unit, do not count"
    )
    min_rel_dev_from_expected: Annotated[FiniteFloat, Field(gt=0)] | None = Field(
        None, description="deviations smaller than this share of what was expected (0.1: a tenth) do not count"
    )
    data_range: tuple[FiniteFloat | None, FiniteFloat | None] | None = Field(
        None, description="[low, high], null = open: values outside always count, whatever else the rule says"
    )

    @model_validator(mode="after")
    def _says_something(self) -> IgnoreRule:
        low, high = self.data_range or (None, None)
        if low is not None and high is not None and low >= high:
            message = f"data_range: found [{low:g}, {high:g}], expected the lower end first"
            raise ValueError(message)
        given = (self.min_dev_from_expected, self.min_rel_dev_from_expected)
        if self.detection_direction == "both" and given == (None, None):
            message = (
                "this rule ignores nothing: set detection_direction (above or below), min_dev_from_expected or"
                " min_rel_dev_from_expected (data_range alone only says what always counts)"
            )
            raise ValueError(message)
        return self

    def ignores(self, actual: NDArray[np.float32], expected: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return which deviations do not count, in the shape of the arguments; where actual is NaN, none.

        Args:
            actual: values, raw units.
            expected: what the model expected there.
        """
        center = expected.astype(np.float64)
        deviation = actual - center
        found = np.zeros(actual.shape, np.bool_)
        with np.errstate(invalid="ignore", over="ignore"):
            if self.detection_direction == "above":
                found |= deviation <= 0
            elif self.detection_direction == "below":
                found |= deviation >= 0
            if self.min_dev_from_expected is not None:
                found |= np.abs(deviation) < self.min_dev_from_expected
            if self.min_rel_dev_from_expected is not None:
                found |= np.abs(deviation) < self.min_rel_dev_from_expected * np.abs(center)
            low, high = self.data_range or (None, None)
            if low is not None:  # as float32, so that a value that is the bound as written is inside
                found &= ~(actual < np.float32(low))
            if high is not None:
                found &= ~(actual > np.float32(high))
        return found


class Ignore:
    """The rules, for the features of a model."""

    def __init__(self, rules: Sequence[IgnoreRule], features: Sequence[str]) -> None:
        """Set up.

        Args:
            rules: at least one; what one of them ignores is ignored.
            features: names of the model's features, in order.

        Raises:
            ValueError: if a rule names a feature that the model does not have.
        """
        self._rules = tuple(rules)
        self._features = np.ones((len(rules), len(features)), np.bool_)
        for number, rule in enumerate(rules):
            unknown = [name for name in rule.features if name not in features]
            if unknown:
                message = (
                    f"alert.ignore.{number}.features: {unknown[0]!r} is no feature of the model: it has"
                    f" {', '.join(features)}"
                )
                raise ValueError(message)
            if rule.features:
                self._features[number] = [name in rule.features for name in features]

    def of(
        self,
        table: StreamTable,
        windows: Windows,
        scored: Scored,
        line: NDArray[np.float64],
        at: NDArray[np.intp],
    ) -> NDArray[np.intp]:
        """Return which of the windows `at`, all scored and over their lines, do not count, in the same order.

        A feature without a value in a window is not ignored; it has no part of the error either. What comes out is a
        function of each window alone.
        """
        slots, back = np.unique(windows.slot[at], return_inverse=True)
        names = [table.id_of(slot) for slot in slots.tolist()]
        matches = np.array([[fnmatchcase(name, rule.streams) for rule in self._rules] for name in names], np.bool_)
        own = matches.reshape(len(slots), len(self._rules))[back]
        ruled = own.any(axis=1)
        at, own = at[ruled], own[ruled]
        if len(at) == 0:
            return at
        actual, expected = worst_rows(windows.values[at], scored.reconstruction[at])
        ignored = np.zeros(actual.shape, np.bool_)
        for number, rule in enumerate(self._rules):
            ignored |= own[:, number, None] & self._features[number] & rule.ignores(actual, expected)
        part = np.where(ignored, shares(scored.errors[at]), 0).astype(np.float64)
        taken = part.cumsum(axis=1)[:, -1]  # one after another: the same bits for any number of windows
        left = scored.score[at] * (1.0 - np.minimum(taken, 1.0))
        lost: NDArray[np.bool_] = ignored.all(axis=1) | (ignored.any(axis=1) & ~(left > line[at]))
        return at[lost]
