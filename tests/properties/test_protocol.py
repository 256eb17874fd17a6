"""The protocol of the transactions, in orders of events that a real broker rarely shows.

The daemon's own loop, group member and transactions run over a broker in memory; hypothesis chooses what happens when:
an answer is lost after the commit was made, a commit arrives when the next transaction has begun, another process takes
the identity, the group is dealt anew between the poll and the commit, a process dies at any call of the client.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from models.bundle import Bundle
from models.serving import Model
from monitor.kafka.consumer import Member
from tests.bundles import tiny_bundle
from tests.faults.scripted_client import Future, ScriptedConsumer
from tests.faults.scripted_daemon import ALERTS, INPUT, STATE, Cluster, Process

WHO = st.integers(0, 1)
TROUBLES = (
    ("end", "lost"),
    ("end", "late"),
    ("end", "twice"),
    ("offsets", "lost"),
    (f"send to {ALERTS}", "dropped"),
    (f"send to {STATE}", "dropped"),
    ("flush", "timeout"),
    ("init", "lost"),
    ("poll", "evicted"),
    ("poll", "failed"),
    ("poll", "stale"),
    ("ends", "behind"),
)
"""Calls of the client that go wrong, and how."""

MEANWHILE = ("rebalance", "evict", "expire", "arrive", "other")
"""What others do in the midst of a transaction."""


class Protocol(RuleBasedStateMachine):
    """What can happen."""

    trained: ClassVar[Bundle]
    model: ClassVar[Model]
    folder: ClassVar[Path]
    troubles: ClassVar[Sequence[tuple[str, str]]] = TROUBLES
    others: ClassVar[Sequence[str]] = MEANWHILE

    @initialize(static=st.booleans())
    def begin(self, static: bool) -> None:
        """Two processes, static members or dynamic ones."""
        self.cluster = Cluster(self.trained, self.model, self.folder, static=static)
        self.patch = self.cluster.patched()
        self.patch.__enter__()
        for stream in range(3):
            self.cluster.produce(stream, 20)
        for _ in range(12):
            for process in self.cluster.processes:
                process.turn()

    @rule(turns=st.integers(1, 12))
    def work(self, turns: int) -> None:
        """Records come, and both processes go on."""
        for _ in range(turns):
            for stream in range(3):
                self.cluster.produce(stream, 1)
            for process in self.cluster.processes:
                process.turn()

    @rule(who=WHO, turns=st.integers(1, 12))
    def work_alone(self, who: int, turns: int) -> None:
        """Records come, and one process goes on, while the other is not given the processor."""
        for _ in range(turns):
            for stream in range(3):
                self.cluster.produce(stream, 1)
            self._process(who).turn()

    @rule(who=WHO, turns=st.integers(1, 12))
    def turn(self, who: int, turns: int) -> None:
        """A process goes on, and no records come."""
        for _ in range(turns):
            self._process(who).turn()

    @rule(who=WHO, number=st.integers(0, 10 * len(TROUBLES)))
    def trouble(self, who: int, number: int) -> None:
        """A call of the client will go wrong."""
        call, what = self.troubles[number % len(self.troubles)]
        self._process(who).script.troubles.setdefault(call, deque()).append(what)

    @rule(who=WHO, calls=st.integers(1, 25))
    def crash(self, who: int, calls: int) -> None:
        """The process will die at one of its next calls."""
        self._process(who).script.crash_in = calls

    @rule(who=WHO)
    def leave(self, who: int) -> None:
        """The group throws a member out, which does not know it yet."""
        self.cluster.broker.leave(self._process(who).name, [INPUT])

    @rule(who=WHO, call=st.sampled_from(["offsets", "end"]), number=st.integers(0, 10 * len(MEANWHILE)))
    def meanwhile(self, who: int, call: str, number: int) -> None:
        """Something will happen just before the offsets or the end of a transaction."""
        what = self.others[number % len(self.others)]
        process, other = self._process(who), self._process(1 - who)
        broker = self.cluster.broker

        def happen() -> None:
            here = self.cluster.here
            if what == "rebalance":
                broker.rebalance([INPUT])
            elif what == "evict":
                broker.leave(process.name, [INPUT])
            elif what == "expire":
                broker.expire()
            elif what == "arrive":
                self.arrive()
            else:
                broker.leave(process.name, [INPUT])
                for _ in range(10):
                    other.turn()
            self.cluster.here = here

        process.script.meanwhile[call] = happen

    @rule()
    def arrive(self) -> None:
        """What was on its way arrives."""
        for process in self.cluster.processes:
            late, process.script.late = process.script.late, []
            for each in late:
                each()

    @rule()
    def expire(self) -> None:
        """The broker aborts what is open for too long."""
        self.cluster.broker.expire()

    @invariant()
    def nothing_twice_and_nothing_else(self) -> None:
        """No reader of committed events sees one twice, or one that the input does not say."""
        if not hasattr(self, "cluster"):
            return
        assert self.cluster.found() <= self.cluster.wanted()

    def teardown(self) -> None:
        """When everything goes well again, everything comes out."""
        if not hasattr(self, "cluster"):
            return
        try:
            for process in self.cluster.processes:
                process.script.troubles.clear()
                process.script.meanwhile.clear()
                process.script.crash_in = None
            self.cluster.broker.expire()
            for turn in range(200):
                for process in self.cluster.processes:
                    process.turn()
                if turn == 5:
                    self.arrive()
                if turn > 10 and self.cluster.drained():
                    break
            assert self.cluster.drained()
            assert self.cluster.found() == self.cluster.wanted()
            assert not self.cluster.state_problem()
        finally:
            self.patch.__exit__(None, None, None)

    def _process(self, who: int) -> Process:
        return self.cluster.processes[who]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> type[Protocol]:
    """The machine with a trained bundle."""
    Protocol.trained = tiny_bundle(tmp_path_factory)
    Protocol.model = Model(Protocol.trained)
    Protocol.folder = tmp_path_factory.mktemp("protocol")
    return Protocol


def how(examples: int, phases: Sequence[Phase] = tuple(Phase)) -> settings:
    """Return settings for so many runs of the machine."""
    return settings(
        max_examples=examples,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=phases,
    )


def test_no_order_of_events_loses_or_doubles_an_alert(machine: type[Protocol]) -> None:
    """If it failed, a lost answer, a late commit or a rebalance in the wrong moment would cost or double an alert."""
    run_state_machine_as_test(machine, settings=how(50))


def _futures(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Future, "succeeded", lambda _: True)


def _outcome(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Member, "unsettle", lambda _: None)


def _held(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ScriptedConsumer, "pause", lambda *_: None)


BROKEN: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], list[tuple[str, str]], list[str]]] = {
    "look at what became of every message": (_futures, [(f"send to {ALERTS}", "dropped")], ["arrive"]),
    "read the truth after an unknown outcome": (_outcome, [("end", "late"), ("flush", "timeout")], ["arrive"]),
    "hold records back until the state is there": (_held, [("end", "lost"), ("flush", "timeout")], ["rebalance"]),
}
"""Rules of the daemon, what breaks each, and the events against which it is there."""


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_rule_is_found(machine: type[Protocol], monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """If it failed, the test above would pass on a daemon that loses alerts."""
    install, troubles, others = BROKEN[name]
    install(monkeypatch)
    monkeypatch.setattr(machine, "troubles", troubles)
    monkeypatch.setattr(machine, "others", others)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(machine, settings=how(400, [Phase.generate]))
