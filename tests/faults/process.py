"""The daemon with the hooks of `points`, and, for the negative controls, with one of its rules broken (`broken`).

`python -m tests.faults.process run --config …`, in the folder that holds the plan. `FAULTS_BREAK` names the rule. The
product itself knows nothing of any of this.
"""

from __future__ import annotations

import os
from pathlib import Path

from monitor.cli import main
from tests.faults import broken, clock, points

if __name__ == "__main__":
    points.install(Path.cwd())
    if wrong := os.environ.get(clock.VARIABLE):
        clock.install(Path(wrong))
    rule = os.environ.get("FAULTS_BREAK")
    if rule:
        broken.RULES[rule].install()
    main()
