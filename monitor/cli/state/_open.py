"""What the verbs about state share."""

from __future__ import annotations

from pathlib import Path

import click

from monitor.config import Config
from monitor.sources.base import SourceError
from monitor.sources.files import FileSettings
from monitor.state import StateError
from monitor.state.snapshot import Snapshot
from monitor.upkeep.files import StateFiles
from monitor.upkeep.group import StateTopics
from monitor.upkeep.reading import EXIT_OPERATOR


def state_of(config: Config) -> StateTopics | StateFiles:
    """Return the state that a configuration names, to be read.

    Raises:
        SourceError: if there is none.
    """
    return StateFiles(config) if isinstance(config.source, FileSettings) else StateTopics(config)


def snapshot_of(folder: Path) -> Snapshot:
    """Return a snapshot to be read.

    Raises:
        SourceError: if it is none.
    """
    try:
        return Snapshot(folder)
    except StateError as error:
        raise SourceError(str(error), EXIT_OPERATOR) from None


def tell(text: str) -> None:
    """Say something beside the data."""
    click.echo(f"tidegauge: {text}", err=True)
