"""The daemons' durable state, read from its log as a new owner would, and held against the oracle's (I7)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.faults.oracle import Oracle

SECTION: dict[str, Any] = {}


class Log:
    """The changelog of a job's input topic."""

    def __init__(self, config: Mapping[str, Any], topic: str) -> None:
        """Name the topic."""
        self._topic = topic
        del config

    def create(self, bootstrap: str, partitions: int) -> None:
        """Make the topic."""

    def compare(self, bootstrap: str, oracle: Oracle) -> list[str]:
        """Return what is wrong."""
        del bootstrap, oracle
        return []
