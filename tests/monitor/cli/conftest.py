"""The command line, run as a shell would run it, and small recordings for it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import structlog

from models.bundle import Bundle
from models.training import train
from monitor.cli import main
from tests.models.waves import FEATURES, WINDOW, settings, waves
from tests.recordings import write_csv


class Result(NamedTuple):
    """What a command left: exit status, standard output, standard error."""

    status: int
    out: str
    err: str

    @property
    def said(self) -> list[str]:
        """The lines of standard error."""
        return self.err.splitlines()


Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Run the command: `run("check", path)`."""
    before = list(logging.getLogger().handlers), logging.getLogger().level

    def call(*arguments: str | Path) -> Result:
        monkeypatch.setattr(sys, "argv", ["tidegauge", *map(str, arguments)])
        capfd.readouterr()
        status = 0
        try:
            main()
        except SystemExit as error:
            status = int(error.code or 0)
        return Result(status, *capfd.readouterr())

    yield call
    structlog.reset_defaults()  # logs go to a standard error that is closed after the test
    logging.getLogger().handlers[:] = before[0]
    logging.getLogger().setLevel(before[1])


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A recording of three pumps with a labelled incident in two of them."""
    return write_csv(tmp_path / "pumps.csv")


@pytest.fixture(scope="session")
def vae(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A tiny bundle of the kind vae."""
    out = tmp_path_factory.mktemp("vae") / "bundle"
    return train(waves(), WINDOW, FEATURES, settings("vae", code_size=2), out)
