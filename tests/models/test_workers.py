"""Threads that help, and how many there may be."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from models import workers
from models.bundle import Bundle
from models.workers import Workers, _quota, cores


def test_calls_run_at_once() -> None:
    """Chunks would be scored one after the other, on one core."""
    both = threading.Barrier(3)

    def work() -> None:
        both.wait(20)

    Workers().run(work, 2)


def test_a_helper_that_does_not_get_to_run_is_not_waited_for() -> None:
    """A poll would wait for a thread that another caller keeps busy."""
    found, held = Workers(), threading.Event()
    calls: list[int] = []
    found.run(lambda: None, 1)
    blocked = found._ready(1).submit(held.wait, 20)
    found.run(lambda: calls.append(1), 1)
    assert not blocked.done()
    held.set()
    assert calls == [1]


@pytest.mark.parametrize("where", ["this", "other"])
def test_what_a_call_raises_is_raised_when_all_have_ended(where: str) -> None:
    """A failure would be lost, or work be left behind that writes into memory that is gone."""
    mine, both, ended = threading.get_ident(), threading.Barrier(2), threading.Event()

    def work() -> None:
        both.wait(20)
        if (threading.get_ident() == mine) == (where == "this"):
            message = "broken"
            raise RuntimeError(message)
        time.sleep(0.05)
        ended.set()

    with pytest.raises(RuntimeError, match="broken"):
        Workers().run(work, 1)
    assert ended.is_set()


def test_more_helpers_than_before_are_had() -> None:
    """A second model that wants more threads would wait for ever, or get as few as the first."""
    found = Workers()
    for helpers in (1, 3, 2):
        together = threading.Barrier(helpers + 1)

        def work(barrier: threading.Barrier = together) -> None:
            barrier.wait(20)

        found.run(work, helpers)


SCRIPT = """
import os, sys
from pathlib import Path
import numpy as np
from models.bundle import read
from models.serving import Model

model = Model(read(Path(sys.argv[1])), 3)
windows = np.random.default_rng(0).normal(size=(300, 12, 2)).astype(np.float32)
wanted = model.score(windows)
child = os.fork()
if child == 0:
    os._exit(0 if model.score(windows).same(wanted).all() else 3)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
assert model.score(windows).same(wanted).all()
if sys.argv[2] == "die":
    model._graph._lanes.clear()
    import threading, _thread
    threading.Timer(0.05, _thread.interrupt_main).start()
    while True:
        model.score(windows)
sys.exit(status)
"""


def test_a_forked_process_has_threads_of_its_own(bundle: Bundle) -> None:
    """Whoever forks would have a child that waits for ever for threads which only its parent has."""
    run = [sys.executable, "-c", SCRIPT, str(bundle.path), "end"]
    assert subprocess.run(run, timeout=60, check=False).returncode == 0


def test_threads_do_not_keep_a_process_from_ending(bundle: Bundle) -> None:
    """A stop in the middle of scoring would hang, or end in a crash of the runtime, and not with its own status."""
    run = [sys.executable, "-c", SCRIPT, str(bundle.path), "die"]
    done = subprocess.run(run, timeout=60, check=False, capture_output=True, text=True)
    assert done.returncode == -2, done.stderr
    assert done.stderr.rstrip().endswith("KeyboardInterrupt")


def group(folder: Path, **quotas: str) -> tuple[Path, Path]:
    """Make control groups a/b/c with quotas; return the file that names a process's, and where they are mounted."""
    inner = folder / "root" / "a" / "b" / "c"
    inner.mkdir(parents=True)
    for name, quota in quotas.items():
        next(each for each in (inner, *inner.parents) if each.name == name).joinpath("cpu.max").write_text(quota)
    own = folder / "cgroup"
    own.write_text("4:memory:/x\n0::/a/b/c\n")
    return own, folder / "root"


@pytest.mark.parametrize(
    ("quotas", "found"),
    [
        ({"c": "150000 100000\n"}, 1.5),
        ({"c": "400000 100000\n", "a": "200000 100000\n"}, 2),
        ({"c": "max 100000\n", "b": "300000 100000\n"}, 3),
        ({"c": "max 100000\n"}, 1e6),
        ({"c": "nonsense"}, 1e6),
        ({}, 1e6),
    ],
)
def test_the_least_quota_counts(tmp_path: Path, quotas: dict[str, str], found: float) -> None:
    """A container of half a core would start a thread for every core of its machine, and stand still most times."""
    assert _quota(*group(tmp_path, **quotas)) == found


def test_without_control_groups_there_is_no_quota(tmp_path: Path) -> None:
    """Scoring would not start where /proc is hidden."""
    assert _quota(tmp_path / "none", tmp_path) == 1e6


def test_cores_are_those_that_the_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is pinned would have threads that wait for each other."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 4})
    monkeypatch.setattr(workers, "_quota", lambda *_: 1e6)
    assert cores() == 3
    monkeypatch.setattr(workers, "_quota", lambda *_: 0.4)
    assert cores() == 1
