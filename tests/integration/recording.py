"""A recording for the daemon, and a configuration that reads it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from models.bundle import Bundle
from tests.integration.conftest import settings
from tests.integration.daemon import Daemon
from tests.integration.streams import value

TEXT = "POISON, and no record"
AT = 100
"""Where it stands."""


def lines(rows: int, poison: int | None = None, text: str = "") -> Iterator[str]:
    """Yield records of three streams; one of them may be replaced."""
    for number in range(3 * rows):
        record = {"stream": f"pump-{number % 3}", **json.loads(value(number // 3))}
        yield text if number == poison else json.dumps(record)


def config(bundle: Bundle, folder: Path, **source: Any) -> dict[str, Any]:
    """Return a configuration whose files lie in a folder."""
    return {
        **settings(bundle),
        "source": {"type": "jsonl", "path": str(folder / "in.jsonl"), **source},
        "sink": {"type": "jsonl", "path": str(folder / "alerts.jsonl")},
        "dead_letter": {"path": str(folder / "dead.jsonl")},
        "state": {"path": str(folder / "state"), "sweep_records": 300},
    }


def letters(folder: Path) -> list[dict[str, Any]]:
    """Return the dead letters."""
    return [json.loads(line) for line in (folder / "dead.jsonl").read_text().splitlines()]


def oracle(bundle: Bundle, folder: Path) -> Path:
    """Return a folder with a recording, one line of which is no record, and what a run without state makes of it."""
    folder.mkdir()
    (folder / "in.jsonl").write_text("".join(f"{line}\n" for line in lines(200, AT, TEXT)))
    with Daemon(folder / "run", {**config(bundle, folder), "state": {"type": "none"}}) as daemon:
        assert daemon.ended() == 0
        assert [each["event"] for each in daemon.log].count("state_not_kept") == 1
    assert (folder / "alerts.jsonl").read_bytes().count(b"\n") >= 20
    return folder
