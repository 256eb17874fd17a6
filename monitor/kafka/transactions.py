"""Kafka transactions that lose nothing: messages and consumer offsets together, or not at all.

kafka-python 3.0 reports success for a transaction from which a record was dropped, has no timeout on the calls that
end one, and speaks the first transaction protocol, in which a late answer can hit a later transaction. Hence here:
every future is looked at before the commit, no call is waited for without end (behind that, a deadline ends the
process), and after anything but a quick and clean commit the producer is replaced, which makes the broker settle what
was open.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import structlog
from kafka import KafkaProducer, TopicPartition
from kafka.errors import (
    AuthorizationError,
    ClusterAuthorizationFailedError,
    CommitFailedError,
    GroupAuthorizationFailedError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailedError,
)
from kafka.structs import OffsetAndMetadata

from monitor.kafka.connection import ConnectionSettings, connect
from monitor.kafka.deadline import Deadline
from monitor.kafka.errors import EXIT_RETRY, Fenced, KafkaProblem, denied, fenced, problem
from monitor.kafka.opening import Opening
from monitor.message import Message

log = structlog.get_logger(__name__)

_SLOW_COMMIT = 2.0  # seconds; after a slower one its EndTxn may still be on the way
_QUICK = 2.0  # seconds for a broker to answer when a producer is replaced
_LONGEST_BLOCK_MS = 3_000
_GLANCE = 0.0003  # seconds between two looks at whether messages are on their way
# What no retry mends: the broker has refused, and will refuse again.
_FINAL = (
    AuthorizationError,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailedError,
    MessageSizeTooLargeError,
)


class TransactionFailed(Exception):  # noqa: N818 - an outcome that the caller deals with
    """The transaction did not commit, or nobody knows whether it did: read the truth from the broker.

    Attributes:
        rejected: True where the group refused the offsets because this member is not in it any more.
    """

    def __init__(self, message: str, *, rejected: bool = False) -> None:
        """Keep the message."""
        super().__init__(message)
        self.rejected = rejected


class Transactions:
    """Commits messages and offsets under one transactional id."""

    def __init__(
        self,
        connection: ConnectionSettings,
        transactional_id: str,
        timeout_ms: int,
        compression: str | None,
        *,
        open_now: bool = True,
    ) -> None:
        """Connect, and settle what a predecessor with this id left open.

        Args:
            connection: how to reach the cluster.
            transactional_id: the identity; a newer process with the same one fences this one.
            timeout_ms: after so long the broker aborts a transaction by itself.
            compression: codec of the messages, None for none.
            open_now: False leaves all of that to the first `rebuild`.

        Raises:
            KafkaProblem: if the cluster cannot be reached or refuses the identity.
        """
        self._connection = connection
        self.transactional_id = transactional_id
        self._arguments = {
            "transactional_id": transactional_id,
            "transaction_timeout_ms": timeout_ms,
            # wait < delivery < deadline < transaction: each gives up before the next one must
            "delivery_timeout_ms": timeout_ms * 7 // 10,
            "request_timeout_ms": min(connection.request_timeout_ms, timeout_ms // 2),
            "max_block_ms": min(_LONGEST_BLOCK_MS, timeout_ms // 2),
            "linger_ms": 5,
            "max_request_size": 8_388_608,  # state is few large messages
            "retry_backoff_ms": 5,  # a new transaction often meets CONCURRENT_TRANSACTIONS once
            "compression_type": compression,
            "metrics_enabled": False,  # nobody reads them, and they are a fifth of what a transaction computes
        }
        self._flush_seconds = timeout_ms * 0.5 / 1000
        self._commit_seconds = timeout_ms * 0.65 / 1000
        self._deadline = Deadline(timeout_ms * 0.8 / 1000)
        self._oldest = timeout_ms * 0.2 / 1000  # leaves a commit the time that it may take
        self._producer: Any = None
        self._opening: Opening | None = None
        if open_now:
            self.rebuild(connection.bootstrap_timeout_ms / 1000)

    @property
    def broken(self) -> bool:
        """Whether there is no producer, so that `rebuild` must come before the next `commit`."""
        return self._producer is None

    def rebuild(self, seconds: float = _QUICK) -> None:
        """Replace the producer, so that the broker aborts or completes what was open.

        Args:
            seconds: how long to try for a broker.

        Raises:
            KafkaProblem: if the cluster cannot be reached or refuses the identity. May be called again.
        """
        self._discard()
        until = time.monotonic() + seconds
        producer = connect(
            KafkaProducer, self._connection, **{**self._arguments, "bootstrap_timeout_ms": int(seconds * 1000)}
        )
        try:
            self._initialise(producer, until)
        except BaseException:
            self._let_go(producer)
            raise
        self._producer, self._opening = producer, Opening(producer)

    def prepare(self) -> None:
        """Open the transaction of the `commit` that is about to come; returns at once, never raises."""
        if self._opening is not None:
            with suppress(KafkaError):  # `commit` meets it as well, and says so
                self._opening.begin(ahead=True)

    def commit(
        self,
        messages: Sequence[Message],
        offsets: Mapping[tuple[str, int], int],
        membership: Any | None,  # noqa: ANN401 - the client has no types
        mark: str = "",
    ) -> float:
        """Publish messages and store offsets, all or nothing; return how long it took, in seconds.

        Args:
            messages: what is published, in this order for each partition.
            offsets: next offset of each (topic, partition).
            membership: the group membership as it was right after the poll; None stores no offsets.
            mark: a text that is stored with the offsets.

        Raises:
            TransactionFailed: if it did not commit, or nobody knows. The producer is gone (see `broken`).
            Fenced: if another process has taken this identity.
            KafkaProblem: if the broker refuses for good.
        """
        age = 0.0 if self._opening is None else self._opening.age
        if age > self._oldest:
            # Opened, then the process stood still: the broker may have aborted it. Nothing was in it.
            log.info("transaction_reopened", seconds=round(age, 3))
            self._discard()
        if self._producer is None:
            try:
                self.rebuild()
            except KafkaProblem as error:
                if error.status != EXIT_RETRY:
                    raise
                raise TransactionFailed(str(error)) from None
        began = time.monotonic()
        try:
            with self._deadline:
                self._commit(messages, offsets, membership, mark)
        except Exception as error:  # noqa: BLE001 - whatever the client raises, the outcome is unknown
            self._discard()
            raise self._failure(error) from None
        took = time.monotonic() - began
        if took > _SLOW_COMMIT:
            log.warning("commit_slow", seconds=round(took, 3))
            self._discard()
        return took

    def close(self) -> None:
        """Let go of the connection. May be called twice."""
        self._deadline.close()
        self._discard(timeout=2)

    def _failure(self, error: Exception) -> Exception:
        """Return what an exception of the client means."""
        if fenced(error):
            return Fenced(self.transactional_id)
        if isinstance(error, CommitFailedError):
            return TransactionFailed(str(error), rejected=True)
        refused = denied(error)
        if isinstance(refused, _FINAL):
            return problem(refused, "the transaction was refused")
        return TransactionFailed(f"{type(error).__name__}: {error}")

    def _initialise(self, producer: Any, until: float) -> None:  # noqa: ANN401 - the client has no types
        """Take the identity over; a coordinator that does not answer is asked until then, and at least once."""
        while True:
            try:
                producer.init_transactions()
            except KafkaTimeoutError:
                if time.monotonic() >= until:
                    message = (
                        f"the brokers at {self._connection.address} do not answer for"
                        f" source.transactional_id {self.transactional_id!r}"
                    )
                    raise KafkaProblem(message) from None
            except KafkaError as error:
                if fenced(error):
                    raise Fenced(self.transactional_id) from None
                what = f"source.transactional_id {self.transactional_id!r} cannot be used"
                raise problem(error, what) from None
            else:
                return

    def _commit(
        self,
        messages: Sequence[Message],
        offsets: Mapping[tuple[str, int], int],
        membership: Any | None,  # noqa: ANN401 - the client has no types
        mark: str,
    ) -> None:
        producer, opening = self._producer, self._opening
        assert opening is not None  # noqa: S101 - there is one for each producer
        until = time.monotonic() + self._commit_seconds
        opening.begin()
        futures = [
            producer.send(
                message.topic,
                key=message.key,
                # Kafka knows messages with neither key nor value, this client does not
                value=b"" if message.key is None and message.value is None else message.value,
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
            stored = manager.send_offsets_to_transaction(wanted, membership)
            sender.wakeup()
        if futures:
            producer.flush(self._flush_seconds)
        for future in futures:
            if not future.succeeded():
                raise future.exception or KafkaTimeoutError("a message was not acknowledged in time")
        if stored is not None:
            _await(stored, until, "storing the offsets")
        result = manager.begin_commit()
        sender.wakeup()
        _await(result, until, "the commit")
        opening.ended({TopicPartition(future.value.topic, future.value.partition) for future in futures})

    def _discard(self, timeout: float = 0) -> None:
        producer, self._producer, self._opening = self._producer, None, None
        if producer is not None:
            self._let_go(producer, timeout)

    @staticmethod
    def _let_go(producer: Any, timeout: float = 0) -> None:  # noqa: ANN401 - the client has no types
        """Close a producer; one with messages that nobody acknowledges refuses to be closed, and is forced."""
        try:
            producer.close(timeout=timeout)
        except KafkaError:
            producer._sender.force_close()  # noqa: SLF001 - there is no other way
            with suppress(KafkaError):
                producer.close(timeout=1)


def _send_off(producer: Any, until: float) -> None:  # noqa: ANN401 - the client has no types
    """Wait until the messages are on their way, not until they are acknowledged.

    The client sends no message while a request of the transaction is under way, but does the reverse: so offsets that
    are handed to it now are stored during the time that the brokers take for the messages. That is a quarter of the
    time of a commit.
    """
    accumulator = producer._accumulator  # noqa: SLF001 - there is no public way
    accumulator.begin_flush()
    try:
        producer._sender.wakeup()  # noqa: SLF001 - as above
        while accumulator.has_undrained() and time.monotonic() < until:
            time.sleep(_GLANCE)
    finally:
        accumulator._flushes_in_progress.decrement()  # noqa: SLF001 - as above: what `await_flush_completion` ends with


def _await(result: Any, until: float, what: str) -> None:  # noqa: ANN401 - the client has no types
    """Wait for a request of a transaction, and raise what it failed with."""
    if not result.wait(timeout_ms=max(0.0, until - time.monotonic()) * 1000):
        message = f"{what} took too long"
        raise KafkaTimeoutError(message)
