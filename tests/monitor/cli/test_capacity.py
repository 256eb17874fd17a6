"""What a load takes, held against what was measured, and against what the state's log really writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models import roster
from models.bundle import Bundle
from models.chunk import Scores
from models.serving import Model
from models.settings import TrainSettings
from monitor.capacity import Capacity, Load, capacity, most_records, scoring_seconds
from monitor.config import load as load_config
from monitor.detector import Detector
from monitor.engine import Engine
from monitor.fleets import Loaded
from monitor.sources.base import Batch
from monitor.state import StateLog, Writer, begun, stages_of
from tests.models.test_ensemble import cells, trained
from tests.monitor.cli.conftest import Run
from tests.performance import job

TEXT = """
source: {{type: kafka, bootstrap_servers: ['127.0.0.1:1'], topics: [t], group_id: g}}
model: {{bundle: {bundle}}}
window: {{stride: {stride}}}
sink: {{type: kafka, topic: a}}
"""


@pytest.fixture
def path(bundle: Bundle, tmp_path: Path) -> Path:
    """Return a configuration with the tiny bundle."""
    place = tmp_path / "config.yaml"
    place.write_text(TEXT.format(bundle=bundle.path, stride=bundle.manifest.window.stride), encoding="utf-8")
    return place


def engine_of(path: Path, bundle: Bundle, model: Model) -> Engine:
    """Return the engine of a configuration."""
    return Engine(load_config(path), bundle, model)


def found(path: Path, bundle: Bundle, model: Model, load: Load, window_seconds: float = 56e-6) -> Capacity:
    """Return what a load takes."""
    return capacity(engine_of(path, bundle, model), load, window_seconds, load_config(path).state)


class Slow:
    """A model of which loading found out that it scores so many windows a second."""

    def __init__(self, rate: float) -> None:
        """Say it."""
        self.rate = rate

    def score(self, windows: np.ndarray) -> Scores:
        """Never asked here."""
        raise NotImplementedError


def test_a_poll_brings_no_more_windows_than_are_worked_off_in_a_moment(
    path: Path, bundle: Bundle, model: Model
) -> None:
    """If it failed, thousands of streams that begin together would take all memory, or keep a signal for minutes."""
    engine = engine_of(path, bundle, model)
    window = engine.window
    fast = most_records(engine, Loaded(bundle, Slow(1e9)))
    assert fast * 4 * window.length * len(engine.features) / window.stride <= 512e6
    assert most_records(engine, Loaded(bundle, Slow(0.0))) == fast
    assert most_records(engine, Loaded(bundle, Slow(500.0))) == 1_000 * window.stride
    assert most_records(engine, Loaded(bundle, Slow(1e-3))) >= 1


@pytest.mark.parametrize(("streams", "rows"), [(40, 160), (400, 60)])
def test_the_log_is_as_large_as_is_said(path: Path, bundle: Bundle, model: Model, streams: int, rows: int) -> None:
    """An operator gives brokers the disk and the network for it: a wrong figure fills one, or blocks the other."""
    engine = engine_of(path, bundle, model)
    settings = load_config(path).state
    partition = engine.pipeline.partition("t", 0)
    engine.partitions[partition.key] = partition
    partition.changes.kept = True
    stages = stages_of(engine.pipeline, engine.features)
    clock = [0.0]
    log = StateLog(
        partition,
        "log",
        0,
        writer=Writer(engine.model, "0"),
        stages=begun(stages, 0),
        pending=engine.pipeline.pending,
        sweep_records=settings.sweep_records,
        sweep_seconds=settings.sweep_interval.ms / 1000,
        clock=lambda: clock[0],
    )
    random = np.random.default_rng(0)
    rate, done, written, began = 2.0, 0, 0, 0
    per_poll = max(1, streams // 20)
    order = [(stream, row) for row in range(rows) for stream in random.permutation(streams).tolist()]
    for begin in range(0, len(order), per_poll):
        part = order[begin : begin + per_poll]
        values = [
            b'{"values": {%s}}'
            % b", ".join(b'"%s": %.3f' % (name.encode(), random.normal()) for name in engine.features)
            for _ in part
        ]
        offsets = list(range(begin, begin + len(part)))
        keys: list[bytes | None] = [b"stream-%d" % stream for stream, _ in part]
        times = [1_700_000_000_000 + int(row * 1_000 / rate) for _, row in part]
        engine.process([Batch("t", 0, offsets, times, keys, list(values))])
        done = begin + len(part)
        clock[0] = done / (streams * rate)
        size = sum(len(message.value or b"") for message in log.write(done))
        if begin >= len(order) // 2:  # all windows are full by then
            began = began or begin
            written += size
    seconds = (done - began) / (streams * rate)
    said = found(path, bundle, model, Load(streams, rate, 1)).log_rate
    assert written / seconds == pytest.approx(said, rel=0.3)


@pytest.mark.parametrize(
    ("streams", "rate", "stride", "model_us", "most", "restore"),
    [
        # 8 features, window 64, one member, 4 partitions; tests/performance/RESULTS.md, "Capacity"
        (2_000, 5.0, 8, 55.6, 78_500, None),
        (2_000, 5.0, 1, 55.2, 14_200, None),
        (2_000, 5.0, 8, 29.2, 114_500, None),  # the model on two cores
        (2_000, 5.0, 1, 28.0, 30_500, None),
        (100_000, 0.1, 8, 29.2, None, 4.8),
        (1_000, 10.0, 8, 29.2, None, 0.61),
    ],
)
def test_it_says_what_was_measured(
    tmp_path: Path, streams: int, rate: float, stride: int, model_us: float, most: float | None, restore: float | None
) -> None:
    """An operator plans by it: half of what is needed would be found out at night."""
    bundle = job.bundle(tmp_path, TrainSettings(kind="pca"))
    place = tmp_path / "config.yaml"
    place.write_text(TEXT.format(bundle=bundle.path, stride=stride), encoding="utf-8")
    engine = Engine(load_config(place), bundle, Model(bundle))
    said = capacity(engine, Load(streams, rate, 4), model_us * 1e-6, load_config(place).state)
    if most is not None:
        assert said.most == pytest.approx(most, rel=0.3)
    if restore is not None:
        assert said.restore == pytest.approx(restore, rel=0.3)


def test_more_load_takes_more(path: Path, bundle: Bundle, model: Model) -> None:
    """A figure that went the wrong way would have somebody save where there is nothing to save."""
    small, large = (found(path, bundle, model, Load(streams, 0.5, 8)) for streams in (1_000, 10_000))
    assert large.members == small.members == 1
    assert large.memory > small.memory
    assert large.log_rate > small.log_rate > 0
    assert large.log > 0
    assert small.log > 0
    assert large.restore > 0
    slow = found(path, bundle, model, Load(10_000, 0.5, 8), 1e-3)
    assert slow.most < large.most
    assert slow.members > large.members


def test_too_few_partitions_are_told_of(run: Run, path: Path) -> None:
    """A member reads whole partitions: who has too few of them cannot be helped by more members, and must know it."""
    done = run("check", path, "--capacity", "--streams", "1000000", "--rate", "10", "--partitions", "2")
    assert done.status == 0
    assert "capacity: 2 members, one a partition, are not enough" in done.out


def test_a_load_is_told_of(run: Run, path: Path) -> None:
    """If it failed, an operator would have to try out how large a machine must be."""
    said = run("check", path, "--capacity", "--streams", "100").out.splitlines()
    assert "capacity: 100 streams, 1 records a second each, 4 partitions: 100 records/s, 100 windows/s" in said
    assert any(line.startswith("capacity: memory of a member about ") for line in said)
    assert "capacity: " not in run("check", path).out


def test_scoring_is_timed_with_all_that_a_detector_does(
    path: Path, bundle: Bundle, model: Model, tmp_path: Path
) -> None:
    """If it were not, the estimate would be that of another model, or of preset `quality` without its covariances."""
    assert 0 < scoring_seconds(engine_of(path, bundle, model)) < 1
    made = trained(roster.FLEET, cells(3, 1), tmp_path / "quality")
    quality = tmp_path / "quality.yaml"
    quality.write_text(TEXT.format(bundle=made.path, stride=1), encoding="utf-8")
    engine = engine_of(quality, made, Model(made))
    whole = scoring_seconds(engine)
    assert isinstance(engine.pipeline.model, Detector)
    assert 0 < whole < 1
    assert engine.streams() == 0  # what was timed leaves nothing behind
