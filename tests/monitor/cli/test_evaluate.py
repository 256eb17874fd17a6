"""`tidegauge evaluate`, as a model builder types it."""

from __future__ import annotations

import json
from pathlib import Path

from models.bundle import Bundle
from tests.monitor.cli.conftest import Run
from tests.recordings import write_csv, write_labels


def test_a_program_reads_one_object(run: Run, bundle: Bundle, recording: Path, tmp_path: Path) -> None:
    """If it failed, a script could not choose a bundle or a threshold by its figures."""
    picture = tmp_path / "curves.png"
    done = run("evaluate", bundle.path, recording, "--picture", picture, "--json")
    assert done.status == 0
    found = json.loads(done.out)
    assert found["sha256"] == bundle.sha256
    assert found["auc_roc"] > 0.95
    assert min(found["auc_pr"], found["vus_pr"]) > 0.5
    assert found["vus_pr_streams"] == 2
    assert list(found["thresholds"]) == ["best", "chosen", "adapted"]
    for counted in found["thresholds"].values():
        counts = [counted[name] for name in ("hits", "false_alarms", "misses", "quiet")]
        assert sum(counts) == found["windows"]
        assert counted["hits"] + counted["misses"] == found["labelled_windows"]
    assert found["thresholds"]["best"]["f1"] >= found["thresholds"]["chosen"]["f1"]
    assert found["curves"]["recall"][-1] == 1
    assert picture.read_bytes().startswith(b"\x89PNG")
    static = ("--set", "threshold.type=static", "--set", f"threshold.value={found['thresholds']['best']['threshold']}")
    again = json.loads(run("evaluate", bundle.path, recording, "--json", *static).out)
    assert again["thresholds"]["chosen"] == found["thresholds"]["best"] == again["thresholds"]["best"]


def test_people_read_a_table(run: Run, bundle: Bundle, tmp_path: Path) -> None:
    """If it failed, the figures could not be read, or labels of a file would not count."""
    plain, labels = write_csv(tmp_path / "plain.csv", labels=False), write_labels(tmp_path / "labels.csv")
    done = run("evaluate", bundle.path, plain, "--labels", labels)
    assert done.status == 0
    lines = done.out.splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["AUC-ROC", "AUC-PR", "VUS-PR"]
    header = next(line for line in lines if line.startswith("line"))
    rows = [line for line in lines if line.startswith(("best", "chosen", "adapted"))]
    assert {len(line) for line in (header, *rows[:3])} == {len(header)}


def test_what_cannot_be_evaluated_is_one_line(run: Run, bundle: Bundle, recording: Path, tmp_path: Path) -> None:
    """If it failed, missing labels would end in a traceback, or in a figure that means nothing."""
    plain, labels = write_csv(tmp_path / "plain.csv", labels=False), tmp_path / "labels.csv"
    labels.write_text("stream,start,end\npump-9,2023-11-14T00:00:00Z,2023-11-14T01:00:00Z\n")
    whole = tmp_path / "whole.csv"
    years = "".join(f"pump-{number},2023-01-01T00:00:00Z,2024-01-01T00:00:00Z\n" for number in range(3))
    whole.write_text(f"stream,start,end\n{years}")
    for arguments, status, said in (
        ((bundle.path, plain), 1, "no labels: it has no column label"),
        ((bundle.path, plain, "--labels", labels), 1, "one class only: no label touches one of"),
        ((bundle.path, plain, "--labels", whole), 1, "one class only: a label touches every one of"),
        ((tmp_path / "none", recording), 78, "there is no such directory"),
        ((bundle.path, recording, "--picture", "curves.pdf"), 2, "must end in .png"),
        ((bundle.path, recording, "--picture", tmp_path / "no" / "curves.png"), 2, "there is no folder"),
        ((bundle.path,), 2, "RECORDING"),
    ):
        done = run("evaluate", *arguments)
        assert done.status == status, done.err
        assert said in done.said[-1]
        assert done.out == ""
        assert "Traceback" not in done.err
