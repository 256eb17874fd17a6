"""Quix Streams, in two ways: exactly once with its own windows of counts, and at least once with deques in memory."""

from __future__ import annotations

from collections import defaultdict, deque
from typing import Any

from quixstreams import Application
from quixstreams.dataframe.windows.aggregations import Collect

from tests.performance.peers.task import Clock, Orders, Scorer


class Deques:
    """Windows in memory, as the documentation's examples with a global dict have them: gone with the process."""

    def __init__(self, orders: Orders) -> None:
        """Begin without any."""
        self._length, self._stride = orders.length, orders.stride
        self._windows: dict[Any, deque[Any]] = defaultdict(lambda: deque(maxlen=orders.length))
        self._seen: dict[Any, int] = defaultdict(int)

    def take(self, value: Any, key: Any, _timestamp: int, _headers: Any) -> Any:
        """Take a record's values; return the window that they complete, if they do."""
        window = self._windows[key]
        window.append(value)
        self._seen[key] += 1
        due = len(window) == self._length and (self._seen[key] - self._length) % self._stride == 0
        return list(window) if due else None


def main() -> None:
    """Read, window, score, alert."""
    orders = Orders.given()
    scorer, clock = Scorer(orders), Clock(orders.count)
    once = orders.mode == "exactly-once"

    def done(_topic: str, _partition: int, _offset: int) -> None:
        if clock.tick():
            app.stop()

    app = Application(
        broker_address=orders.bootstrap,
        consumer_group=orders.group,
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once" if once else "at-least-once",
        state_dir=orders.folder,
        on_message_processed=done,
        loglevel="WARNING",
    )

    def alert(window: Any, key: Any, timestamp: int, _headers: Any) -> Any:
        (score,) = scorer.score([window])
        return None if score is None else {"stream": key.decode(), "time": timestamp, "score": score}

    frame = app.dataframe(app.topic(orders.topic, key_deserializer="bytes", value_deserializer="json"))
    frame = frame.apply(lambda value: scorer.values(value["values"]))
    if once:
        frame = frame.hopping_count_window(orders.length, orders.stride).agg(window=Collect()).final()
        frame = frame.apply(lambda value: value["window"])
    else:
        frame = frame.apply(Deques(orders).take, metadata=True).filter(lambda window: window is not None)
    frame = frame.apply(alert, metadata=True).filter(lambda value: value is not None)
    frame.to_topic(app.topic(orders.alerts, key_serializer="bytes", value_serializer="json"))
    app.run()
    clock.report(scorer)


if __name__ == "__main__":
    main()
