"""The data sets, as arrays. They lie in `../shared/data`, or where `TIDEGAUGE_DATA` says; none of it is committed."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.quality.nab_scorer import Labelled

MINUTE = 60_000


class MissingDataError(Exception):
    """A data set is not there; the message names the path and the variable."""


@dataclass(frozen=True)
class Series:
    """One series.

    Attributes:
        name: unique in its set.
        time: `(n,)` int64 ms, rising.
        values: `(n, F)` float32.
        label: `(n,)` bool.
        train: rows at the beginning that may be learned from.
    """

    name: str
    time: NDArray[np.int64]
    values: NDArray[np.float32]
    label: NDArray[np.bool_]
    train: int


def folder(name: str) -> Path:
    """Return the directory of a set.

    Raises:
        MissingDataError: if it is not there.
    """
    root = Path(os.environ.get("TIDEGAUGE_DATA") or Path(__file__).parents[3] / "shared" / "data")
    found = root / name
    if not found.is_dir():
        message = f"there is no {found}: put the data there, or set TIDEGAUGE_DATA to the folder that has {name!r}"
        raise MissingDataError(message)
    return found


def clock(rows: int, step: int = MINUTE) -> NDArray[np.int64]:
    """Return times for series that have none: a row every `step` ms."""
    return 1_600_000_000_000 + np.arange(rows, dtype=np.int64) * step


def nab_values(name: str) -> NDArray[np.float64]:
    """Return the values of a series of NAB as they stand in its file."""
    with (folder("nab") / "data" / name).open(newline="") as file:
        return np.array([float(row[1]) for row in list(csv.reader(file))[1:]])


def nab() -> list[tuple[Series, Labelled]]:
    """Return the 58 series of NAB with their windows."""
    root = folder("nab")
    labels = json.loads((root / "labels" / "combined_windows.json").read_text())
    found = []
    for name in sorted(labels):
        with (root / "data" / name).open(newline="") as file:
            rows = list(csv.reader(file))[1:]
        texts = [row[0] for row in rows]
        stamps = [datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() for text in texts]
        time = np.round(np.array(stamps) * 1000).astype(np.int64)
        windows = []
        for start, end in labels[name]:
            first, last = (datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000 for text in (start, end))
            inside = np.flatnonzero((time >= first) & (time <= last))
            windows.append((int(inside[0]), int(inside[-1])))
        labelled = Labelled(name.split("/")[0], len(rows), tuple(windows))
        label = np.zeros(len(rows), np.bool_)
        for left, right in windows:
            label[left : right + 1] = True
        values = np.array([[float(row[1])] for row in rows], np.float32)
        found.append((Series(name, time, values, label, labelled.probation), labelled))
    return found


def tsb() -> Iterator[Series]:
    """Yield the 51 rebuilt evaluation series of TSB-AD-M; `name` is the channel."""
    with (folder("tsbad_m") / "manifest.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            yield _telemetry(row)


def tsb_tuning() -> Iterator[Series]:
    """Yield the 4 official tuning series that are there."""
    with (folder("tsbad_m") / "tuning_manifest.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            yield _telemetry(row)


def _telemetry(row: dict[str, str]) -> Series:
    channel = row["channel"]
    arrays = np.load(folder("smd" if row["dataset"] == "SMD" else "smap_msl") / f"{channel}.npz", allow_pickle=False)
    start = int(row["offset"])
    rows = slice(start, start + int(row["rows"]) if "rows" in row else None)
    values, label = arrays["test"][rows].astype(np.float32), arrays["label"][rows].astype(np.bool_)
    if channel == "P-2":  # the benchmark labels one of its two events only
        label[:] = False
        label[5300:6421] = True
    return Series(f"{row['dataset']}/{channel}", clock(len(values)), values, label, int(row["train_rows"]))


def skab() -> list[Series]:
    """Return the 34 labelled series of SKAB."""
    root, found = folder("skab"), []
    for path in sorted(root.glob("*/*.csv")):
        if path.parent.name == "anomaly-free":
            continue
        with path.open(newline="") as file:
            rows = list(csv.reader(file, delimiter=";"))[1:]
        values = np.array([[float(cell) for cell in row[1:9]] for row in rows], np.float32)
        label = np.array([float(row[9]) > 0 for row in rows])
        found.append(Series(f"{path.parent.name}/{path.stem}", clock(len(rows), 1000), values, label, 400))
    return found


def smd() -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield name and normal half `(n, 38)` of each machine of SMD."""
    for path in sorted(folder("smd").glob("*.npz")):
        yield path.stem, np.load(path, allow_pickle=False)["train"].astype(np.float32)


def smd_causes() -> Iterator[tuple[str, NDArray[np.float32], NDArray[np.float32], list[tuple[int, int, list[int]]]]]:
    """Yield name, normal half, other half of each machine of SMD, and its events: first and last row, guilty features.

    The features of the file count from 1, here from 0.
    """
    for path in sorted(folder("smd").glob("*.npz")):
        arrays = np.load(path, allow_pickle=False)
        events = []
        for line in (path.parent / "root_cause" / f"{path.stem}.txt").read_text().split():
            rows, features = line.split(":")
            first, last = (int(row) for row in rows.split("-"))
            events.append((first, last, [int(feature) - 1 for feature in features.split(",")]))
        yield path.stem, arrays["train"].astype(np.float32), arrays["test"].astype(np.float32), events


@dataclass(frozen=True)
class Beats:
    """ECG5000: single beats `(n, 140)`; `abnormal` tells the test beats apart; training beats are all normal."""

    train: NDArray[np.float32]
    test: NDArray[np.float32]
    abnormal: NDArray[np.bool_]


def ecg5000() -> Beats:
    """Return ECG5000 with its official split."""
    arrays = np.load(folder("ecg5000") / "ecg5000.npz", allow_pickle=False)
    normal = arrays["train_class"] == 1
    return Beats(arrays["train"][normal], arrays["test"], arrays["test_abnormal"].astype(np.bool_))
