"""The checkpoint of a training."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from models import export
from models.cells import TrainingError
from models.checkpoint import Checkpoint, Epoch, State, fingerprint
from models.training import train
from tests.models.waves import FEATURES, WINDOW, settings, waves

if TYPE_CHECKING:
    from models.cells import Cells

EPOCH = Epoch(1, 3, 0.5, 0.25, 1.0, 2.0)
STATE = State((EPOCH,), (np.arange(3.0), np.int64(7) * np.ones((), np.int64)), (np.arange(3.0) / 3,))
LONG = 12
# A kind with random state of its own, and epochs slow enough that several checkpoints are written.
TRAINING = f"""
import json, sys, time
from pathlib import Path
from models.training import train
from tests.models.waves import FEATURES, WINDOW, settings, waves

def progress(epoch):
    print(epoch.epoch, flush=True)
    time.sleep(0.4)

train(waves(), WINDOW, FEATURES, settings("denoising", epochs={LONG}, patience={LONG}), Path(sys.argv[1]), progress)
"""


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    """A resumed training would begin from other numbers."""
    checkpoint = Checkpoint(tmp_path / "c.npz", "f")
    checkpoint.write(STATE)
    found = checkpoint.read()
    assert found is not None
    assert found.history == STATE.history
    for name in ("variables", "best"):
        for one, other in zip(getattr(found, name), getattr(STATE, name), strict=True):
            assert (one.tobytes(), one.dtype, one.shape) == (other.tobytes(), other.dtype, other.shape)
    checkpoint.remove()
    assert checkpoint.read() is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"no archive"])
def test_a_checkpoint_that_is_not_whole_is_not_used(tmp_path: Path, content: bytes) -> None:
    """A damaged file would keep the user from training at all."""
    path = tmp_path / "c.npz"
    path.write_bytes(content)
    assert Checkpoint(path, "f").read() is None


def test_the_checkpoint_of_another_training_is_not_used(tmp_path: Path) -> None:
    """New settings would quietly go on with the weights of the old ones."""
    Checkpoint(tmp_path / "c.npz", "f").write(STATE)
    assert Checkpoint(tmp_path / "c.npz", "g").read() is None


def test_other_cells_and_settings_have_other_fingerprints(cells: Cells) -> None:
    """A checkpoint would be taken for one of this recording."""
    from dataclasses import replace

    from models.base import Shape

    hyper = settings().resolve(Shape(12, 2))
    values = cells.values.copy()
    values[7, 1] += 1e-3
    made = [
        fingerprint(cells, "lstm", hyper, ["a"]),
        fingerprint(cells, "dense", hyper, ["a"]),
        fingerprint(cells, "lstm", hyper, ["b"]),
        fingerprint(cells, "lstm", settings(seed=1).resolve(Shape(12, 2)), ["a"]),
        fingerprint(replace(cells, values=values), "lstm", hyper, ["a"]),
        fingerprint(replace(cells, starts=cells.starts[:-1]), "lstm", hyper, ["a"]),
    ]
    assert len(set(made)) == len(made)
    assert made[0] == fingerprint(cells, "lstm", hyper, ["a"])


def test_it_is_written_now_and_then_only(tmp_path: Path) -> None:
    """Short epochs would be spent on writing."""
    assert not Checkpoint(tmp_path / "c.npz", "f", every=3600).due()
    assert Checkpoint(tmp_path / "c.npz", "f", every=0).due()


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    """A full disk would end in a traceback."""
    with pytest.raises(TrainingError, match=r"the checkpoint .* cannot be written: No such file"):
        Checkpoint(tmp_path / "nowhere" / "c.npz", "f").write(STATE)


@pytest.mark.slow
def test_a_killed_training_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    """A night of training would be lost to a kill, or end in other weights than without it."""
    out = tmp_path / "bundle"
    environment = dict(os.environ, PYTHONPATH=str(Path(__file__).parents[2]))
    with subprocess.Popen(
        [sys.executable, "-c", TRAINING, str(out)], stdout=subprocess.PIPE, env=environment, text=True
    ) as killed:
        assert killed.stdout is not None
        for line in killed.stdout:
            last = int(line)
            if last >= LONG // 2 and list(tmp_path.glob(".bundle.checkpoint.npz")):
                break
        time.sleep(0.1)
        killed.send_signal(signal.SIGKILL)
        assert killed.wait() == -signal.SIGKILL
    assert not out.exists()
    seen: list[Epoch] = []
    chosen = settings("denoising", epochs=LONG, patience=LONG)
    resumed = train(waves(), WINDOW, FEATURES, chosen, out, seen.append)
    assert 1 < seen[0].epoch <= last + 1
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
    whole = train(waves(), WINDOW, FEATURES, chosen, tmp_path / "whole")
    assert resumed.content("model.onnx") == whole.content("model.onnx")
    for one, other in zip(
        export.restore(resumed).autoencoder.get_weights(), export.restore(whole).autoencoder.get_weights(), strict=True
    ):
        assert one.tobytes() == other.tobytes()
    told = [json.loads((made.path / "training.json").read_text())["history"] for made in (resumed, whole)]
    assert [epoch["validation_loss"] for epoch in told[0]] == [epoch["validation_loss"] for epoch in told[1]]
