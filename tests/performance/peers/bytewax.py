"""Bytewax: batches from Kafka, a window a key as its state, all windows that a batch makes due in one call."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import bytewax.operators as op
import orjson
from bytewax.connectors.kafka import KafkaSinkMessage, KafkaSource
from bytewax.connectors.kafka import operators as kafka
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulBatchLogic
from bytewax.testing import run_main
from confluent_kafka import OFFSET_BEGINNING

from tests.performance.peers.task import Clock, Orders, Scorer

_BATCH = 1_000


class Window(StatefulBatchLogic):  # type: ignore[misc]  # Bytewax is not in the venv that types are checked in
    """The last rows of a stream."""

    def __init__(self, length: int, stride: int, state: tuple[list[Any], int] | None) -> None:
        """Begin, or go on from a snapshot."""
        rows, self._seen = state or ([], 0)
        self._rows = deque(rows, maxlen=length)
        self._length, self._stride = length, stride

    def on_batch(self, values: list[Any]) -> tuple[list[Any], bool]:
        """Take rows; return the windows that they complete, and that the stream goes on."""
        due = []
        for at, row in values:
            self._rows.append(row)
            self._seen += 1
            if self._seen >= self._length and (self._seen - self._length) % self._stride == 0:
                due.append((at, list(self._rows)))
        return due, StatefulBatchLogic.RETAIN

    def snapshot(self) -> tuple[list[Any], int]:
        """Return what a snapshot holds."""
        return list(self._rows), self._seen


def main() -> None:
    """Read, window, score, alert."""
    orders = Orders.given()
    scorer, clock = Scorer(orders), Clock(orders.count)

    def decode(batch: list[Any]) -> Iterator[Any]:
        for message in batch:
            values = scorer.values(orjson.loads(message.value)["values"])
            yield message.key.decode(), (message.timestamp[1], values)
        clock.tick(len(batch))

    def score(batch: list[Any]) -> list[Any]:
        found = scorer.score([rows for _, (_, rows) in batch])
        return [
            KafkaSinkMessage(key.encode(), orjson.dumps({"stream": key, "time": at, "score": each}))
            for (key, (at, _)), each in zip(batch, found, strict=True)
            if each is not None
        ]

    flow = Dataflow("job")
    source = KafkaSource(
        [orders.bootstrap], [orders.topic], tail=False, starting_offset=OFFSET_BEGINNING, batch_size=_BATCH
    )
    records = op.flat_map_batch("decode", op.input("input", flow, source), decode)
    windows = op.stateful_batch("window", records, lambda state: Window(orders.length, orders.stride, state))
    alerts = op.flat_map_batch("score", windows, score)
    kafka.output("alerts", alerts, brokers=[orders.bootstrap], topic=orders.alerts)
    run_main(flow)  # to the end of the topic
    clock.end()
    clock.report(scorer)


if __name__ == "__main__":
    main()
