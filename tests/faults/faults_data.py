"""Faults of what comes in: F14, F20."""

from __future__ import annotations

from kafka import KafkaProducer

from tests.faults.catalogue import fault
from tests.faults.world import World

_BOMB = 8 << 20


@fault("F14", "records that nobody can use, and one that is small only on the wire", weight=2)
def poison(world: World) -> list[str]:
    """A tenth of the records is garbage; a kill falls in between."""
    world.feed.garbage = 0.1
    world.fleet.rest(2)
    producer = KafkaProducer(
        bootstrap_servers=world.cluster.bootstrap.split(","), compression_type="gzip", max_request_size=2 * _BOMB
    )
    try:
        producer.send(world.topics["input"], key=b"bomb", value=b"[" + b" " * _BOMB, partition=0).get(timeout=20)
    finally:
        producer.close(timeout=10)
    world.kill(world.pick())
    world.fleet.rest(3)
    world.feed.garbage = 0.0
    return []


@fault("F20", "producers abort what they wrote", weight=1)
def aborted(world: World) -> list[str]:
    """Aborted transactions in the input; a kill falls in between."""
    world.feed.aborted = 0.2
    world.fleet.rest(3)
    world.kill(world.pick())
    world.fleet.rest(3)
    world.feed.aborted = 0.0
    return []
