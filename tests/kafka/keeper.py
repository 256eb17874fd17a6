"""A small process that outlives a test run by a moment and clears up after it, however the run ended.

It is told of every process and container on its standard input, one a line. When that input ends, because the run
closed it or because the run was killed, what is still there is killed and the folder is removed. Run as a script, so
that it imports nothing but the standard library.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys


def keep(folder: str) -> None:
    """Read `process PID` and `container PROGRAM NAME` lines to the end of the input, then clear up."""
    processes: list[int] = []
    containers: list[tuple[str, str]] = []
    for line in sys.stdin:
        match line.split():
            case ["process", pid]:
                try:
                    # A file descriptor names this very process for ever; its number may be given to another one.
                    processes.append(os.pidfd_open(int(pid)))
                except ProcessLookupError:
                    continue
            case ["container", program, name]:
                containers.append((program, name))
    for descriptor in processes:
        try:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        except ProcessLookupError:
            continue
    for program, name in containers:
        subprocess.run([program, "rm", "--force", "--volumes", name], capture_output=True, check=False)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    keep(sys.argv[1])
