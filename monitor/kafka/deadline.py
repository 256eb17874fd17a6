"""The last guard: ends the process when a step takes too long that no other time limit has caught."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

EXIT_HUNG = 70


def _exit(status: int) -> None:
    """End the process at once, with a line: whatever hangs would hang the usual end as well."""
    with suppress(OSError):
        os.write(2, b"tidegauge: a transaction hung: this process ends, and a restart goes on from the last commit\n")
    os._exit(status)


class Deadline:
    """Ends the process when a step takes too long: the last guard, for what no other time limit has caught."""

    def __init__(self, seconds: float, end: Callable[[int], Any] = _exit) -> None:
        """Start the watching thread."""
        self._seconds = seconds
        self._end = end
        self._until: float | None = None
        self._changed = threading.Condition()
        self._closed = False
        threading.Thread(target=self._watch, name="transaction-deadline", daemon=True).start()

    def __enter__(self) -> None:
        """Begin a step."""
        with self._changed:
            self._until = time.monotonic() + self._seconds
            self._changed.notify()

    def __exit__(self, *_: object) -> None:
        """End a step."""
        with self._changed:
            self._until = None
            self._changed.notify()

    def close(self) -> None:
        """Stop watching."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _watch(self) -> None:
        with self._changed:
            while not self._closed:
                if self._until is None:
                    self._changed.wait()
                    continue
                left = self._until - time.monotonic()
                if left <= 0:
                    self._end(EXIT_HUNG)
                    return
                self._changed.wait(left)
