"""Mahalanobis distance of a vector a window from its own stream's past, with mean and covariance that adapt.

The distance is (y − μ)ᵀ (Σ + ridge)⁻¹ (y − μ); what is kept of Σ + ridge is one triangle, its inverse Cholesky factor
W, so that whitened numbers are w = W (y − μ). Mean and covariance are exponentially weighted (half-life 3,000 windows,
faster while little has been seen). The mean learns from every window, the covariance from every 8th, with the weight of
8: in between W does not change, and is not written to the state's log. Neighbouring windows share most of their rows.

W learns by a step of rank one, in closed form: the covariance plus r d dᵀ has, with w = W d, the factor whose row k is

    (t_{k−1} W_k − r w_k (w₁ W₁ + … + w_{k−1} W_{k−1})) ÷ √(t_k t_{k−1})        t_k = 1 + r (w₁² + … + w_k²)

The ridge, half of 10⁻⁴ times the mean squared length of the vectors, would be forgotten with the rest. So what is
learned is not d alone but d ± √(D ridge) e, e one coordinate after the other, the sign changing when all have had their
turn.

Measured on NAB: a covariance frozen after calibration costs 2.4 points, plain squares 1 to 2. Two triangles (of a
covariance, and of a factor made anew every 50 windows) found as much, and took twice the memory.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models import errors
from monitor.table import Column, StreamTable

HALF_LIFE = 3000.0
REFRESH = 8
_A = 1 - 0.5 ** (1 / HALF_LIFE)
_LONG = 1 - (1 - _A) ** REFRESH
_RIDGE = 0.5e-4
_LEAST = 1e-6
_LEAST_POWER = 1e-3
_FLOOR = 1e-9
_CHUNK = 1024
"""Factors that are renewed at once: what they take meanwhile stays in the processor's cache."""


class Distance:
    """The distance of one vector of `size` numbers a window.

    Attributes:
        columns: its state.
    """

    def __init__(self, name: str, mean: NDArray[np.float64], covariance: NDArray[np.float64], weight: float) -> None:
        """Set up.

        Args:
            name: begins the names of the columns.
            mean: `(D,)`, where a new stream begins.
            covariance: `(D, D)`, the same.
            weight: windows that these two count for.
        """
        size = len(mean)
        self._size = size
        self._rows, self._columns = np.tril_indices(size)
        self._starts = np.flatnonzero(self._columns == 0)
        self._mean = mean.astype(np.float32)
        self._power = float(np.trace(covariance))
        regular = covariance + self._ridge(np.array([self._power])) * np.eye(size)
        inverse = np.linalg.inv(np.linalg.cholesky(regular))
        self._first = inverse[self._rows, self._columns].astype(np.float32)
        self._weight = weight
        self._names = (f"{name}_mean", f"{name}_factor", f"{name}_power", f"{name}_seen")
        self.columns = (
            Column(self._names[0], np.float32, (size,)),
            Column(self._names[1], np.float32, (len(self._rows),), every=REFRESH),
            Column(self._names[2], np.float64),  # mean squared length of the vectors
            Column(self._names[3], np.int64),
        )

    def refreshed(self, table: StreamTable, slots: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return of which streams the last window has changed the factor."""
        seen = table[self._names[3]][slots]
        found: NDArray[np.bool_] = (seen == 1) | (seen % REFRESH == 0)
        return found

    def step(
        self, table: StreamTable, slots: NDArray[np.int32], vector: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Judge one vector `(n, D)` of each of distinct streams, then learn from it.

        Returns:
            Log of the squared distance, and log of the mean square of the last three whitened numbers: what they bring
            that those before do not explain.
        """
        means, factors, powers, seen = (table[name] for name in self._names)
        count = seen[slots]
        new = slots[count == 0]
        if len(new):
            means[new], factors[new], powers[new] = self._mean, self._first, self._power
        mean = means[slots]
        d = vector.astype(np.float32) - mean
        white = np.add.reduceat(factors[slots] * d[:, self._columns], self._starts, axis=1).astype(np.float64)
        total = np.zeros(len(slots))
        for place in range(self._size):
            total += white[:, place] * white[:, place]
        rate = np.maximum(_A, 1 / (count + self._weight + 1)).astype(np.float32)[:, None]
        means[slots] = mean + rate * d
        seen[slots] = count + 1
        due = np.flatnonzero((count + 1) % REFRESH == 0)
        for first in range(0, len(due), _CHUNK):
            part = due[first : first + _CHUNK]
            at = slots[part]
            rates = np.maximum(_LONG, REFRESH / (count[part] + self._weight + 1))
            factors[at], powers[at] = self._renewed(
                factors[at], powers[at], d[part].astype(np.float64), white[part], rates, (count[part] + 1) // REFRESH
            )
        return np.log(total + _FLOOR), errors.log_square(white[:, :, None], errors.LAST)

    def _ridge(self, power: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what is added to every variance, for vectors of this mean squared length."""
        return _LEAST * np.maximum(_LEAST_POWER, power / self._size) + _RIDGE * power

    def _renewed(
        self,
        packed: NDArray[np.float32],
        power: NDArray[np.float64],
        d: NDArray[np.float64],
        white: NDArray[np.float64],
        rate: NDArray[np.float64],
        turn: NDArray[np.int64],
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Return factors and mean squared lengths that have learned from `d` `(n, D)`; `white` is W d."""
        count = len(packed)
        full = np.zeros((count, self._size, self._size))
        full[:, self._rows, self._columns] = packed
        squares = np.zeros(count)
        for place in range(self._size):
            squares += d[:, place] * d[:, place]
        power = (1 - rate) * (power + rate * squares)
        sign = np.where(turn // self._size % 2 == 0, 1.0, -1.0)
        shift = sign * np.sqrt(self._size * self._ridge(power))
        moved = white + shift[:, None] * full[np.arange(count), :, turn % self._size]
        full = _added(full, moved, rate, 1 / np.sqrt(1 - rate))
        found: NDArray[np.float32] = full[:, self._rows, self._columns].astype(np.float32)
        return found, power


def _added(
    factor: NDArray[np.float64], white: NDArray[np.float64], weight: NDArray[np.float64], scale: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the inverse Cholesky factors `(n, D, D)` of matrices to which `weight` `(n,)` · d dᵀ was added, scaled.

    Args:
        factor: those of the matrices as they were; it is used up.
        white: `(n, D)`, factor · d.
        weight: not below 0.
        scale: `(n,)`, what the factors are multiplied by.
    """
    after = 1 + weight[:, None] * np.cumsum(white * white, axis=1)
    before = np.concatenate([np.ones((len(after), 1)), after[:, :-1]], axis=1)
    root = scale[:, None] / np.sqrt(before * after)
    kept, taken = before * root, weight[:, None] * white * root
    sums = np.zeros((len(factor), factor.shape[2]))
    for row in range(factor.shape[1]):
        left = slice(row + 1)  # what is right of it is 0
        own = factor[:, row, left].copy()
        factor[:, row, left] = kept[:, row, None] * own - taken[:, row, None] * sums[:, left]
        sums[:, left] += white[:, row, None] * own
    return factor
