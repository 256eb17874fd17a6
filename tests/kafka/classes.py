"""Kafka's classes as the JVM has them in memory, kept beside the jars: a broker starts with a third less work.

A start loads and checks some 8,000 classes, which takes most of its seconds. The JVM (class data sharing, JEP 350)
can write them to a file when it ends, and map that file when it starts; one of another JVM or other jars it ignores.
"""

from __future__ import annotations

import os
from dataclasses import replace

from tests.kafka.broker import Broker
from tests.kafka.place import Java

_SECONDS = 120
"""For an orderly end, which writes some 50 MB."""


def keep(where: Java) -> None:
    """Write the archive if it is not there, by starting and ending a broker; a JVM that writes none changes nothing."""
    if where.archive.exists():
        return
    beside = where.archive.with_name(f"{where.archive.name}.{os.getpid()}")
    try:
        with Broker(where=replace(where, options=(f"-XX:ArchiveClassesAtExit={beside}",))) as broker:
            for node in broker._of(None):
                node.stop(_SECONDS)
        if beside.exists():
            beside.rename(where.archive)
    finally:
        beside.unlink(missing_ok=True)
