"""The metrics that deploy/README.md tells operators to watch."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = (Path(__file__).parents[2] / "deploy" / "README.md").read_text()


def test_metrics_to_watch_exist() -> None:
    """An operator's alert rule on a metric that does not exist never fires."""
    metrics = pytest.importorskip("monitor.metrics", exc_type=ModuleNotFoundError)
    source = Path(metrics.__file__).read_text()
    names = re.findall(r"^\| `tidegauge_(\w+)` \|", README, re.MULTILINE)
    assert names
    # A counter is declared without the suffix that the exposition gives it, and maybe without the prefix.
    missing = [
        name for name in names if not re.search(rf'"(tidegauge_)?{name.removesuffix("_total")}(_total)?"', source)
    ]
    assert not missing
