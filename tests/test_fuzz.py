"""The fuzzer works, and finds nothing in a few inputs; hypothesis draws the same ones, and makes a finding small."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.state import StateError
from tests.fuzz.__main__ import TARGETS, Target
from tests.fuzz.changelog import Changelog

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module", params=TARGETS)
def target(request: pytest.FixtureRequest) -> Target:
    """What takes hostile input."""
    made: Target = TARGETS[request.param]()
    return made


@settings(max_examples=100, deadline=None)
@given(random=st.randoms(use_true_random=False))
def test_hostile_input_is_taken_or_refused(target: Target, random: Random) -> None:
    """If it failed, bytes of somebody else would crash the daemon; hypothesis shows the shortest way there."""
    assert target.one(random) in {"taken", "refused"}


def test_a_slot_far_away_reserves_nothing() -> None:
    """If it failed, one number in the state topic would make a table of a hundred million streams."""
    changelog = Changelog()
    log = changelog._logs[0]
    at, tree = next((n, tree) for n, tree in enumerate(log.trees) if tree["streams"] and tree["streams"][0])
    for slot in (-1, 1 << 26, (1 << 31) - 1):
        streams = [[*tree["streams"][0][:-1], slot], *tree["streams"][1:]]
        entries = [*log.entries]
        entries[at] = msgspec.msgpack.encode({**tree, "streams": streams})
        with pytest.raises(StateError, match=r"record\.max_streams"):
            changelog._restore(log, entries)


def test_the_program_runs() -> None:
    """If it failed, nobody could look for longer: every target gets its share, and both outcomes come up."""
    command = [sys.executable, "-m", "tests.fuzz", "--inputs", "300", "--seed", "7", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    for name in TARGETS:
        assert found[name]["inputs"] == 100
        assert found[name]["taken"] > 3
        assert found[name]["refused"] > 3
        assert found[name]["found"] == []


class _Fragile:
    """A target that crashes, reserves memory, or never ends."""

    def one(self, random: Random) -> str:
        """Fail in one of three ways, or not at all."""
        match random.randrange(4):
            case 0:
                return str(dict[str, str]()["x"])
            case 1:
                return str(bytearray(1 << 60))
            case 2:
                while True:
                    pass
        return "taken"


_FRAGILE = """
import json, signal
from tests.fuzz import __main__ as program
from tests.test_fuzz import _Fragile

program.PATIENCE = 0.05
signal.signal(signal.SIGPROF, program._too_slow)
tally = program.Tally(_Fragile())
program._some("fragile", tally, 30, "1")
print(json.dumps([tally.inputs, tally.outcomes, tally.found]))
"""


def test_what_goes_wrong_is_found() -> None:
    """If it failed, a million inputs without a finding would mean nothing."""
    # In a process of its own: a signal that came too late would end the one that tests.
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", _FRAGILE],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    inputs, outcomes, found = json.loads(done.stdout)
    assert inputs == 30
    assert {line.split()[1] for line in found} == {"KeyError:", "MemoryError:", "TooSlowError:"}
    assert outcomes["found"] == len(found) == 30 - outcomes["taken"]
    assert "fragile 1-" in done.stderr


@pytest.mark.parametrize("seed", ["1-56875", "1-80938", "1-119092", "1-207917"])
def test_what_an_hour_found_stays_mended(seed: str) -> None:
    """If it failed, a log of state that nobody wrote would end the daemon in a traceback, or a line of many pages."""
    from tests.fuzz.changelog import Changelog

    assert Changelog().one(Random(seed)) in {"taken", "refused"}  # noqa: S311 - to be the same again
