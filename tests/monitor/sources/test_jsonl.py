"""JSON Lines: positions, envelopes, and reading standard input."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.record import RecordSettings
from monitor.sources.base import Batch, SourceError
from monitor.sources.jsonl import JsonlSource, Settings

RECORD = RecordSettings()


def drain(source: JsonlSource) -> list[Batch]:
    """Poll a source to its end."""
    batches: list[Batch] = []
    try:
        while not source.exhausted:
            batches += [batch for batch in source.poll(1.0) if isinstance(batch, Batch)]
    finally:
        source.close()
    return batches


def read(*paths: Path) -> list[Batch]:
    """Read files to their end."""
    return drain(Settings(path=tuple(map(str, paths))).build(RECORD))


def values(batches: list[Batch]) -> list[bytes | None]:
    """Return the values of all batches."""
    return [value for batch in batches for value in batch.values]


def wrapped(partition: int, offset: int, payload: object, **more: object) -> bytes:
    """Return a line of `kcat -J`."""
    line = {"topic": "sensors", "partition": partition, "offset": offset, "ts": 5, "broker": 1, "key": "p"}
    return json.dumps({**line, "payload": payload, **more}).encode()


def test_positions_count_on_through_the_files(tmp_path: Path) -> None:
    """Offsets are what alert ids are made of: two files that both begin at 0 would collide."""
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    first.write_bytes(b'{"a":1}\n\n  \r\n{"a":2}\r\n')
    second.write_bytes(b'{"a":3}')
    batches = read(first, second)
    assert values(batches) == [b'{"a":1}', b'{"a":2}', b'{"a":3}']
    assert [offset for batch in batches for offset in batch.offsets] == [0, 1, 2]
    assert {(batch.topic, batch.partition) for batch in batches} == {("first.jsonl", 0)}
    assert {key for batch in batches for key in batch.keys} == {None}
    assert {stamp for batch in batches for stamp in batch.timestamps} == {-1}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.binary(max_size=30).map(lambda b: b.replace(b"\n", b"").replace(b"\r", b"")), max_size=20), st.data()
)
def test_lines_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], data: st.DataObject
) -> None:
    """A dead letter holds the raw bytes of its record, so no byte may change on the way in."""
    path = tmp_path_factory.mktemp("round") / "a.jsonl"
    path.write_bytes(b"\n".join(lines) + (b"\n" if data.draw(st.booleans()) else b""))
    assert values(read(path)) == [line for line in lines if line.strip()]


def test_an_endless_line_is_cut_and_costs_no_other(tmp_path: Path) -> None:
    """A line without an end must become a dead letter for its size, and not fill the memory."""
    path = tmp_path / "long.jsonl"
    with path.open("wb") as file:
        file.write(b'{"a":1}\n{"b":"')
        for _ in range(30):
            file.write(b"x" * (1 << 20))
        file.write(b'"}\n{"a":2}\n')
    one, long, two = values(read(path))
    assert (one, two) == (b'{"a":1}', b'{"a":2}')
    assert long is not None
    assert len(long) == (1 << 16) + 1


def test_envelopes_give_the_positions_of_kafka(tmp_path: Path) -> None:
    """A replay of a kcat recording publishes the same alert ids as production only at the same positions."""
    path = tmp_path / "k.jsonl"
    lines = [wrapped(1, 7, '{"é":1}'), wrapped(0, 3, None, key=None), wrapped(1, 9, "", ts=None)]
    path.write_bytes(b"\n".join([*lines, b""]))
    one, zero = read(path)
    assert one == Batch("sensors", 1, [7, 9], [5, -1], [b"p", b"p"], ['{"é":1}'.encode(), b""])
    assert zero == Batch("sensors", 0, [3], [5], [None], [None])


def test_envelope_keeps_bytes_that_are_not_utf8(tmp_path: Path) -> None:
    """A MessagePack payload is written as it is by kcat; read as text it would be refused, but production took it."""
    payload = msgspec.msgpack.encode({"stream": "é", "values": {"a": 1.5}, "time": 2**40})
    text = payload.decode("latin-1")
    line = wrapped(0, 1, "@").replace(b"@", json.dumps(text, ensure_ascii=False)[1:-1].encode("latin-1"))
    path = tmp_path / "k.jsonl"
    path.write_bytes(wrapped(0, 0, "x") + b"\n" + line + b"\n")
    assert values(read(path)) == [b"x", payload]


def test_envelope_with_embedded_json(tmp_path: Path) -> None:
    """`kcat -J -s avro` embeds the payload as JSON; it is a record like any other."""
    path = tmp_path / "k.jsonl"
    path.write_bytes(wrapped(0, 0, {"stream": "p"}, key=17))
    (batch,) = read(path)
    assert json.loads(batch.values[0] or b"") == {"stream": "p"}
    assert batch.keys == [b"17"]


@pytest.mark.parametrize("broken", [b'{"topic":"sensors","part', b"\xff\xfe", b"[" * 10_000, b"7", b'{"offset":"x"}'])
def test_a_broken_envelope_is_a_record_to_refuse(tmp_path: Path, broken: bytes) -> None:
    """A torn line in a recording must cost itself alone: a crash would make the whole recording useless."""
    path = tmp_path / "k.jsonl"
    path.write_bytes(b"\n".join([wrapped(2, 4, "x"), broken, wrapped(2, 5, "y"), b""]))
    (batch,) = read(path)
    assert batch.values == [b"x", broken, b"y"]
    assert batch.offsets == [4, 5, 5]
    assert batch.keys == [b"p", None, b"p"]


def test_offsets_out_of_order_are_said(tmp_path: Path) -> None:
    """Offsets that fall would give alerts with the wrong ids, and nobody would notice."""
    path = tmp_path / "k.jsonl"
    path.write_bytes(wrapped(2, 4, "x") + b"\n" + wrapped(2, 4, "x"))
    with pytest.raises(SourceError, match="offset 4 of sensors/2 comes after 4"):
        read(path)


def test_peek_finds_the_numbers_and_consumes_nothing(tmp_path: Path) -> None:
    """`train` takes the features from the recording: text, booleans and what is always null are none."""
    path = tmp_path / "a.jsonl"
    records = [{"values": {"b": None, "a": 1, "t": "x", "n": None, "flag": True}}, {"values": {"c": 2, "b": 0.5}}]
    path.write_text("\n".join(["nonsense", "[]", *map(json.dumps, records)]))
    settings = Settings(path=str(path))
    assert settings.peek(RECORD) == ("b", "a", "c")
    assert settings.peek(RECORD, count=3) == ("a",)
    assert len(values(drain(settings.build(RECORD)))) == 4


def test_peek_follows_the_layout(tmp_path: Path) -> None:
    """The settings of the record say where the names lie; looking elsewhere would train on the wrong columns."""
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"id": 4, "at": 1, "m": {"x": 1}, "y": 2}\n{"sensor": "s2", "value": 1}\n{"sensor": "s1", "value": 2}'
    )
    settings = Settings(path=str(path))
    assert settings.peek(RecordSettings(stream="id", time="at", values=""), 1) == ("y",)
    assert settings.peek(RecordSettings(values="m")) == ("x",)
    assert settings.peek(RecordSettings(layout="long")) == ("s2", "s1")
    with pytest.raises(SourceError, match="stdin: a pipe cannot be read twice"):
        Settings(path="-").peek(RECORD)


def test_follow_waits_at_the_end(tmp_path: Path) -> None:
    """`follow` delivers whole lines as they are written, and never says that the input has ended."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a":1}\n{"a"')
    source = Settings(path=str(path), follow=True).build(RECORD)
    assert [batch.values for batch in source.poll(0.0) if isinstance(batch, Batch)] == [[b'{"a":1}']]
    began = time.monotonic()
    assert source.poll(0.1) == []
    assert 0.1 <= time.monotonic() - began < 2
    with path.open("ab") as file:
        file.write(b":2}\n")
    assert [batch.values for batch in source.poll(1.0) if isinstance(batch, Batch)] == [[b'{"a":2}']]
    assert not source.exhausted
    source.close()


@pytest.mark.parametrize("how", ["replaced", "emptied"])
def test_follow_survives_rotation(tmp_path: Path, how: str) -> None:
    """Waiting at the end of a file that was rotated away would be a silent stop."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a":1}\n{"a":2}\n')
    source = Settings(path=str(path), follow=True).build(RECORD)
    found = values([batch for batch in source.poll(0.0) if isinstance(batch, Batch)])
    if how == "replaced":
        path.rename(tmp_path / "a.jsonl.1")
        assert source.poll(0.0) == []
    path.write_bytes(b'{"a":3}\n')
    for _ in range(3):
        found += values([batch for batch in source.poll(0.1) if isinstance(batch, Batch)])
    assert found == [b'{"a":1}', b'{"a":2}', b'{"a":3}']
    source.close()


def test_a_compressed_file_is_not_followed(tmp_path: Path) -> None:
    """A gzip file that is still written has no end that could be waited at."""
    path = tmp_path / "a.jsonl.gz"
    path.touch()
    with pytest.raises(SourceError, match="cannot be followed"):
        Settings(path=str(path), follow=True).build(RECORD)


READER = """
import signal, sys, time
from monitor.record import RecordSettings
from monitor.sources.jsonl import Settings
stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
source = Settings(path="-").build(RecordSettings())
print("ready", flush=True)
while not source.exhausted and not stopped:
    began = time.monotonic()
    for batch in source.poll(0.2):
        for offset, value in zip(batch.offsets, batch.values):
            print(batch.topic, offset, value, flush=True)
    assert time.monotonic() - began < 1.5
print("stopped" if stopped else "ended", flush=True)
"""


@pytest.fixture
def reader() -> Iterator[subprocess.Popen[bytes]]:
    """A process that prints each record of its standard input as it comes."""
    root = str(Path(__file__).parents[3])
    process = subprocess.Popen(
        [sys.executable, "-c", READER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root, bufsize=0
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    with process:
        yield process
        process.kill()


def test_standard_input_comes_line_by_line(reader: subprocess.Popen[bytes]) -> None:
    """An alert must not wait until a buffer is full, and the last line needs no newline."""
    assert reader.stdin is not None
    assert reader.stdout is not None
    for number, line in enumerate([b"{}", b"[1]"]):
        reader.stdin.write(line[:1])
        time.sleep(0.05)
        reader.stdin.write(line[1:] + b"\n")
        assert reader.stdout.readline() == f"stdin {number} {line!r}\n".encode()
    reader.stdin.write(b"last")
    reader.stdin.close()
    assert reader.stdout.read() == b"stdin 2 b'last'\nended\n"


def test_standard_input_does_not_hold_up_a_signal(reader: subprocess.Popen[bytes]) -> None:
    """SIGTERM must end the daemon within its time, though its input is open and silent."""
    assert reader.stdout is not None
    reader.send_signal(signal.SIGTERM)
    assert reader.stdout.read() == b"stopped\n"
