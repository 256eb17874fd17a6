"""The crash-loop breaker: what it counts, and what it does not."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from monitor.breaker import Breaker, place
from monitor.config import load
from monitor.sources.base import Batch, Refused, Rows
from monitor.sources.batches import offsets_of, part, without

KEY = ("in", 0)


class Death(BaseException):
    """The process is dead."""


def batch(begin: int, end: int, partition: int = 0) -> Batch:
    """Return records."""
    n = end - begin
    return Batch("in", partition, range(begin, end), [0] * n, [None] * n, [b"%d" % at for at in range(begin, end)])


class Life:
    """A process: it takes batches, and dies of a record, or of something else."""

    def __init__(self, folder: Path) -> None:
        """Begin."""
        self.breaker = Breaker(folder, "x")
        self.done: list[list[int]] = []
        self.given_up: list[int] = []

    def take(self, *batches: Batch, poison: int = -1, commit: bool = True) -> bool:
        """Process and commit as the service does; return False if it died."""
        whole, alone = self.breaker.split(batches, ())
        for group in [whole] * bool(whole) + [[one] for one in alone]:
            offsets = [offset for each in group for offset in offsets_of(each)]
            if self.breaker.doomed(group[0]):
                self.given_up += offsets
            else:
                with suppress(Death), self.breaker.hold(group):
                    if poison in offsets:
                        self.breaker.close()
                        raise Death
                if poison in offsets:
                    return False
                self.done.append(offsets)
            if commit:
                self.breaker.committed({(each.topic, each.partition): offsets_of(each)[-1] + 1 for each in group})
        return True

    def end(self) -> None:
        """Be killed with nothing in hand."""
        self.breaker.close()


def deaths(folder: Path, times: int, *batches: Batch, poison: int) -> None:
    """Die of a record."""
    for _ in range(times):
        assert not Life(folder).take(*batches, poison=poison)


def test_a_record_that_kills_is_given_up_in_the_end(tmp_path: Path) -> None:
    """If it failed, a daemon would die of one record for ever."""
    deaths(tmp_path, 3, batch(0, 10), poison=4)
    fourth = Life(tmp_path)
    assert not fourth.take(batch(0, 10), poison=4)
    assert fourth.done == [[0], [1], [2], [3]]
    deaths(tmp_path, 2, batch(4, 10), poison=4)
    last = Life(tmp_path)
    assert last.take(batch(4, 20), poison=4)
    assert (last.given_up, last.done) == ([4], [[5], [6], [7], [8], [9], [*range(10, 20)]])
    assert (tmp_path / "crash-x-0").read_text().startswith("\n")
    last.end()
    assert not (tmp_path / "crash-x-0").exists()
    after = Life(tmp_path)
    assert after.take(batch(20, 30))
    assert after.done == [[*range(20, 30)]]


def test_a_batch_is_the_same_whatever_its_end(tmp_path: Path) -> None:
    """If it failed, a fetch that is cut elsewhere each time would keep the count at one."""
    for end in (10, 7, 30):
        deaths(tmp_path, 1, batch(0, end), poison=4)
    life = Life(tmp_path)
    assert not life.take(batch(0, 30), poison=4)
    assert life.done == [[0], [1], [2], [3]]


def test_what_waited_for_a_commit_is_of_the_batch(tmp_path: Path) -> None:
    """If it failed, polls that decide nothing and wait for their commit would hide where the batch began."""
    for cut in (5, 7, 3):
        life = Life(tmp_path)
        assert life.take(batch(0, cut), commit=False)
        assert not life.take(batch(cut, 10), poison=8)
    life = Life(tmp_path)
    assert not life.take(batch(0, 10), poison=8)
    assert life.done == [[at] for at in range(8)]


def test_a_commit_between_ends_the_count(tmp_path: Path) -> None:
    """If it failed, three deaths of different causes would part a batch, or give a good record up."""
    for begin in (0, 10, 20, 30):
        life = Life(tmp_path)
        assert life.take(batch(begin, begin + 10))
        assert not life.take(batch(begin + 10, begin + 20), poison=begin + 10)
    life = Life(tmp_path)
    assert life.take(batch(40, 50))
    assert life.done == [[*range(40, 50)]]


def test_a_kill_with_nothing_in_hand_counts_nothing(tmp_path: Path) -> None:
    """If it failed, kills from outside would give good records up."""
    for _ in range(50):
        life = Life(tmp_path)
        assert life.take(batch(0, 10), commit=False)  # killed before the commit
        assert (tmp_path / "crash-x-0").read_text().startswith("\n")
        life.end()
    life = Life(tmp_path)
    assert life.take(batch(0, 10))
    assert life.done == [[*range(10)]]


def test_one_death_is_counted_once(tmp_path: Path) -> None:
    """If it failed, starts that never get to the records (a broker is down) would count a death again each."""
    deaths(tmp_path, 2, batch(0, 10), poison=4)
    for _ in range(5):
        Life(tmp_path).end()
    life = Life(tmp_path)
    assert life.take(batch(0, 10))
    assert life.done == [[*range(10)]]


def test_sigterm_forgets(tmp_path: Path) -> None:
    """If it failed, an operator's restarts would bring a record nearer to being given up."""
    deaths(tmp_path, 2, batch(0, 10), poison=4)
    life = Life(tmp_path)
    with suppress(Death), life.breaker.hold([batch(0, 10)]):
        life.breaker.clear()
        raise Death  # SIGKILL, for it took too long to end
    life.end()
    deaths(tmp_path, 2, batch(0, 10), poison=4)
    life = Life(tmp_path)
    assert life.take(batch(0, 10))
    assert life.done == [[*range(10)]]


