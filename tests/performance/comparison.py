"""The job beside what others use: the same records, the same graph, on the same broker, in turn."""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import median
from typing import Any

from models.bundle import Bundle
from tests.kafka.topics import create_topic
from tests.performance import job, runs
from tests.performance.feed import fill
from tests.performance.peers import race, venvs
from tests.performance.peers.venvs import PeerError


def compare(
    bootstrap: str,
    bundle: Bundle,
    folder: Path,
    count: int,
    rounds: int,
    client: str = job.CLIENT,
    chosen: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Interleave the job, exactly once and with state, with every peer; medians, and those of the rounds' ratios.

    The first run of the job is not counted: the broker has just started, which costs whoever comes first a quarter of
    its rate. A peer that cannot be installed, or did not do all of the work, is left out, and it is said why.

    Args:
        bootstrap: the broker.
        bundle: the model.
        folder: for files.
        count: records.
        rounds: how often each has its turn; every second round is in the other order.
        client: of this daemon.
        chosen: names of peers; none = all.
    """
    topic = create_topic(bootstrap, partitions=job.PARTITIONS)
    fill(bootstrap, topic, job.STREAMS, count, spikes=race.spiked)
    task = race.Task.of(count)
    out: dict[str, str] = {}
    pythons: dict[race.Peer, Path] = {}
    for peer in race.PEERS:
        if not chosen or peer.name in chosen:
            try:
                pythons[peer] = venvs.python(peer.program)
            except PeerError as error:
                out[peer.name] = _left_out(error)
    runs.job_rate(bootstrap, topic, count, bundle, folder, model=True, client=client)  # the broker is cold
    ours: list[dict[str, float]] = []
    theirs: dict[str, list[dict[str, float]]] = {peer.name: [] for peer in pythons}
    for turn in range(rounds):
        found = runs.job_rate(bootstrap, topic, count, bundle, folder, model=True, client=client)
        done = (found["windows"], found["alerts_opened"])
        assert done == (task.windows, task.streams), f"windows and alerts: {done}, due are {task}"
        ours.append(found)
        for peer in list(pythons)[:: -1 if turn % 2 else 1]:
            try:
                theirs[peer.name].append(race.run(peer, pythons[peer], bootstrap, topic, count, bundle))
            except PeerError as error:
                out[peer.name] = _left_out(error)
                del pythons[peer], theirs[peer.name]
    return {**_figures(ours, theirs), **{f"{name}_left_out": reason for name, reason in out.items()}}


def _figures(ours: list[dict[str, float]], theirs: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Return medians and ratios."""
    every = {"job": ours, **theirs}
    rates = {name: [each["records_per_second"] for each in of] for name, of in every.items()}
    figures: dict[str, Any] = {}
    for name, of in every.items():
        figures[f"{name}_records_per_second"] = median(rates[name])
        figures[f"{name}_cpu_us_per_record"] = median(each["cpu_us_per_record"] for each in of)
    for key in (key for key in ours[0] if key.startswith("us_")):
        figures[f"job_{key}"] = median(each[key] for each in ours)
    for name in theirs:
        figures[f"to_{name}"] = median(o / t for o, t in zip(rates["job"], rates[name], strict=True))
    return {**figures, "rounds": rates}


def _left_out(error: PeerError) -> str:
    """Say that a peer is left out, and return why."""
    sys.stderr.write(f"{error}; it is left out\n")
    return str(error)
