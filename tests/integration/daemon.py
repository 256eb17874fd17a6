"""The real daemon as a process: started, looked at through its port and its log, stopped, killed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).parents[2]
PATIENCE = 90.0
"""Seconds; the machine may be busy with other things."""

CLASSES = ("processed", "late", "repeated", "filtered", "dead_lettered")


def environment(**more: str) -> dict[str, str]:
    """Return the environment for a process of this checkout."""
    ours = ("TIDEGAUGE_", "NOTIFY_", "WATCHDOG_")
    plain = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**plain, "PYTHONPATH": str(ROOT), **more}


def until(true: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """Return the first true value; fail with `what` if none comes."""
    deadline = time.monotonic() + seconds
    while True:
        found = true()
        if found:
            return found
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


class Daemon:
    """`tidegauge run` with a configuration.

    Attributes:
        folder: where its configuration, log and output lie.
        process: the process.
    """

    def __init__(
        self,
        folder: Path,
        config: Mapping[str, Any],
        *,
        stdin: Path | None = None,
        env: Mapping[str, str] | None = None,
        program: Sequence[str] = ("monitor",),
    ) -> None:
        """Start it; `program` is a module and the first of its arguments."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        (folder / "config.yaml").write_text(json.dumps(config))  # JSON is YAML
        command = [sys.executable, "-m", *program, "run", "--config", str(folder / "config.yaml")]
        given = Path(os.devnull) if stdin is None else stdin
        with (folder / "log").open("wb") as log, (folder / "out").open("wb") as out, given.open("rb") as records:
            self.process = subprocess.Popen(
                command,
                stdin=records,
                stdout=out,
                stderr=log,
                cwd=folder,
                env=environment(**(env or {})),
            )

    def __enter__(self) -> Self:
        """Use it for a block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill it if it still runs, and show its log if the block failed."""
        self.kill()
        if error is not None:
            print(f"--- {self.folder.name}\n{self.text[-6000:]}")  # noqa: T201 - pytest shows it with the failure

    @property
    def text(self) -> str:
        """Everything that it wrote to standard error."""
        return (self.folder / "log").read_text(errors="replace")

    @property
    def log(self) -> list[dict[str, Any]]:
        """The events of its log."""
        return [json.loads(line) for line in self.text.splitlines() if line.startswith("{") and line.endswith("}")]

    @property
    def said(self) -> list[str]:
        """The lines for a user: what is no event of the log."""
        return [line for line in self.text.splitlines() if line and not line.startswith("{")]

    def wait_for(self, event: str, seconds: float = PATIENCE) -> dict[str, Any]:
        """Return the first event of this name, as soon as it is in the log."""

        def look() -> dict[str, Any] | None:
            found = next((each for each in self.log if each["event"] == event), None)
            assert found or self.process.poll() is None, f"the daemon ended before {event}: {self.text[-4000:]}"
            return found

        found: dict[str, Any] = until(look, f"no {event} in {seconds} s: {self.text[-4000:]}", seconds)
        return found

    def ready(self) -> Self:
        """Wait until it says that it consumes."""
        self.wait_for("ready")
        return self

    def get(self, path: str) -> tuple[int, str]:
        """Return status and text of an answer from its port."""
        address = self.wait_for("starting")["http"]
        try:
            with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def metrics(self) -> dict[str, float]:
        """Return every sample by name and labels, as they are written."""
        lines = self.get("/metrics")[1].splitlines()
        return {m[1]: float(m[2]) for line in lines if (m := re.fullmatch(r"([^#\s].*) (\S+)", line))}

    def consumed(self) -> int:
        """Return how many records it has consumed."""
        found = self.metrics().items()
        return int(sum(value for name, value in found if name.startswith("tidegauge_records_consumed_total")))

    def identity(self) -> tuple[int, int]:
        """Return consumed records, and the sum of what became of them."""
        found = self.metrics()
        classes = sum(found[f'tidegauge_records_total{{class="{name}"}}'] for name in CLASSES)
        consumed = sum(value for name, value in found.items() if name.startswith("tidegauge_records_consumed_total"))
        return int(consumed), int(classes + found["tidegauge_pending_records"])

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """Send a signal; return the exit status and how many seconds it took."""
        begin = time.monotonic()
        self.process.send_signal(number)
        return self.process.wait(60), time.monotonic() - begin

    def ended(self, seconds: float = PATIENCE) -> int:
        """Wait until it ends by itself, and return its status."""
        return self.process.wait(seconds)

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