def test_only_the_partition_with_the_record_is_parted_for_long(tmp_path: Path) -> None:
    """If it failed, one record would slow all partitions down."""
    for _ in range(3):
        life = Life(tmp_path)
        assert not life.take(batch(0, 10), batch(50, 60, 1), poison=4)
    life = Life(tmp_path)
    assert life.take(batch(50, 60, 1))
    assert life.take(batch(60, 70, 1))
    assert life.done[-1] == [*range(60, 70)]
    assert not life.take(batch(0, 10), batch(70, 80, 1), poison=4)
    assert life.done[-5:] == [[*range(70, 80)], [0], [1], [2], [3]]
    waiting = Life(tmp_path)
    whole, alone = waiting.breaker.split([batch(80, 90, 1)], {("in", 1)})
    assert (whole, [offsets_of(each) for each in alone]) == ([], [[*range(80, 90)]])


def test_processes_of_one_name_have_a_marker_each(tmp_path: Path) -> None:
    """If it failed, two members without names of their own would count each other's deaths."""
    first, second = Life(tmp_path), Life(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["crash-x-0", "crash-x-1"]
    first.end()
    second.end()
    assert not list(tmp_path.iterdir())  # they said nothing


@pytest.mark.parametrize("text", ["{", "[]", '{"hand": [1]}', "\udcff", "x" * 100])
def test_a_damaged_marker_says_nothing(tmp_path: Path, text: str) -> None:
    """If it failed, a torn marker would be one more way not to start."""
    (tmp_path / "crash-x-0").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert Life(tmp_path).take(batch(0, 10))


def test_no_place_for_a_marker_is_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """If it failed, a read-only file system would keep the daemon from running at all, or be said by nobody."""
    (tmp_path / "file").write_text("")
    assert Life(tmp_path / "file").take(batch(0, 10))
    said = capsys.readouterr().out
    assert said.count("crash_breaker_off") == 1
    assert "state.path" in said


def test_where_the_marker_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it failed, members would share a marker, or look for it where it was never written."""
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    kafka = "source={type: kafka, topics: [sensors], group_id: g, group_instance_id: one}"
    other = kafka.replace("one", "two")
    shared, name = place(load(None, [kafka]))
    assert shared is not None
    assert shared.name.startswith("tidegauge-")
    assert place(load(None, [other]))[1] != name == place(load(None, [kafka]))[1]
    monkeypatch.setenv("STATE_DIRECTORY", f"{tmp_path}:/elsewhere")
    assert place(load(None, [kafka])) == (tmp_path, name)
    assert place(load(None, [kafka, f"state.path={tmp_path}/own"])) == (tmp_path / "own", name)
    files = f"source={{type: jsonl, path: {tmp_path}/in.jsonl}}"
    assert place(load(None, [files, f"state.path={tmp_path}/own"])) == (tmp_path / "own", "")
    assert place(load(None, [files, "state.type=none"]))[0] is None
    assert place(load(None, ["source={type: jsonl, path: '-'}"]))[0] is None


def test_a_folder_of_others_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it failed, anybody on the host could have records given up, by a marker in the folder for temporary files."""
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder, name = place(load(None, ["source={type: kafka, topics: [sensors], group_id: g}"]))
    assert folder is not None
    deaths_before = Life(folder)
    deaths_before.end()
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    Breaker(folder, name).close()
    assert not (folder / f"crash-{name}-0").exists()


def test_parts_of_rows() -> None:
    """If it failed, a record would get another one's stream or values when its batch is parted."""
    time = np.arange(6, dtype=np.int64)
    rows = Rows(
        "t",
        0,
        ["a", "b", "c"],
        np.array([0, 1, 2, 1, 0, 2], np.int32),
        time,
        np.arange(12, dtype=np.float32).reshape(6, 2),
        np.array([0, 1, 3, 4, 6, 7]),
        refused=[Refused(2, b"x", "shape", ""), Refused(5, b"y", "shape", "")],
    )
    assert part(rows, 0, 8) is rows
    for begin, end in ((0, 3), (2, 3), (3, 6), (4, 8), (7, 8), (8, 9)):
        found = part(rows, begin, end)
        assert isinstance(found, Rows)
        assert offsets_of(found) == [offset for offset in range(8) if begin <= offset < end]
        names = [found.streams[code] for code in found.stream.tolist()]
        kept = [at for at, offset in enumerate(rows.offset.tolist()) if begin <= offset < end]
        assert names == [rows.streams[rows.stream[at]] for at in kept]
        assert list(dict.fromkeys(names)) == list(found.streams)
        assert found.values.tolist() == rows.values[kept].tolist()
    pieces = without(rows, [2, 4])
    assert [offsets_of(piece) for piece in pieces] == [[0, 1], [3], [5, 6, 7]]
    assert without(batch(0, 1), [0]) == []
