"""`python -m tests.faults --minutes N --seed S [--json]`: faults for as long as one likes, and what came of them.

Three nodes of a real Kafka, three daemons, and the faults F1 to F20 of the specification: each once, then as chance
will have it. After each one everything that came out is held against the oracle. Exit status 1 if anything is broken.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from pathlib import Path

from monitor import logs
from tests.faults import report
from tests.faults.catalogue import FAULTS
from tests.faults.runner import Runner
from tests.faults.training import small_bundle
from tests.kafka import place


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Hurt the daemon, and look for harm.")
    parser.add_argument("--minutes", type=float, default=10, help="how long (default 10); at least each fault once")
    parser.add_argument("--kills", type=int, default=0, help="and until so many processes were killed (default 0)")
    parser.add_argument("--seed", type=int, default=0, help="decides which faults come when (default 0)")
    parser.add_argument("--faults", default="", help="only these, such as F1,F2 (default: all)")
    parser.add_argument("--rate", type=float, default=300, help="input records a second (default 300)")
    parser.add_argument("--keep", type=Path, help="folder for the logs of what went wrong")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
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
        runner = Runner(small_bundle(folder), folder, options.seed, rate=options.rate, keep=options.keep)
        found = report.figures(runner.run(wanted, options.minutes * 60, options.kills), options.seed)
    print(json.dumps(found, indent=2) if options.json else report.table(found))
    return 1 if found["broken"] else 0


if __name__ == "__main__":
    sys.exit(main())
