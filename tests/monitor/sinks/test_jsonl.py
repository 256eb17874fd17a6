"""JSON Lines: what is on disk when `deliver` returns, and what is not torn."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from monitor.message import Message
from monitor.sinks.base import SinkError
from monitor.sinks.jsonl import Settings

ROOT = str(Path(__file__).parents[3])
WRITE = """
import sys
from monitor.message import Message
from monitor.sinks.base import SinkError
from monitor.sinks.jsonl import Settings
sink = Settings(path=sys.argv[1]).build()
try:
    for i in range(int(sys.argv[2])):
        sink.deliver([Message("alerts", b"k", b'{"i":%d}' % i)])
except SinkError as error:
    sys.exit(f"SinkError {error.permanent}: {error}")
"""


def message(value: bytes | None) -> Message:
    """Return an event with this value."""
    return Message("alerts", b"key", value)


def lines(path: Path) -> list[bytes]:
    """Return the lines of a file; each of them must have its end."""
    data = path.read_bytes()
    assert data == b"" or data.endswith(b"\n")
    return data.splitlines()


def test_appends_one_line_an_event(tmp_path: Path) -> None:
    """A restart must add to the alerts of before, not replace them."""
    path = tmp_path / "alerts.jsonl"
    for i in range(3):
        sink = Settings(path=str(path)).build()
        sink.deliver([message(b'{"i":%d}' % i), message(b'{"j":%d}' % i)])
        assert len(lines(path)) == 2 * (i + 1)  # there before close
        sink.close()
    assert [json.loads(line) for line in lines(path)][:3] == [{"i": 0}, {"j": 0}, {"i": 1}]


def test_an_event_is_one_line_whatever_its_bytes(tmp_path: Path) -> None:
    """A line break inside an event would make two broken ones of it."""
    path = tmp_path / "alerts.jsonl"
    sink = Settings(path=str(path)).build()
    sink.deliver([message(b'{\r\n  "a": "x\\ny"\n}'), message(None), message(b"{}")])
    assert [json.loads(line) for line in lines(path)] == [{"a": "x\ny"}, {}]


def test_a_torn_line_is_ended(tmp_path: Path) -> None:
    """A crash in the middle of a write must cost that line only, not glue the next event to it."""
    path = tmp_path / "alerts.jsonl"
    path.write_bytes(b'{"i":0}\n{"i":')
    sink = Settings(path=str(path)).build()
    sink.deliver([message(b'{"i":1}')])
    assert lines(path) == [b'{"i":0}', b'{"i":', b'{"i":1}']


def test_a_file_that_was_moved_is_made_anew(tmp_path: Path) -> None:
    """After logrotate the alerts belong into the new file; in the moved one nobody looks for them."""
    path, moved = tmp_path / "alerts.jsonl", tmp_path / "alerts.jsonl.1"
    sink = Settings(path=str(path)).build()
    sink.deliver([message(b"1")])
    path.rename(moved)
    sink.deliver([message(b"2")])
    assert (lines(moved), lines(path)) == ([b"1"], [b"2"])


def test_a_full_disk_is_one_line_and_tears_nothing(tmp_path: Path) -> None:
    """An event that fits only half must not be left half: it is delivered again when there is room."""
    path = tmp_path / "alerts.jsonl"

    def small() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

    found = subprocess.run(
        [sys.executable, "-c", WRITE, str(path), "100"],
        capture_output=True,
        check=False,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=small,
    )
    assert found.returncode == 1
    assert found.stderr == f"SinkError False: sink {path}: cannot be written: File too large\n"
    assert [json.loads(line)["i"] for line in lines(path)] == list(range(12))


def test_no_space_left_is_one_line() -> None:
    """The commonest end of a disk must be readable."""
    with pytest.raises(SinkError, match=r"^sink /dev/full: cannot be written: No space left on device: make room$"):
        Settings(path="/dev/full").build().deliver([message(b"{}")])


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("missing/alerts.jsonl", r"there is no folder .*missing: make it, or name another file"),
        (".", "cannot be written: Is a directory"),
    ],
)
def test_a_file_that_cannot_be_opened_is_said_at_the_start(tmp_path: Path, path: str, said: str) -> None:
    """A wrong path must not come up with the first alert, days later."""
    with pytest.raises(SinkError, match=said) as caught:
        Settings(path=str(tmp_path / path)).build()
    assert "\n" not in str(caught.value)


def test_standard_output_gets_every_event_at_once() -> None:
    """`tidegauge run | jq` must show an alert when it is made, not when a buffer is full."""
    source = WRITE + "\nimport time; time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", source, "-", "2"], stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == [b'{"i":0}\n', b'{"i":1}\n']
        process.kill()


def test_a_reader_that_goes_away_is_one_line() -> None:
    """`tidegauge run | head -1` must end with a message, not with a traceback or the interpreter's own complaint."""
    arguments = [sys.executable, "-c", WRITE, "-", "1000000"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read().decode()
    assert said.startswith("SinkError False: sink -: nobody reads standard output any longer")
    assert said.count("\n") == 1
    assert process.returncode == 1


def test_full_standard_output_is_one_line() -> None:
    """`tidegauge run > alerts` on a full disk must end with a message, and not go on without alerts."""
    with Path("/dev/full").open("wb") as full:
        arguments = [sys.executable, "-c", WRITE, "-", "1"]
        found = subprocess.run(arguments, stdout=full, stderr=subprocess.PIPE, check=False, text=True, cwd=ROOT)
    assert found.stderr == "SinkError False: sink -: standard output cannot be written: No space left on device\n"
    assert found.returncode == 1


def test_closed_standard_output_is_one_line() -> None:
    """`>&-` is a way to start a daemon; that it cannot write there must be said."""
    command = f"exec '{sys.executable}' -c \"$1\" - 1 >&-"
    found = subprocess.run(["sh", "-c", command, "sh", WRITE], capture_output=True, check=False, text=True, cwd=ROOT)
    assert found.stderr == "SinkError False: sink -: standard output is closed: name a file\n"


def test_a_path_is_needed() -> None:
    """A sink without a path would lose the alerts silently, or mix them into standard output unasked."""
    for given in ({}, {"path": ""}):
        with pytest.raises(ValidationError, match="path"):
            Settings.model_validate(given)
