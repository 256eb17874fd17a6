"""Codes to decode into windows that nobody recorded: drawn from the prior, or on the way from one window to another.

Only a kind whose codes are pulled towards a known distribution while it trains has a prior (`Autoencoder.draws`); the
codes of the others lie where they like, and most of the space between them is no window of the recording.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.base import find, kinds
from models.bundle import BundleError
from models.codes import single

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.bundle import Bundle


def require_prior(bundle: Bundle) -> None:
    """Refuse a bundle that windows cannot be drawn from.

    Raises:
        BundleError: with the kinds that can.
    """
    single(bundle, "sample")
    kind = bundle.manifest.members[0].kind
    if not find(kind).draws:
        able = ", ".join(name for name, each in kinds().items() if each.draws)
        message = (
            f"bundle {bundle.path} is of the kind {kind}, whose codes have no known distribution to draw from: sample"
            f" needs the kind {able}"
        )
        raise BundleError(message)


def drawn(count: int, size: int, seed: int) -> NDArray[np.float32]:
    """Return codes `(count, size)` from the standard normal; the same seed gives the same, and more of them go on."""
    return np.random.default_rng(seed).standard_normal((count, size), np.float32)


def between(first: NDArray[np.float32], last: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Return `count` codes `(count, Z)` on the straight line from one code `(Z,)` to another, both included."""
    share = np.linspace(0, 1, count, dtype=np.float32)[:, None]
    return (1 - share) * first + share * last
