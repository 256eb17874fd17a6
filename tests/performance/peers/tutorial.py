"""The loop of the tutorials: kafka-python, a deque a stream, one window a call, offsets committed by a timer."""

from __future__ import annotations

import json
from collections import defaultdict, deque
from typing import Any

from kafka import KafkaConsumer, KafkaProducer

from tests.performance.peers.task import Clock, Orders, Scorer


def main() -> None:
    """Read, window, score, alert."""
    orders = Orders.given()
    scorer, clock = Scorer(orders), Clock(orders.count)
    consumer = KafkaConsumer(
        orders.topic,
        bootstrap_servers=orders.bootstrap,
        group_id=orders.group,
        auto_offset_reset="earliest",
        value_deserializer=json.loads,
    )
    producer = KafkaProducer(
        bootstrap_servers=orders.bootstrap, value_serializer=lambda value: json.dumps(value).encode()
    )
    windows: dict[bytes, deque[Any]] = defaultdict(lambda: deque(maxlen=orders.length))
    seen: dict[bytes, int] = defaultdict(int)
    for message in consumer:
        window = windows[message.key]
        window.append(scorer.values(message.value["values"]))
        seen[message.key] += 1
        if len(window) == orders.length and (seen[message.key] - orders.length) % orders.stride == 0:
            (score,) = scorer.score([window])
            if score is not None:
                alert = {"stream": message.key.decode(), "time": message.timestamp, "score": score}
                producer.send(orders.alerts, key=message.key, value=alert)
        if clock.tick():
            break
    producer.flush()
    consumer.close()
    clock.report(scorer)


if __name__ == "__main__":
    main()
