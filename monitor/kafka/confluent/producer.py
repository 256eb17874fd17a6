"""Transactions of librdkafka.

It says itself when a message of a transaction was lost. A message that fails is noted as well, for the words of its
error: the commit tells only that there was one. The calls that end a transaction take a time limit and go beyond it by
seconds when a broker is frozen (measured: 6.1 s for 3.2), so they are made on a thread that is not waited for longer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from confluent_kafka import KafkaError as Said
from confluent_kafka import KafkaException, Producer, TopicPartition
from kafka.errors import KafkaError, KafkaTimeoutError

from monitor.kafka.confluent.configuration import configuration, made, reach
from monitor.kafka.confluent.errors import refused_offsets, translated
from monitor.kafka.connection import ConnectionSettings
from monitor.kafka.port import Identity, Key, Membership, payload
from monitor.message import Message

_LONGEST_BLOCK = 3.0
_FULL_SECONDS = 0.05
_ANY = -1  # the partition that the key says


class ConfluentProducer:
    """See `monitor.kafka.port.TransactionalClient`."""

    def __init__(self, connection: ConnectionSettings, identity: Identity, seconds: float) -> None:
        """Connect, and take the identity over; a coordinator that does not answer is asked for so long.

        Raises:
            KafkaProblem: if the cluster cannot be reached.
            KafkaError: if the identity cannot be had.
        """
        until = time.monotonic() + seconds
        self._seconds = identity.commit_seconds
        self._reasons: list[str] = []
        self._lost: list[Said] = []
        self._producer: Producer | None = made(
            Producer,
            connection,
            configuration(connection, self._failed)
            | {
                "transactional.id": identity.transactional_id,
                "transaction.timeout.ms": identity.timeout_ms,
                # wait < delivery < deadline < transaction: each gives up before the next one must
                "delivery.timeout.ms": identity.timeout_ms * 7 // 10,
                "socket.timeout.ms": max(1_000, min(connection.request_timeout_ms, identity.timeout_ms // 2)),
                "linger.ms": 0,  # a commit waits for what lingers
                "batch.size": 65_536,  # well below what any topic takes
                "message.max.bytes": 8_388_608,  # state is few large messages
                "queue.buffering.max.messages": 1_000_000,
                "retry.backoff.ms": 5,  # a new transaction often meets CONCURRENT_TRANSACTIONS once
                "retry.backoff.max.ms": 200,
                "partitioner": "murmur2_random",  # as the other client's: a stream's events stay in one partition
                "compression.type": identity.compression or "none",
                "delivery.report.only.error": True,
                "on_delivery": self._delivered,
            },
        )
        try:
            reach(self._producer, connection, self._reasons, seconds)
            self._initialise(until)
        except BaseException:
            self.close()
            raise

    @property
    def age(self) -> float:
        """See the port: nothing is opened ahead."""
        return 0.0

    def rest(self) -> None:
        """See the port: what the client has to say waits in its memory until somebody asks."""
        if self._producer is not None:
            self._producer.poll(0)

    def prepare(self) -> None:
        """See the port: the client asks for partitions as their first messages come."""

    def commit(
        self, messages: Sequence[Message], offsets: Mapping[Key, int], membership: Membership | None, mark: str
    ) -> None:
        """See the port."""
        until = time.monotonic() + self._seconds
        try:
            self._begin()
            for message in messages:
                self._send(message, until)
            self._finish({} if membership is None else offsets, membership, mark, until)
        except KafkaException as error:
            raise refused_offsets(self._lost[0] if self._lost else error.args[0]) from None
        except KafkaTimeoutError:
            if self._lost:  # what has lost a message cannot be committed, however long its end takes
                raise refused_offsets(self._lost[0]) from None
            raise

    def close(self, seconds: float = 0) -> None:
        """See the port. The client waits for brokers, and is left to itself after that."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        closing = threading.Thread(target=_close, args=(producer,), name="producer-close", daemon=True)
        del producer
        closing.start()
        closing.join(seconds)

    def _begin(self) -> None:
        self._lost.clear()
        self._client.begin_transaction()

    def _send(self, message: Message, until: float) -> None:
        """Hand a message to the client, which sends it by and by."""
        partition = _ANY if message.partition is None else message.partition
        while True:
            try:
                self._client.produce(
                    message.topic, payload(message), message.key, partition, headers=list(message.headers)
                )
            except BufferError:
                if time.monotonic() > until:
                    text = "the messages of a transaction were not taken in time"
                    raise KafkaTimeoutError(text) from None
                self._client.poll(_FULL_SECONDS)
            else:
                return

    def _finish(self, offsets: Mapping[Key, int], membership: Membership | None, mark: str, until: float) -> None:
        """Store offsets and commit; what takes longer than that is given up, and nobody knows what becomes of it."""
        failed: list[Exception] = []
        ended = threading.Event()

        def work() -> None:
            try:
                if membership is not None and offsets:
                    self._store(offsets, membership, mark, until)
                if not ended.is_set():
                    self._end(until)
            except Exception as error:  # noqa: BLE001 - it is raised where somebody waits for it
                failed.append(error)

        thread = threading.Thread(target=work, name="transaction-end", daemon=True)
        thread.start()
        thread.join(_left(until))
        if thread.is_alive():
            ended.set()
            message = "the brokers do not answer: the commit took too long"
            raise KafkaTimeoutError(message)
        if failed:
            raise failed[0]

    def _store(self, offsets: Mapping[Key, int], membership: Membership, mark: str, until: float) -> None:
        """Store offsets, while messages are on their way."""
        places = [TopicPartition(*key, offset, mark) for key, offset in offsets.items()]
        self._client.send_offsets_to_transaction(places, membership.handle, _left(until))

    def _end(self, until: float) -> None:
        """Wait for the messages, and commit."""
        self._client.commit_transaction(_left(until))

    @property
    def _client(self) -> Producer:
        if self._producer is None:
            message = "the producer is closed"
            raise KafkaError(message)
        return self._producer

    def _initialise(self, until: float) -> None:
        """Take the identity over; a coordinator that does not answer is asked until then, and at least once."""
        while True:
            try:
                self._client.init_transactions(_LONGEST_BLOCK)
            except KafkaException as error:
                said = error.args[0]
                if not said.retriable() or time.monotonic() >= until:
                    raise translated(said) from None
            else:
                return

    def _failed(self, error: Said) -> None:
        """Take note of what belongs to no call."""
        self._reasons = [*self._reasons[-9:], f"{error.name()} {error.str()}"]

    def _delivered(self, error: Said | None, message: Any) -> None:  # noqa: ANN401 - a message of the client's
        """Take note of a message that was lost."""
        del message
        if error is not None:
            self._lost.append(error)


def _left(until: float) -> float:
    return max(0.1, until - time.monotonic())


def _close(producer: Producer) -> None:
    """Throw away what is not sent; the transaction is for the next producer, or the brokers, to end.

    The client's own `close` would abort it first, and wait for brokers. The last reference, which is the thread's, ends
    the client.
    """
    with suppress(KafkaException, RuntimeError):
        producer.purge()
