"""Voices: how loud a member's residuals are on normal windows, which is what a detector's score is measured against.

Of a member that was fitted to its windows in closed form, the newest are held out. They may be a quiet stretch, and a
voice that has met nothing else cries at every busy one: so where the upper quantile of all windows is higher than that
of the newest, it is calibrated on all. Measured on 42 channels of telemetry beside the product (VUS-PR, mean of the
linear members): newest 0.365, all 0.428, by this rule 0.433 (`tests/quality/RESULTS.md`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models import errors
from models.detector import Voice

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


MEASURED = ("distance", "innovation")
"""Forms that are measured by each stream's own covariance, in the order of what `Distance.step` returns."""


def calibrated(
    part: str,
    form: errors.Form,
    left: NDArray[np.float32],
    stream: NDArray[np.int32],
    late: NDArray[np.bool_] | None,
    arrays: dict[str, NDArray[np.float64]],
    short: int,
) -> Voice:
    """Return a voice: quantiles of the means of `short` log errors, and mean and variance of single ones.

    Args:
        part: the member's name.
        form: what its residuals are boiled down to.
        left: `(n, L, F)` residuals, finite.
        stream: `(n,)` the stream of each, whose windows follow each other.
        late: `(n,)` those that the member was not fitted to; None if that makes no difference.
        arrays: what distances begin with goes in here.
        short: log errors that are averaged before a voice is judged.
    """
    name = f"{part}-{form}"
    voice = Voice(name=name, part=part, form=form, q50=0.0, qt=0.0, mean=0.0, variance=0.0)
    if form in MEASURED:
        flat = left.reshape(len(left), -1).astype(np.float64)
        arrays[f"{part}.mean"] = flat.mean(axis=0)
        arrays[f"{part}.covariance"] = np.cov(flat.T, bias=True)
        logs = np.concatenate([_distances(flat[stream == one], form) for one in np.unique(stream)])
    else:
        if form == "summary":
            arrays[f"{name}.mean"], arrays[f"{name}.factor"] = errors.whitening(errors.summary(left))
        logs = log_errors(voice, left, arrays)
    found = _levels(logs, stream, short)
    if late is not None:
        found = max(_levels(logs[late], stream[late], short), found, key=lambda levels: levels[1])
    q50, qt, mean, variance = found
    return voice.model_copy(update={"q50": q50, "qt": max(qt, q50 + 0.05), "mean": mean, "variance": variance})


def log_errors(
    voice: Voice, left: NDArray[np.float32], arrays: Mapping[str, NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Return a voice's log errors `(n,)` of its member's residuals `(n, L, F)`; its form is not among `MEASURED`."""
    if voice.form == "summary":
        mean, factor = arrays[f"{voice.name}.mean"], arrays[f"{voice.name}.factor"]
        return errors.log_distance(errors.summary(left), mean, factor)
    return errors.log_square(left, errors.LAST if voice.form == "last_rows" else None)


def _levels(logs: NDArray[np.float64], stream: NDArray[np.int32], short: int) -> tuple[float, float, float, float]:
    """Return quantiles 0.5 and 0.99 of the means of `short` log errors, and mean and variance of single ones."""
    q50, qt = np.quantile(_averaged(logs, stream, short), [0.5, 0.99]).tolist()
    return q50, qt, float(logs.mean()), float(logs.var())


def _averaged(logs: NDArray[np.float64], stream: NDArray[np.int32], short: int) -> NDArray[np.float64]:
    """Return the means of `short` log errors in a row of each stream; single ones of streams that have fewer."""
    means = [logs[:0]]
    for number in np.unique(stream):
        own = logs[stream == number]
        means.append(np.convolve(own, np.full(short, 1 / short), "valid") if len(own) >= short else own)
    return np.concatenate(means)


def _distances(flat: NDArray[np.float64], form: errors.Form) -> NDArray[np.float64]:
    """Return log distances, or innovations, of one stream's vectors `(n, D)` under their own covariance."""
    centred = flat - flat.mean(axis=0)
    covariance = centred.T @ centred / len(flat)
    size = flat.shape[1]
    largest = float(np.linalg.eigvalsh(covariance)[-1])
    covariance += (1e-6 * max(1e-3, np.trace(covariance) / size) + 1e-4 * largest) * np.eye(size)
    white = centred @ np.linalg.inv(np.linalg.cholesky(covariance)).T
    if form == "innovation":
        return errors.log_square(white[:, :, None], errors.LAST)
    logs: NDArray[np.float64] = np.log((white * white).sum(axis=1) + 1e-9)
    return logs
