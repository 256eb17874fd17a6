"""`tidegauge train`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from models.bundle import read
from monitor.cli import main
from monitor.times import to_iso

START = 1_700_000_000_000
QUICK = ("--set", "train.epochs=2", "--set", "train.nodes=8", "--set", "train.code_size=2")
WINDOW = ("--set", "window.length=8", "--set", "window.stride=2")

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run the command as a shell would: exit status, standard output, standard error."""

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tidegauge", *map(str, arguments)])
        status = 0
        try:
            main()
        except SystemExit as error:
            status = int(error.code or 0)
        out, err = capfd.readouterr()
        return status, out, err

    return call


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Two sensors in waves for 200 minutes, with one line that is no record."""
    path = tmp_path / "waves.csv"
    lines = ["time,stream,pressure,flow,label"]
    for minute in range(200):
        wave = np.sin(minute / 3)
        label = int(minute in {50, 51})
        lines.append(f"{to_iso(START + minute * 60_000)},pump,{5 + wave:.3f},{100 - 3 * wave:.3f},{label}")
    path.write_text("\n".join([*lines, "yesterday,pump,1,2,0"]) + "\n", encoding="utf-8")
    return path


@pytest.mark.slow
def test_a_bundle_comes_out(run: Run, recording: Path, tmp_path: Path) -> None:
    """Without this nobody gets a model; a program must find one JSON object on standard output and nothing else."""
    out = tmp_path / "made" / "bundle"
    status, text, said = run("train", recording, "--out", out, *WINDOW, *QUICK, "--json")
    assert status == 0
    report = json.loads(text)
    bundle = read(out)
    assert report["sha256"] == bundle.sha256
    assert bundle.manifest.features == ("pressure", "flow")
    assert (bundle.manifest.window.length, bundle.manifest.window.stride) == (8, 2)
    assert report["classes"] == {"processed": 200, "dead_lettered": 1}
    assert report["dead_letters"] == {"time": 1}
    training = report["training"]
    parts = sum(training[f"{name}_windows"] for name in ("training", "validation", "calibration", "left_out"))
    assert parts == (200 - 8) // 2 + 1
    assert training["left_out_windows"] >= 4  # the windows that minutes 50 and 51 are in
    epochs = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert [epoch["epoch"] for epoch in epochs] == list(range(1, training["epochs"] + 1))
    summary = [line for line in said.splitlines() if not line.startswith("{")]
    assert [line.split()[0] for line in summary if not line.startswith("warning")] == [
        "records", "unusable", "windows", "epochs", "loss", "scores", "bundle",
    ]  # fmt: skip
    assert "waves.csv/0 offset 200" in said


@pytest.mark.slow
def test_several_kinds_are_compared_in_a_table(run: Run, recording: Path, tmp_path: Path) -> None:
    """Nobody would see that a linear model does as well as the network."""
    out = tmp_path / "bundles"
    status, text, said = run("train", recording, "--out", out, "--kind", "pca,dense", *WINDOW, *QUICK)
    assert status == 0, said
    lines = text.splitlines()
    assert [line.split()[0] for line in lines] == ["kind", "pca", "dense"]
    assert lines[0].split()[-2:] == ["AUC-PR", "VUS-PR"]
    bundles = {kind: read(out / kind).manifest for kind in ("pca", "dense")}
    for line in lines[1:]:
        manifest = bundles[line.split()[0]]
        assert f"{manifest.members[0].parameters:,}" in line
        assert f"{manifest.training.validation_error:.4g}" in line
        assert all(0 < float(figure) <= 1 for figure in line.split()[-2:])
    steps = {json.loads(line)["step"] for line in said.splitlines() if line.startswith("{")}
    assert steps == {"training pca", "training dense"}


@pytest.mark.slow
def test_without_labels_the_table_has_no_figures_that_need_them(run: Run, recording: Path, tmp_path: Path) -> None:
    """A program would read a figure that means nothing, or NaN, which is no JSON."""
    labels = tmp_path / "labels.csv"
    labels.write_text("stream,start,end\n", encoding="utf-8")
    arguments = ("--kind", "pca,sparse", "--labels", labels, *WINDOW, *QUICK, "--json")
    status, text, _ = run("train", recording, "--out", tmp_path / "bundles", *arguments)
    assert status == 0
    rows = json.loads(text)["kinds"]
    assert [row["kind"] for row in rows] == ["pca", "sparse"]
    assert all("auc_pr" not in row for row in rows)
    assert 0 <= rows[1]["figures"]["active_units"] <= 1
    for row in rows:
        assert read(Path(row["bundle"])).manifest.training.validation_error == row["validation_error"]


@pytest.mark.slow
def test_a_search_is_never_worse_than_the_settings(run: Run, recording: Path, tmp_path: Path) -> None:
    """Half an hour of trials would end in a model that is worse than the one without them."""
    out = tmp_path / "bundle"
    arguments = ("--kind", "dense", "--search", "3", "--budget", "5m", *WINDOW, *QUICK)
    status, _, said = run("train", recording, "--out", out, *arguments)
    assert status == 0, said
    trials = [
        line for line in map(json.loads, filter(lambda line: line[0] == "{", said.splitlines())) if "chosen" in line
    ]
    assert [trial["number"] for trial in trials] == [1, 2, 3]
    assert trials[0]["chosen"]["code_size"] == 2
    done = [trial for trial in trials if trial["outcome"] == "done"]
    best = max(done, key=lambda trial: trial["value"])
    assert best["value"] >= trials[0]["value"]
    hyper = read(out).manifest.members[0].hyperparameters
    assert (hyper.code_size, list(hyper.nodes)) == (best["chosen"]["code_size"], best["chosen"]["nodes"])


def test_a_search_without_optuna_says_what_to_install(
    run: Run, recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user would read a traceback, or wait for the reading first."""
    monkeypatch.setitem(sys.modules, "optuna", None)
    status, _, said = run("train", recording, "--out", tmp_path / "bundle", "--search", "3")
    assert (status, said.count("\n")) == (1, 1)
    assert "optuna" in said
    assert "pip install 'tidegauge[search]'" in said


