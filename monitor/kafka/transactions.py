"""Kafka transactions that lose nothing: messages and consumer offsets together, or not at all.

kafka-python 3.0 reports success for a transaction from which a record was dropped, has no timeout on the calls that
end one, and speaks the first transaction protocol, in which a late answer can hit a later transaction. Hence here:
every future is looked at before the commit, a deadline ends the process when a call hangs, and after anything but
a clean commit the producer is replaced, which makes the broker settle what was open.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kafka import KafkaProducer, TopicPartition
from kafka.errors import CommitFailedError, KafkaError, KafkaTimeoutError
from kafka.structs import OffsetAndMetadata

from monitor.message import Message
from monitor.kafka.connection import ConnectionSettings
from monitor.kafka.errors import FENCING, Fenced, connecting, problem

EXIT_HUNG = 70
_SLOW_COMMIT = 2.0  # seconds; after a slower one its EndTxn may still be on the way
_AUTHORIZATION = ("TopicAuthorizationFailedError", "TransactionalIdAuthorizationFailedError",
                  "GroupAuthorizationFailedError", "ClusterAuthorizationFailedError")  # fmt: skip


class TransactionFailed(Exception):  # noqa: N818 - an outcome that the caller deals with
    """The transaction did not commit, or nobody knows whether it did: read the truth from the broker.

    Attributes:
        rejected: True where the group refused the offsets because this member is not in it any more.
    """

    def __init__(self, message: str, *, rejected: bool = False) -> None:
        """Keep the message."""
        super().__init__(message)
        self.rejected = rejected


class Deadline:
    """Ends the process when a step takes too long: the client's calls that end a transaction have no timeout."""

    def __init__(self, seconds: float, end: Callable[[int], Any] = os._exit) -> None:
        """Start the watching thread."""
        self._seconds = seconds
        self._end = end
        self._until: float | None = None
        self._changed = threading.Condition()
        self._closed = False
        threading.Thread(target=self._watch, name="transaction-deadline", daemon=True).start()

    def __enter__(self) -> None:
        """Begin a step."""
        with self._changed:
            self._until = time.monotonic() + self._seconds
            self._changed.notify()

    def __exit__(self, *_: object) -> None:
        """End a step."""
        with self._changed:
            self._until = None
            self._changed.notify()

    def close(self) -> None:
        """Stop watching."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _watch(self) -> None:
        with self._changed:
            while not self._closed:
                if self._until is None:
                    self._changed.wait()
                    continue
                left = self._until - time.monotonic()
                if left <= 0:
                    self._end(EXIT_HUNG)
                    return
                self._changed.wait(left)


class Transactions:
    """Commits messages and offsets under one transactional id."""

    def __init__(
        self, connection: ConnectionSettings, transactional_id: str, timeout_ms: int, compression: str | None
    ) -> None:
        """Connect, and settle what a predecessor with this id left open.

        Args:
            connection: how to reach the cluster.
            transactional_id: the identity; a newer process with the same one fences this one.
            timeout_ms: after so long the broker aborts a transaction by itself.
            compression: codec of the messages, None for none.

        Raises:
            KafkaProblem: if the cluster cannot be reached or refuses the identity.
        """
        self._connection = connection
        self.transactional_id = transactional_id
        self._arguments = {
            **connection.arguments(),
            "transactional_id": transactional_id,
            "transaction_timeout_ms": timeout_ms,
            # delivery < deadline < transaction: the client gives up before the process, the process before the broker
            "delivery_timeout_ms": timeout_ms * 7 // 10,
            "request_timeout_ms": min(connection.request_timeout_ms, timeout_ms // 2),
            "max_block_ms": timeout_ms // 2,
            "linger_ms": 5,
            "retry_backoff_ms": 5,  # a new transaction often meets CONCURRENT_TRANSACTIONS once
            "compression_type": compression,
        }
        self._flush_seconds = timeout_ms * 0.6 / 1000
        self._deadline = Deadline(timeout_ms * 0.8 / 1000)
        self._producer: Any = None
        self.rebuild()

    def rebuild(self) -> None:
        """Replace the producer, so that the broker aborts or completes what was open.

        Raises:
            KafkaProblem: if the cluster cannot be reached or refuses the identity.
        """
        self._discard()
        with connecting(self._connection.address):
            self._producer = KafkaProducer(**self._arguments)
        try:
            with connecting(self._connection.address):
                self._initialise()
        except BaseException:
            self._discard()
            raise

    def commit(
        self, messages: Sequence[Message], offsets: Mapping[tuple[str, int], int], membership: Any | None  # noqa: ANN401
    ) -> float:
        """Publish messages and store offsets, all or nothing; return how long it took, in seconds.

        Args:
            messages: what is published, in this order for each partition.
            offsets: next offset of each (topic, partition).
            membership: the group membership as it was right after the poll; None stores no offsets.

        Raises:
            TransactionFailed: if it did not commit, or nobody knows. The producer must be rebuilt.
            Fenced: if another process has taken this identity.
        """
        began = time.monotonic()
        with self._deadline:
            try:
                self._commit(messages, offsets, membership)
            except FENCING:
                raise Fenced(self.transactional_id) from None
            except CommitFailedError as error:
                raise TransactionFailed(str(error), rejected=True) from None
            except KafkaError as error:
                if type(error).__name__ in _AUTHORIZATION:
                    raise problem(error, "the transaction was refused") from None
                raise TransactionFailed(f"{type(error).__name__}: {error}") from None
        took = time.monotonic() - began
        if took > _SLOW_COMMIT:
            self.rebuild()
        return took

    def close(self) -> None:
        """Let go of the connection."""
        self._deadline.close()
        self._discard(timeout=5)

    def _initialise(self) -> None:
        try:
            self._producer.init_transactions()
        except FENCING:
            raise Fenced(self.transactional_id) from None

    def _commit(
        self, messages: Sequence[Message], offsets: Mapping[tuple[str, int], int], membership: Any | None  # noqa: ANN401
    ) -> None:
        producer = self._producer
        producer.begin_transaction()
        futures = [
            producer.send(
                message.topic,
                key=message.key,
                value=message.value,
                headers=list(message.headers),
                partition=message.partition,
            )
            for message in messages
        ]
        if futures:
            producer.flush(self._flush_seconds)
        for future in futures:
            if not future.succeeded():
                raise future.exception or KafkaTimeoutError("a message was not acknowledged in time")
        if membership is not None and offsets:
            wanted = {
                TopicPartition(topic, partition): OffsetAndMetadata(offset, "", -1)
                for (topic, partition), offset in offsets.items()
            }
            producer.send_offsets_to_transaction(wanted, membership)
        producer.commit_transaction()

    def _discard(self, timeout: float = 0) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.close(timeout=timeout)
