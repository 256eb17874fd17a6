"""`tidegauge export`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.bundle import Bundle
from models.litert import Exported, Range
from models.micro import Needs
from models.serving import Model, calibration_windows
from monitor.cli.export import describe
from tests.monitor.cli.conftest import Run

pytestmark = pytest.mark.slow


def _device(path: Path, told: dict[str, Any], windows: np.ndarray[Any, np.dtype[np.float32]]) -> list[float]:
    """Return scores as a device would compute them, from nothing but the file and what was printed."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path))
    interpreter.allocate_tensors()
    (source,), (target,) = interpreter.get_input_details(), interpreter.get_output_details()
    offset, scale, mean = (np.array(told["scaling"][name]) for name in ("offset", "scale", "mean"))
    scores = []
    for window in windows:
        known = ~np.isnan(window)
        scaled = (np.where(known, window, mean) - offset) / scale
        number = scaled.astype(np.float32)
        if told["input"] is not None:
            number = np.rint(scaled / told["input"]["scale"]) + told["input"]["zero"]
            number = np.clip(number, -128, 127).astype(np.int8)
        interpreter.set_tensor(source["index"], number[None])
        interpreter.invoke()
        rebuilt = interpreter.get_tensor(target["index"])[0].astype(np.float64)
        if told["output"] is not None:
            rebuilt = (rebuilt - told["output"]["zero"]) * told["output"]["scale"]
        scores.append(float(np.square(scaled - rebuilt)[known].mean()))
    return scores


@pytest.mark.parametrize(("options", "kind"), [((), "float32"), (("--int8",), "int8")])
def test_a_device_scores_as_the_bundle_does(
    run: Run, vae: Bundle, tmp_path: Path, options: tuple[str, ...], kind: str
) -> None:
    """The firmware would raise other alarms than the model that was tested, and nobody would know by how much."""
    out = tmp_path / "model.tflite"
    status, text, said = run("export", vae.path, *options, "--out", out, "--json")
    assert status == 0, said
    told = json.loads(text)
    assert told["size"] == out.stat().st_size
    assert set(told["operators"]) >= {"FULLY_CONNECTED", "RESHAPE"}
    assert told["lacking"] == []
    windows = calibration_windows(vae)
    own, expected = np.array(_device(out, told, windows)), Model(vae).score(windows).score
    difference = np.abs(own - expected) / expected
    limit = 1e-3 if kind == "float32" else 0.1
    assert told["scores"]["windows"] == len(windows)
    assert np.median(difference) < limit
    assert told["scores"]["median_difference"] == pytest.approx(np.median(difference), abs=limit / 3)
    assert told["scores"]["quantile_099"] == pytest.approx(np.quantile(own, 0.99), rel=limit)
    assert told["scores"]["quantile_099_float"] == pytest.approx(np.quantile(expected, 0.99), rel=1e-3)


def test_a_recurrent_network_is_written_out_step_by_step(
    run: Run, bundle: Bundle, recording: Path, tmp_path: Path
) -> None:
    """The default kind could not be exported: the converter dies of a loop in 8 bits."""
    out = tmp_path / "lstm.tflite"
    arguments = ("--int8", "--calibrate", recording, "--out", out, "--json")
    status, text, said = run("export", bundle.path, *arguments)
    assert status == 0, said
    told = json.loads(text)
    assert told["operators"]["LOGISTIC"] >= 2 * 12
    assert not {"WHILE", "TILE"} & set(told["operators"])
    assert told["scores"]["median_difference"] < 0.25
    assert told["arena"] > told["arena_tensors"] >= 2 * 12 * 2
    assert len(_device(out, told, calibration_windows(bundle)[:3])) == 3
    lines = [line.split()[0] for line in said.splitlines()]
    assert lines[-6:] == ["operators", "arena", "input", "output", "scores", "file"]


def test_what_a_device_would_stumble_over_is_said(vae: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    """A model would be flashed that the interpreter refuses, or that cuts off half of what is normal."""
    wide, narrow = Range(0.03, 10), Range(0.002, -128)
    for lacking, end, wanted in (
        ((), wide, []),
        (("TILE",), wide, ["the micro interpreter lacks TILE"]),
        ((), narrow, ["narrower than what the model was trained on"]),
    ):
        made = Exported(b"", Needs({"ADD": 2}, lacking, 16, 300), end, end, 5, 0.01, 0.02, 1.0, 1.1)
        describe(Path("x.tflite"), vae, made, int8=True)
        warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")]
        assert len(warnings) == len(wanted)
        assert all(text in line for text, line in zip(wanted, warnings, strict=True))


def test_the_bundles_own_files_are_given_out(run: Run, vae: Bundle, tmp_path: Path) -> None:
    """Who wants the graph would have to know how a bundle is laid out, and get it unchecked."""
    for form, name in (("onnx", "model.onnx"), ("keras", "autoencoder.keras")):
        assert run("export", vae.path, "--format", form, "--out", tmp_path / name).status == 0
        assert (tmp_path / name).read_bytes() == (vae.path / name).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("--format", "onnx", "--int8", "--out", "x"), 2, "are for --format litert"),
        (("--out", "no/x"), 1, "there is no folder no"),
        (("--calibrate", "missing.csv", "--out", "x"), 1, "missing.csv: cannot be read"),
    ],
)
def test_what_cannot_be_exported_is_said_in_a_line(
    run: Run, vae: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...], status: int, said: str,
) -> None:  # fmt: skip
    """The user would read a traceback."""
    monkeypatch.chdir(tmp_path)
    result = run("export", vae.path, *arguments)
    assert result.status == status
    assert said in result.said[-1]
