"""Kafka transactions that lose nothing: messages and consumer offsets together, or not at all.

What a client says of a transaction's end is not always what happened, and a late request can hit a later transaction.
Hence here, whichever client it is: no call is waited for without end (behind each client's own limits, a deadline ends
the process), and after anything but a quick and clean commit the producer is replaced, which makes the broker settle
what was open.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import structlog
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

from monitor.kafka.clients import ClientName, transactional_client
from monitor.kafka.connection import ConnectionSettings
from monitor.kafka.deadline import Deadline
from monitor.kafka.errors import EXIT_RETRY, Fenced, KafkaProblem, denied, fenced, problem
from monitor.kafka.port import Identity, Key, Membership, TransactionalClient
from monitor.message import Message

log = structlog.get_logger(__name__)

_SLOW_COMMIT = 2.0  # seconds; after a slower one its EndTxn may still be on the way
_QUICK = 2.0  # seconds for a broker to answer when a producer is replaced
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
        identity: Identity,
        client: ClientName = "kafka-python",
        *,
        open_now: bool = True,
    ) -> None:
        """Connect, and settle what a predecessor with this identity left open.

        Args:
            connection: how to reach the cluster.
            identity: the identity; a newer process with the same one fences this one.
            client: which client does it.
            open_now: False leaves all of that to the first `rebuild`.

        Raises:
            KafkaProblem: if the cluster cannot be reached or refuses the identity.
        """
        self._connection, self._identity, self._client = connection, identity, client
        self._deadline = Deadline(identity.timeout_ms * 0.8 / 1000)
        self._oldest = identity.timeout_ms * 0.2 / 1000  # leaves a commit the time that it may take
        self._producer: TransactionalClient | None = None
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
        name = self._identity.transactional_id
        try:
            self._producer = transactional_client(self._client, self._connection, self._identity, seconds)
        except KafkaTimeoutError:
            message = f"the brokers at {self._connection.address} do not answer for source.transactional_id {name!r}"
            raise KafkaProblem(message) from None
        except KafkaError as error:
            if fenced(error):
                raise Fenced(name) from None
            raise problem(error, f"source.transactional_id {name!r} cannot be used") from None

    def rest(self) -> None:
        """Let the client do what it has put off, when nothing came; returns at once."""
        if self._producer is not None:
            self._producer.rest()

    def prepare(self) -> None:
        """Open the transaction of the `commit` that is about to come; returns at once, never raises."""
        if self._producer is not None:
            self._producer.prepare()

    def commit(
        self,
        messages: Sequence[Message],
        offsets: Mapping[Key, int],
        membership: Membership | None,
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
        age = 0.0 if self._producer is None else self._producer.age
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
        producer = self._producer
        assert producer is not None  # noqa: S101 - it has just been made
        began = time.monotonic()
        try:
            with self._deadline:
                producer.commit(messages, offsets, membership, mark)
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
        self._discard(seconds=2)

    def _failure(self, error: Exception) -> Exception:
        """Return what an exception of the client means."""
        if fenced(error):
            return Fenced(self._identity.transactional_id)
        if isinstance(error, CommitFailedError):
            return TransactionFailed(str(error), rejected=True)
        refused = denied(error)
        if isinstance(refused, _FINAL):
            return problem(refused, "the transaction was refused")
        return TransactionFailed(f"{type(error).__name__}: {error}")

    def _discard(self, seconds: float = 0) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.close(seconds)
