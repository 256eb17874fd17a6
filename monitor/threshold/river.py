"""`p2` and `rolling_quantile`: the plain streaming quantile of a stream's own scores, blended with the prior.

Kept for comparison: P² never forgets, and both follow an anomaly that lasts. Measured on normal rows of 19 machines
at a promise of 1 in 1,000 (tests/quality/RESULTS.md): for 2,000 rows after a step of three deviations both alarm four
times as often as promised; in order the rolling quantile twice as often (at 1 in 5,000 seven times); P² finds half of
the bursts.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from monitor.table import Column, ObjectColumn, StreamTable
from monitor.threshold.base import LEAST_SCORE, Learned, Prior, Threshold, ThresholdSettings


class _River(Threshold):
    """A streaming quantile of river: log line = w · log own + (1 − w) · log prior, w = n ÷ (n + prior_weight)."""

    def __init__(self, settings: P2.Settings | RollingQuantile.Settings, prior: Prior, open_after: int) -> None:  # noqa: ARG002 - the same for all kinds
        """Set up with the calibration of the bundle."""
        from river import stats  # a fifth of a second, and only these kinds need it

        self._stats = stats
        self._q = 1 - settings.rate(prior.windows_per_day)
        self._weight = settings.prior_weight
        self.learned = Learned("quantile_count", settings.prior_weight)
        self._log_prior = float(np.log(prior.quantile(self._q)))
        self.columns = (
            ObjectColumn("quantile", self._create, self._dump, self._load),
            Column("quantile_count", np.int64),
        )

    @abstractmethod
    def _create(self) -> Any:  # noqa: ANN401 - an estimator of river
        """Return the estimator of a new stream."""

    @abstractmethod
    def _inner(self, estimator: Any) -> Any:  # noqa: ANN401 - an estimator of river has no type
        """Return the part of an estimator that holds its state."""

    def _dump(self, estimator: Any) -> bytes:  # noqa: ANN401 - an estimator of river has no type
        # Without its flag of having been updated, an estimator has no value, whatever its state.
        return bytes([estimator._is_updated]) + bytes(self._inner(estimator).__getstate__())  # noqa: SLF001 - as in P2

    def _load(self, state: bytes) -> Any:  # noqa: ANN401 - an estimator of river has no type
        estimator = self._create()
        estimator._is_updated = bool(state[0])  # noqa: SLF001 - as in P2
        try:
            self._inner(estimator).__setstate__(state[1:])
        except (Exception, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - a panic of river's Rust, which is no `Exception`
            message = f"no state of an estimator: {' '.join(str(error).split())[:100]}"
            raise ValueError(message) from None
        return estimator

    def step(
        self,
        table: StreamTable,
        slots: NDArray[np.int32],
        score: NDArray[np.float64],
        end: NDArray[np.int64],  # noqa: ARG002 - the same for all kinds
        restarted: NDArray[np.bool_],  # noqa: ARG002 - the same for all kinds
    ) -> NDArray[np.float64]:
        estimators = table.objects("quantile")
        count = table["quantile_count"][slots]
        own = np.ones(len(slots))
        for i, (slot, value) in enumerate(zip(slots.tolist(), score.tolist(), strict=True)):
            if count[i]:
                own[i] = estimators[slot].get()
            # Only finite scores come here: river's RollingQuantile panics on NaN with a BaseException.
            estimators[slot].update(value)
        table["quantile_count"][slots] = count + 1
        weight = np.where(count > 0, count / (count + max(self._weight, 1e-9)), 0.0)
        return np.exp(weight * np.log(np.maximum(own, LEAST_SCORE)) + (1 - weight) * self._log_prior)


class P2(_River):
    """The P² estimator (Jain and Chlamtac 1985). It never forgets: after a level shift it lags for very long."""

    class Settings(ThresholdSettings):
        """Section `threshold` with `type: p2`."""

        type: Literal["p2"] = "p2"
        prior_weight: Annotated[float, Field(ge=0)] = Field(
            200, description="windows that the bundle's calibration counts for"
        )

    def _create(self) -> Any:  # noqa: ANN401 - an estimator of river has no type
        return self._stats.Quantile(self._q)

    def _inner(self, estimator: Any) -> Any:  # noqa: ANN401 - an estimator of river has no type
        return estimator._quantile  # noqa: SLF001 - river has no public way to its 170 bytes of state but pickle


class RollingQuantile(_River):
    """The quantile of the last `size` scores. It forgets, and learns a long anomaly within `size` windows."""

    class Settings(ThresholdSettings):
        """Section `threshold` with `type: rolling_quantile`."""

        type: Literal["rolling_quantile"] = "rolling_quantile"
        prior_weight: Annotated[float, Field(ge=0)] = Field(
            200, description="windows that the bundle's calibration counts for"
        )
        size: Annotated[int, Field(ge=2, le=100_000)] = Field(1000, description="scored windows that are remembered")

    def __init__(self, settings: Settings, prior: Prior, open_after: int) -> None:
        """Set up with the calibration of the bundle."""
        self._size = settings.size
        super().__init__(settings, prior, open_after)

    def _create(self) -> Any:  # noqa: ANN401 - an estimator of river has no type
        return self._stats.RollingQuantile(self._q, self._size)

    def _inner(self, estimator: Any) -> Any:  # noqa: ANN401 - an estimator of river has no type
        return estimator._rolling_quantile  # noqa: SLF001 - as above
