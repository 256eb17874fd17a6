"""Where events and dead letters go, and in which order with the positions.

With a Kafka source everything that goes to Kafka is part of the transaction that stores the offsets: exactly once.
Sinks of other kinds cannot be: with a Kafka sink beside them they are fed from the alerts topic (see `relay`), without
one they get the events before the offsets are committed: at least once.
"""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
import structlog

from monitor.message import Message
from monitor.config import Config
from monitor.engine import DeadLetter, Work
from monitor.sinks.base import Sink, SinkError
from monitor.sources.base import Key, Source

log = structlog.get_logger(__name__)

_LONGEST_PAUSE = 5.0


class DeadLetterFile:
    """Dead letters as JSON Lines: headers and bytes; bytes that are no UTF-8 in base64, named so."""

    def __init__(self, path: str) -> None:
        """Open the file to append.

        Raises:
            SinkError: if that is not possible.
        """
        try:
            self._file = Path(path).open("ab")
        except OSError as error:
            message = f"dead_letter.path {path}: {error.strerror}"
            raise SinkError(message) from None

    def write(self, letters: Sequence[DeadLetter]) -> None:
        """Append letters; they are on disk when this returns."""
        for letter in letters:
            line = {name: value.decode("utf-8", "replace") for name, value in letter.headers}
            for name, raw in (("key", letter.key), ("value", letter.value)):
                try:
                    line[name] = raw.decode() if raw is not None else None  # type: ignore[assignment] - null
                except UnicodeDecodeError:
                    line[f"{name}_base64"] = base64.b64encode(raw or b"").decode()
            self._file.write(msgspec.json.encode(line) + b"\n")
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            message = f"dead_letter.path {self._file.name}: {error.strerror}"
            raise SinkError(message) from None

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Delivery:
    """Publishes work and stores positions, in the one order that loses nothing."""

    def __init__(
        self, config: Config, source: Source, sinks: Sequence[Sink], give_up: Callable[[], bool], idle: Callable[[], None]
    ) -> None:
        """Set up.

        Args:
            config: the configuration.
            source: where positions are stored, and with them what goes to Kafka.
            sinks: sinks that get the events before the positions are stored.
            give_up: asked while a sink does not take events; True ends the tries.
            idle: called while a sink does not take events, so that the process counts as alive.
        """
        self._source = source
        self._sinks = list(sinks)
        self._give_up, self._idle = give_up, idle
        dead = config.dead_letter
        kafka = source.transactional
        self._alerts = next((s.topic for s in config.sink if kafka and s.type == "kafka"), None)  # type: ignore[attr-defined] - the Kafka sink's
        self._dead_topic = dead.topic if dead is not None and kafka and dead.type in {None, "kafka"} else None
        path = dead.path if dead is not None and self._dead_topic is None else None
        self._dead_file = DeadLetterFile(path) if path is not None else None

    def commit(self, works: Sequence[Work], positions: Mapping[Key, int]) -> bool:
        """Publish what the works made, and store positions; return False if all of it must be done again.

        Raises:
            SinkError: if a sink cannot take the events and the process is to end.
            SourceError: if the positions cannot be stored, ever.
        """
        messages: list[Message] = []
        for work in works:
            if self._alerts is not None:
                messages += [Message(self._alerts, e.key, e.value, e.headers) for e in work.events]
            if self._dead_topic is not None:
                messages += [Message(self._dead_topic, d.key, d.value, d.headers) for d in work.dead_letters]
            elif self._dead_file is not None and work.dead_letters:
                self._dead_file.write(work.dead_letters)
            for sink in self._sinks:
                if work.events:
                    self._deliver(sink, work.events)
        return self._source.commit(positions, messages)

    def tick(self) -> None:
        """Let sinks do what time asks for."""
        for sink in self._sinks:
            sink.tick()

    def close(self) -> None:
        """Close sinks and files."""
        for sink in self._sinks:
            sink.close()
        if self._dead_file is not None:
            self._dead_file.close()

    def _deliver(self, sink: Sink, events: Sequence[Message]) -> None:
        """Deliver until the sink has taken the events."""
        pause = 0.1
        while True:
            try:
                sink.deliver(events)
            except SinkError as error:
                if error.permanent or self._give_up():
                    raise
                log.warning("sink_failed", error=str(error))
                self._idle()
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                return
