"""`tidegauge sample`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from models.bundle import Bundle, WindowShape
from models.serving import Model
from monitor.cli.sample import rows
from tests.monitor.cli.conftest import Run
from tests.recordings import START

pytestmark = pytest.mark.slow


def _windows(path: Path) -> tuple[list[str], np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    """Return streams and windows `(n, 12, 2)` of a recording of JSON Lines."""
    records = [json.loads(line) for line in path.read_text().splitlines()]
    values = np.array([list(record["values"].values()) for record in records], np.float32)
    return [record["stream"] for record in records[::12]], values.reshape(-1, 12, 2)


def test_windows_are_drawn_in_the_units_of_the_recording(run: Run, vae: Bundle, tmp_path: Path) -> None:
    """They would be scaled numbers, the same window again and again, or others at every run."""
    out = tmp_path / "drawn.jsonl"
    assert run("sample", vae.path, "-n", 40, "--out", out).status == 0
    streams, found = _windows(out)
    assert streams == [f"sample-{number}" for number in range(1, 41)]
    mean, scale = np.array(vae.manifest.scaling.mean), np.array(vae.manifest.scaling.scale)
    assert (np.abs(found.mean(axis=(0, 1)) - mean) < scale).all()
    assert (found.std(axis=0) > 0).all()
    # a model that knows the recording knows its own windows: they are no stranger than normal ones
    assert np.median(Model(vae).score(found).score) <= dict(vae.manifest.calibration.quantiles)[0.99]
    again = tmp_path / "again.jsonl"
    run("sample", vae.path, "-n", 40, "--out", again)
    assert again.read_bytes() == out.read_bytes()
    run("sample", vae.path, "-n", 40, "--seed", 1, "--out", again)
    assert again.read_bytes() != out.read_bytes()


def test_windows_lead_from_one_to_another(run: Run, vae: Bundle, recording: Path, tmp_path: Path) -> None:
    """The ends would be other windows than those that were named."""
    out = tmp_path / "way.jsonl"
    moment = "2023-11-14T22:35:00Z"  # 21 minutes and 40 s behind START: row 21 of pump-1, in its window 10
    arguments = ("--interpolate", "0", f"pump-1@{moment}", "-n", 5, "--out", out)
    result = run("sample", vae.path, recording, *arguments)
    assert result.status == 0, result.err
    _, found = _windows(out)
    lines = [line.split(",") for line in recording.read_text().splitlines()[1:]]
    for stream, first, window in (("pump-0", 0, found[0]), ("pump-1", 10, found[-1])):
        rows = [line for line in lines if line[1] == stream][first : first + 12]
        assert int(rows[0][0]) == START + first * 60_000
        raw = np.array([[float(cell or "nan") for cell in line[2:4]] for line in rows], np.float32)
        assert_allclose(window, Model(vae).score(raw[None]).reconstruction[0], rtol=1e-4)
    steps = np.abs(np.diff(found, axis=0)).sum(axis=(1, 2))
    assert steps.max() < np.abs(found[-1] - found[0]).sum()


def test_on_a_grid_windows_end_where_production_ends_them() -> None:
    """A replay of what was drawn would score windows that nobody drew, or none."""
    shape = WindowShape(length=4, stride=3, interval=60_000)
    found = rows(np.zeros((2, 4, 1), np.float32), shape, ("x",), 1_000)
    assert found.streams == ["sample-1", "sample-2"]
    cells = found.time.reshape(2, 4) // 60_000
    assert (found.time % 60_000 == 0).all()
    assert (np.diff(cells) == 1).all()
    assert (cells[:, -1] % 3 == 0).all()
    assert (np.diff(rows(np.zeros((1, 4, 1), np.float32), WindowShape(length=4), ("x",), 250).time) == 250).all()


def test_what_cannot_be_drawn_is_said_in_a_line(
    run: Run, vae: Bundle, bundle: Bundle, recording: Path, tmp_path: Path
) -> None:
    """The user would read a traceback, or get windows of a kind that has no prior."""
    out = ("--out", tmp_path / "x.csv")
    status, _, said = run("sample", bundle.path, *out)
    assert (status, said.count("\n")) == (78, 1)
    assert "of the kind lstm" in said
    for arguments, wanted in (
        ((recording,), "--interpolate A B goes with a recording"),
        (("--interpolate", "0", "1"), "--interpolate A B goes with a recording"),
        ((recording, "--interpolate", "0", "99999"), "numbers 0 to 866"),
        ((recording, "--interpolate", "0", "pump-9@2024-01-01"), "pump-0, pump-1, pump-2"),
        ((recording, "--interpolate", "0", "pump-0@2020-01-01"), "no window of that stream ends by then"),
        ((recording, "--interpolate", "0", "pump-0@noon"), "noon"),
        (("--step", "0s"), "a millisecond at least"),
        (("--step", "soon"), "--step"),
    ):
        status, _, said = run("sample", vae.path, *arguments, *out)
        assert status == 2
        assert wanted in said.splitlines()[-1]
