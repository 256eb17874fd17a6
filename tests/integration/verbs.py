"""The verbs of an operator, run in this process as a shell would run them."""

from __future__ import annotations

import json
import logging
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import structlog

from monitor.cli import main


class Answer(NamedTuple):
    """What a verb left: exit status, standard output, standard error."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its one JSON object; fails with what it said if it failed."""
        assert self.status == 0, self.err
        return json.loads(self.out)


@contextmanager
def _own_logs() -> Iterator[None]:
    """Give logging back as it was."""
    root = logging.getLogger()
    before = list(root.handlers), root.level
    try:
        yield
    finally:
        structlog.reset_defaults()
        root.handlers[:] = before[0]
        root.setLevel(before[1])


def verb(*arguments: str | Path) -> Answer:
    """Run a verb."""
    out, err = StringIO(), StringIO()
    status = 0
    with _own_logs(), redirect_stdout(out), redirect_stderr(err):
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as error:
            status = int(error.code or 0)
    assert "Traceback" not in err.getvalue()
    return Answer(status, out.getvalue(), err.getvalue())


def told(line: str, config: Path) -> Sequence[str]:
    """Return the command that a line of the daemon tells, for this configuration."""
    command = next(part for part in line.split("`") if part.startswith("tidegauge "))
    return [str(config) if word == "CONFIG" else word for word in shlex.split(command)[1:]]
