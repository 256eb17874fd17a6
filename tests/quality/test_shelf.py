"""Measurements in slices."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.quality.shelf import OutOfTimeError, Shelf


def test_a_piece_is_measured_once_and_kept_for_those_that_resume(tmp_path: Path) -> None:
    """If it failed, a slice would begin from the beginning, or keep another product's figures."""
    shelf = Shelf(tmp_path / "set")
    assert shelf.piece(0, "MSL/S-2", lambda: {"vus_pr": 0.5}) == {"vus_pr": 0.5}
    again = Shelf(tmp_path / "set", resume=True)
    assert again.piece(0, "MSL/S-2", lambda: {"vus_pr": 0.1}) == {"vus_pr": 0.5}
    assert again.piece(1, "MSL/S-2", lambda: {"vus_pr": 0.1}) == {"vus_pr": 0.1}
    afresh = Shelf(tmp_path / "set")
    assert afresh.piece(0, "MSL/S-2", lambda: {"vus_pr": 0.2}) == {"vus_pr": 0.2}


def test_a_slice_that_is_over_begins_nothing(tmp_path: Path) -> None:
    """If it failed, a slice would last as long as the whole measurement."""
    Shelf(tmp_path / "set").piece(0, "a", lambda: {"f1": 1.0})
    shelf = Shelf(tmp_path / "set", resume=True, seconds=-1)
    assert shelf.piece(0, "a", dict) == {"f1": 1.0}
    with pytest.raises(OutOfTimeError, match="--resume"):
        shelf.piece(0, "b", dict)


def test_only_what_matches_is_wanted(tmp_path: Path) -> None:
    """If it failed, `--only` would measure everything, or nothing."""
    shelf = Shelf(tmp_path / "set", only="MSL/*")
    assert shelf.wants("MSL/S-2")
    assert not shelf.wants("SMD/machine-1-1")
