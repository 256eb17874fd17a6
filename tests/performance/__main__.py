"""Benchmarks of the product: `python -m tests.performance [case …] [--json] [--records N] [--rounds N]`.

Cases: codec, core, memory, model, throughput, latency, ready; all if none is named. Kafka cases start a real broker.
Progress goes to stderr, figures to stdout. Ratios are of figures from one run, interleaved; absolute figures belong to
the machine.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime

from tests.kafka.broker import Broker
from tests.performance import cluster, job, stages

CASES = ("codec", "core", "memory", "model", "throughput", "latency", "ready")
ON_KAFKA = {"throughput", "latency", "ready"}


def main() -> None:
    """Run the cases."""
    parser = argparse.ArgumentParser(prog="python -m tests.performance", description="Benchmarks of tidegauge.")
    parser.add_argument("cases", nargs="*", metavar="case", help=f"of {', '.join(CASES)}; all if none is named")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--records", type=int, default=300_000, help="records of the throughput case")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds")
    parser.add_argument("--seconds", type=float, default=40, help="seconds of the latency case")
    parser.add_argument("--streams", type=int, default=100_000, help="streams of the memory case")
    arguments = parser.parse_args()
    unknown = set(arguments.cases) - set(CASES)
    if unknown:
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    wanted = arguments.cases or list(CASES)
    found: dict[str, Any] = {"machine": _machine()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "codec" in wanted:
            found["codec"] = _said("codec", stages.codec())
        if "core" in wanted:
            found["core"] = _said("core", stages.core())
        if "memory" in wanted:
            found["memory"] = _said("memory", stages.memory(arguments.streams))
        bundle = job.bundle(folder) if {"model", *ON_KAFKA} & set(wanted) else None
        if "model" in wanted and bundle is not None:
            found["model"] = _said("model", stages.model(bundle))
        if bundle is not None and ON_KAFKA & set(wanted):
            with Broker() as broker:
                bootstrap = broker.bootstrap
                if "throughput" in wanted:
                    figures = cluster.throughput(bootstrap, bundle, folder, arguments.records, arguments.rounds)
                    found["throughput"] = _said("throughput", figures)
                if "latency" in wanted:
                    found["latency"] = _said("latency", cluster.latency(bootstrap, bundle, folder, arguments.seconds))
                if "ready" in wanted:
                    found["ready"] = _said("ready", cluster.ready(bootstrap, bundle, folder, arguments.rounds))
    if arguments.json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n")
        return
    for case, figures in found.items():
        for key, value in figures.items():
            if not isinstance(value, dict):
                text = f"{value:,.3f}" if isinstance(value, float) else value
                sys.stdout.write(f"{case:12} {key:40} {text}\n")


def _said(case: str, figures: dict[str, Any]) -> dict[str, Any]:
    sys.stderr.write(f"{case}: done\n")
    return figures


def _machine() -> dict[str, str]:
    """Return what the figures belong to."""
    commit = subprocess.run(  # noqa: S603 - fixed words
        ["git", "rev-parse", "--short", "HEAD"],  # noqa: S607 - whichever git there is
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
