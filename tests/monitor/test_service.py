"""The loop of the daemon, without Kafka: what it counts."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from models.bundle import Bundle
from models.serving import Model
from monitor.config import load
from monitor.engine import Engine
from monitor.http import Health
from monitor.metrics import Metrics
from monitor.service import Service

DAY = 86_400_000


def figures(metrics: Metrics, name: str) -> Counter[str]:
    """Return the samples of a metric as a scrape gets them, by their only label, or "" where there is none."""
    families = text_string_to_metric_families(metrics.render().decode())
    found = [sample for family in families for sample in family.samples if sample.name == name]
    return Counter({next(iter(sample.labels.values()), ""): int(sample.value) for sample in found})


def line(stream: str, minute: int, flow: float = 1.0) -> str:
    """Return a record."""
    return json.dumps({"stream": stream, "time": minute * 60_000, "values": {"pressure": 1, "flow": flow}})


@pytest.mark.parametrize("late", [True, False])
def test_the_books_balance_in_the_metrics(bundle: Bundle, model: Model, tmp_path: Path, *, late: bool) -> None:
    """If it failed, an operator could not tell a record that waits from one that vanished."""
    good = [line("a", minute) for minute in range(100, 120)]
    bad = ["{", '{"stream": "a", "values": {}}', "[1]"]
    others = [line("a", 101), line("a", 101), line("a", 7), line("ignored", 3), line("a", 10 * DAY // 60_000)]
    path = tmp_path / "records.jsonl"
    path.write_text("\n".join([*good, *bad, *others]) + "\n")
    overrides = (
        f"source={{type: jsonl, path: {path}}}",
        "record.select.exclude=[ignored]",
        f"dead_letter={{path: {tmp_path / 'dead.jsonl'}, late: {str(late).lower()}}}",
    )
    config = load(None, overrides)
    assert config.source is not None
    engine = Engine(config, bundle, model)
    metrics = Metrics(config.topics())
    source = config.source.build(config.record, engine.features)
    assert Service(config, engine, source, [], metrics, Health()).run() == 0
    classes = figures(metrics, "tidegauge_records_total")
    assert classes == Counter(processed=20, late=1, repeated=2, filtered=1, dead_lettered=3)
    pending = figures(metrics, "tidegauge_pending_records")[""]
    assert pending == engine.pending() == 1
    assert figures(metrics, "tidegauge_records_consumed_total").total() == classes.total() + pending == 28
    letters = figures(metrics, "tidegauge_dead_letters_total")
    assert (letters["late"], letters["repeated"]) == ((1, 2) if late else (0, 0))
    assert letters.total() - letters["late"] - letters["repeated"] == classes["dead_lettered"]
    assert len((tmp_path / "dead.jsonl").read_text().splitlines()) == letters.total()
