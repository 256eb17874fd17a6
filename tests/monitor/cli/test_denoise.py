"""`tidegauge denoise`."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from models.bundle import Bundle
from models.training import train
from monitor.times import to_iso
from tests.models.waves import FEATURES, WINDOW, settings, waves
from tests.monitor.cli.conftest import Run
from tests.recordings import START

pytestmark = pytest.mark.slow
ROWS = 60


@pytest.fixture(scope="module")
def denoising(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A tiny bundle of the kind denoising, with windows every other row, on a grid of a minute."""
    out = tmp_path_factory.mktemp("denoising") / "bundle"
    window = WINDOW.model_copy(update={"stride": 2, "interval": 60_000, "max_gap": 2})
    return train(waves(), window, FEATURES, settings("denoising", code_size=3, epochs=8), out)


def _write(path: Path, *, noise: float) -> Path:
    """Write a wave with noise, a hole at row 20, a short gap at rows 30 and 31, and a long one behind row 49."""
    random = np.random.default_rng(1)
    lines = ["time,stream,pressure,flow"]
    for row in [*range(30), *range(32, 50), *range(60, 65)]:
        phase = row * 2 * np.pi / 12
        pressure, flow = 50 + 5 * np.sin(phase), 1000 + 40 * np.cos(phase)
        pressure, flow = pressure + noise * 1.5 * random.normal(), flow + noise * 12 * random.normal()
        cell = "" if row == 20 else f"{flow:.4f}"
        lines.append(f"{to_iso(START - START % 60_000 + row * 60_000)},pump,{pressure:.4f},{cell}")
    path.write_text("\n".join(lines) + "\n")
    return path


def _read(path: Path) -> dict[str, tuple[str, str]]:
    with path.open() as file:
        return {row["time"]: (row["pressure"], row["flow"]) for row in csv.DictReader(file)}


def test_noise_goes_and_the_rest_stays(run: Run, denoising: Bundle, tmp_path: Path) -> None:
    """The cleaned recording would be noisier, have values that nobody measured, or lack rows."""
    noisy, clean = _write(tmp_path / "noisy.csv", noise=1), _write(tmp_path / "clean.csv", noise=0)
    out = tmp_path / "out.csv"
    status, text, said = run("denoise", denoising.path, noisy, "--out", out, "--clean", clean, "--json")
    assert status == 0, said
    told = json.loads(text)
    assert told["gain_db"] > 3
    before, after = _read(noisy), _read(out)
    *ended, last = before  # the last cell is still open when the recording ends
    assert list(after) == ended
    assert last not in after
    hole = to_iso(START - START % 60_000 + 20 * 60_000)
    assert after[hole][1] == ""
    assert after[hole][0] not in {"", before[hole][0]}
    # rows behind the long gap are too few for a window: they stay as they were recorded
    for time in ended[-4:]:
        assert np.float32(after[time][0]) == np.float32(before[time][0])
    assert told["cleaned_rows"] <= 50


def test_filling_is_asked_for(run: Run, denoising: Bundle, tmp_path: Path) -> None:
    """Missing values could not be estimated, or the number of those that were would be hidden."""
    noisy, out = _write(tmp_path / "noisy.csv", noise=1), tmp_path / "out.csv"
    status, _, said = run("denoise", denoising.path, noisy, "--out", out, "--fill")
    assert status == 0
    found = _read(out)
    assert len(found) == 50 + 4
    for row in (20, 30, 31):
        assert "" not in found[to_iso(START - START % 60_000 + row * 60_000)]
    assert "filled    5 missing values" in said.splitlines()


def test_other_kinds_and_other_recordings_are_named(
    run: Run, bundle: Bundle, denoising: Bundle, recording: Path, tmp_path: Path
) -> None:
    """Smoothing would be taken for denoising, or a gain measured against something else."""
    out = tmp_path / "out.parquet"
    status, _, said = run("denoise", bundle.path, recording, "--out", out)
    assert (status, said.splitlines()[0].split()[:4]) == (0, ["warning", "the", "kind", "lstm"])
    noisy = _write(tmp_path / "noisy.csv", noise=1)
    status, _, said = run("denoise", denoising.path, noisy, "--clean", recording, "--out", tmp_path / "x.csv")
    assert status == 1
    assert "not the rows of the recording that is cleaned" in said.splitlines()[-1]
    assert not (tmp_path / "x.csv").exists()
