"""Threads that score beside the one that asks: how many cores there are for them, and the threads themselves.

ONNX Runtime gives the interpreter free while it computes, so that chunks run side by side in one process. All models of
a process share these threads. They wait without work in between, and end with the process: it is `concurrent.futures`
that wakes and joins them at its end, so that none is ever ended inside ONNX Runtime.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_CGROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def cores() -> int:
    """Return how many cores this process may keep busy: those it may run on, and no more than its quota pays for.

    The quota is that of control groups v2 (`cpu.max`), which containers and systemd's `CPUQuota=` set. Of one and a
    half cores the half does not count: a second thread would have the whole process stand still in every period.
    """
    return max(1, min(len(os.sched_getaffinity(0)), int(_quota(_OWN, _CGROUPS))))


def _quota(own: Path, root: Path) -> float:
    """Return the least quota, in cores, of a process's control group and those that it lies in; much, if there is none.

    Args:
        own: the file that names the process's groups.
        root: where the groups are mounted.
    """
    least = 1e6
    try:
        names = [line[3:] for line in own.read_text(encoding="utf-8").splitlines() if line.startswith("0::")]
    except OSError:
        return least
    for name in names:
        group = root / name.strip("/")
        while group.is_relative_to(root):
            try:
                quota, period = (group / "cpu.max").read_text(encoding="ascii").split()
                least = min(least, int(quota) / int(period))
            except (OSError, ValueError, ZeroDivisionError):
                pass  # the root has none, "max" is no number, and a container may not see what it lies in
            group = group.parent
    return least


class Workers:
    """Threads that do one piece of work together with the thread that asks for it."""

    def __init__(self) -> None:
        """Start none: that is done when the first are needed."""
        self._threads = 0
        self._executor: ThreadPoolExecutor | None = None

    def run(self, task: Callable[[], None], helpers: int) -> None:
        """Call `task` here and in so many threads at once; return when all calls have ended, whatever happens.

        A task takes its work from a queue that all calls share: a thread that does not get to run leaves the work to
        the others, and is not waited for.

        Raises:
            BaseException: what a call raised, this thread's first.
        """
        futures = [self._ready(helpers).submit(task) for _ in range(helpers)]
        try:
            task()
        finally:
            begun = [future for future in futures if not future.cancel()]
            failed = [future.exception() for future in begun]
        for error in failed:
            if error is not None:
                raise error

    def forget(self) -> None:
        """Give the threads up: a process that was forked has none of its parent's."""
        self._threads, self._executor = 0, None

    def _ready(self, helpers: int) -> ThreadPoolExecutor:
        """Return what runs calls in at least so many threads."""
        if self._executor is None or helpers > self._threads:
            if self._executor is not None:
                self._executor.shutdown(wait=False)
            self._threads = helpers
            self._executor = ThreadPoolExecutor(helpers, thread_name_prefix="model")
        return self._executor


WORKERS = Workers()
"""Those of this process."""

os.register_at_fork(after_in_child=WORKERS.forget)
