"""Recordings that the tiny bundle scores: waves as it was trained on, with incidents, and labels for them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.models.waves import FEATURES, waves

START = 1_700_000_000_000
ROWS = 300
INCIDENTS = {"pump-0": (120, 140), "pump-1": (200, 215)}
"""First row and the row behind the last of each stream's incident; there is one row a minute."""

Row = tuple[int, str, dict[str, float | None], bool]


def rows(count: int = ROWS) -> Iterator[Row]:
    """Yield time, stream, values and label, in the order of time."""
    cells = waves(rows=count, seed=5)
    values = cells.values.astype(np.float64)
    values[np.isnan(values).all(axis=1)] = (50, 1000)  # a record without any value would be a dead letter
    for minute in range(count):
        for number in range(3):
            stream = f"pump-{number}"
            first, last = INCIDENTS.get(stream, (0, 0))
            label = first <= minute < last
            found = values[number * count + minute] + ((30.0, 200.0) if label else (0.0, 0.0))
            shown = {name: None if np.isnan(v) else round(float(v), 4) for name, v in zip(FEATURES, found, strict=True)}
            yield START + minute * 60_000, stream, shown, label


def write_csv(path: Path, *, labels: bool = True) -> Path:
    """Write the wide form; `labels` = with the column `label`."""
    lines = [",".join(("time", "stream", *FEATURES, *(("label",) if labels else ())))]
    for time, stream, values, label in rows():
        cells = ["" if values[name] is None else str(values[name]) for name in FEATURES]
        lines.append(",".join((str(time), stream, *cells, *((str(int(label)),) if labels else ()))))
    path.write_text("\n".join(lines) + "\n")
    return path


def write_labels(path: Path) -> Path:
    """Write the incidents as `--labels` wants them."""
    lines = ["stream,start,end"]
    for stream, (first, last) in INCIDENTS.items():
        lines.append(f"{stream},{START + first * 60_000},{START + (last - 1) * 60_000}")
    path.write_text("\n".join(lines) + "\n")
    return path


def messages() -> Iterator[tuple[bytes, bytes, int]]:
    """Yield key, value (record v1) and partition of three; the last stream is alone in the third."""
    for time, stream, values, _ in rows():
        body = {"stream": stream, "time": time, "values": values}
        yield stream.encode(), json.dumps(body).encode(), int(stream[-1])


def write_kcat(path: Path, topic: str = "sensors", first: int = 0) -> Path:
    """Write what `kcat -J` would print of a topic with these messages, from an offset on in each partition."""
    offsets = dict.fromkeys(range(3), first)
    with path.open("w") as file:
        for key, value, partition in messages():
            line = {
                "topic": topic,
                "partition": partition,
                "offset": offsets[partition],
                "tstype": "create",
                "ts": START,
                "broker": 1,
                "key": key.decode(),
                "payload": value.decode(),
            }
            offsets[partition] += 1
            file.write(json.dumps(line) + "\n")
    return path
