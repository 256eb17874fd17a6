"""Files with a directory: a start goes on where the last run ended, or says why it cannot."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from monitor.record import RecordSettings
from monitor.sources import for_recording, inputs
from monitor.sources.base import Batch, Key, Output, Rows, Source, SourceError
from monitor.sources.batches import offsets_of
from monitor.sources.jsonl import Settings as Jsonl
from monitor.sources.kept import Kept
from monitor.sources.resume import resume
from monitor.state import StateSettings
from tests.contracts.test_sources import TABLE, recording, table_of

RECORD = RecordSettings()
FEATURES = ("a", "b")
ROWS = TABLE[:5_000]


def line(number: int) -> str:
    """Return a record."""
    return json.dumps({"stream": "s", "time": number, "values": {"a": number}}) + "\n"


def envelope(partition: int, offset: int) -> str:
    """Return a record as `kcat -J` writes it."""
    fields = {"topic": "t", "partition": partition, "offset": offset, "key": None, "payload": line(offset).strip()}
    return json.dumps(fields) + "\n"


class Reader:
    """One run over files; reads, and commits what it has read."""

    def __init__(self, folder: Path, paths: Sequence[Path], outputs: Sequence[Output] = (), **more: bool) -> None:
        """Start it."""
        names = [str(path) for path in paths]
        settings = Jsonl(path=tuple(names), **more) if more else for_recording(names)
        state = StateSettings(path=folder / "state")
        source = resume(settings, RECORD, FEATURES, state, outputs)
        assert isinstance(source, Kept)
        self.source: Source = source

    def read(self, most: int = 1_000_000) -> list[tuple[Key, int]]:
        """Read until nothing comes, or so many records came, and commit; return their positions."""
        found: list[tuple[Key, int]] = []
        empty = 0
        while len(found) < most and empty < 5 and not self.source.exhausted:
            batches = self.source.poll(0.01)
            gained = self.source.take_gained()
            self.source.release(gained)
            for key, place in gained.items():
                if not place.recorded:
                    self.source.commit({key: place.offset})
            empty = 0 if batches or gained else empty + 1
            for batch in batches:
                key = (batch.topic, batch.partition)
                offsets = offsets_of(batch)
                found += [(key, offset) for offset in offsets]
                self.source.commit({key: offsets[-1] + 1})
        return found

    def stop(self) -> None:
        """End it."""
        self.source.close()
        self.source.close()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Reader]]:
    """Starts runs; polls are small."""
    monkeypatch.setattr(inputs, "CHUNK", 400)
    started: list[Reader] = []

    def start(*paths: Path, **more: bool) -> Reader:
        started.append(Reader(tmp_path, paths, (), **more))
        return started[-1]

    yield start
    for each in started:
        each.stop()


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_each_kind_goes_on_where_it_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, suffix: str
) -> None:
    """If it failed, a restart would skip records of an archive, or judge them twice."""
    monkeypatch.setattr(inputs, "CHUNK", 60_000)
    path = Path(recording(tmp_path, kind, ROWS))
    if suffix:
        packed = path.with_name(path.name + suffix)
        packed.write_bytes(gzip.compress(path.read_bytes()))
        path = packed
    batches: list[Batch | Rows] = []
    key = (path.name, 0)
    done = 0
    for run in range(50):
        reader = Reader(tmp_path, [path])
        source = reader.source
        gained = source.take_gained()
        assert {each: place.offset for each, place in gained.items()} == ({key: done} if run else {})
        source.release([key])
        found = next((found for _ in range(100) if (found := source.poll(0.1)) or source.exhausted), [])
        batches += found
        if found:
            done = offsets_of(found[-1])[-1] + 1
            source.commit({key: done})
        again = [each for piece in source.again(key, done // 2, done) for each in piece]
        assert table_of(again) == ROWS[done // 2 : done]
        reader.stop()
        if not found:
            break
    assert table_of(batches) == ROWS
    assert run > (0 if kind == "parquet" else 1)


def test_recordings_of_several_partitions(tmp_path: Path, run: Callable[..., Reader]) -> None:
    """If it failed, one partition's position would be taken for another's."""
    path = tmp_path / "t.jsonl"
    path.write_text("".join(envelope(number % 3, 2 * number) for number in range(60)))
    first = run(path)
    found = first.read(20)
    assert 20 <= len(found) < 60
    first.stop()
    second = run(path)
    found += second.read()
    wanted = [(("t", number % 3), 2 * number) for number in range(60)]
    assert sorted(found) == sorted(wanted)
    again = [offset for piece in second.source.again(("t", 1), 20, 87) for each in piece for offset in offsets_of(each)]
    assert again == list(range(20, 87, 6))


def test_a_file_that_grows(tmp_path: Path, run: Callable[..., Reader]) -> None:
    """If it failed, what is appended between two runs would be lost, and a file that is named behind the others."""
    path, other = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    path.write_text("".join(map(line, range(10))))
    reader = run(path)
    assert len(reader.read()) == 10
    reader.stop()
    with path.open("a") as file:
        file.write("".join(map(line, range(10, 15))))
    other.write_text("".join(map(line, range(15, 20))))
    assert [offset for _, offset in run(path, other).read()] == list(range(10, 20))


def test_a_rotation_while_it_is_read(tmp_path: Path, run: Callable[..., Reader]) -> None:
    """If it failed, a restart after a rotation would read the new file as if it were the old one."""
    path = tmp_path / "a.jsonl"
    path.write_text("".join(map(line, range(30))))
    reader = run(path, follow=True)
    assert len(reader.read()) == 30
    path.rename(tmp_path / "a.jsonl.1")
    path.write_text("".join(map(line, range(30, 50))))
    assert [offset for _, offset in reader.read()] == list(range(30, 50))
    reader.stop()
    with path.open("a") as file:
        file.write(line(50))
    second = run(path, follow=True)
    assert [offset for _, offset in second.read()] == [50]
    key = ("a.jsonl", 0)
    again = [each for piece in second.source.again(key, 25, 51) for each in piece]
    assert [json.loads(value or b"")["time"] for each in again if isinstance(each, Batch) for value in each.values] == [
        *range(25, 51)
    ]
    (tmp_path / "a.jsonl.1").unlink()
    assert [offset for piece in second.source.again(key, 35, 40) for each in piece for offset in offsets_of(each)]
    with pytest.raises(SourceError, match="rotated, and that one is gone") as caught:
        list(second.source.again(key, 25, 51))
    assert caught.value.status == 78


def _replaced(path: Path) -> None:
    path.rename(path.with_suffix(".old"))
    path.write_text("".join(map(line, range(100, 150))))


def _shrunk(path: Path) -> None:
    path.write_text("".join(map(line, range(10))))


def _emptied_and_filled(path: Path) -> None:
    path.write_text("".join(map(line, range(200, 300))))


def _copied(path: Path) -> None:
    copy = path.with_suffix(".copy")
    copy.write_bytes(path.read_bytes() + line(30).encode())
    copy.rename(path)


@pytest.mark.parametrize("follow", [False, True])
@pytest.mark.parametrize("change", [_replaced, _shrunk, _emptied_and_filled, _copied])
def test_another_input_is_refused(
    tmp_path: Path, run: Callable[..., Reader], change: Callable[[Path], None], *, follow: bool
) -> None:
    """If it failed, records would be skipped in silence: the position means nothing in another file."""
    path = tmp_path / "a.jsonl"
    path.write_text("".join(map(line, range(30))))
    reader = run(path, follow=follow)
    reader.read()
    reader.stop()
    change(path)
    if change is _copied and not follow:  # the same bytes, and more, are the same file
        assert [offset for _, offset in run(path, follow=follow).read()] == [30]
        return
    with pytest.raises(SourceError) as caught:
        run(path, follow=follow)
    assert caught.value.status == 78
    assert "a.jsonl" in str(caught.value)
    assert "delete this one to begin anew" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_files_are_refused(tmp_path: Path, run: Callable[..., Reader]) -> None:
    """If it failed, a directory would be taken for that of other files, or of the same in another order."""
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    for path in (first, second):
        path.write_text("".join(map(line, range(30))))
    reader = run(first, second)
    reader.read()
    reader.stop()
    for paths in ([second], [first], [second, first]):
        with pytest.raises(SourceError, match="belongs to other files") as caught:
            run(*paths)
        assert caught.value.status == 78
    with first.open("a") as file:
        file.write(line(30))
    with pytest.raises(SourceError, match="has changed since it was read"):
        run(first, second)


def test_two_processes_with_one_directory(tmp_path: Path, run: Callable[..., Reader]) -> None:
    """If it failed, two processes would write one alerts file, each cutting off what the other wrote."""
    path = tmp_path / "a.jsonl"
    path.write_text(line(0))
    reader = run(path)
    with pytest.raises(SourceError, match="another process has it") as caught:
        run(path)
    assert caught.value.status == 75
    reader.stop()
    run(path)


@pytest.mark.parametrize("name", ["checkpoint.json", "state-0"])
def test_a_damaged_directory_is_one_line(tmp_path: Path, run: Callable[..., Reader], name: str) -> None:
    """If it failed, damage would end in a traceback, or state of nowhere be believed."""
    path = tmp_path / "a.jsonl"
    path.write_text("".join(map(line, range(30))))
    reader = run(path)
    reader.read()
    from monitor.message import Message

    reader.source.commit({("a.jsonl", 0): 30}, [Message("a.jsonl", b"D", b"entry", (), 0)])
    reader.stop()
    file = tmp_path / "state" / name
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])
    with pytest.raises(SourceError, match="is damaged") as caught:
        run(path)
    assert caught.value.status == 78
    assert "\n" not in str(caught.value)
    if name == "state-0":
        file.write_bytes(data[:-1] + b"?")
        store = run(path).source.store(StateSettings())
        assert store is not None
        with pytest.raises(Exception, match="checksum"):
            list(store.read(("a.jsonl", 0), 0, 10))


def test_a_directory_that_cannot_be(tmp_path: Path, run: Callable[..., Reader]) -> None:
    """If it failed, a wrong state.path would be a traceback."""
    path = tmp_path / "a.jsonl"
    path.write_text(line(0))
    (tmp_path / "state").write_text("a file")
    with pytest.raises(SourceError, match=r"state.path .*: cannot be read or written"):
        run(path)


def test_a_newer_format_is_one_line(tmp_path: Path, run: Callable[..., Reader]) -> None:
    """If it failed, going back to an older version would take the newer one's state for damaged, and say: delete it."""
    path = tmp_path / "a.jsonl"
    path.write_text(line(0))
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "checkpoint.json").write_text('{"format": 7, "partitions": "of another kind"}')
    with pytest.raises(SourceError, match="has format 7, and this version reads 1"):
        run(path)


def test_outputs_that_are_not_as_they_were_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """If it failed, nobody would know that events may come twice; or a file of others would be cut off."""
    path, out = tmp_path / "a.jsonl", tmp_path / "alerts.jsonl"
    path.write_text("".join(map(line, range(30))))
    outputs = [("jsonl alerts", str(out)), ("jsonl -", None), ("jsonl /dev/null", "/dev/null")]
    out.write_text("before\n")

    def start() -> str:
        reader = Reader(tmp_path, [path], outputs)
        reader.read()
        reader.stop()
        said = [text for text in capsys.readouterr().out.splitlines() if "at_least_once" in text]
        assert len(said) == 1
        return said[0]

    assert "jsonl - cannot be cut off" in start()
    with out.open("a") as file:
        file.write("of a commit that never came\n")
    start()
    assert out.read_text() == "before\n"
    out.rename(tmp_path / "alerts.old")
    out.write_text("of the new file\n")
    assert "alerts.jsonl was moved or emptied" in start()
    assert out.read_text() == "of the new file\n"
    assert (tmp_path / "alerts.old").read_text() == "before\n"
    out.write_text("")
    assert "alerts.jsonl was moved or emptied" in start()
    out.unlink()
    assert "alerts.jsonl was moved or emptied" in start()
