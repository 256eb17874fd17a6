"""What holds for every client of Kafka behind the port, on the real Kafka: what the code above the port counts on."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import get_args

import numpy as np
import pytest
from kafka import KafkaProducer
from kafka.errors import CommitFailedError, KafkaError, MessageSizeTooLargeError

from monitor.kafka.clients import ClientName, group_client, transactional_client
from monitor.kafka.connection import ConnectionSettings
from monitor.kafka.errors import fenced
from monitor.kafka.port import (
    NOTE_END,
    Columns,
    GroupClient,
    GroupSettings,
    Identity,
    Key,
    Membership,
    TransactionalClient,
)
from monitor.message import Message
from tests.kafka.broker import Broker
from tests.kafka.topics import Record, consume_all, produce

CLIENTS: tuple[ClientName, ...] = get_args(ClientName)
MOST = 10_000
PATIENCE = 60.0
START = 1_700_000_000_000

every_client = pytest.mark.parametrize("client", CLIENTS)
Topics = Callable[..., str]


def connection(kafka: Broker) -> ConnectionSettings:
    """Return how to reach the broker."""
    return ConnectionSettings(bootstrap_servers=(kafka.bootstrap,))


@contextmanager
def member(
    kafka: Broker, client: ClientName, topic: str, group: str = "", instance: str | None = None
) -> Iterator[GroupClient]:
    """A member that has begun to join its group."""
    name = group or f"g-{uuid.uuid4().hex[:8]}"
    settings = GroupSettings([topic], name, instance, "beginning", 6_000, 10_000, 500, 8_388_608, 1_048_576)
    found = group_client(client, connection(kafka), settings)
    try:
        assert found.exists(topic)
        found.subscribe()
        yield found
    finally:
        found.close(5.0)


@contextmanager
def producer(kafka: Broker, client: ClientName, name: str = "") -> Iterator[TransactionalClient]:
    """A producer that has its identity."""
    identity = Identity(name or f"t-{uuid.uuid4().hex[:8]}", 10_000, None)
    found = transactional_client(client, connection(kafka), identity, 20.0)
    try:
        yield found
    finally:
        found.close(5.0)


def settle(*members: GroupClient) -> None:
    """Poll until all of them have been given something, be it nothing, and the group is at rest."""
    until = time.monotonic() + PATIENCE
    quiet = 0
    while quiet < 5:
        assert time.monotonic() < until, "the group does not come to rest"
        for each in members:
            each.poll(0.1, MOST)
        rest = all(each.membership().stable and not each.changed for each in members)
        quiet = quiet + 1 if rest else 0
        for each in members:
            each.changed = False


def read(client: GroupClient, count: int, seconds: float = PATIENCE) -> dict[Key, Columns]:
    """Poll until there are so many records; all of them, by partition."""
    found: dict[Key, Columns] = {}
    until = time.monotonic() + seconds
    while sum(len(each.offsets) for each in found.values()) < count and time.monotonic() < until:
        for key, part in client.poll(0.2, MOST).items():
            before = found.setdefault(key, Columns([], [], [], []))
            for name in ("offsets", "timestamps", "keys", "values"):
                getattr(before, name).extend(getattr(part, name))
    return found


@every_client
def test_records_come_as_columns_from_where_one_says(kafka: Broker, topic: Topics, client: ClientName) -> None:
    """If it failed, records would be skipped, come twice, or lose their key, time or null value."""
    name = topic(partitions=2)
    rows = [Record(None if n == 7 else b"v%d" % n, None if n == 3 else b"k%d" % n, n % 2, START + n) for n in range(40)]
    produce(kafka.bootstrap, name, rows)
    with member(kafka, client, name) as one:
        assert not one.exists(f"{name}-not")
        assert not one.membership().stable
        settle(one)
        keys = {(name, 0), (name, 1)}
        assert one.assignment() == keys
        assert one.poll(0.3, MOST) == {}  # nothing before somebody says from where
        assert one.bounds(keys) == dict.fromkeys(keys, (0, 20))
        assert one.committed(keys) == dict.fromkeys(keys)
        assert one.at((name, 1), START + 4) == 2
        assert one.at((name, 1), START + 1_000) is None
        one.go({(name, 0): 5, (name, 1): 0}, {(name, 1)})
        found = read(one, 15)
        assert found == {(name, 0): _columns(rows[0::2], 5)}
        assert one.poll(0.3, MOST) == {}
        one.release({(name, 1)}, {(name, 0): 20, (name, 1): 0})
        assert read(one, 20) == {(name, 1): _columns(rows[1::2], 0)}
        assert one.ends(keys) == dict.fromkeys(keys, 20)


def _columns(rows: list[Record], begin: int) -> Columns:
    part = rows[begin:]
    offsets = list(range(begin, len(rows)))
    return Columns(offsets, [row.timestamp_ms or 0 for row in part], [r.key for r in part], [r.value for r in part])


@every_client
def test_nothing_of_an_old_position_comes_after_a_new_one(kafka: Broker, topic: Topics, client: ClientName) -> None:
    """If it failed, what a client had fetched already could be taken for records behind the new position."""
    name = topic()
    produce(kafka.bootstrap, name, [b"%d" % n for n in range(5_000)])
    with member(kafka, client, name) as one:
        settle(one)
        for begin in (4_000, 100, 3_000, 0):
            one.go({(name, 0): begin}, ())
            part = read(one, 1)[name, 0]
            assert part.offsets[0] == begin
            assert part.offsets == list(range(begin, begin + len(part.offsets)))


@every_client
def test_only_what_is_committed_counts(kafka: Broker, topic: Topics, client: ClientName) -> None:
    """If it failed, alerts could be made of records that their producer took back, or the end lie behind them."""
    name = topic()
    produce(kafka.bootstrap, name, [b"0", b"1"])
    other = KafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id=f"o-{uuid.uuid4().hex[:8]}")
    try:
        other.init_transactions()
        other.begin_transaction()
        other.send(name, b"open").get(timeout=20)
        with member(kafka, client, name) as one:
            settle(one)
            assert one.bounds([(name, 0)]) == {(name, 0): (0, 2)}
            one.go({(name, 0): 0}, ())
            assert read(one, 3, 1.0)[name, 0].values == [b"0", b"1"]
            other.abort_transaction()
            produce(kafka.bootstrap, name, [b"after"])
            assert read(one, 1)[name, 0].values == [b"after"]
    finally:
        other.close(timeout=0)


@every_client
def test_messages_and_offsets_are_one(kafka: Broker, topic: Topics, client: ClientName) -> None:
    """If it failed, an offset could be stored without its alerts, or its note be lost: who wrote last would be open."""
    name, out = topic(partitions=2), topic(partitions=3)
    produce(kafka.bootstrap, name, [Record(b"x", partition=n % 2) for n in range(10)])
    group = f"g-{uuid.uuid4().hex[:8]}"
    with member(kafka, client, name, group, "one") as one, producer(kafka, client) as writer:
        settle(one)
        membership = one.membership()
        sent = [Message(out, b"key-%d" % n, b"%d" % n, [("h", b"x")]) for n in range(30)]
        writer.prepare()
        writer.commit([*sent, Message(out, None, None, [], 1)], {(name, 0): 3, (name, 1): 4}, membership, "mark.")
        assert one.committed({(name, 0), (name, 1)}) == {(name, 0): (3, "mark."), (name, 1): (4, "mark.")}
        writer.commit([Message(out, b"n", None, [], 2)], {(name, 0): 5}, membership, "next.")
        assert one.committed([(name, 0)]) == {(name, 0): (5, "next.")}
        for length in range(20, 50):  # what lies behind a note in memory is not part of it
            note = "n" * length + NOTE_END
            writer.commit([], {(name, 0): length}, membership, note)
            assert one.committed([(name, 0)]) == {(name, 0): (length, note)}
    found = consume_all(kafka.bootstrap, out)
    assert len(found) == 32
    assert [(each.key, each.value) for each in found if each.value in {b"", None}] == [(None, b""), (b"n", None)]
    assert {each.headers[0] for each in found if each.value} == {("h", b"x")}


def test_keys_go_to_the_same_partition(kafka: Broker, topic: Topics) -> None:
    """If it failed, a stream's alerts would be in two partitions after a change of the client, in no order."""
    places = []
    for client in CLIENTS:
        out = topic(partitions=7)
        with producer(kafka, client) as writer:
            writer.commit([Message(out, b"pump-%d" % n, b"x", []) for n in range(50)], {}, None, "")
        places.append(sorted((each.key, each.partition) for each in consume_all(kafka.bootstrap, out)))
    assert places[0] == places[1]
    assert len({partition for _, partition in places[0]}) > 3


