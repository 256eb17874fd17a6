"""The kinds on heart beats through the command line alone: two CSV files, `tidegauge train`, `tidegauge replay`.

Each beat is a stream of 140 rows, a window is a beat; everything else is the defaults, but for 20 epochs. The figure is
the AUC of the scores that `replay --scores` writes.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import ranking
from tests.quality import recordings

LENGTH = 140
KINDS = ("lstm", "dense", "conv", "vae", "sparse", "denoising", "pca")


def write(path: Path, beats: NDArray[np.float32]) -> None:
    """Write beats as a recording, one row a second, one stream a beat."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("time", "stream", "ecg"))
        for number, beat in enumerate(beats.tolist()):
            rows.writerows((1_600_000_000_000 + 1000 * row, f"beat-{number}", value) for row, value in enumerate(beat))


def _tidegauge(*arguments: str | Path) -> str:
    """Run the command; return what it printed."""
    root = Path(__file__).parents[2]
    environment = dict(os.environ, PYTHONPATH=str(root), TF_CPP_MIN_LOG_LEVEL="3")
    done = subprocess.run(
        [sys.executable, "-m", "monitor", *map(str, arguments)],
        check=True,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    return done.stdout


def measure(seed: int, folder: Path, kinds: Sequence[str] = KINDS, epochs: int = 20) -> dict[str, Any]:
    """Train all kinds in one command, replay the test beats with each; return AUC by kind, and wall seconds."""
    beats = recordings.ecg5000()
    normal, test = folder / "normal.csv", folder / "test.csv"
    write(normal, beats.train)
    write(test, beats.test)
    common = ("--set", f"window.length={LENGTH}", "--set", f"train.epochs={epochs}", "--set", f"train.seed={seed}")
    began = time.monotonic()
    told = _tidegauge("train", normal, "--out", folder / "bundles", "--kind", ",".join(kinds), *common, "--json")
    trained = time.monotonic() - began
    found: dict[str, Any] = {}
    for row in json.loads(told)["kinds"]:
        scores = folder / f"{row['kind']}.csv"
        _tidegauge("replay", test, "--bundle", row["bundle"], "--scores", scores, "--out", folder / "alerts.jsonl")
        found[row["kind"]] = {"auc": auc(scores, beats.abnormal), "seconds": row["seconds"]}
    return {"kinds": found, "training": trained, "whole": time.monotonic() - began}


def auc(path: Path, abnormal: NDArray[np.bool_]) -> float:
    """Return the AUC of a file of scores, which must have one window for each beat."""
    with path.open(newline="") as file:
        scores = {row["stream"]: float(row["score"]) for row in csv.DictReader(file)}
    found = np.array([scores[f"beat-{number}"] for number in range(len(abnormal))])
    return ranking.auc_roc(found, abnormal)


def table(results: Sequence[dict[str, Any]]) -> list[str]:
    """Return the table in Markdown: mean over the seeds (worst of them)."""
    lines = ["| kind | AUC | wall seconds of the fit |", "| --- | --- | ---: |"]
    for kind in results[0]["kinds"]:
        areas, seconds = ([found["kinds"][kind][name] for found in results] for name in ("auc", "seconds"))
        lines.append(f"| {kind} | {np.mean(areas):.4f} ({min(areas):.4f}) | {np.mean(seconds):.1f} |")
    training, whole = ([found[name] for found in results] for name in ("training", "whole"))
    count = len(results[0]["kinds"])
    told = f"One command trained all {count} kinds in {np.mean(training):.0f} s of wall time"
    replayed = f"with the replays of 4,500 beats {np.mean(whole):.0f} s"
    return [*lines, "", f"{told} (longest {max(training):.0f} s); {replayed}."]
