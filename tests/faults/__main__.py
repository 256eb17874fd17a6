"""`python -m tests.faults --minutes N --seed S [--client NAME] [--json]`: faults for as long as one likes.

With `--break RULE` all daemons break one of their rules (`broken`), and the run looks for the harm that must come of
it; `--break all` does so with each of them. Exit status 1 if one does no harm: then the checks prove nothing.

Three nodes of a real Kafka, three daemons, and the faults F1 to F20 of the specification: each once, then as chance
will have it. After each one everything that came out is held against the oracle. Exit status 1 if anything is broken.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monitor import logs
from tests.faults import report
from tests.faults.broken import RULES
from tests.faults.catalogue import FAULTS
from tests.faults.runner import Runner
from tests.faults.training import small_bundle
from tests.faults.world import CLIENTS
from tests.kafka import place

_TRIES = 8  # episodes in which a broken rule must have done harm

_PATIENCE = 150.0  # seconds; harm that keeps work from being done is harm enough


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Hurt the daemon, and look for harm.")
    parser.add_argument("--minutes", type=float, default=10, help="how long (default 10); at least each fault once")
    parser.add_argument("--kills", type=int, default=0, help="and until so many processes were killed (default 0)")
    parser.add_argument("--seed", type=int, default=0, help="decides which faults come when (default 0)")
    parser.add_argument("--faults", default="", help="only these, such as F1,F2 (default: all)")
    parser.add_argument("--rate", type=float, default=300, help="input records a second (default 300)")
    parser.add_argument("--storm", type=float, default=20, help="seconds of one storm of rebalances, F8 (default 20)")
    parser.add_argument("--client", choices=CLIENTS, default=CLIENTS[0], help="the daemons' client of Kafka")
    parser.add_argument("--keep", type=Path, help="folder for the logs of what went wrong")
    parser.add_argument("--break", dest="rule", choices=["all", *RULES], help="break a rule, and look for the harm")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    if options.rule and options.client != CLIENTS[0]:
        parser.error("--break breaks rules of a daemon with kafka-python")
    wanted = options.faults.split(",") if options.faults else sorted(FAULTS, key=lambda each: int(each[1:]))
    if unknown := set(wanted) - set(FAULTS):
        parser.error(f"no such fault: {', '.join(sorted(unknown))}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    logs.configure(logs.LogSettings(level="error"))
    try:
        place.find()
    except place.NoKafkaError as error:
        print(error, file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="tidegauge-faults-") as name:
        folder = Path(name)
        if options.rule:
            return _controls(list(RULES) if options.rule == "all" else [options.rule], folder, options)
        how = {"rate": options.rate, "keep": options.keep, "storm": options.storm, "client": options.client}
        runner = Runner(small_bundle(folder), folder, options.seed, **how)
        found = report.figures(runner.run(wanted, options.minutes * 60, options.kills), options.seed, options.client)
    print(json.dumps(found, indent=2) if options.json else report.table(found))
    return 1 if found["broken"] else 0


def _controls(names: Sequence[str], folder: Path, options: argparse.Namespace) -> int:
    """Break rules, one after the other; return 1 if one of them did no harm."""
    bundle = small_bundle(folder)
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        rule = RULES[name]
        here = folder / name
        here.mkdir()
        wanted = options.faults.split(",") if options.faults else rule.faults
        outcome = Runner(
            bundle, here, options.seed, rate=options.rate, rule=name, patience=_PATIENCE, **rule.how
        ).seek_harm(wanted, _TRIES)
        harm = [each for verdict in outcome.verdicts for each in verdict.broken]
        found[name] = {"rule": rule.says, "episodes": len(outcome.verdicts), "harm": harm[:5]}
    if options.json:
        print(json.dumps({"seed": options.seed, "controls": found, "versions": report.versions()}, indent=2))
    else:
        for name, row in found.items():
            said = "; ".join(row["harm"])[:300] or "NO HARM: the checks prove nothing about it"
            print(f"{name:12} {row['rule']}\n{'':12} episode {row['episodes']}: {said}")
    return 0 if all(row["harm"] for row in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
