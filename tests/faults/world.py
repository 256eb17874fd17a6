"""One job on one cluster: topics, a feed, three members, readers, and the oracle that says what must come out.

An *episode* is a stretch of input during which a fault happens. At its end everything is drained, and what came out of
the stretch is held against what had to: the invariants I1 to I11 of the specification.
"""

from __future__ import annotations

import random
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from models.bundle import Bundle
from tests.faults import state
from tests.faults.feed import Feed
from tests.faults.fleet import Fleet
from tests.faults.oracle import Event, Letter, Oracle, event
from tests.faults.proxy import Proxies
from tests.faults.views import View, Witness
from tests.kafka.cluster import Cluster
from tests.kafka.topics import create_topic

PATIENCE = 600.0
"""Seconds that anything may take that must happen in the end: the machine may be busy with other things."""

CLIENTS = ("kafka-python", "confluent")
PARTITIONS = 6
STREAMS = 24
RSS_LIMIT, FILES_LIMIT, THREADS_LIMIT = 600 << 20, 120, 60
"""Of one daemon: its tables are tiny, the rest is Python, NumPy, onnxruntime and the client's buffers."""


@dataclass
class Verdict:
    """What an episode came to.

    Attributes:
        fault: its name.
        seconds: how long it took, and of that until everything was drained after the fault.
        events: alert events expected.
        lost: of them, not there.
        doubled: that were there more than once.
        other: that nobody expected.
        aborted: messages in the alerts topic that only a reader of uncommitted ones sees.
        broken: invariants that do not hold, each with what was found.
    """

    fault: str
    seconds: float = 0.0
    recovery: float = 0.0
    records: int = 0
    events: int = 0
    letters: int = 0
    lost: int = 0
    doubled: int = 0
    other: int = 0
    aborted: int = 0
    broken: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class World:
    """See above.

    Attributes:
        cluster: the Kafka.
        proxies: what stands between it and the members.
        feed: writes the input.
        fleet: the members.
        chance: the source of all that is random.
        folder: where the members' folders lie.
        advanced: committed offsets, all partitions together, at each kill from outside.
    """

    def __init__(
        self, cluster: Cluster, proxies: Proxies, bundle: Bundle, folder: Path, chance: random.Random, **how: Any
    ) -> None:
        """Make topics and start the members.

        Args:
            cluster: the Kafka.
            proxies: between it and the members.
            bundle: what they serve.
            folder: where they run.
            chance: the source of all that is random.
            how: `rule` that all members break; `members` (number, the last one dynamic); `config` over the usual one;
                `answers`: the errors that F12 chooses from; `patience`: seconds that all work may take to be done;
                `storm`: seconds of F8; `client`: the members' client of Kafka.
        """
        self.cluster, self.proxies, self.bundle, self.folder, self.chance = cluster, proxies, bundle, folder, chance
        self.client: str = how.get("client", CLIENTS[0])
        name = uuid.uuid4().hex[:8]
        self.group = f"g-{name}"
        self.topics = {
            "input": create_topic(cluster.bootstrap, f"in-{name}", PARTITIONS),
            "alerts": create_topic(cluster.bootstrap, f"alerts-{name}", 3),
            "dead": create_topic(cluster.bootstrap, f"dead-{name}", 2),
        }
        self.config = self._config() | how.get("config", {})
        for sink in self.config["sink"] if isinstance(self.config["sink"], list) else []:
            if sink["type"] == "kafka":
                sink["topic"] = self.topics["alerts"]
        self.log = state.Log(self.config, cluster.bootstrap, self.topics["input"], folder)
        self.log.create(cluster.bootstrap, PARTITIONS)
        self.fleet = Fleet(folder, cluster.keep, how.get("rule"))
        self.feed = Feed(cluster.bootstrap, self.topics["input"], PARTITIONS, chance, STREAMS)
        self._views = {name: View(cluster.bootstrap, self.topics[name], n) for name, n in (("alerts", 3), ("dead", 2))}
        self._uncommitted = View(cluster.bootstrap, self.topics["alerts"], 3, how.get("isolation", "read_uncommitted"))
        self._witness = Witness(
            cluster.bootstrap, self.topics["alerts"], 3, lambda each: event(each.key, each.value).id
        )
        self.oracle = Oracle(cluster.bootstrap, self.topics["input"], PARTITIONS, self.member_config("oracle"), folder)
        self._known: Counter[str] = Counter()  # alert ids of all episodes
        self.advanced: list[int] = []
        self.asides = 0
        self.places: list[str] = []  # crash points that have not had their turn
        self.weathers: list[str] = []  # the same of the network
        self.links: list[tuple[int, str, str]] = []  # the same of links that are down
        self.clocks: list[tuple[str, bool]] = []  # the same of clocks
        self.disks: list[str] = []  # the same of disks
        self.poisons: list[str] = []  # the same of what nobody can read
        self.missed: list[str] = []
        self.told: list[str] = []
        self.patience: float = how.get("patience", PATIENCE)
        self.answers: list[str] = list(how.get("answers", ()))
        self.storm: float = how.get("storm", 20.0)
        for number in range(how.get("members", 3)):
            self.fleet.add(f"m{number}", self.member_config(f"m{number}", dynamic=number == 2))

    def _config(self) -> dict[str, Any]:
        return {
            "source": {
                "type": "kafka",
                "client": self.client,
                "bootstrap_servers": self.cluster.proxied_bootstrap.split(","),
                "topics": [self.topics["input"]],
                "group_id": self.group,
                "session_timeout_ms": 6_000,
                "max_poll_interval_ms": 10_000,
                "transaction_timeout_ms": 6_000,
                "commit_interval_ms": 200,
                "max_poll_records": 200,
            },
            "model": {"bundle": str(self.bundle.path)},
            "threshold": {"type": "tracked", "q": 0.93, "half_life": 60, "prior_weight": 20},
            "alert": {"open_after": 1, "resolve_after": 1, "rest": 0},
            "sink": {"type": "kafka", "topic": self.topics["alerts"]},
            "dead_letter": {"topic": self.topics["dead"], "late": True},
            **state.SECTION,
        }

    def member_config(self, name: str, *, dynamic: bool = False, **source: Any) -> dict[str, Any]:
        """Return the configuration of a member."""
        instance = {"client_id": name, "group_instance_id": None if dynamic else f"{self.group}-{name}"}
        return {**self.config, "source": {**self.config["source"], **instance, **source}}

    @property
    def seen(self) -> set[str]:
        """The ids of all events that checks have found."""
        return set(self._known)

    def committed(self) -> dict[int, int]:
        """Return the group's offset of each partition, as far as they are stable and can be read."""
        try:
            consumer = KafkaConsumer(
                bootstrap_servers=self.cluster.bootstrap.split(","),
                group_id=self.group,
                enable_auto_commit=False,
                isolation_level="read_committed",
                bootstrap_timeout_ms=5_000,
            )
        except KafkaError:
            return {}
        try:
            found = {
                n: consumer.committed(TopicPartition(self.topics["input"], n), timeout_ms=5_000)
                for n in range(PARTITIONS)
            }
            return {number: offset for number, offset in found.items() if offset is not None}
        except KafkaError:
            return {}
        finally:
            consumer.close(autocommit=False)

    def kill(self, name: str) -> None:
        """Kill a member from outside, and note how far the group is."""
        self.advanced.append(sum(self.committed().values()))
        self.fleet.kill(name)

    def pick(self, *, static: bool = False) -> str:
        """Return a member's name."""
        return self.chance.choice([name for name in self.fleet.members if not (static and name == "m2")])

    def drain(self, seconds: float) -> dict[int, int]:
        """Wait until the group has committed everything; return where the input ends."""
        self.feed.stop()
        wanted = {number: offset for (_, number), offset in self.oracle.next.items()}
        self.fleet.wait(
            lambda: self.committed() == {n: o for n, o in wanted.items() if o}, "the input is not drained", seconds
        )
        return wanted

    def check(self, verdict: Verdict) -> Verdict:
        """Drain, and hold what came out against what had to. Adds to the verdict what does not hold."""
        begun = time.monotonic()
        self.feed.stop()
        patience = self.patience
        expected = self.oracle.advance(patience)
        try:
            self.drain(patience)
            # What was written while brokers were away counts only when their copies agree on it, which takes a while.
            while (more := self.oracle.advance(patience)).records:
                expected.add(more)
                self.drain(patience)
        except TimeoutError:
            wanted = {n: o for (_, n), o in self.oracle.next.items()}
            verdict.broken.append(f"I4 drained: committed {self.committed()} of {wanted} after {patience} s")
        verdict.records, verdict.events, verdict.letters = expected.records, len(expected.events), len(expected.letters)
        verdict.recovery = time.monotonic() - begun
        try:
            found = [event(each.key, each.value) for each in self._views["alerts"].look(patience)]
            letters = [_letter(each.headers) for each in self._views["dead"].look(patience)]
        except TimeoutError as error:
            verdict.broken.append(f"I4 settled: {error}")
            return verdict
        raw = self._uncommitted.look(patience)
        verdict.aborted = len(raw) - len(found)
        self._compare_events(verdict, expected.events, found)
        seen = Counter(self._witness.take(len(found)))
        if seen != Counter(each.id for each in found):
            verdict.broken.append("I6 concurrent view: a reader beside the faults saw other events than one after them")
        self._compare_letters(verdict, expected.letters, letters)
        if self.oracle.accounted() != self.oracle.records:
            verdict.broken.append("I9 completeness: the oracle itself does not account for its records")
        verdict.broken += self.log.compare(self.oracle)
        for name, resident, files, threads in self.fleet.sizes():
            if resident > RSS_LIMIT or files > FILES_LIMIT or threads > THREADS_LIMIT:
                verdict.broken.append(
                    f"I10 resources: {name} has {resident >> 20} MB, {files} files, {threads} threads"
                )
        verdict.broken += self.fleet.complaints
        self.fleet.complaints.clear()
        return verdict

    def _compare_events(self, verdict: Verdict, wanted: list[Event], found: list[Event]) -> None:
        """I1, I2, I3 and I5."""
        ids = Counter(each.id for each in found)
        verdict.lost = len({each.id for each in wanted} - set(ids))
        verdict.doubled = sum(ids.values()) - len(ids) + sum(1 for each in ids if each in self._known)
        verdict.other = len(set(ids) - {each.id for each in wanted})
        self._known.update(ids)
        named = {"I1 no loss": verdict.lost, "I2 no duplicate": verdict.doubled, "I3 nothing else": verdict.other}
        verdict.broken += [f"{name}: {count} of {len(wanted)} events" for name, count in named.items() if count]
        if any(named.values()):
            return
        if Counter(wanted) != Counter(found):
            verdict.broken.append("I3 nothing else: an event's bytes differ from what they must be")
        if _by_stream(wanted) != _by_stream(found):
            verdict.broken.append("I5 order: the events of a stream come in another order")

    def _compare_letters(self, verdict: Verdict, wanted: list[Letter], found: list[Letter]) -> None:
        """I8."""
        lost, more = Counter(wanted) - Counter(found), Counter(found) - Counter(wanted)
        if lost or more:
            some = [*lost][:2], [*more][:2]
            verdict.broken.append(
                f"I8 dead letters: {lost.total()} lost, {more.total()} too many of {len(wanted)}: {some}"
            )

    def close(self) -> None:
        """End everything."""
        self.feed.close()
        self.fleet.close()
        self._witness.close()


def _by_stream(events: list[Event]) -> Mapping[bytes, list[str]]:
    found: dict[bytes, list[str]] = {}
    for each in events:
        found.setdefault(each.stream, []).append(each.id)
    return found


def _letter(headers: Any) -> Letter:
    told = dict(headers)
    return Letter(int(told["source-partition"]), int(told["source-offset"]), told["reason"].decode())
