"""Transactions of kafka-python that lose nothing.

kafka-python 3.0 reports success for a transaction from which a record was dropped, has no timeout on the calls that
end one, and speaks the first transaction protocol, in which a late answer can hit a later transaction. Hence here:
every future is looked at before the commit, and no call is waited for without end.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from kafka import KafkaProducer, TopicPartition
from kafka.errors import KafkaError, KafkaTimeoutError
from kafka.structs import OffsetAndMetadata

from monitor.kafka.connection import ConnectionSettings, connect
from monitor.kafka.port import Identity, Key, Membership, payload
from monitor.kafka.python.opening import Opening
from monitor.message import Message

_LONGEST_BLOCK_MS = 3_000
_GLANCE = 0.0003  # seconds between two looks at whether messages are on their way


class PythonProducer:
    """See `monitor.kafka.port.TransactionalClient`."""

    def __init__(self, connection: ConnectionSettings, identity: Identity, seconds: float) -> None:
        """Connect, and take the identity over; a coordinator that does not answer is asked for so long.

        Raises:
            KafkaProblem: if the cluster cannot be reached.
            KafkaError: if the identity cannot be had.
        """
        until = time.monotonic() + seconds
        timeout_ms = identity.timeout_ms
        self._flush_seconds = timeout_ms * 0.5 / 1000
        self._commit_seconds = identity.commit_seconds
        self._producer: Any = connect(
            KafkaProducer,
            connection,
            transactional_id=identity.transactional_id,
            transaction_timeout_ms=timeout_ms,
            # wait < delivery < deadline < transaction: each gives up before the next one must
            delivery_timeout_ms=timeout_ms * 7 // 10,
            request_timeout_ms=min(connection.request_timeout_ms, timeout_ms // 2),
            max_block_ms=min(_LONGEST_BLOCK_MS, timeout_ms // 2),
            linger_ms=5,
            max_request_size=8_388_608,  # state is few large messages
            batch_size=1_000_000,  # not a request for each of them; topics that take less have batches split
            retry_backoff_ms=5,  # a new transaction often meets CONCURRENT_TRANSACTIONS once
            compression_type=identity.compression,
            metrics_enabled=False,  # nobody reads them, and they are a fifth of what a transaction computes
            bootstrap_timeout_ms=int(seconds * 1000),
        )
        try:
            self._initialise(until)
        except BaseException:
            self.close()
            raise
        self._opening = Opening(self._producer)

    @property
    def age(self) -> float:
        """See the port."""
        return self._opening.age

    def rest(self) -> None:
        """See the port: the client has a thread for that."""

    def prepare(self) -> None:
        """See the port."""
        with suppress(KafkaError):  # `commit` meets it as well, and says so
            self._opening.begin(ahead=True)

    def commit(
        self, messages: Sequence[Message], offsets: Mapping[Key, int], membership: Membership | None, mark: str
    ) -> None:
        """See the port."""
        producer = self._producer
        until = time.monotonic() + self._commit_seconds
        self._opening.begin()
        futures = [
            producer.send(
                message.topic,
                key=message.key,
                value=payload(message),
                headers=list(message.headers),
                partition=message.partition,
            )
            for message in messages
        ]
        # The client's own calls for what follows wait without end; these are their bodies, with an end.
        manager, sender = producer._transaction_manager, producer._sender  # noqa: SLF001 - as said above
        if futures:
            _send_off(producer, until)
        stored: Any = None
        if membership is not None and offsets:
            wanted = {
                TopicPartition(topic, partition): OffsetAndMetadata(offset, mark, -1)
                for (topic, partition), offset in offsets.items()
            }
            stored = manager.send_offsets_to_transaction(wanted, membership.handle)
            sender.wakeup()
        if futures:
            _acknowledged(producer, futures, time.monotonic() + self._flush_seconds)
        if stored is not None:
            _await(stored, until, "storing the offsets")
        result = manager.begin_commit()
        sender.wakeup()
        _await(result, until, "the commit")
        self._opening.ended({TopicPartition(future.value.topic, future.value.partition) for future in futures})

    def close(self, seconds: float = 0) -> None:
        """See the port; a producer with messages that nobody acknowledges refuses to be closed, and is forced."""
        try:
            self._producer.close(timeout=seconds)
        except KafkaError:
            self._producer._sender.force_close()  # noqa: SLF001 - there is no other way
            with suppress(KafkaError):
                self._producer.close(timeout=1)

    def _initialise(self, until: float) -> None:
        """Take the identity over; a coordinator that does not answer is asked until then, and at least once."""
        while True:
            try:
                self._producer.init_transactions()
            except KafkaTimeoutError:
                if time.monotonic() >= until:
                    raise
            else:
                return


@contextmanager
def _flushing(producer: Any) -> Iterator[Any]:  # noqa: ANN401 - the client has no types
    """Have the client send what it holds, without lingering; gives what holds it."""
    accumulator = producer._accumulator  # noqa: SLF001 - there is no public way
    accumulator.begin_flush()
    try:
        producer._sender.wakeup()  # noqa: SLF001 - as above
        yield accumulator
    finally:
        accumulator._flushes_in_progress.decrement()  # noqa: SLF001 - as above: what `await_flush_completion` ends with


def _send_off(producer: Any, until: float) -> None:  # noqa: ANN401 - the client has no types
    """Wait until the messages are on their way, not until they are acknowledged.

    The client sends no message while a request of the transaction is under way, but does the reverse: so offsets that
    are handed to it now are stored during the time that the brokers take for the messages. That is a quarter of the
    time of a commit.
    """
    with _flushing(producer) as accumulator:
        while accumulator.has_undrained() and time.monotonic() < until:
            time.sleep(_GLANCE)


def _acknowledged(producer: Any, futures: Sequence[Any], until: float) -> None:  # noqa: ANN401 - the client has no types
    """Wait until all messages are acknowledged, and raise what the first that was not failed with.

    The client's own `flush` looks at batches. It fails where a topic takes less than a batch: the batch is split, and
    its messages go on in others.
    """
    with _flushing(producer):
        for future in futures:
            if not future.succeeded():
                future.get(max(0.0, until - time.monotonic()))


def _await(result: Any, until: float, what: str) -> None:  # noqa: ANN401 - the client has no types
    """Wait for a request of a transaction, and raise what it failed with."""
    if not result.wait(timeout_ms=max(0.0, until - time.monotonic()) * 1000):
        message = f"{what} took too long"
        raise KafkaTimeoutError(message)
