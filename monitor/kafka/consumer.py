"""A member of a consumer group that never skips a record and never hands one out twice.

The client only notes that partitions were dealt. Everything else (reading the committed offsets, seeking) is done after
the poll, by the polling thread, once the group is stable, while nothing is read of the new partitions. Records that the
same poll returned are dropped: they may come from the old position.

With each offset a mark is stored that no other commit has. So a member that does not know whether its last commit was
made, or that had to hand a partition in and got it back, can tell whether it is the last one that wrote. If it is, what
it has in memory still holds, and so does work that waits for a commit: nobody else has done any of it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

import structlog
from kafka.errors import KafkaError, OffsetNotAvailableError

from monitor.kafka.clients import ClientName, group_client
from monitor.kafka.connection import ConnectionSettings
from monitor.kafka.errors import EXIT_OPERATOR, Fenced, KafkaProblem, fenced, problem
from monitor.kafka.pace import Pace
from monitor.kafka.port import Columns, GroupSettings, Key, Membership
from monitor.times import from_iso

log = structlog.get_logger(__name__)

PATIENCE_SECONDS = 600.0
"""How long offsets that cannot be read are waited for before the rest is left to a restart."""

_BEHIND_SECONDS = 10.0  # ends are read before offsets, and the process may have stood still in between


class Member:
    """One member of the group.

    Attributes:
        next: next offset of each partition that is consumed.
        membership: the group membership as it was right after the last poll.
        pace: how many records a poll brings at most.
    """

    def __init__(
        self, connection: ConnectionSettings, settings: GroupSettings, client: ClientName = "kafka-python"
    ) -> None:
        """Connect and subscribe; the group is joined by the first polls.

        Raises:
            KafkaProblem: if the cluster cannot be reached, or a topic does not exist.
        """
        self._settings = settings
        self._address = connection.address
        self.next: dict[Key, int] = {}
        self.membership: Membership | None = None
        self.pace = Pace(settings.max_poll_records)
        self._marks: dict[Key, str | None] = {}  # what this member last wrote or read beside a partition's offset
        self._recorded: dict[Key, tuple[int, str | None]] = {}  # offset and mark that the broker is known to have
        self._chosen: dict[Key, int] = {}  # where a partition without an offset begins, until that is committed
        self._lost: set[Key] = set()
        self._gained: dict[Key, tuple[int, bool, str | None]] = {}
        self._identities: dict[str, str | None] = {}  # of topics, as of the last settling
        self._held: set[Key] = set()  # partitions whose records wait until their state is there
        self._unsettled = True
        self._unknown: float | None = None  # since when the offsets cannot be read
        self._behind: float | None = None  # since when a partition is said to end before its committed offset
        self._client = group_client(client, connection, settings)
        try:
            self.require(dict.fromkeys(settings.topics, "source.topics"))
            self._client.subscribe()
        except BaseException:
            self.close()
            raise

    @property
    def settled(self) -> bool:
        """Whether the group is stable and the positions are those of the broker, with a partition or without."""
        return not (self._unsettled or self._client.changed)

    def require(self, topics: Mapping[str, str]) -> None:
        """Make sure that topics exist.

        Args:
            topics: the setting that names each topic.

        Raises:
            KafkaProblem: for the first one that does not exist.
        """
        for topic, setting in topics.items():
            try:
                found = self._client.exists(topic)
            except KafkaError as error:
                raise problem(error, f"cannot look up the topic {topic!r} ({setting})") from None
            if not found:
                message = (
                    f"the topic {topic!r} does not exist on {self._address}, or may not be seen: fix {setting},"
                    " or make it with `tidegauge topics CONFIG --create`"
                )
                raise KafkaProblem(message, EXIT_OPERATOR)

    def poll(self, timeout: float) -> dict[Key, Columns]:
        """Return new records by partition, each in the order of its offsets, after at most about `timeout` seconds.

        Raises:
            KafkaProblem: if polling on is useless.
        """
        found = self._poll(timeout)
        self.membership = self._client.membership()
        if not self.settled:
            self._settle()
            return {}
        if not self.stable:
            if found:  # the position is behind them, and they were not handed out
                self.unsettle()
            return {}
        self._check_name()
        records: dict[Key, Columns] = {}
        for key, columns in found.items():
            first = self.next.get(key)
            if first is None or key in self._held:
                continue
            new = columns if columns.offsets[0] >= first else columns.since(first)
            if new is not None:
                self.next[key] = new.offsets[-1] + 1
                records[key] = new
        return records

    @property
    def stable(self) -> bool:
        """Whether offsets may be committed under `membership`."""
        return self.membership is not None and self.membership.stable

    def unsettle(self) -> None:
        """Read the truth from the broker after the next poll: the positions are not to be trusted."""
        self._unsettled = True

    def note(self, positions: Mapping[Key, int], mark: str) -> None:
        """Remember that a commit of these positions was begun, with this mark."""
        for key in positions:
            self._marks[key] = mark

    def recorded(self, positions: Mapping[Key, int], mark: str) -> None:
        """Remember that the broker has acknowledged that commit."""
        for key, offset in positions.items():
            self._recorded[key] = (offset, mark)

    def take_lost(self) -> set[Key]:
        """Return the partitions whose state must be dropped, since the last call."""
        lost, self._lost = self._lost, set()
        return lost

    def take_gained(self) -> dict[Key, tuple[int, bool, str | None]]:
        """Return the partitions that were got since the last call: offset, whether it is a committed one, topic's id.

        The id is None where the brokers do not say it. No record of them comes before `release`.
        """
        gained, self._gained = self._gained, {}
        return gained

    def release(self, keys: Iterable[Key]) -> None:
        """Let the records of partitions come."""
        released = self._held & set(keys)
        self._held -= released
        if released and self.settled:  # else the settling does it
            try:
                self._client.release(released, {k: offset for k, offset in self.next.items() if k not in self._held})
            except KafkaError as error:
                log.warning("release_failed", error=str(error) or type(error).__name__)
                self.unsettle()

    def lag(self) -> Mapping[Key, int]:
        """Return how many records behind the end each partition is, as far as the last fetch knows."""
        return {key: max(0, end - self.next[key]) for key, end in self._client.ends(self.next).items()}

    def close(self, timeout: float = 2.0) -> None:
        """Leave the group (a static member stays in it until its session ends) and disconnect. May be called twice."""
        self._client.close(timeout)

    def _poll(self, timeout: float) -> Mapping[Key, Columns]:
        """Let the client poll, and sort out what it raises."""
        try:
            return self._client.poll(timeout, self.pace.most)
        except KafkaError as error:
            if fenced(error):
                raise Fenced(str(self._settings.group_instance_id)) from None
            if getattr(error, "retriable", False):
                log.warning("poll_failed", error=type(error).__name__)
                self.unsettle()
                return {}
            raise problem(error, f"cannot consume {', '.join(self._settings.topics)}") from None

    def _check_name(self) -> None:
        """End a static member whose name another process has taken: it would go on as a ghost without new records."""
        if self._settings.group_instance_id is not None and self._client.superseded():
            self.membership = self._client.membership()
            if self.stable:
                raise Fenced(self._settings.group_instance_id)

    def _settle(self) -> None:
        """Look up where each assigned partition is, go there, and note what is lost."""
        self._unsettled = True
        if not self.stable:
            return  # between two assignments: what was assigned is another's by now, what will be is not known yet
        self._client.changed = False
        assigned = self._client.assignment()
        for key in set(self.next) - assigned:
            del self.next[key]
            self._recorded.pop(key, None)
            self._lost.add(key)
            self._gained.pop(key, None)
            self._held.discard(key)
        try:
            self._identities.clear()
            bounds = self._client.bounds(assigned)
            committed = self._client.committed(assigned)
            for key in sorted(assigned):
                self._position(key, committed[key], *bounds[key])
            self._client.go({key: self.next[key] for key in assigned}, self._held)
        except KafkaError as error:
            if getattr(error, "retriable", False):
                self._wait_on(error)
                return
            raise problem(error, f"cannot read the offsets of group {self._settings.group_id!r}") from None
        self._unsettled, self._unknown, self._behind = False, None, None
        log.info("partitions_assigned", partitions=[f"{topic}-{number}" for topic, number in sorted(assigned)])

    def _wait_on(self, error: KafkaError) -> None:
        """Put up with offsets that cannot be read now, but not for ever."""
        now = time.monotonic()
        self._unknown = self._unknown or now
        if now - self._unknown > PATIENCE_SECONDS:
            message = (
                f"the offsets of group {self._settings.group_id!r} cannot be read ({type(error).__name__}) for"
                f" {PATIENCE_SECONDS:.0f} s: if a transaction of a producer that died still holds them,"
                " `kafka-transactions.sh find-hanging` finds it and `abort` ends it"
            )
            raise KafkaProblem(message)
        log.warning("offsets_unknown", group=self._settings.group_id, error=str(error) or type(error).__name__)

    def _position(self, key: Key, committed: tuple[int, str | None] | None, first: int, end: int) -> None:
        """Go on where this member was, if nobody has committed since; else at the committed offset, or the start."""
        if committed is None:
            chosen, mark = self._chosen.get(key), None
            offset = self._chosen[key] = self._start(key, first, end) if chosen is None else chosen
        else:
            offset, mark = committed
            self._chosen.pop(key, None)
            self._check(key, offset, first, end)
        ours = self._marks.get(key) == mark and (
            self.next.get(key) == offset or (key in self.next and self._recorded.get(key) == (offset, mark))
        )
        if not ours:
            topic = key[0]
            if topic not in self._identities:
                self._identities[topic] = self._client.identity(topic)
            self._lost.add(key)
            self._gained[key] = (offset, committed is not None, self._identities[topic])
            self._held.add(key)
            self.next[key] = offset
        self._marks[key] = mark
        self._recorded[key] = (offset, mark)

    def _check(self, key: Key, offset: int, first: int, end: int) -> None:
        """Raise if the records at an offset are gone."""
        if first <= offset <= end:
            return
        if end < offset:
            now = time.monotonic()
            self._behind = self._behind or now
            if now - self._behind < _BEHIND_SECONDS:
                message = f"{key[0]}-{key[1]} is said to end at {end}, before {offset}"
                raise OffsetNotAvailableError(message)
        go_on = f"tidegauge skip CONFIG --topic {key[0]} --partition {key[1]} --offset"
        what = (
            f"the topic begins at {first}: records are gone. `{go_on} {first - 1}` goes on with what there is"
            if offset < first
            else f"the topic ends at {end}. If it was made anew, `tidegauge state migrate CONFIG --topic {key[0]}"
            f" --partitions N` moves the state to it; if it has lost records, `{go_on} {end - 1}` goes on"
        )
        message = f"lost offsets: group {self._settings.group_id!r} stands at {offset} of {key[0]}-{key[1]}, but {what}"
        raise KafkaProblem(message, EXIT_OPERATOR)

    def _start(self, key: Key, first: int, end: int) -> int:
        """Return the offset at which a partition without a committed one begins."""
        start = self._settings.start
        if start in {"beginning", "end"}:
            return first if start == "beginning" else end
        found = self._client.at(key, from_iso(start))
        return end if found is None else found
