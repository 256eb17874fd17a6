"""Throughput of the job on a real Kafka, beside a raw `poll()` loop and the model alone, and where its time goes."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from models.bundle import Bundle
from models.serving import Model
from tests.kafka.topics import create_topic
from tests.performance import job, runs
from tests.performance.feed import fill

_POLL = 3_750
"""Windows that a poll of 30,000 records makes due."""


def model_alone(bundle: Bundle, windows: int) -> float:
    """Return the seconds that the model takes for so many windows, in calls as the job makes them."""
    model = Model(bundle)
    part = np.random.default_rng(0).normal(size=(_POLL, job.LENGTH, job.FEATURES)).astype(np.float32)
    calls = windows / _POLL
    model.score(part)
    begin = time.perf_counter()
    for _ in range(max(1, round(calls))):
        model.score(part)
    return (time.perf_counter() - begin) / max(1, round(calls)) * calls


def throughput(
    bootstrap: str, bundle: Bundle, folder: Path, count: int, rounds: int, client: str = job.CLIENT
) -> dict[str, Any]:
    """Interleave raw loop, pipeline without a model, the whole job, and the model alone; medians and ratios.

    A first run is not counted: the broker has just started.
    """
    topic = create_topic(bootstrap, partitions=job.PARTITIONS)
    fill(bootstrap, topic, job.STREAMS, count)
    raw: list[float] = []
    bare: list[dict[str, float]] = []
    whole: list[dict[str, float]] = []
    alone: list[float] = []
    runs.job_rate(bootstrap, topic, count, bundle, folder, model=False, client=client)  # the broker is cold
    for _ in range(rounds):
        raw.append(runs.raw_poll(bootstrap, topic, count))
        bare.append(runs.job_rate(bootstrap, topic, count, bundle, folder, model=False, client=client))
        whole.append(runs.job_rate(bootstrap, topic, count, bundle, folder, model=True, client=client))
        alone.append(model_alone(bundle, int(whole[-1]["windows"])) / count * 1e6)
    bares, wholes = ([each["records_per_second"] for each in of] for of in (bare, whole))
    stages = {
        f"{name}{key}": median(each[key] for each in of)
        for name, of in (("", whole), ("without_model_", bare))
        for key in whole[0]
        if key.startswith(("us_", "cpu_"))
    }
    totals = [1e6 / rate for rate in wholes]
    return {
        "raw_poll_records_per_second": median(raw),
        "without_model_records_per_second": median(bares),
        "job_records_per_second": median(wholes),
        "without_model_to_raw": median(b / r for b, r in zip(bares, raw, strict=True)),
        "job_to_raw": median(w / r for w, r in zip(wholes, raw, strict=True)),
        "total_us_per_record": median(totals),
        "model_alone_us_per_record": median(alone),
        "total_beyond_1_4_model_us": median(t - 1.4 * m for t, m in zip(totals, alone, strict=True)),
        "total_beyond_1_15_model_us": median(t - 1.15 * m for t, m in zip(totals, alone, strict=True)),
        **stages,
        "rounds": {"raw": raw, "without_model": bares, "job": wholes, "model_alone_us": alone},
    }
