"""Events as JSON Lines, a file or standard output, partition after partition."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from monitor.alert import Alert
from monitor.message import Message
from monitor.replay.parts import Parts, writing

STDOUT = "-"
"""The name that means standard output."""


class EventFile:
    """Collects events; as a context it writes them out at the end, if all went well."""

    def __init__(self, path: str) -> None:
        """Prepare.

        Raises:
            SinkError: if the file's folder cannot be written.
        """
        self._target = None if path == STDOUT else Path(path)
        self._parts = Parts(self._target)

    def add(self, alerts: Iterable[Alert], events: Iterable[Message]) -> None:
        """Take alerts and, one for one, their encoded events, in the order in which an engine returned them."""
        for alert, event in zip(alerts, events, strict=True):
            self._parts.append((alert.topic, alert.partition), (event.value or b"") + b"\n")

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write the events out, unless something failed."""
        with self._parts:
            if kind is None:
                self._write()

    def _write(self) -> None:
        with writing(self._target):
            if self._target is None:
                self._parts.copy(sys.stdout.buffer)
                sys.stdout.buffer.flush()
                return
            made = self._parts.folder / "all"
            with made.open("wb") as out:
                self._parts.copy(out)
            self._parts.publish(made)
