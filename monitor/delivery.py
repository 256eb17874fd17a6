"""Where events and dead letters go, and in which order with the positions.

With a Kafka source everything that goes to Kafka is part of the transaction that stores the offsets: exactly once.
Sinks of other kinds cannot be: with a Kafka sink beside them they are fed from the alerts topic (see `relay`), without
one they get the events before the offsets are committed: at least once.
"""

from __future__ import annotations

import base64
import os
import stat
import time
from collections.abc import Callable, Mapping, Sequence

import msgspec
import structlog

from monitor.config import Config
from monitor.engine import Work
from monitor.letters import DeadLetter
from monitor.message import Message
from monitor.sinks.base import Sink, SinkError
from monitor.sources.base import Key, Source

log = structlog.get_logger(__name__)

_LONGEST_PAUSE = 5.0
_NAP = 0.1
LARGEST_LETTER = 900_000
"""Most bytes of key and value of a dead letter: a topic takes messages up to 1 MiB unless told otherwise."""


class DeadLetterFile:
    """Dead letters as JSON Lines: headers and bytes; bytes that are no UTF-8 in base64, named so."""

    def __init__(self, path: str) -> None:
        """Open the file to append.

        Raises:
            SinkError: if that is not possible.
        """
        self._path = path
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            message = f"dead_letter.path {path}: {error.strerror}"
            raise SinkError(message) from None

    def write(self, letters: Sequence[DeadLetter]) -> None:
        """Append letters; they are on disk when this returns.

        Raises:
            SinkError: if that is not possible.
        """
        lines = bytearray()
        for letter in letters:
            line: dict[str, str | None] = {name: value.decode("utf-8", "replace") for name, value in letter.headers}
            for name, raw in (("key", letter.key), ("value", letter.value)):
                try:
                    line[name] = raw.decode() if raw is not None else None
                except UnicodeDecodeError:
                    line[f"{name}_base64"] = base64.b64encode(raw or b"").decode()
            lines += msgspec.json.encode(line) + b"\n"
        try:
            rest = memoryview(lines)
            while rest:
                rest = rest[os.write(self._file, rest) :]
            if stat.S_ISREG(os.fstat(self._file).st_mode):
                os.fsync(self._file)
        except OSError as error:
            message = f"dead_letter.path {self._path}: {error.strerror}"
            raise SinkError(message) from None

    def close(self) -> None:
        """Close the file. May be called twice."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)


class Delivery:
    """Publishes work and stores positions, in the one order that loses nothing."""

    def __init__(
        self,
        config: Config,
        source: Source,
        sinks: Sequence[Sink],
        give_up: Callable[[], bool],
        idle: Callable[[], None],
        failed: Callable[[SinkError], None],
    ) -> None:
        """Set up.

        Args:
            config: the configuration.
            source: where positions are stored, and with them what goes to Kafka.
            sinks: sinks that get the events before the positions are stored.
            give_up: asked while a sink does not take events; True ends the tries.
            idle: called while a sink does not take events, so that the process counts as alive.
            failed: told of each try that failed.

        Raises:
            SourceError: if a topic that is to be published to does not exist.
            SinkError: if the file of the dead letters cannot be opened.
        """
        self._source = source
        self._sinks = list(sinks)
        self._give_up, self._idle, self._failed = give_up, idle, failed
        dead = config.dead_letter
        kafka = source.transactional
        self._alerts = next((s.topic for s in config.sink if kafka and s.type == "kafka"), None)  # type: ignore[attr-defined]  # the Kafka sink's
        self._dead_topic = dead.topic if dead is not None and kafka and dead.type in {None, "kafka"} else None
        path = dead.path if dead is not None and self._dead_topic is None else None
        needed = {self._alerts: "sink.topic", self._dead_topic: "dead_letter.topic"}
        source.require({topic: setting for topic, setting in needed.items() if topic is not None})
        self._dead_file = DeadLetterFile(path) if path is not None else None

    def commit(self, works: Sequence[Work], positions: Mapping[Key, int], state: Sequence[Message] = ()) -> bool:
        """Publish what the works made, and store positions and state; return False if it may have to be done again.

        Raises:
            SinkError: if a sink cannot take the events and the process is to end.
            SourceError: if the positions cannot be stored, ever.
        """
        messages: list[Message] = []
        for work in works:
            if self._alerts is not None:
                messages += [Message(self._alerts, e.key, e.value, e.headers) for e in work.events]
            if self._dead_topic is not None:
                messages += [letter_message(self._dead_topic, each) for each in work.dead_letters]
            elif self._dead_file is not None and work.dead_letters:
                self._dead_file.write(work.dead_letters)
            for sink in self._sinks:
                if work.events and not self._deliver(sink, work.events):
                    return False
        return self._source.commit(positions, [*messages, *state])

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

    def _deliver(self, sink: Sink, events: Sequence[Message]) -> bool:
        """Deliver until the sink has taken the events; False if they are to come again after a restart."""
        pause = 0.1
        while True:
            try:
                sink.deliver(events)
            except SinkError as error:
                self._failed(error)
                if error.fatal or getattr(error, "status", 1) != 1:
                    raise
                if error.permanent:  # the receiver has understood and refused: the others must not wait for ever
                    log.warning("event_refused", error=str(error))
                    return True
                if self._give_up():
                    if self._source.transactional:
                        log.warning("events_left", error=str(error), events=len(events))
                        return False
                    raise
                log.warning("sink_failed", error=str(error))
                self._rest(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                return True

    def _rest(self, seconds: float) -> None:
        """Wait, but not when everything is to end."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._give_up():
            self._idle()
            time.sleep(_NAP)


def letter_message(topic: str, letter: DeadLetter) -> Message:
    """Return a dead letter as a message: bytes as they came, but not more than a topic takes."""
    key, value, headers = letter.key, letter.value, letter.headers
    size = len(key or b"") + len(value or b"")
    if size > LARGEST_LETTER:
        headers = [*headers, ("truncated", str(size).encode())]
        key = None if key is None else key[: LARGEST_LETTER // 2]
        value = None if value is None else value[: LARGEST_LETTER - len(key or b"")]
    return Message(topic, key, value, headers)