@every_client
def test_who_is_not_in_the_group_stores_nothing(kafka: Broker, topic: Topics, client: ClientName) -> None:
    """If it failed, a member that stood still would store its offsets over those of the new owner."""
    name, out = topic(), topic()
    produce(kafka.bootstrap, name, [b"x"])
    group = f"g-{uuid.uuid4().hex[:8]}"
    with member(kafka, client, name, group) as one:
        settle(one)
        old = one.membership()
    with member(kafka, client, name, group) as two, producer(kafka, client) as writer:
        settle(two)
        with pytest.raises(CommitFailedError):
            writer.commit([Message(out, b"k", b"lost", [])], {(name, 0): 1}, old, "late")
        assert two.committed([(name, 0)]) == {(name, 0): None}
        assert not Membership(settled=True, generation=-1, name="", handle=old.handle).stable
    assert consume_all(kafka.bootstrap, out) == []


@every_client
def test_a_second_producer_fences_the_first(kafka: Broker, topic: Topics, client: ClientName) -> None:
    """If it failed, two processes with one identity would publish each alert twice."""
    out, name = topic(), f"t-{uuid.uuid4().hex[:8]}"
    with producer(kafka, client, name) as one:
        one.commit([Message(out, b"k", b"1", [])], {}, None, "")
        with producer(kafka, client, name) as two:
            with pytest.raises(KafkaError) as caught:
                one.commit([Message(out, b"k", b"2", [])], {}, None, "")
            assert fenced(caught.value)
            two.commit([Message(out, b"k", b"3", [])], {}, None, "")
    assert [each.value for each in consume_all(kafka.bootstrap, out)] == [b"1", b"3"]


