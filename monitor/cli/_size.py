"""Numbers of bytes for people."""

from __future__ import annotations


def size(number: float) -> str:
    """Return a number of bytes for people, in decimal units."""
    for unit in ("B", "KB", "MB"):
        if number < 1000:  # noqa: PLR2004 - decimal units
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} GB"
