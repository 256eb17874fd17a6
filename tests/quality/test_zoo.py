"""The set `zoo` at toy size: made-up beats through everything that the real ones go through."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.quality import zoo, zoo_cli, zoo_digits, zoo_ecg


@pytest.fixture
def beats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with beats of two shapes in place of ECG5000."""
    random = np.random.default_rng(0)
    steps = np.linspace(0, 2 * np.pi, zoo_ecg.LENGTH)

    def made(count: int, shape: int) -> list[np.ndarray]:
        return [
            np.sin(shape * steps + random.normal(scale=0.1)) + random.normal(scale=0.1, size=zoo_ecg.LENGTH)
            for _ in range(count)
        ]

    folder = tmp_path / "data" / "ecg5000"
    folder.mkdir(parents=True)
    np.savez(
        folder / "ecg5000.npz",
        train=np.array(made(100, 1) + made(20, 2), np.float32),
        train_class=np.repeat([1, 2], [100, 20]).astype(np.uint8),
        test=np.array(made(30, 1) + made(20, 2), np.float32),
        test_abnormal=np.repeat([0, 1], [30, 20]).astype(np.uint8),
    )
    monkeypatch.setenv("TIDEGAUGE_DATA", str(tmp_path / "data"))


@pytest.mark.usefixtures("beats")
def test_beats_of_another_shape_are_found(tmp_path: Path) -> None:
    """The table of the results would come from a program that does not run, or that measures nothing."""
    found = {"pca": [zoo_ecg.measure("pca", 0)]}
    assert found["pca"][0]["auc"] > 0.99
    assert zoo_ecg.baseline() > 0.9
    lines = zoo_ecg.table(found)
    assert len({line.count("|") for line in lines}) == 1
    told = zoo_cli.measure(0, tmp_path, ("pca", "sparse"), epochs=2)
    assert told["kinds"]["pca"]["auc"] > 0.99
    assert any(line.startswith("| pca | 1.0000 (1.0000) |") for line in zoo_cli.table([told]))


def test_digits_are_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The table of the results would come from a program that does not run."""
    pytest.importorskip("sklearn")
    monkeypatch.setattr(zoo_digits, "COMMON", zoo_digits.COMMON | {"epochs": 1})
    monkeypatch.setattr(zoo_digits, "FEW", {"epochs": 1})
    monkeypatch.setattr(zoo_digits, "HELD", (3,))
    found = zoo_digits.measure("vae", 0, tmp_path / "plane.png")
    assert found["of pca"] < found["of the mean image"]
    assert found["ratio"] == 64 / found["code"]
    assert 0 < found["neighbours"] < 1
    assert (tmp_path / "plane.png").read_bytes().startswith(b"\x89PNG")
    lines = zoo_digits.table({"vae": [found]})
    assert len({line.count("|") for line in lines}) == 1


def test_figures_that_are_there_are_not_computed_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A run that was broken off would begin anew, hours of it."""
    monkeypatch.setattr(zoo, "KEPT", tmp_path / "kept" / "zoo.json")
    calls: list[int] = []

    def compute(number: int) -> int:
        calls.append(number)
        return number + 1

    assert [zoo.kept("a", compute, 1), zoo.kept("a", compute, 1), zoo.kept("b", compute, 5)] == [2, 2, 6]
    assert calls == [1, 5]
