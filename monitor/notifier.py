"""What systemd is told: ready, alive, what is going on, and the end. Without systemd it is told nothing."""

from __future__ import annotations

import os
import time

from sdnotify import SystemdNotifier


class Notifier:
    """Speaks the sd_notify protocol from the main loop, so that a stuck loop is noticed."""

    def __init__(self) -> None:
        """Read what systemd asks for from the environment."""
        self._systemd = SystemdNotifier()
        watchdog = os.environ.get("WATCHDOG_USEC", "")
        self._every = int(watchdog) / 1e6 / 3 if watchdog.isdigit() else None
        self._pinged = -float("inf")

    def ready(self, status: str) -> None:
        """Say that the start is over."""
        self._systemd.notify(f"READY=1\nSTATUS={status}")

    def status(self, status: str) -> None:
        """Say what is going on, in one line."""
        self._systemd.notify(f"STATUS={status}")

    def alive(self) -> None:
        """Say that the main loop turns; at most three times in the watchdog's period."""
        now = time.monotonic()
        if self._every is not None and now - self._pinged >= self._every:
            self._pinged = now
            self._systemd.notify("WATCHDOG=1")

    def stopping(self) -> None:
        """Say that the end has begun."""
        self._systemd.notify("STOPPING=1\nSTATUS=draining")
