"""Benchmarks of the product: `python -m tests.performance [case …] [--json] [--client NAME]`.

Cases: codec, core, memory, model, throughput, latency, ready, and of durable state: state, restore, failover, lag,
rebalance, changelog; all if none is named. Kafka cases start a real broker.
Progress goes to stderr, figures to stdout. Ratios are of figures from one run, interleaved; absolute figures belong to
the machine.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime

from models.bundle import Bundle
from monitor import logs
from tests.kafka import place
from tests.kafka.broker import Broker
from tests.performance import cluster, durability, job, membership, stages

ALONE = ("codec", "core", "memory", "model")
ON_KAFKA = ("throughput", "latency", "ready", "state", "restore", "failover", "lag", "rebalance", "changelog")
CASES = (*ALONE, *ON_KAFKA)
_FEW = 1_000
"""Streams of the small restore."""


def main() -> None:
    """Run the cases."""
    arguments = _arguments()
    logs.configure(logs.LogSettings(level="warning"))
    found: dict[str, Any] = {"machine": _machine()}
    with tempfile.TemporaryDirectory() as name:
        for case, figures in _run(arguments, Path(name)):
            sys.stderr.write(f"{case}: done\n")
            found[case] = figures
    if arguments.json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n")
        return
    for case, figures in found.items():
        for key, value in figures.items():
            if not isinstance(value, dict):
                text = f"{value:,.3f}" if isinstance(value, float) else value
                sys.stdout.write(f"{case:12} {key:40} {text}\n")


def _arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.performance", description="Benchmarks of tidegauge.")
    parser.add_argument("cases", nargs="*", metavar="case", help=f"of {', '.join(CASES)}; all if none is named")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--client",
        choices=cluster.CLIENTS,
        default=cluster.CLIENTS[0],
        help="that of throughput and latency",
    )
    parser.add_argument("--records", type=int, default=300_000, help="records of the throughput case")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds")
    parser.add_argument("--seconds", type=float, default=40, help="seconds of the latency case")
    parser.add_argument("--warm", type=float, default=60, help="seconds before these that warm the broker up")
    parser.add_argument("--streams", type=int, default=100_000, help="streams of memory and restore")
    parser.add_argument("--rows", type=int, default=24, help="rows of a stream in the restore case")
    parser.add_argument("--lag", type=int, default=1_000_000, help="records of the lag case")
    parser.add_argument("--written", type=int, default=1_000_000, help="records of the changelog case")
    parser.add_argument("--steady", type=float, help="seconds before the kill of the restore case (default: a sweep)")
    parser.add_argument("--patience", type=float, default=90, help="seconds to wait for compaction at most")
    arguments = parser.parse_args()
    unknown = set(arguments.cases) - set(CASES)
    if unknown:
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    arguments.cases = arguments.cases or list(CASES)
    return arguments


def _run(arguments: argparse.Namespace, folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each case that is wanted with its figures."""
    wanted = arguments.cases
    alone: dict[str, Callable[[], dict[str, Any]]] = {
        "codec": stages.codec,
        "core": stages.core,
        "memory": lambda: stages.memory(arguments.streams),
        "model": lambda: stages.model(job.bundle(folder)),
    }
    for case in wanted:
        if case in alone:
            yield case, alone[case]()
    if not set(ON_KAFKA) & set(wanted):
        return
    bundle = job.bundle(folder)
    where = place.find()
    with Broker(where=where.as_delivered() if isinstance(where, place.Java) else where) as broker:
        at, client = broker.bootstrap, arguments.client
        on_kafka: dict[str, Callable[[], dict[str, Any]]] = {
            "throughput": lambda: cluster.throughput(at, bundle, folder, arguments.records, arguments.rounds, client),
            "latency": lambda: cluster.latency(at, bundle, folder, arguments.seconds, arguments.warm, client),
            "ready": lambda: cluster.ready(at, bundle, folder, arguments.rounds),
            "state": lambda: durability.state(at, bundle, folder, arguments.records, arguments.rounds),
            "restore": lambda: _restores(at, bundle, folder, arguments),
            "failover": lambda: membership.failover(at, bundle, folder),
            "lag": lambda: durability.lag(at, bundle, folder, arguments.lag),
            "rebalance": lambda: membership.rebalance(at, bundle, folder),
            "changelog": lambda: durability.changelog(at, bundle, folder, arguments.written, arguments.patience),
        }
        for case in wanted:
            if case in on_kafka:
                yield case, on_kafka[case]()


def _restores(at: str, bundle: Bundle, folder: Path, arguments: argparse.Namespace) -> dict[str, float]:
    """Restore many streams, and few with many rows."""
    few = min(_FEW, arguments.streams // 2)
    large = durability.restore(at, bundle, folder, arguments.streams, arguments.rows, arguments.steady)
    small = durability.restore(at, bundle, folder, few, 10 * arguments.rows, arguments.steady)
    return {**large, **{f"few_{name}": value for name, value in small.items()}}


def _machine() -> dict[str, str]:
    """Return what the figures belong to."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    )
    processor = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    return {
        "commit": commit.stdout.strip(),
        "processor": processor,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "onnxruntime": onnxruntime.__version__,
    }


if __name__ == "__main__":
    main()
