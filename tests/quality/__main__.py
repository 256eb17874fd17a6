"""`python -m tests.quality SET [--seeds 3] [--json]`: a set is a module of this package with `measure`."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pkgutil
import sys
import time
from typing import Any

from monitor import logs
from tests import quality
from tests.quality.recordings import MissingDataError


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
    arguments = parser.parse_args()
    logs.configure(logs.LogSettings(level="error"))
    began = time.monotonic()
    module = importlib.import_module(f"tests.quality.{arguments.set}")
    stdout = os.dup(1)
    os.dup2(2, 1)  # what libraries print is not data
    try:
        found: dict[str, Any] = module.measure(range(arguments.seeds))
    except MissingDataError as error:
        sys.stderr.write(f"{error}\n")
        return 2
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
