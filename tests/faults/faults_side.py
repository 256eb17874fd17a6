"""Faults after which an operator must act: F9, F17, F19; and how a fault happens to a small job beside the world."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from kafka import KafkaAdminClient, TopicPartition

from tests.faults.catalogue import fault
from tests.faults.world import PATIENCE, World
from tests.kafka.topics import create_topic, delete_topics

EXIT_OPERATOR = 78


@contextmanager
def aside_of(world: World, config: Mapping[str, Any] | None = None) -> Iterator[World]:
    """A job of one member that has consumed and committed something; `config` goes over the usual one."""
    world.feed.stop()
    world.asides += 1
    folder = world.folder / f"aside-{world.asides}"
    folder.mkdir()
    how = {"members": 1, "config": config or {}, "client": world.client}
    aside = World(world.cluster, world.proxies, world.bundle, folder, world.chance, **how)
    try:
        aside.feed.start()
        aside.fleet.wait(lambda: sum(aside.committed().values()) > 300, "a new job commits nothing", PATIENCE)
        yield aside
    finally:
        aside.close()


def refuses(aside: World, *words: str) -> list[str]:
    """Start the member again: it must end with 78 and a line that says all of this."""
    member = aside.fleet.members["m0"]
    daemon = member.start()
    status = daemon.ended(PATIENCE)
    said = " | ".join(daemon.said)
    if status != EXIT_OPERATOR or "Traceback" in daemon.text:
        return [f"it ended with {status} instead of 78: {said[-300:]}"]
    return [f"it does not say {word!r}: {said[-300:]}" for word in words if word not in said]


def halt(aside: World) -> None:
    """Let everything be done that there is, and stop its member."""
    aside.feed.stop()
    while aside.oracle.advance().records:
        aside.drain(PATIENCE)
    aside.fleet.stop("m0")


@fault("F9", "the input gets more partitions, or is made anew", weight=0.5)
def repartitioned(world: World) -> list[str]:
    """The daemon refuses to go on, and says why."""
    with aside_of(world) as aside:
        topic = aside.topics["input"]
        halt(aside)
        if world.chance.random() < 0.5:
            admin = KafkaAdminClient(bootstrap_servers=world.cluster.bootstrap.split(","))
            try:
                admin.create_partitions({topic: 8})
            finally:
                admin.close()
            return [f"F9 more partitions: {each}" for each in refuses(aside, topic)]
        delete_topics(world.cluster.bootstrap, [topic])
        world.fleet.rest(2)
        create_topic(world.cluster.bootstrap, topic, 6)
        return [f"F9 made anew: {each}" for each in refuses(aside, topic)]


@fault("F17", "retention takes records that were not processed", weight=0.5)
def retention(world: World) -> list[str]:
    """The daemon stops, and says what is gone."""
    with aside_of(world) as aside:
        halt(aside)
        at = aside.committed()[0]
        aside.feed.start()
        world.fleet.rest(1.5)
        aside.feed.stop()
        admin = KafkaAdminClient(bootstrap_servers=world.cluster.bootstrap.split(","))
        try:
            admin.delete_records({TopicPartition(aside.topics["input"], 0): at + 5})
        finally:
            admin.close()
        return [f"F17: {each}" for each in refuses(aside, aside.topics["input"], str(at), str(at + 5))]


@fault("F19", "the model's file is spoilt while it is in use", weight=1)
def spoilt(world: World) -> list[str]:
    """Members that run go on; one that starts refuses, until the file is whole again."""
    path = world.bundle.path / "model.onnx"
    whole = path.read_bytes()
    name = world.pick()
    world.fleet.excused.add(EXIT_OPERATOR)
    try:
        path.write_bytes(whole[: len(whole) // 2] + b"\0" * 64)
        world.fleet.rest(2)
        ended = world.fleet.statuses.copy()
        world.kill(name)
        world.fleet.wait(
            lambda: world.fleet.statuses[EXIT_OPERATOR] > ended[EXIT_OPERATOR], "a spoilt model is served", PATIENCE
        )
        path.write_bytes(whole)
        member = world.fleet.members[name]
        world.fleet.rest(0.5)
        if member.running and member.daemon is not None and not member.daemon.said:
            member.daemon.wait_for("starting", PATIENCE)
    finally:
        path.write_bytes(whole)
        world.fleet.rest(1)
        world.fleet.excused.discard(EXIT_OPERATOR)
    return []
