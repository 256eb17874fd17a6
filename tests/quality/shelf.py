"""What was measured already, on disk: a measurement of an hour in slices of minutes, or of some pieces alone.

A piece is what takes long and stands alone: a series with a seed. It is kept as JSON under `build/quality/SET/seed-N/`,
beside bundles that several pieces need. `--resume` takes pieces that are there as they are: whoever changed the product
since then starts without it. `--only PATTERN` leaves pieces out whose name does not match, `--seconds N` begins no
other piece after so long.
"""

from __future__ import annotations

import fnmatch
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models import bundle
from models.bundle import Bundle

ROOT = Path(__file__).parents[2] / "build" / "quality"

Piece = dict[str, Any]


class OutOfTimeError(Exception):
    """The slice is over before the measurement is; the message says how many pieces of it there are."""


class Shelf:
    """The pieces of one set.

    Attributes:
        folder: where they are.
    """

    def __init__(
        self, folder: Path, *, resume: bool = False, only: str | None = None, seconds: float | None = None
    ) -> None:
        """Set up; without `resume` what is in the folder is removed."""
        self.folder = folder
        self._only, self._until = only, None if seconds is None else time.monotonic() + seconds
        self._made = 0
        if not resume:
            shutil.rmtree(folder, ignore_errors=True)

    def wants(self, name: str) -> bool:
        """Return whether a piece of this name is asked for."""
        return self._only is None or fnmatch.fnmatch(name, self._only)

    def piece(self, seed: int, name: str, make: Callable[[], Piece]) -> Piece:
        """Return a piece: what `make` returns, or what it returned.

        Raises:
            OutOfTimeError: if it is not there, and the slice is over.
        """
        path = self.folder / f"seed-{seed}" / f"{name.replace('/', '_')}.json"
        if path.exists():
            kept: Piece = json.loads(path.read_text())
            return kept
        self._hurry()
        made = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".part")
        beside.write_text(json.dumps(made))
        beside.replace(path)
        self._made += 1
        return made

    def bundle(self, seed: int, name: str, make: Callable[[Path], Bundle]) -> Bundle:
        """Return a bundle that `make` trains, or trained; the same."""
        path = self.folder / f"seed-{seed}" / name
        if path.exists():
            return bundle.read(path)
        self._hurry()
        path.parent.mkdir(parents=True, exist_ok=True)
        return make(path)

    def _hurry(self) -> None:
        if self._until is not None and time.monotonic() > self._until:
            message = f"the slice is over, {self._made} pieces were measured: go on with --resume"
            raise OutOfTimeError(message)
