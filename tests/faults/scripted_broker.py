"""A Kafka in memory, for orders of events that a real one rarely shows: logs, transactions, a group, each by the book.

It keeps what matters to exactly-once and nothing else: markers take an offset, an open transaction hides what is behind
its start, producers with an old epoch are fenced, offsets with an old generation are refused, and those without any
membership are taken (as the real one does: that hole is one of the things to be proved harmless). The transaction
protocol is the first one: the end of a transaction that arrives late ends whatever this producer has open by then.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from kafka.errors import CommitFailedError, FencedInstanceIdError, KafkaTimeoutError, ProducerFencedError

Place = tuple[str, int]


@dataclass
class Transaction:
    """Messages and offsets that count together or not at all."""

    state: str = "open"  # open, committed, aborted
    places: set[Place] = field(default_factory=set)
    offsets: dict[Place, tuple[int, str]] = field(default_factory=dict)


@dataclass
class Entry:
    """A message, or a marker (`key` and `value` None, `marker` True)."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    transaction: Transaction | None = None
    marker: bool = False


@dataclass
class Identity:
    """A transactional id."""

    epoch: int = -1
    transaction: Transaction | None = None


class ScriptedBroker:
    """See above.

    Attributes:
        logs: entries of each partition.
        offsets: (offset, metadata) of the group by partition.
        generation: of the group.
        members: member id of each member's name.
        owners: which member has which partition.
        outside: static names that another process has taken: their old holder is fenced.
    """

    def __init__(self, partitions: dict[str, int]) -> None:
        """Make topics with so many partitions."""
        self.partitions = partitions
        self.logs: dict[Place, list[Entry]] = {(t, n): [] for t, count in partitions.items() for n in range(count)}
        self.identities: dict[str, Identity] = {}
        self.offsets: dict[Place, tuple[int, str]] = {}
        self.generation = 0
        self.members: dict[str, str] = {}
        self.owners: dict[Place, str] = {}
        self._serial = 0

    # ── logs ──

    def append(
        self,
        place: Place,
        key: bytes | None,
        value: bytes | None,
        headers: tuple[tuple[str, bytes], ...] = (),
        transaction: Transaction | None = None,
    ) -> int:
        """Append a message and return its offset."""
        log = self.logs[place]
        log.append(Entry(len(log), key, value, headers, transaction))
        return len(log) - 1

    def end(self, place: Place, *, stable: bool) -> int:
        """Return the end of a partition: where the first open transaction begins, if only what is stable counts."""
        for entry in self.logs[place]:
            if stable and entry.transaction is not None and entry.transaction.state == "open":
                return entry.offset
        return len(self.logs[place])

    def read(self, place: Place, begin: int, *, committed: bool = True) -> list[Entry]:
        """Return what a reader gets from an offset on."""
        end = self.end(place, stable=committed)
        return [
            entry
            for entry in self.logs[place][begin:end]
            if not entry.marker and not (committed and entry.transaction and entry.transaction.state == "aborted")
        ]

    # ── transactions ──

    def init(self, name: str) -> int:
        """Take an identity over: what it had open is aborted. Return its epoch."""
        identity = self.identities.setdefault(name, Identity())
        self._finish(identity, commit=False)
        identity.epoch += 1
        return identity.epoch

    def transaction(self, name: str, epoch: int) -> Transaction:
        """Return the open transaction of a producer, a new one if it has none.

        Raises:
            ProducerFencedError: if the identity is another's by now.
        """
        identity = self._checked(name, epoch)
        if identity.transaction is None:
            identity.transaction = Transaction()
        return identity.transaction

    def add_offsets(
        self, transaction: Transaction, offsets: dict[Place, tuple[int, str]], member: tuple[int, str, str | None]
    ) -> None:
        """Add offsets to a transaction.

        Args:
            transaction: an open one.
            offsets: offset and metadata by partition.
            member: generation, member id, and static name.

        Raises:
            CommitFailedError: if the group does not know this member in this generation.
            FencedInstanceIdError: if another process has its static name.
        """
        generation, identity, name = member
        if generation >= 0 or identity or name:
            if name is not None and name in self.members and self.members[name] != identity:
                raise FencedInstanceIdError
            if identity not in self.members.values() or generation != self.generation:
                message = "IllegalGeneration"
                raise CommitFailedError(message)
        transaction.offsets.update(offsets)

    def finish(self, name: str, epoch: int, *, commit: bool) -> None:
        """End the transaction that a producer has open, whichever that is.

        Raises:
            ProducerFencedError: if the identity is another's by now.
        """
        self._finish(self._checked(name, epoch), commit=commit)

    def expire(self) -> int:
        """Abort everything that is open, as after the transaction timeout, and fence its producers."""
        count = 0
        for identity in self.identities.values():
            if identity.transaction is not None:
                self._finish(identity, commit=False)
                identity.epoch += 1
                count += 1
        return count

    def _checked(self, name: str, epoch: int) -> Identity:
        identity = self.identities[name]
        if identity.epoch != epoch:
            raise ProducerFencedError
        return identity

    def _finish(self, identity: Identity, *, commit: bool) -> None:
        transaction, identity.transaction = identity.transaction, None
        if transaction is None:
            return
        transaction.state = "committed" if commit else "aborted"
        for place in transaction.places:
            self.logs[place].append(Entry(len(self.logs[place]), None, None, (), transaction, marker=True))
        if commit:
            self.offsets.update(transaction.offsets)

    # ── the group ──

    def join(self, name: str, topics: list[str], *, static: bool) -> tuple[int, str]:
        """Join under a name; return generation and member id. Joining again as the same static member moves nothing."""
        known = name in self.members
        self._serial += 1
        self.members[name] = f"{name}-{self._serial}"
        if not (static and known):
            self.rebalance(topics)
        return self.generation, self.members[name]

    def leave(self, name: str, topics: list[str]) -> None:
        """Throw a member out."""
        if self.members.pop(name, None) is not None:
            self.rebalance(topics)

    def rebalance(self, topics: list[str]) -> None:
        """Deal the partitions out anew, as the range assignor does."""
        self.generation += 1
        names = sorted(self.members)
        self.owners = {}
        for topic in topics:
            count = self.partitions[topic]
            for number in range(count):
                if names:
                    self.owners[topic, number] = names[min(number * len(names) // count, len(names) - 1)]

    def committed(self, place: Place) -> tuple[int, str] | None:
        """Return the group's offset and metadata, once no open transaction holds another.

        Raises:
            KafkaTimeoutError: while one does.
        """
        for identity in self.identities.values():
            if identity.transaction is not None and place in identity.transaction.offsets:
                message = "unstable"
                raise KafkaTimeoutError(message)
        return self.offsets.get(place)