@every_client
def test_a_message_that_a_topic_does_not_take(kafka: Broker, topic: Topics, client: ClientName) -> None:
    """If it failed, a transaction would end well without one of its messages, or the error name another reason."""
    out, small, name = topic(), topic(max_message_bytes="1000"), f"t-{uuid.uuid4().hex[:8]}"
    with producer(kafka, client, name) as writer, pytest.raises(MessageSizeTooLargeError):
        writer.commit([Message(out, b"k", b"1", []), Message(small, b"k", b"x" * 5_000, [])], {}, None, "")
    with producer(kafka, client, name) as writer:
        writer.commit([Message(out, b"k", b"2", [])], {}, None, "")
    assert [each.value for each in consume_all(kafka.bootstrap, out)] == [b"2"]


@every_client
def test_a_topic_that_takes_less_than_a_batch(kafka: Broker, topic: Topics, client: ClientName) -> None:
    """If it failed, a busy minute on a topic with a low max.message.bytes would be tried again for ever."""
    out = topic(max_message_bytes="262144")
    random = np.random.default_rng(0)
    values = [random.bytes(1_200) for _ in range(3_000)]
    with producer(kafka, client) as writer:
        for part in (values[:600], values[600:]):  # below one batch, and several
            writer.commit([Message(out, b"k", value, []) for value in part], {}, None, "")
        large = [Message(out, b"k", value, []) for value in (b"1", random.bytes(300_000), b"2")]
        with pytest.raises(MessageSizeTooLargeError):
            writer.commit(large, {}, None, "")
    assert [each.value for each in consume_all(kafka.bootstrap, out)] == values


@every_client
def test_what_a_predecessor_left_open_is_settled(kafka: Broker, topic: Topics, client: ClientName) -> None:
    """If it failed, readers would wait for the transaction of a process that was killed, up to its timeout."""
    out, name = topic(), f"t-{uuid.uuid4().hex[:8]}"
    dead = KafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id=name, transaction_timeout_ms=60_000)
    dead.init_transactions()
    dead.begin_transaction()
    dead.send(out, b"lost").get(timeout=20)
    with producer(kafka, client, name) as writer:
        writer.commit([Message(out, b"k", b"kept", [])], {}, None, "")
    dead.close(timeout=0)
    assert [each.value for each in consume_all(kafka.bootstrap, out)] == [b"kept"]


def test_both_in_one_group(kafka: Broker, topic: Topics) -> None:
    """If it failed, a rolling change of `source.client` would end members, or leave partitions without an owner."""
    name, group = topic(partitions=4), f"g-{uuid.uuid4().hex[:8]}"
    with member(kafka, CLIENTS[0], name, group) as one, member(kafka, CLIENTS[1], name, group) as two:
        settle(one, two)
        mine, theirs = one.assignment(), two.assignment()
        assert (len(mine), len(theirs)) == (2, 2)
        assert mine | theirs == {(name, number) for number in range(4)}
        assert one.membership().generation == two.membership().generation
        assert one.identity(name) == two.identity(name) is not None
        for client in CLIENTS:  # as leader of the group, each understands what the other says
            with member(kafka, client, name, group) as three:
                settle(one, two, three)
                given = [each.assignment() for each in (one, two, three)]
                assert set.union(*given) == {(name, number) for number in range(4)}
                assert sum(map(len, given)) == 4


@every_client
def test_a_static_member_keeps_its_partitions(kafka: Broker, topic: Topics, client: ClientName) -> None:
    """If it failed, every restart would move partitions to others and back."""
    name, group = topic(partitions=2), f"g-{uuid.uuid4().hex[:8]}"
    with member(kafka, client, name, group, "other") as other:
        with member(kafka, client, name, group, "again") as first:
            settle(other, first)
            generation = other.membership().generation
            mine = first.assignment()
        with member(kafka, client, name, group, "again") as second:
            settle(other, second)
            assert second.assignment() == mine
            assert other.membership().generation == generation
