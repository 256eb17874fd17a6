"""Compressed files: streamed, whole or refused."""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.record import RecordSettings
from monitor.sources.base import Batch, Rows, Source, SourceError
from monitor.sources.compression import bare, is_compressed
from monitor.sources.inputs import open_input
from monitor.sources.jsonl import Settings

PACK: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress}

SKIPPABLE = b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd"


def content(path: Path) -> bytes:
    """Read a file to its end."""
    source = open_input(str(path))
    try:
        return b"".join(iter(lambda: source.read(0.0) or b"", b""))
    finally:
        source.close()


def endless(source: Source) -> Iterator[Batch | Rows]:
    """Poll a source until it fails."""
    while True:
        yield from source.poll(0.0)


@pytest.mark.parametrize("suffix", PACK)
@settings(max_examples=60, deadline=None)
@given(parts=st.lists(st.binary(max_size=5_000), max_size=4))
def test_members_in_a_row_are_one_file(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, parts: list[bytes]
) -> None:
    """`cat a.gz b.gz` is a gzip file, and log rotation makes such: what follows the first member must not be lost."""
    path = tmp_path_factory.mktemp("packed") / f"a{suffix}"
    path.write_bytes(b"".join(PACK[suffix](part) for part in parts))
    assert content(path) == b"".join(parts)


def test_padding_and_skippable_frames_are_skipped(tmp_path: Path) -> None:
    """Tapes pad gzip files with zeros and some tools begin zstd files with their own frame; both are valid."""
    padded, skippable = tmp_path / "a.gz", tmp_path / "A.ZST"
    padded.write_bytes(gzip.compress(b"one") + bytes(5_000) + gzip.compress(b"two") + bytes(3_000))
    skippable.write_bytes(SKIPPABLE + PACK[".zst"](b"three"))
    assert content(padded) == b"onetwo"
    assert content(skippable) == b"three"


@pytest.mark.parametrize("suffix", PACK)
def test_a_damage_is_said_after_what_lies_before_it(tmp_path: Path, suffix: str) -> None:
    """A file cut short by a full disk must neither pass as whole nor end in a traceback."""
    path = tmp_path / f"a.jsonl{suffix}"
    whole = PACK[suffix](b"".join(b'{"a":%d}\n' % (number * 7919 % 65_537) for number in range(200_000)))
    for damaged in (whole[:-5], whole[: len(whole) // 2], whole + b"no member", b"not compressed at all\n"):
        path.write_bytes(damaged)
        source = Settings(path=str(path)).build(RecordSettings())
        batches: list[Batch | Rows] = []
        with pytest.raises(SourceError, match=r"a\.jsonl\S+: the compressed file is cut short or damaged"):
            batches.extend(endless(source))
        assert (sum(map(len, batches)) > 10_000) == damaged.startswith(whole[:1_000])
        source.close()


@pytest.mark.parametrize("suffix", PACK)
def test_an_empty_file_is_no_error(tmp_path: Path, suffix: str) -> None:
    """An archive of an hour in which nothing came holds nothing, and that is no failure."""
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"")
    assert content(path) == b""
    path.write_bytes(PACK[suffix](b""))
    assert content(path) == b""


BOMB = """
import sys
from monitor.record import RecordSettings
from monitor.sources.jsonl import Settings
source = Settings(path=sys.argv[1]).build(RecordSettings())
while not source.exhausted:
    for batch in source.poll(1.0):
        print(batch.offsets[0], [len(value) for value in batch.values])
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.slow
@pytest.mark.parametrize("suffix", PACK)
def test_a_bomb_does_not_fill_the_memory(tmp_path: Path, suffix: str) -> None:
    """One line of a quarter gigabyte, packed into kilobytes, is a dead letter like any other long line."""
    path = tmp_path / f"bomb.jsonl{suffix}"
    path.write_bytes(PACK[suffix](bytes(1 << 28)) + PACK[suffix](b"\n{}\n"))
    root = str(Path(__file__).parents[3])
    output = subprocess.run([sys.executable, "-c", BOMB, str(path)], capture_output=True, check=True, cwd=root).stdout
    *found, peak = output.decode().splitlines()
    assert found in (["0 [65537, 2]"], ["0 [65537]", "1 [2]"])
    assert int(peak) < 200_000  # kB, some 60,000 of them Python and its libraries


@pytest.mark.slow
@pytest.mark.parametrize("suffix", PACK)
@pytest.mark.parametrize("line", [b"\n", b"{}\n"])
def test_a_bomb_of_short_lines_does_not_fill_the_memory(tmp_path: Path, suffix: str, line: bytes) -> None:
    """Each of ten million lines is an object of its own; only as many may be in memory as a plain file gives."""
    path = tmp_path / f"bomb.jsonl{suffix}"
    path.write_bytes(PACK[suffix](line * (10_000_000 if line == b"\n" else 3_000_000) + b"{}\n"))
    root = str(Path(__file__).parents[3])
    output = subprocess.run([sys.executable, "-c", MANY, str(path)], capture_output=True, check=True, cwd=root).stdout
    records, peak = output.split()
    assert int(records) == (1 if line == b"\n" else 3_000_001)
    assert int(peak) < 200_000  # kB


MANY = """
import sys
from monitor.record import RecordSettings
from monitor.sources.jsonl import Settings
source, records = Settings(path=sys.argv[1]).build(RecordSettings()), 0
while not source.exhausted:
    for batch in source.poll(1.0):
        records += len(batch)
print(records)
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def test_names() -> None:
    """The end of a name alone says how a file is compressed, in any case."""
    assert is_compressed("a.CSV.GZ")
    assert bare("a.csv.zst") == "a.csv"
    assert bare("a.csv") == "a.csv"