@pytest.mark.slow
def test_options_decide(run: Run, recording: Path, tmp_path: Path) -> None:
    """Otherwise features, kind and labels could not be chosen on the command line."""
    labels = tmp_path / "labels.csv"
    labels.write_text(f"stream,start,end\npump,{START},{START + 60_000 * 60}\nnobody,1,2\n", encoding="utf-8")
    out = tmp_path / "bundle"
    arguments = ("--features", "flow", "--kind", "lstm", "--labels", labels)
    status, text, said = run("train", recording, "--out", out, *arguments, *WINDOW, *QUICK)
    assert (status, text) == (0, "")
    manifest = read(out).manifest
    assert (manifest.features, manifest.members[0].kind) == (("flow",), "lstm")
    assert manifest.training.left_out_windows >= 27
    assert "1 labelled streams are not in the recording: nobody" in said


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("missing.csv",), 1, "missing.csv: cannot be read: No such file or directory"),
        (("waves.txt",), 1, "waves.txt: no known kind of recording"),
        (("{recording}", "--kind", "gru"), 78, "train.kind: found 'gru'"),
        (("{recording}", "--set", "train.epoch=3"), 78, "train.epoch: unknown key"),
        (("{recording}", "--set", "record.layout=long"), 78, "record.layout long needs window.interval"),
        (("{recording}", "--set", "window.max_gap=2"), 78, "window.max_gap: found 2: it needs window.interval"),
        (("{recording}", "--set", "window.length=300"), 1, "200 rows make no window of 300 rows"),
        (("{recording}", "--features", "speed"), 1, "none of the features speed is a column"),
        (("{recording}", "--labels", "missing.csv"), 1, "missing.csv: cannot be read"),
        (("{recording}", "--out", "{folder}"), 78, "exists and is no bundle"),
        (("{recording}", "--kind", "pca,gru"), 78, "train.kind: found 'gru'"),
        (("{recording}", "--kind", "pca", "--set", "train.nodes=[8, 4]"), 1, "pca has no layers"),
        (("{recording}", "--kind", "dense", "--set", "train.code_size=200"), 1, "train.code_size 200 is no smaller"),
        (("{recording}", "--beside", "{folder}"), 1, "--beside takes members from a fleet's bundle"),
        (("{recording}", "--set", "train.preset=quality", "--beside", "{folder}"), 78, "bundle.json"),
        (
            ("{recording}", "--set", "train.preset=quality", "--beside", "{folder}/bundle"),
            1,
            "is the fleet's bundle itself, which is still needed",
        ),
        (("-", "--set", "window.length=8"), 1, "a pipe cannot be read twice"),
    ],
)
def test_what_a_user_does_wrong_is_one_line(
    run: Run, recording: Path, tmp_path: Path, arguments: tuple[str, ...], status: int, said: str
) -> None:
    """Otherwise a typing error would be a traceback."""
    places = {"recording": str(recording), "folder": str(tmp_path)}
    found = run("train", "--out", tmp_path / "bundle", *(argument.format(**places) for argument in arguments))
    assert found[0] == status
    assert found[1] == ""
    assert said in found[2]
    assert len(found[2].splitlines()) == 1
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--features", "flow,flow", "different names"),
        ("--kind", "dense,dense", "write different kinds"),
        ("--kind", "dense,", "write different kinds"),
        ("--budget", "soon", "'soon' is no duration"),
    ],
)
def test_what_options_cannot_mean_is_a_usage_error(
    run: Run, recording: Path, tmp_path: Path, option: str, value: str, message: str
) -> None:
    """Otherwise a column would be trained on twice, or a kind, or a search would never end."""
    status, _, said = run("train", recording, "--out", tmp_path / "bundle", "--search", "1", option, value)
    assert status == 2
    assert message in said


def test_without_the_extra_it_says_what_to_install(
    run: Run, recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the small installation that serves would answer with a traceback, or only after a long reading."""
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    status, _, said = run("train", recording, "--out", tmp_path / "bundle")
    assert status == 1
    assert said.splitlines() == [
        "tidegauge: training needs what is not installed here (tensorflow): pip install 'tidegauge[train]'"
    ]


@pytest.mark.slow
def test_preset_quality_says_its_members_and_nothing_of_one_models_scores(
    run: Run, recording: Path, tmp_path: Path
) -> None:
    """If it failed, figures of four voices in one table would be taken for scores, and nobody know what was trained."""
    out = tmp_path / "bundle"
    settings = ("train.preset=quality", "train.epochs=1", "window.length=32", "window.stride=1")
    found = run("train", recording, "--out", out, *(word for text in settings for word in ("--set", text)))
    assert found[0] == 0, found[2]
    said = dict(line.split(maxsplit=1) for line in found[2].splitlines() if not line.startswith("{"))
    assert said["members"] == "level (linear), short (lstm)"
    assert said["events"].startswith("none stands above the usual line in ")
    assert "preset quality, " in said["bundle"]
    assert "scores" not in said
