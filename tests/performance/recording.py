"""The replay of a long recording in Parquet: its rate beside the daemon's on Kafka, and its memory."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from models.bundle import Bundle
from tests.integration.daemon import environment
from tests.kafka.topics import create_topic
from tests.performance import job, memory, runs
from tests.performance.feed import fill

_GROUP = 500_000  # rows of a row group
_MB = 1_000_000
_MILLION = 1_000_000
_LOOK_SECONDS = 0.05


def write(path: Path, rows: int, streams: int = job.STREAMS) -> None:
    """Write the job's records, streams in turn, to a Parquet file."""
    import pyarrow as pa
    from pyarrow import parquet

    ids = pa.array([f"stream-{stream:06}" for stream in range(streams)])
    fields = [("stream", pa.dictionary(pa.int32(), pa.string())), ("time", pa.timestamp("ms", tz="UTC"))]
    schema = pa.schema([*fields, *((name, pa.float32()) for name in job.NAMES)])
    random = np.random.default_rng(1)
    with parquet.ParquetWriter(path, schema) as writer:
        for begin in range(0, rows, _GROUP):
            at = np.arange(begin, min(begin + _GROUP, rows))
            row, stream = np.divmod(at, streams)
            numbers = np.sin(row[:, None] / 5 + np.arange(job.FEATURES)) + 0.1 * random.normal(
                size=(len(at), job.FEATURES)
            )
            columns = [
                pa.DictionaryArray.from_arrays(stream.astype(np.int32), ids),
                pa.array(job.BEGIN_MS + 1_000 * row, pa.timestamp("ms", tz="UTC")),
                *(pa.array(numbers[:, each].astype(np.float32)) for each in range(job.FEATURES)),
            ]
            writer.write_table(pa.table(columns, schema))


def measured(arguments: list[str], folder: Path) -> tuple[str, float, float]:
    """Run a command of this checkout; return what it printed, its seconds, and its largest resident MB."""
    peak, begin = 0.0, time.perf_counter()
    with (folder / "said").open("w+b") as said:
        with subprocess.Popen(
            [sys.executable, "-m", "monitor", *arguments], stdout=said, stderr=subprocess.DEVNULL, env=environment()
        ) as process:
            while process.poll() is None:
                # getrusage would have this process's own peak in it, from before the exec
                peak = memory.peak_mb(process.pid) or peak
                time.sleep(_LOOK_SECONDS)
        seconds = time.perf_counter() - begin
        assert process.returncode == 0, f"{arguments[0]} ended with status {process.returncode}"
        said.seek(0)
        return said.read().decode(), seconds, peak


def replay(bootstrap: str, bundle: Bundle, folder: Path, rows: int, client: str = job.CLIENT) -> dict[str, Any]:
    """Replay `rows` rows, between two runs of the job over as many records on Kafka, but a million at most."""
    count = min(rows, _MILLION)
    topic = create_topic(bootstrap, partitions=job.PARTITIONS)
    fill(bootstrap, topic, job.STREAMS, count)
    path = folder / "recording.parquet"
    write(path, rows)
    size = path.stat().st_size
    on_kafka = [runs.job_rate(bootstrap, topic, count, bundle, folder, model=True, client=client)]
    config = job.config(f"model: {{bundle: {bundle.path}}}\nthreshold: {{q: 0.9999}}\n", folder)
    said, seconds, peak = measured(["replay", str(path), "--config", str(config), "--json"], folder)
    path.unlink()
    on_kafka.append(runs.job_rate(bootstrap, topic, count, bundle, folder, model=True, client=client))
    report = json.loads(said)
    assert report["records"] == rows, f"{report['records']} records were replayed, of {rows}"
    kafka = sum(each["records_per_second"] for each in on_kafka) / len(on_kafka)
    windows = sum(each["windows"] for each in on_kafka) / len(on_kafka) / count
    return {
        "rows": float(rows),
        "file_mb": size / _MB,
        "seconds": seconds,
        "rows_per_second": rows / seconds,
        "windows_per_row": report["windows"] / rows,
        "kafka_records_per_second": kafka,
        "kafka_windows_per_record": windows,
        "rows_to_kafka": rows / seconds / kafka,
        "peak_mb": peak,
    }
