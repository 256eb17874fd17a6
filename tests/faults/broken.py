"""Rules of the daemon, broken one at a time: each must make the checks fail, or they prove nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from kafka import KafkaConsumer
from kafka.producer.future import FutureRecordMetadata

from monitor.kafka.consumer import Member
from monitor.kafka.port import Columns, Key, Membership
from monitor.kafka.python.group import _Facts
from monitor.kafka.transactions import Transactions
from monitor.message import Message
from tests.faults.points import GIVEN_UP


@dataclass(frozen=True)
class Rule:
    """A rule that can be broken.

    Attributes:
        says: the rule.
        faults: those against which it is there.
        install: breaks it, in this process.
        how: what the world must be like for it to matter (see `World`).
    """

    says: str
    faults: Sequence[str]
    install: Callable[[], None]
    how: Mapping[str, Any]


RULES: dict[str, Rule] = {}


def rule(name: str, says: str, *faults: str, **how: Any) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Enter a function that breaks a rule."""

    def enter(install: Callable[[], None]) -> Callable[[], None]:
        RULES[name] = Rule(says, faults, install, how)
        return install

    return enter


@rule("together", "messages and offsets are one transaction, and the offsets not the first", "F1", "F2")
def _offsets_first() -> None:
    whole = Transactions.commit

    def commit(
        self: Transactions,
        messages: Sequence[Message],
        offsets: Mapping[Key, int],
        membership: Membership | None,
        mark: str = "",
    ) -> float:
        alerts = [message for message in messages if message.partition is None]  # what is published, and no state
        state = [message for message in messages if message.partition is not None]
        return whole(self, state, offsets, membership, mark) + whole(self, alerts, {}, None)

    Transactions.commit = commit  # type: ignore[method-assign]  # it is what is broken


@rule(
    "futures",
    "what became of every message is looked at before the commit",
    "F12",
    answers=[GIVEN_UP],
)
def _failed_is_fine() -> None:
    def failure(self: FutureRecordMetadata, error: Exception) -> None:
        del error
        self.success(SimpleNamespace(topic="", partition=0))

    FutureRecordMetadata.failure = failure


@rule("behind", "after a seek, records below the member's own next offset are dropped", "F8", "F5", "F2")
def _anything_goes() -> None:
    def poll(self: Member, timeout: float) -> dict[Key, Columns]:
        found = self._poll(timeout)
        self.membership = self._client.membership()
        if not self.settled:
            self._settle()
        records = {}
        for key, columns in found.items():
            if key in self.next:
                self.next[key] = columns.offsets[-1] + 1
                records[key] = columns
        return records

    Member.poll = poll  # type: ignore[method-assign]  # it is what is broken


@rule("committed", "only committed records are read", "F20", "F1")
def _read_uncommitted() -> None:
    begin = KafkaConsumer.__init__

    def init(self: KafkaConsumer, *topics: str, **settings: Any) -> None:
        begin(self, *topics, **{**settings, "isolation_level": "read_uncommitted"})

    KafkaConsumer.__init__ = init


@rule("membership", "offsets are committed as the member that polled their records, or not at all", "F5", "F8")
def _whoever_i_am() -> None:
    now = property(lambda self: self._client.membership(), lambda _self, _value: None)
    Member.membership = now  # type: ignore[assignment]  # it is what is broken
    Member.stable = property(lambda _: True)  # type: ignore[assignment,method-assign]  # as above


@rule("rejoin", "after a refused commit the member polls, and only then looks up where it is", "F5", "F8")
def _restore_first() -> None:
    assigned = _Facts.on_partitions_assigned

    def unsettle(self: Member) -> None:
        self._unsettled = True
        self._settle()

    def again(self: _Facts, partitions: Sequence[Any]) -> None:
        if not getattr(self, "known", None):
            assigned(self, partitions)
        self.known = True

    Member.unsettle = unsettle  # type: ignore[method-assign]  # it is what is broken
    Member.stable = property(lambda _: True)  # type: ignore[assignment,method-assign]  # as above
    _Facts.on_partitions_assigned = again  # type: ignore[assignment,method-assign]  # as above
    _Facts.on_partitions_revoked = lambda _self, _revoked: None  # type: ignore[assignment,method-assign]  # as above
