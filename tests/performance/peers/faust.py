"""Faust (faust-streaming): batches by `take_events`, deques in memory, at least once."""

from __future__ import annotations

import os
import signal
from collections import defaultdict, deque
from typing import Any

import faust
import orjson

from tests.performance.peers.task import Clock, Orders, Scorer

_BATCH, _WITHIN = 1_000, 0.05


def main() -> None:
    """Read, window, score, alert."""
    orders = Orders.given()
    scorer, clock = Scorer(orders), Clock(orders.count)
    app = faust.App(
        orders.group,
        broker=f"kafka://{orders.bootstrap}",
        consumer_auto_offset_reset="earliest",
        store="memory://",
        datadir=orders.folder,
        topic_disable_leader=True,
        topic_allow_declare=False,
        web_enabled=False,
        stream_buffer_maxsize=4 * _BATCH,
    )
    records = app.topic(orders.topic, key_type=bytes, key_serializer="raw", value_type=bytes, value_serializer="raw")
    alerts = app.topic(orders.alerts, key_type=bytes, key_serializer="raw", value_type=bytes, value_serializer="raw")
    windows: dict[bytes, deque[Any]] = defaultdict(lambda: deque(maxlen=orders.length))
    seen: dict[bytes, int] = defaultdict(int)

    async def work(stream: Any) -> None:
        async for events in stream.take_events(_BATCH, within=_WITHIN):
            due = []
            for event in events:
                window = windows[event.key]
                window.append(scorer.values(orjson.loads(event.value)["values"]))
                seen[event.key] += 1
                if len(window) == orders.length and (seen[event.key] - orders.length) % orders.stride == 0:
                    due.append((event.key, event.message.timestamp, list(window)))
            if due:
                scores = scorer.score([window for _, _, window in due])
                for (key, at, _), score in zip(due, scores, strict=True):
                    if score is not None:
                        alert = {"stream": key.decode(), "time": at, "score": score}
                        await alerts.send(key=key, value=orjson.dumps(alert))
            if clock.tick(len(events)):
                clock.report(scorer)
                os.kill(os.getpid(), signal.SIGTERM)

    app.agent(records)(work)
    faust.Worker(app, loglevel="WARNING", redirect_stdouts=False).execute_from_commandline()


if __name__ == "__main__":
    main()
