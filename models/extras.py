"""What is not in the base install: whether it is here, and which extra brings it."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from models.cells import TrainingError

if TYPE_CHECKING:
    from collections.abc import Iterable


def require(purpose: str, libraries: Iterable[str], extra: str = "train") -> None:
    """Look whether libraries are installed, without loading them.

    Args:
        purpose: what needs them, for the message.
        libraries: their names as they are imported.
        extra: the extra of this package that brings them.

    Raises:
        TrainingError: for the first one that is missing.
    """
    for name in libraries:
        if find_spec(name) is None:
            message = f"{purpose} needs what is not installed here ({name}): pip install 'tidegauge[{extra}]'"
            raise TrainingError(message)
