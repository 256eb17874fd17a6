"""`tidegauge export`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import roster, rounding
from models.bundle import Bundle, Rounded, read
from models.litert import Exported, Range
from models.micro import Needs
from models.serving import Model, calibration_windows
from monitor.cli.export import describe
from tests.models.test_ensemble import cells, trained
from tests.monitor.cli.conftest import Run
from tests.recordings import ROWS

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
        (("--format", "keras", "--int8", "--out", "x"), 2, "is for --format litert and onnx"),
        (("--format", "onnx", "--int8", "--out", "x"), 2, "needs --recording RECORDING"),
        (("--format", "onnx", "--int8", "--calibrate", "x", "--out", "x"), 2, "--calibrate is for --format litert"),
        (("--int8", "--recording", "x", "--out", "x"), 2, "--recording is for --format onnx with --int8"),
        (("--format", "onnx", "--int8", "--recording", "missing.csv", "--out", "x"), 1, "missing.csv: cannot be read"),
        (("--format", "onnx", "--int8", "--recording", "x", "--out", "no/x"), 1, "there is no folder no"),
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
    assert list(tmp_path.iterdir()) == []


ROUNDED = ("--format", "onnx", "--int8", "--recording")


def test_a_bundle_with_weights_of_8_bits_is_served_as_any_other(
    run: Run, bundle: Bundle, recording: Path, tmp_path: Path
) -> None:
    """It could not be run or replayed, would raise other alerts than was said, or pass for its original."""
    out = tmp_path / "small"
    result = run("export", bundle.path, *ROUNDED, recording, "--out", out, "--json")
    assert result.status == 0, result.err
    told, made = json.loads(result.out), read(out)
    assert made.sha256 == told["sha256"] != bundle.sha256 == told["bundle"]
    agreement, scores = told["agreement"], told["scores"]
    assert agreement["windows"] == 3 * (ROWS - 11)
    assert agreement["differing"] == 0
    assert agreement["firing"][0] == agreement["firing"][1] > 0
    assert 0 < scores["median_difference"] < scores["largest_difference"] < 0.1
    assert made.manifest.rounded == Rounded(
        bundle=bundle.sha256,
        windows=agreement["windows"],
        differing=0,
        largest_difference=scores["largest_difference"],
    )
    assert told["size"]["graphs"] == (out / "model.onnx").stat().st_size < told["size"]["graphs_before"]
    assert told["size"]["bundle"] == sum(file.stat().st_size for file in out.iterdir())
    assert Model(made).chunk == Model(bundle).chunk
    alerts, reports = [], []
    for path in (bundle.path, out):
        events = tmp_path / "alerts.jsonl"
        reports.append(json.loads(run("replay", recording, "--bundle", path, "--out", events, "--json").out))
        told_of = [json.loads(line) for line in events.read_text().splitlines()]
        alerts.append([(event["id"], event["time"], event["data"]["status"]) for event in told_of])
    assert alerts[0] == alerts[1]
    assert reports[0]["alerts"] == agreement["firing"][0]
    assert run("export", out, *ROUNDED, recording, "--out", tmp_path / "again").said[-1].endswith("8 bits already")
    assert "made from (sha256" in run("export", out, "--out", tmp_path / "model.tflite").said[-1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alerts.jsonl", "pumps.csv", "small"]


def test_people_read_the_agreement(run: Run, bundle: Bundle, recording: Path, tmp_path: Path) -> None:
    """Nobody would know what a smaller bundle costs; or that a recording without incidents says little of it."""
    result = run("export", bundle.path, *ROUNDED, recording, "--out", tmp_path / "small")
    lines = result.out.splitlines()
    assert [line.split()[0] for line in lines] == ["agreement", "alerts", "scores", "graphs", "bundle"]
    assert lines[0] == "agreement 100.000 % of 867 windows have the same status and events, 0 differ"
    assert [line for line in result.said if "windows are few" in line]
    calm = ("--set", "threshold.type=static", "--set", "threshold.value=1e9")
    result = run("export", bundle.path, *ROUNDED, recording, "--out", tmp_path / "small", *calm)
    assert [line for line in result.said if "no window is over its line" in line]


def test_a_bundle_that_would_raise_other_alerts_is_refused(
    run: Run, bundle: Bundle, recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be rolled out, and page for other windows than the one that was tested."""
    monkeypatch.setattr(rounding, "LEVELS", 1)  # weights of three values
    result = run("export", bundle.path, *ROUNDED, recording, "--out", tmp_path / "small", "--json")
    assert (result.status, result.out, len(result.said)) == (1, "", 1)
    share = re.search(r"only ([\d.]+) % of 867 windows .* 99.9 % are needed .* nothing is written$", result.said[0])
    assert share is not None
    assert 0 < float(share[1]) < 99.9
    assert list(tmp_path.iterdir()) == [recording]


def test_nothing_is_compared_with_a_recording_that_is_too_short(
    run: Run, bundle: Bundle, recording: Path, tmp_path: Path
) -> None:
    """A bundle would be written of which nobody knows anything."""
    recording.write_text("".join(recording.read_text().splitlines(keepends=True)[:8]))
    result = run("export", bundle.path, *ROUNDED, recording, "--out", tmp_path / "small")
    assert result.status == 1
    assert "no window of it can be scored" in result.said[-1]
    assert list(tmp_path.iterdir()) == [recording]


def test_the_bundle_itself_is_not_overwritten(run: Run, bundle: Bundle, recording: Path) -> None:
    """Its networks would be lost: what is left cannot be decoded, or exported again."""
    result = run("export", bundle.path, *ROUNDED, recording, "--out", bundle.path / ".")
    assert result.status == 2
    assert "is the bundle itself" in result.said[-1]
    assert read(bundle.path) == bundle


def test_a_detector_has_all_its_members_rounded(run: Run, tmp_path: Path) -> None:
    """A bundle of preset quality, the largest of all, could not be made smaller, or would be so in part."""
    found = cells(1, 3)
    made = trained(roster.TELEMETRY, found, tmp_path / "detector")
    values = np.tile(found.values, (3, 1))
    values[700:730, 1] += 4
    path = tmp_path / "one.csv"
    lines = [f"{1_700_000_000_000 + 60_000 * row},s,{','.join(map(str, row_of))}" for row, row_of in enumerate(values)]
    path.write_text("\n".join(["time,stream,f0,f1,f2", *lines]) + "\n")
    result = run("export", made.path, *ROUNDED, path, "--out", tmp_path / "small", "--json")
    assert result.status == 0, result.err
    told, small = json.loads(result.out), read(tmp_path / "small")
    assert told["agreement"]["share"] >= 0.999
    for member in made.manifest.members:
        assert small.manifest.files[member.onnx].size < made.manifest.files[member.onnx].size
    assert told["agreement"]["anomalous"][0] > 0
    assert small.manifest.detector == made.manifest.detector
