"""Benchmarks of the product: `python -m tests.performance [case …] [--json] [--peers] [--records N] [--rounds N]`.

`--help` lists the cases; all run if none is named, `peers` only if it is named or with `--peers`. Most start a real
broker. Progress goes to stderr, figures to stdout, each beside what it must be. Ratios are of figures from one run,
interleaved; absolute figures belong to the machine.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import numpy as np
import onnxruntime

from monitor import logs
from monitor.kafka.clients import ClientName
from tests.kafka import place
from tests.kafka.broker import Broker
from tests.performance import job, limits
from tests.performance.cases import ASKED, CASES, Setting
from tests.performance.peers.race import PEERS


def main() -> None:
    """Run the cases."""
    arguments = _arguments()
    logs.configure(logs.LogSettings(level="warning"))
    found: dict[str, Any] = {"machine": _machine(arguments.client)}
    with tempfile.TemporaryDirectory() as name:
        for case, figures in _run(Setting(arguments, Path(name))):
            sys.stderr.write(f"{case}: done\n")
            found[case] = figures
    judged = {(case, figure): (str(limit), met) for case, figure, limit, met in limits.judged(found, arguments.client)}
    if arguments.json:
        musts: dict[str, Any] = {}
        for (case, figure), (limit, met) in judged.items():
            musts.setdefault(case, {})[figure] = {"must": limit, "met": met}
        sys.stdout.write(msgspec.json.format(msgspec.json.encode({**found, "must": musts}), indent=2).decode() + "\n")
        return
    for case, figures in found.items():
        for figure, value in figures.items():
            if not isinstance(value, dict):
                text = f"{value:,.3f}" if isinstance(value, float) else value
                limit, met = judged.get((case, figure), ("", True))
                must = f"must be {limit}{'' if met else ': MISSED'}" if limit else ""
                sys.stdout.write(f"{case:12} {figure:45} {text:>16} {must}".rstrip() + "\n")


def _arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.performance",
        description="Benchmarks of tidegauge.",
        epilog="\n".join(["cases:", *(f"  {name:12} {case.about}" for name, case in CASES.items())]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("cases", nargs="*", metavar="case", help="see below; all if none is named")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--peers", action="store_true", help="the case peers as well; installs them below build/peers")
    parser.add_argument("--peer", action="append", default=[], choices=[each.name for each in PEERS], help="only this")
    parser.add_argument("--client", choices=get_args(ClientName), default=job.CLIENT, help="of the daemon")
    parser.add_argument("--records", type=int, default=300_000, help="records of cases that count throughput")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds")
    parser.add_argument("--seconds", type=float, default=40, help="seconds of the latency case")
    parser.add_argument("--silence", type=float, default=20, help="seconds that the idle case looks at each")
    parser.add_argument("--warm", type=float, default=60, help="seconds before those of latency, warming the broker up")
    parser.add_argument("--streams", type=int, default=100_000, help="streams of memory, growth and restore")
    parser.add_argument("--rows", type=int, default=24, help="rows of a stream in the restore case")
    parser.add_argument("--lag", type=int, default=1_000_000, help="records of the lag case")
    parser.add_argument("--written", type=int, default=1_000_000, help="records of the changelog case")
    parser.add_argument("--recorded", type=int, default=10_000_000, help="rows of the replay case")
    parser.add_argument("--trained", type=int, default=200_000, help="rows of the training case; then four times these")
    parser.add_argument("--steady", type=float, help="seconds before the kill of the restore case (default: a sweep)")
    parser.add_argument("--patience", type=float, default=90, help="seconds to wait for compaction at most")
    arguments = parser.parse_args()
    unknown = set(arguments.cases) - set(CASES)
    if unknown:
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    arguments.cases = arguments.cases or [name for name in CASES if name not in ASKED]
    if arguments.peers and "peers" not in arguments.cases:
        arguments.cases.append("peers")
    return arguments


def _run(setting: Setting) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each case that is wanted with its figures; those without a broker first."""
    wanted = [(name, CASES[name]) for name in setting.given.cases]
    for name, case in wanted:
        if not case.kafka:
            yield name, case.run(setting)
    rest = [(name, case) for name, case in wanted if case.kafka]
    if not rest:
        return
    where = place.find()
    with Broker(where=where.as_delivered() if isinstance(where, place.Java) else where) as broker:
        setting.bootstrap = broker.bootstrap
        for name, case in rest:
            yield name, case.run(setting)


def _machine(client: str) -> dict[str, str]:
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
        "client": client,
    }


if __name__ == "__main__":
    main()
