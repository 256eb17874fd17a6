"""Relays: sinks that are fed from the alerts topic, beside the transaction.

What has been committed to the alerts topic is the truth. A relay reads it as a consumer group of its own, delivers to
one sink, and then commits: at least once, whatever the sink or this process does. A sink that does not answer delays
nobody else.

A sink that repeats what fires (Alertmanager) is told what that is whenever the group assigns partitions, so at each
start too; `monitor.sinks.firing` says how it is known.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence

import structlog

from monitor.config import Config
from monitor.kafka.errors import KafkaProblem
from monitor.kafka.follower import Follower
from monitor.message import Message
from monitor.sinks.base import Sink, SinkError, SinkSettings
from monitor.sinks.firing import MOST, Firing, begin

log = structlog.get_logger(__name__)

_POLL_SECONDS = 0.5
_LONGEST_PAUSE = 30.0


def _nobody(error: Exception) -> None:
    """Tell nobody."""


def relayed(config: Config) -> tuple[list[SinkSettings], list[SinkSettings]]:
    """Return the sinks that are fed from the alerts topic, and those that get events before the commit."""
    kafka = config.source is not None and config.source.type == "kafka"
    topic = any(sink.type == "kafka" for sink in config.sink)
    if not (kafka and topic):
        return [], list(config.sink)
    return [sink for sink in config.sink if sink.type != "kafka"], []


def relays(config: Config, failed: Callable[[Exception], None] = _nobody) -> list[Relay]:
    """Start the relays that a configuration asks for; `failed` is told of each try that fails, by their threads.

    Each has a consumer group of its own, `<group_id>.<type>`; the second of a type is `<group_id>.<type>-2`. In one
    group, two files would get half of the events each.

    Raises:
        SinkError: if a sink cannot be opened.
    """
    started: list[Relay] = []
    seen: Counter[str] = Counter()
    try:
        for settings in relayed(config)[0]:
            seen[settings.type] += 1
            again = f"-{seen[settings.type]}" if seen[settings.type] > 1 else ""
            group = f"{config.source.group_id}.{settings.type}{again}"  # type: ignore[union-attr]  # a Kafka source
            started.append(Relay(config, settings, group, failed))
    except BaseException:
        for relay in started:
            relay.close()
        raise
    return started


class Relay:
    """Feeds one sink, in a thread of its own, until it is closed."""

    def __init__(
        self, config: Config, settings: SinkSettings, group: str, failed: Callable[[Exception], None] = _nobody
    ) -> None:
        """Open the sink, and start.

        Args:
            config: the configuration.
            settings: the sink's.
            group: the consumer group that keeps how far the sink has got.
            failed: told of each try that fails, by this relay's thread.

        Raises:
            SinkError: if the sink cannot be opened.
        """
        self._settings = settings
        self._sink: Sink = settings.build()
        self._source = config.source
        self._topic = next(sink.topic for sink in config.sink if sink.type == "kafka")  # type: ignore[attr-defined]  # the Kafka sink's
        self._group = group
        self._failed = failed
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"relay-{settings.type}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask it to end after the delivery in hand."""
        self._ended.set()

    def close(self, timeout: float = 1.0) -> None:
        """Stop, and wait for the delivery in hand; what is not confirmed comes again after a restart."""
        self.stop()
        self._thread.join(timeout)

    def _run(self) -> None:
        pause = 0.5
        while not self._ended.is_set():
            began = time.monotonic()
            try:
                self._follow()
            except (KafkaProblem, SinkError) as error:
                self._failed(error)
                log.warning("relay_failed", sink=self._settings.type, error=str(error))
            except Exception as error:
                self._failed(error)
                log.exception("relay_failed", sink=self._settings.type, error=type(error).__name__)
            self._sink.tick()  # the receiver must not take a fault of Kafka for the end of its alerts
            self._ended.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE) if time.monotonic() - began < _LONGEST_PAUSE else 0.5
        self._sink.close()

    def _follow(self) -> None:
        """Deliver what comes, from where the group stands."""
        follower = Follower(self._source, self._topic, self._group)  # type: ignore[arg-type]  # a Kafka source
        try:
            firing = Firing()
            while not self._ended.is_set():
                events = follower.poll(_POLL_SECONDS)
                assigned = follower.take_assigned() if self._sink.repeats else None
                if assigned is not None:
                    firing = self._recall(follower, assigned)
                if events:
                    if not self._deliver(events):
                        return
                    if self._sink.repeats:
                        firing.take(events)
                    follower.commit({event.partition or 0: firing.note(event.partition or 0) for event in events})
                self._sink.tick()
        finally:
            follower.close()

    def _recall(self, follower: Follower, partitions: Collection[int]) -> Firing:
        """Tell the sink what fires in these partitions, by what was delivered of them so far.

        Raises:
            KafkaProblem: if that cannot be read.
        """
        firing = Firing()
        committed = follower.committed(partitions)
        places = {number: (begin(offset, note), offset) for number, (offset, note) in committed.items()}
        for number, (first, last) in places.items():
            if last - first >= MOST:
                log.warning("alerts_not_recalled", sink=self._settings.type, partition=number, before=first)
        firing.take(follower.between({number: place for number, place in places.items() if place[0] < place[1]}))
        events = firing.events()
        self._sink.recall(events)
        log.info("alerts_recalled", sink=self._settings.type, partitions=sorted(partitions), firing=len(events))
        return firing

    def _deliver(self, events: Sequence[Message]) -> bool:
        """Deliver until the sink has taken the events; False if this ends first."""
        pause = 0.5
        while not self._ended.is_set():
            try:
                self._sink.deliver(events)
            except SinkError as error:
                self._failed(error)
                log.warning("sink_failed", sink=self._settings.type, error=str(error), permanent=error.permanent)
                if error.permanent:
                    return True  # the receiver has understood and refused: the next ones must not wait for ever
                self._ended.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                return True
        return False
