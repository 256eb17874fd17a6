"""A replay that begins with a snapshot makes what the rest of an uninterrupted one makes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from models.bundle import Bundle
from models.serving import Model
from monitor.config import Config, load
from monitor.engine import Engine
from monitor.replay import EventFile, Report, replay
from monitor.sources import for_recording
from monitor.sources.base import Key, Source, SourceError
from monitor.state import StateLog, Writer, begun, read_meta, stages_of
from monitor.state.snapshot import Snapshot, SnapshotWriter
from monitor.state.whole import Whole
from monitor.upkeep.reading import Reader
from monitor.upkeep.rows import row
from tests.recordings import write_csv, write_kcat

SETTINGS = ("alert.resolve_after=3", "alert.rest=10", "threshold.q=0.95", "threshold.half_life=30")
"""Lines that learn and alerts that rest: what depends on all that came before."""


def opened(config: Config, bundle: Bundle, recording: Path) -> Source:
    """Open a recording."""
    return for_recording([str(recording)], None).build(config.record, bundle.manifest.features)


def run(config: Config, bundle: Bundle, model: Model, recording: Path, out: Path, state: Path | None = None) -> Report:
    """Replay a recording into a file."""
    with EventFile(str(out)) as events:
        return replay(config, bundle, model, opened(config, bundle, recording), out=events, state=state)


def save(config: Config, bundle: Bundle, model: Model, recording: Path, folder: Path) -> dict[Key, int]:
    """Process a recording and save the state; return where its partitions stand."""
    engine, source = Engine(config, bundle, model), opened(config, bundle, recording)
    stands: dict[Key, int] = {}
    while not source.exhausted:
        stands |= engine.process(source.poll(0.1)).positions
    source.close()
    stages = begun(stages_of(engine.pipeline, engine.features), 0)
    with SnapshotWriter(folder) as snapshot:
        for key, offset in stands.items():
            partition = engine.partitions[key]
            log = StateLog(
                partition,
                "t",
                offset,
                writer=Writer(engine.model, config.sha256(engine.window)),
                stages=stages,
                pending=engine.pipeline.pending,
                sweep_records=1,
                sweep_seconds=1.0,
            )
            meta = read_meta(log.write(offset)[-1].value or b"")
            snapshot.add(key, offset, Whole(partition, offset, meta, stages).messages("t", engine.pipeline.pending))
    return stands


def head_of(recording: Path, share: float) -> Path:
    """Return the first part of a recording, under its name."""
    lines = recording.read_bytes().splitlines(keepends=True)
    head = recording.parent / "head" / recording.name
    head.parent.mkdir()
    head.write_bytes(b"".join(lines[: int(len(lines) * share)]))
    return head


@pytest.mark.parametrize("write", [write_csv, write_kcat])
def test_it_goes_on_from_a_snapshot(
    write: Callable[[Path], Path], tmp_path: Path, bundle: Bundle, model: Model
) -> None:
    """If it failed, nobody could see what production would have done from there on with other settings."""
    config = load(None, SETTINGS)
    recording = write(tmp_path / ("sensors.csv" if write is write_csv else "sensors.jsonl"))
    head = head_of(recording, 0.45)  # an alert is firing there
    stands = save(config, bundle, model, head, tmp_path / "saved")
    full = run(config, bundle, model, recording, tmp_path / "full")
    run(config, bundle, model, head, tmp_path / "before")
    warm = run(config, bundle, model, recording, tmp_path / "warm", tmp_path / "saved")
    before, after, whole = ((tmp_path / name).read_bytes().splitlines() for name in ("before", "warm", "full"))
    assert sorted(before + after) == sorted(whole)
    assert any(b'"revision":1' in event for event in after)
    assert len(after) < len(whole)
    assert warm.records == full.records - sum(stands.values())
    assert {(start.topic, start.partition): start.offset for start in warm.warm} == stands
    assert warm.cold == ()
    pending = sum(start.pending for start in warm.warm)
    assert sum(warm.classes.values()) + warm.pending == warm.records + pending
    assert all(str(start).startswith("warm start at ") for start in warm.warm)


def test_what_lies_between_state_and_recording_is_said(tmp_path: Path, bundle: Bundle, model: Model) -> None:
    """If it failed, a replay that has lost records would look like one that is exact."""
    config = load(None, SETTINGS)
    recording = write_kcat(tmp_path / "sensors.jsonl")
    stands = save(config, bundle, model, head_of(recording, 0.3), tmp_path / "saved")
    later = tmp_path / "later.jsonl"
    later.write_bytes(b"".join(recording.read_bytes().splitlines(keepends=True)[600:]))
    report = run(config, bundle, model, later, tmp_path / "out", tmp_path / "saved")
    assert [str(start)[:47] for start in report.warm] == [
        f"cold start at sensors-{number} offset 200: the state sta"[:47] for number in range(3)
    ]
    assert report.fields()["warm_start"][0]["offset"] == stands["sensors", 0]


def test_a_snapshot_of_another_bundle_is_a_decision(tmp_path: Path, bundle: Bundle, model: Model) -> None:
    """If it failed, lines of one model would be held against the scores of another one without a word."""
    config = load(None, SETTINGS)
    recording = write_kcat(tmp_path / "sensors.jsonl")
    other = Bundle(bundle.path, bundle.manifest, "0" * 64)
    save(config, other, model, head_of(recording, 0.45), tmp_path / "saved")
    with pytest.raises(SourceError, match=r"state\.on_new_bundle"):
        run(config, bundle, model, recording, tmp_path / "out", tmp_path / "saved")
    again = load(None, [*SETTINGS, "state.on_new_bundle=restart_lines"])
    run(again, bundle, model, recording, tmp_path / "out", tmp_path / "saved")
    assert b'"reason":"model_changed"' in (tmp_path / "out").read_bytes()


def test_a_stream_is_shown_and_left_as_it_is(tmp_path: Path, bundle: Bundle, model: Model) -> None:
    """If it failed, to look at a stream would change it, or show a line that it does not have."""
    config = load(None, SETTINGS)
    recording = write_kcat(tmp_path / "sensors.jsonl")
    save(config, bundle, model, head_of(recording, 0.45), tmp_path / "saved")
    engine = Engine(config, bundle, model)
    found_state = Reader(engine, Snapshot(tmp_path / "saved"), None).fitting(("sensors", 0))
    assert found_state is not None
    loaded = found_state.fleets["*"]
    table = loaded.partition.table
    before = {column.name: table[column.name].copy() for column in loaded.partition.columns}
    (slot,) = table.live().tolist()
    found = row(engine, loaded, slot)
    assert row(engine, loaded, slot) == found
    assert all(np.array_equal(table[name], values, equal_nan=True) for name, values in before.items())
    m, v, c = (float(table[f"line_{name}"][slot]) for name in "mvc")
    assert found["line"] == pytest.approx(np.exp(m + c * np.sqrt(v)))
    assert found["window"]["fill"] == 1.0
    assert found["columns"]["line_m"] == m
    assert found["columns"]["ring"] == "float32 [12, 2]" or len(found["columns"]["ring"]) == 12
