"""`python -m tests.quality SET [--seeds 3] [--json]`: a set is a module of this package with `measure`.

Sets whose `measure` takes a shelf can be measured in slices: `--resume`, `--only PATTERN`, `--seconds N`.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import os
import pkgutil
import sys
import time
from typing import Any

from monitor import logs
from tests import quality
from tests.quality.recordings import MissingDataError
from tests.quality.shelf import ROOT, OutOfTimeError, Shelf


def sets() -> list[str]:
    """Return the names of the sets: modules that have a function `measure`."""
    names = [module.name for module in pkgutil.iter_modules(quality.__path__)]
    own = [name for name in names if not name.startswith(("_", "test_"))]
    return [name for name in own if hasattr(importlib.import_module(f"tests.quality.{name}"), "measure")]


def main() -> int:
    """Measure one set."""
    parser = argparse.ArgumentParser(prog="python -m tests.quality", description="Detection quality of tidegauge.")
    parser.add_argument("set", choices=sets())
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0, 1, … of the training (3)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--resume", action="store_true", help="take pieces that were measured before as they are")
    parser.add_argument("--only", metavar="PATTERN", help="only pieces whose names match, such as 'MSL/*'")
    parser.add_argument("--seconds", type=float, help="begin no other piece after so long")
    arguments = parser.parse_args()
    logs.configure(logs.LogSettings(level="error"))
    began = time.monotonic()
    module = importlib.import_module(f"tests.quality.{arguments.set}")
    sliced = "shelf" in inspect.signature(module.measure).parameters
    if not sliced and (arguments.resume or arguments.only or arguments.seconds):
        parser.error(f"{arguments.set} is measured in one go: without --resume, --only and --seconds")
    options: dict[str, Any] = {}
    if sliced:
        options["shelf"] = Shelf(
            ROOT / arguments.set, resume=arguments.resume, only=arguments.only, seconds=arguments.seconds
        )
    stdout = os.dup(1)
    os.dup2(2, 1)  # what libraries print is not data
    try:
        found: dict[str, Any] = module.measure(range(arguments.seeds), **options)
    except MissingDataError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except OutOfTimeError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    found["wall_seconds"] = round(time.monotonic() - began, 1)
    with os.fdopen(stdout, "w", encoding="utf-8") as out:
        if arguments.json:
            out.write(json.dumps(found) + "\n")
            return 0
        for key, value in found.items():
            out.write(f"{key:40} {value:.4g}\n" if isinstance(value, float) else f"{key:40} {value}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
