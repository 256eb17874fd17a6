"""What the verbs about state share."""

from __future__ import annotations

from pathlib import Path

import click

from models.bundle import read
from monitor.config import Config
from monitor.engine import Engine
from monitor.sources.base import SourceError
from monitor.sources.files import FileSettings
from monitor.state import StateError
from monitor.state.snapshot import Snapshot
from monitor.upkeep.files import StateFiles
from monitor.upkeep.group import StateTopics
from monitor.upkeep.reading import EXIT_OPERATOR


def engine_of(config: Config) -> Engine:
    """Return the engine that a configuration makes.

    Raises:
        BundleError: if its bundle cannot be read.
        ConfigError: if the two contradict each other.
    """
    bundle = read(config.model.bundle)
    from models.serving import Model  # after the check: it loads the engine that runs networks

    return Engine(config, bundle, Model(bundle))


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
