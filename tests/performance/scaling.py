"""Two members of a group on two cores, beside one on one core; broker and producer share these cores."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from models.bundle import Bundle
from tests.integration.daemon import Daemon, until
from tests.performance import job
from tests.performance.durability import input_of, setting
from tests.performance.feed import fill

_LOOK_SECONDS = 0.1


def scaling(
    bootstrap: str, bundle: Bundle, folder: Path, count: int, rounds: int, client: str = job.CLIENT
) -> dict[str, Any]:
    """Let one member, pinned to a core, and two, each pinned to its own, work off the same records in turn."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    rates: dict[int, list[float]] = {1: [], 2: []}
    for turn in range(rounds):
        for members in (1, 2) if turn % 2 == 0 else (2, 1):
            config = setting(bootstrap, bundle)
            if client != job.CLIENT:
                config["source"]["client"] = client
            name = f"scaling-{turn}-{members}"
            rates[members].append(_rate(bootstrap, config, folder / name, count, cores[:members]))
    return {
        "one_records_per_second": median(rates[1]),
        "two_records_per_second": median(rates[2]),
        "two_to_one": median(two / one for one, two in zip(rates[1], rates[2], strict=True)),
        "rounds": {"one": rates[1], "two": rates[2]},
    }


def _rate(bootstrap: str, config: dict[str, Any], folder: Path, count: int, cores: list[int]) -> float:
    """Return records a second of a member on each of these cores, together, from a fifth of the records on."""
    with ExitStack() as stack:
        daemons = []
        for core in cores:
            own = {**config, "source": {**config["source"], "group_instance_id": f"member-{core}"}}
            with _pinned(core):  # a process begins where the thread is that starts it
                daemons.append(stack.enter_context(Daemon(folder / str(core), own)))
        share = job.PARTITIONS // len(cores)
        until(lambda: all(_partitions(daemon) == share for daemon in daemons), "the partitions are not shared out")
        first, begin = 0, time.perf_counter()
        fill(bootstrap, input_of(config), job.STREAMS, count)
        while (seen := sum(daemon.consumed() for daemon in daemons)) < count:
            if not first and seen >= count // 5:
                first, begin = seen, time.perf_counter()
            time.sleep(_LOOK_SECONDS)
        rate = (count - first) / (_end(daemons) - begin)
        for daemon in daemons:
            assert daemon.stop()[0] == 0
    return rate


@contextmanager
def _pinned(core: int) -> Iterator[None]:
    """Keep this thread on a core for a block."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _partitions(daemon: Daemon) -> int:
    """Return how many partitions a member has."""
    return sum(name.startswith("tidegauge_consumer_lag_records") for name in daemon.metrics())


def _end(daemons: list[Daemon]) -> float:
    """Return when the last record was processed, on the clock of `perf_counter`."""
    name = "tidegauge_last_record_processed_timestamp_seconds"
    last = max(value for daemon in daemons for key, value in daemon.metrics().items() if key.startswith(name))
    return time.perf_counter() - (time.time() - last)
