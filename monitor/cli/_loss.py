"""What `encode` and `decode` say of a compression: how much smaller, and what was lost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from models.codes import Loss
from monitor.cli import _lines

_SHOWN = 8  # features


def compression(rows: int, features: int, windows: int, size: int) -> dict[str, Any]:
    """Return the numbers before and after, and their ratio; rows that no window has do not count."""
    return {"values": rows * features, "numbers": windows * size, "ratio": rows * features / max(windows * size, 1)}


def fields(lost: Loss, features: Sequence[str]) -> dict[str, Any]:
    """Return what a program reads of a loss; what is not known is null."""
    return {
        "error": _known(lost.error),
        "baseline_error": _known(lost.baseline),
        "root_mean_squared": dict(zip(features, map(_known, lost.deviations), strict=True)),
    }


def describe(said: dict[str, Any], lost: Loss, features: Sequence[str], note: str = "") -> None:
    """Say both on standard error."""
    smaller = f"{said['ratio']:.3g} : 1" if said["ratio"] >= 1 else f"{said['ratio']:.3g} : 1, which is larger"
    _lines.say("ratio", f"{smaller} ({said['values']:,} values, {said['numbers']:,} numbers in codes)")
    if math.isfinite(lost.error):
        share = f", {lost.error / lost.baseline:.1%} of the training mean's" if lost.baseline else ""
        _lines.say("error", f"{lost.error:.4g} mean squared in scaled units{share}{note}")
    known = [(name, value) for name, value in zip(features, lost.deviations, strict=True) if math.isfinite(value)]
    if known:
        more = f", and {len(known) - _SHOWN} more features" if len(known) > _SHOWN else ""
        listed = ", ".join(f"{name} {value:.4g}" for name, value in known[:_SHOWN])
        _lines.say("error", f"root mean squared in own units: {listed}{more}{note}")


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
