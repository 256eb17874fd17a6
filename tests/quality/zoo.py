"""Set `zoo`: every kind of autoencoder on heart beats and handwritten digits; prints the tables of `RESULTS.md`.

It takes hours of processor time, so each figure is kept as it comes, in `build/quality/zoo.json`: a run that was broken
off goes on from there. Remove the file to measure anew.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.quality import zoo_cli, zoo_digits, zoo_ecg

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "build" / "quality" / "zoo.json"


def kept(name: str, compute: Callable[..., Any], *arguments: Any) -> Any:
    """Return the figure of that name, computed if it is not there yet."""
    known: dict[str, Any] = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    if name not in known:
        found = compute(*arguments)
        known = json.loads(KEPT.read_text()) if KEPT.exists() else {}
        known[name] = found
        KEPT.parent.mkdir(parents=True, exist_ok=True)
        KEPT.write_text(json.dumps(known, indent=1) + "\n")
    return known[name]


def measure(seeds: Sequence[int]) -> dict[str, Any]:
    """Measure; the tables are among the figures."""
    command = [kept(f"command line, seed {seed}", _command, seed) for seed in seeds]
    beats = {
        case: [kept(f"ecg, {case}, seed {seed}", zoo_ecg.measure, case, seed) for seed in seeds]
        for case in zoo_ecg.CASES
    }
    digits = {
        kind: [
            kept(f"digits, {kind}, seed {seed}", zoo_digits.measure, kind, seed, _picture(kind, seed)) for seed in seeds
        ]
        for kind in zoo_digits.KINDS
    }
    tables = [
        "#### Heart beats, through the command line alone",
        "",
        *zoo_cli.table(command),
        "",
        f"The distance to the mean normal beat alone has {zoo_ecg.baseline():.4f}.",
        "",
        "#### Heart beats, five folds",
        "",
        *zoo_ecg.table(beats),
        "",
        "#### Digits",
        "",
        *zoo_digits.table(digits),
    ]
    return {"tables": "\n" + "\n".join(tables), "command_line": command, "ecg5000": beats, "digits": digits}


def _command(seed: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        return zoo_cli.measure(seed, Path(folder))


def _picture(kind: str, seed: int) -> Path | None:
    """Return where the plane of codes is drawn: of the first seed only."""
    if seed:
        return None
    KEPT.parent.mkdir(parents=True, exist_ok=True)
    return KEPT.with_name(f"digits-{kind}.png")
