"""Runs the daemon again and again over a file that grows, and kills it: `python -m tests.integration.killed CONFIG …`.

Each life is a process of its own, forked from one that has imported everything, so that fifty of them take seconds. It
is killed by SIGKILL from outside: while it begins, at a random moment after a random number of commits, or while it
waits for more. The last one runs to the end of the input.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import models.serving  # noqa: F401 - what a start would take long for
import monitor.service
from monitor.cli import main
from monitor.sources import inputs

AT_ONCE = 0.3
"""Share of the lives that are killed while they begin."""

PATIENCE = 60.0


def live(config: str, *more: str) -> int:
    """Begin a life; return its process."""
    child = os.fork()
    if child:
        return child
    inputs.CHUNK = 600  # some five records a poll, and a commit
    sys.argv = ["tidegauge", "run", "--config", config, *more]
    status = 1
    try:
        main()
    except SystemExit as ended:
        status = int(ended.code or 0)
    finally:
        os._exit(status)


def wait(checkpoint: Path, commits: int, end: int) -> None:
    """Wait until a life has committed so many times, or has come to the end of what it was fed."""
    seen = set[tuple[int, int]]()
    began = time.monotonic()
    while len(seen) <= commits and time.monotonic() - began < PATIENCE:
        try:
            found = checkpoint.stat()
            stands = sum(each["offset"] for each in json.loads(checkpoint.read_bytes())["partitions"])
        except FileNotFoundError:
            continue
        seen.add((found.st_ino, found.st_mtime_ns))
        if stands >= end:
            return
        time.sleep(0.0005)


def run(config: str, lives: int, seed: int, source: Path, target: Path) -> int:
    """Feed the file, kill, and return the last exit status."""
    chance = random.Random(seed)  # noqa: S311 - moments, not secrets
    lines = source.read_bytes().splitlines(keepends=True)
    checkpoint = target.parent / "state" / "checkpoint.json"
    killed = fed = 0
    for number in range(lives):
        share = len(lines) * (number + 1) // lives
        with target.open("ab") as file:
            file.write(b"".join(lines[fed:share]))
        fed = share
        child = live(config, "--set", "source.follow=true")
        if chance.random() < AT_ONCE:
            time.sleep(chance.uniform(0.0, 0.2))
        else:
            wait(checkpoint, chance.randrange(6), fed)
            time.sleep(chance.uniform(0.0, 0.02))
        os.kill(child, signal.SIGKILL)
        killed += os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    status = os.waitstatus_to_exitcode(os.waitpid(live(config), 0)[1])
    sys.stdout.write(f"killed {killed}, then {status}\n")
    return status


if __name__ == "__main__":
    assert monitor.service
    sys.exit(run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]), Path(sys.argv[5])))
