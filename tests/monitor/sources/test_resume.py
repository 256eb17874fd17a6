"""Which sources are opened with a directory that keeps their state."""

from __future__ import annotations

from pathlib import Path

import pytest

from monitor.record import RecordSettings
from monitor.sources.base import SourceError
from monitor.sources.jsonl import Settings as Jsonl
from monitor.sources.kept import Kept
from monitor.sources.resume import resume
from monitor.state import StateSettings

RECORD = RecordSettings()
FEATURES = ("a", "b")


def test_a_directory_is_left_alone_when_no_state_is_wanted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """If it failed, `state.type: none` would still go on from an earlier run."""
    path = tmp_path / "in.jsonl"
    path.write_text('{"stream": "s", "time": 1, "values": {"a": 1}}\n')
    state = StateSettings(type="none", path=tmp_path / "state")
    source = resume(Jsonl(path=str(path)), RECORD, FEATURES, state)
    assert not isinstance(source, Kept)
    source.close()
    assert "a restart begins anew" in capsys.readouterr().out
    assert not (tmp_path / "state").exists()


def test_a_missing_file_is_told_before_a_directory_is_made(tmp_path: Path) -> None:
    """If it failed, the last of many files would be missed only when its turn comes."""
    settings = Jsonl(path=str(tmp_path / "none.jsonl"))
    with pytest.raises(SourceError, match=r"none\.jsonl: cannot be read: No such file"):
        resume(settings, RECORD, FEATURES, StateSettings(path=tmp_path / "state"))
    assert not (tmp_path / "state").exists()


def test_a_pipe_keeps_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """If it failed, a restart would take a pipe's next records for those that were read before."""
    settings = Jsonl(path="-")
    assert not isinstance(resume(settings, RECORD, FEATURES, StateSettings(path=tmp_path / "state")), Kept)
    assert "a pipe cannot be read again" in capsys.readouterr().out
    assert not (tmp_path / "state").exists()
    with pytest.raises(SourceError, match="a pipe cannot be read again") as caught:
        resume(settings, RECORD, FEATURES, StateSettings(type="directory", path=tmp_path / "state"))
    assert caught.value.status == 78
