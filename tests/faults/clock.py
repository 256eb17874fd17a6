"""A wall clock that is off by what a file says, for a daemon that the faults start; monotonic time stays as it is.

What asks Python for the time gets the wrong one, the Kafka client's timestamps among it. (libfaketime would be for the
whole process, but lets every `time.sleep` of Python 3.11 fail when monotonic time is to stay: 0.9.10, Debian 12.)
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

VARIABLE = "FAULTS_CLOCK"
"""Names the file; the harness alone knows it, not the product."""


def install(path: Path) -> None:
    """Let the clock be off from now on."""
    real, real_ns = time.time, time.time_ns

    def off() -> float:
        try:
            return float(path.read_text() or 0)
        except (OSError, ValueError):
            return 0.0

    def told(convert: Callable[..., Any]) -> Callable[..., Any]:
        return lambda seconds=None: convert(time.time() if seconds is None else seconds)

    time.time = lambda: real() + off()
    time.time_ns = lambda: real_ns() + int(off() * 1e9)
    time.gmtime, time.localtime = told(time.gmtime), told(time.localtime)
