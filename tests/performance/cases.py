"""The cases by name: what each measures, and how it is run."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from models.bundle import Bundle
from tests.performance import (
    cluster,
    comparison,
    durability,
    growth,
    idle,
    job,
    logic,
    membership,
    recording,
    scaling,
    serving,
    stages,
    throughput,
    training,
)

_FEW = 1_000
"""Streams of the small restore."""


@dataclass
class Setting:
    """What a case is given.

    Attributes:
        given: the arguments of the command line.
        folder: for files.
        bootstrap: the broker; "" for cases without one.
    """

    given: Namespace
    folder: Path
    bootstrap: str = ""

    @cached_property
    def bundle(self) -> Bundle:
        """The job's model; trained when it is first asked for."""
        return job.bundle(self.folder)

    @property
    def on_kafka(self) -> tuple[str, Bundle, Path]:
        """What every case with a broker begins with."""
        return self.bootstrap, self.bundle, self.folder


@dataclass(frozen=True)
class Case:
    """A case.

    Attributes:
        about: what it measures, in a line.
        run: returns its figures by name.
        kafka: whether it needs a broker.
    """

    about: str
    run: Callable[[Setting], dict[str, Any]]
    kafka: bool = True


def _restores(at: Setting) -> dict[str, float]:
    """Restore many streams, and few with many rows."""
    given = at.given
    few = min(_FEW, given.streams // 2)
    large = durability.restore(*at.on_kafka, given.streams, given.rows, given.steady)
    small = durability.restore(*at.on_kafka, few, 10 * given.rows, given.steady)
    return {**large, **{f"few_{name}": value for name, value in small.items()}}


def _compare(at: Setting) -> dict[str, Any]:
    given = at.given
    return comparison.compare(*at.on_kafka, given.records, given.rounds, given.client, tuple(given.peer))


CASES: dict[str, Case] = {
    "codec": Case("bytes to columns, beside msgspec's bare parse", lambda _: stages.codec(), kafka=False),
    "core": Case("windows, lines and alert machine", lambda _: stages.core(), kafka=False),
    "logic": Case(
        "scoring after the model, a window and a stream, of both presets",
        lambda at: (
            logic.logic(at.folder, min(logic.STREAMS, at.given.streams))
            | logic.faults(min(logic.STREAMS, at.given.streams))
        ),
        kafka=False,
    ),
    "memory": Case("bytes a stream", lambda at: stages.memory(at.given.streams), kafka=False),
    "model": Case(
        "the model as served, beside ONNX Runtime's defaults and Keras' export",
        lambda at: serving.model(at.bundle, at.folder, at.given.rounds),
        kafka=False,
    ),
    "growth": Case(
        "a record's cost with many streams, beside few",
        lambda at: growth.growth(at.bundle, at.given.streams, at.given.rounds),
        kafka=False,
    ),
    "training": Case(
        "windows a second and memory of training, beside a plain model.fit",
        lambda at: training.training(at.given.trained, at.given.rounds),
        kafka=False,
    ),
    "throughput": Case(
        "the job, its parts and the model alone, beside a raw poll() loop",
        lambda at: throughput.throughput(*at.on_kafka, at.given.records, at.given.rounds, at.given.client),
    ),
    "peers": Case("the job beside what others use (only if named, or with --peers)", _compare),
    "latency": Case(
        "from a record to its alert",
        lambda at: cluster.latency(*at.on_kafka, at.given.seconds, at.given.warm, at.given.client),
    ),
    "ready": Case("from exec to READY", lambda at: cluster.ready(*at.on_kafka, at.given.rounds)),
    "replay": Case(
        "a long recording in Parquet, beside the daemon on Kafka",
        lambda at: recording.replay(*at.on_kafka, at.given.recorded, at.given.client),
    ),
    "scaling": Case(
        "two members on two cores, beside one on one",
        lambda at: scaling.scaling(*at.on_kafka, at.given.records, at.given.rounds, at.given.client),
    ),
    "idle": Case(
        "a daemon without work, beside its bare client",
        lambda at: idle.idle(*at.on_kafka, at.given.silence, at.given.client),
    ),
    "state": Case(
        "the job with state, beside without",
        lambda at: durability.state(*at.on_kafka, at.given.records, at.given.rounds),
    ),
    "restore": Case("a member's restore under load, of many streams and of few", _restores),
    "failover": Case("from a kill to the next alert", lambda at: membership.failover(*at.on_kafka)),
    "lag": Case("memory while a lag is worked off", lambda at: durability.lag(*at.on_kafka, at.given.lag)),
    "rebalance": Case("a rebalance that changes no owner", lambda at: membership.rebalance(*at.on_kafka)),
    "changelog": Case(
        "bytes of the log of state",
        lambda at: durability.changelog(*at.on_kafka, at.given.written, at.given.patience),
    ),
}

ASKED = ("peers",)
"""Cases that run only if they are named: they install what others make."""
