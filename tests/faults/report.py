"""A run as a table, or as one JSON object."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.faults.catalogue import FAULTS
from tests.faults.runner import Outcome
from tests.kafka import place

ROOT = Path(__file__).parents[2]


def figures(outcome: Outcome, seed: int, client: str = "kafka-python") -> dict[str, Any]:
    """Return everything that can be said of a run."""
    rows = {}
    for name in sorted(FAULTS, key=lambda each: int(each[1:])):
        mine = [verdict for verdict in outcome.verdicts if verdict.fault == name]
        if mine:
            rows[name] = {
                "what": FAULTS[name].title,
                "times": len(mine),
                "survived": sum(1 for verdict in mine if not verdict.broken),
                "records": sum(verdict.records for verdict in mine),
                "expected": sum(verdict.events for verdict in mine),
                "lost": sum(verdict.lost for verdict in mine),
                "doubled": sum(verdict.doubled for verdict in mine),
                "other": sum(verdict.other for verdict in mine),
                "aborted": sum(verdict.aborted for verdict in mine),
                "dead_letters": sum(verdict.letters for verdict in mine),
                "slowest_recovery_seconds": round(max(verdict.recovery for verdict in mine), 1),
            }
    return {
        "seed": seed,
        "client": client,
        "minutes": round(outcome.seconds / 60, 1),
        "kills": outcome.killed,
        "kills_at": dict(sorted(outcome.kills.items())),
        "crash_points_not_reached": dict(sorted(outcome.missed.items())),
        "committed_offsets_at_kills": {"looks": outcome.looked, "distinct": outcome.advanced},
        "exit_statuses": {str(status): count for status, count in sorted(outcome.statuses.items())},
        "kinds": dict(sorted(outcome.told.items())),
        "faults": rows,
        "broken": outcome.broken,
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Return what the figures belong to."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    found = {name: version(name) for name in ("kafka-python", "confluent-kafka", "numpy", "onnxruntime")}
    return {"commit": commit.stdout.strip(), "python": platform.python_version(), "kafka": place.version(), **found}


def table(found: dict[str, Any]) -> str:
    """Return the figures as text."""
    names = ("times", "survived", "records", "expected", "lost", "doubled", "other", "aborted", "dead_letters")
    heads = ("times", "survived", "records", "alerts", "lost", "doubled", "other", "aborted", "dead l.")
    lines = ["fault" + "".join(f"{head:>9}" for head in heads) + "   what"]
    total = dict.fromkeys(names, 0)
    for fault, row in found["faults"].items():
        lines.append(f"{fault:5}" + "".join(f"{row[name]:9}" for name in names) + f"   {row['what']}")
        for name in names:
            total[name] += row[name]
    lines.append("all  " + "".join(f"{total[name]:9}" for name in names))
    alone = ("seed", "client", "minutes", "kills", "kills_at", "crash_points_not_reached", "committed_offsets_at_kills")
    lines += [f"{name}: {found[name]}" for name in (*alone, "exit_statuses", "kinds", "versions")]
    lines += [f"BROKEN {each}" for each in found["broken"]] or ["every invariant held after every fault"]
    return "\n".join(lines)
