"""A process that dies anywhere, and is started again, must leave the outputs of one that did not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.bundle import Bundle
from models.serving import Model
from monitor.checkpoint import journal
from monitor.config import Config, load
from monitor.engine import Engine
from monitor.http import Health
from monitor.metrics import Metrics
from monitor.service import Service
from monitor.sources import inputs
from monitor.sources.resume import resume
from tests.integration.streams import value
from tests.monitor.checkpoint.crashes import Crash, Disk, How

OUTPUTS = ("alerts.jsonl", "dead.jsonl")
RECORDS = 3 * 60


class Job:
    """A recording, and processes that read it in a folder that outlives them."""

    def __init__(self, folder: Path, bundle: Bundle, model: Model) -> None:
        """Write the recording: three streams with bumps, and here and there a line that is no record."""
        self.folder, self._bundle, self._model = folder, bundle, model
        folder.mkdir(exist_ok=True)
        lines = []
        for number in range(RECORDS):
            record = {"stream": f"pump-{number % 3}", **json.loads(value(number // 3))}
            lines.append("no record" if number % 31 == 30 else json.dumps(record))
        (folder / "in.jsonl").write_text("\n".join(lines) + "\n")

    def config(self, *more: str) -> Config:
        """Return the configuration."""
        return load(
            None,
            [
                f"source={{type: jsonl, path: {self.folder}/in.jsonl}}",
                f"sink={{type: jsonl, path: {self.folder}/alerts.jsonl}}",
                f"dead_letter={{path: {self.folder}/dead.jsonl}}",
                f"state={{path: {self.folder}/state, sweep_records: 40}}",
                "threshold={type: static, value: 1.0}",
                "alert={open_after: 1, resolve_after: 2, rest: 0}",
                *more,
            ],
        )

    def run(self, *more: str) -> Service:
        """Run a process to the end of the input."""
        config = self.config(*more)
        assert config.source is not None
        engine = Engine(config, self._bundle, self._model)
        source = resume(config.source, config.record, engine.features, config.state, config.outputs())
        try:
            sinks = [sink.build() for sink in config.sink]
            service = Service(config, engine, source, sinks, Metrics(config.topics()), Health())
            assert service.run() == 0
        finally:
            source.close()
        return service

    def die(self, disk: Disk) -> bool:
        """Run a process on a disk; return whether it died."""
        with pytest.MonkeyPatch.context() as patch:
            disk.mount(patch)
            try:
                self.run()
            except Crash:
                died = True
            else:
                died = False
        disk.fail()
        return died

    def outputs(self) -> list[bytes]:
        """Return what came out."""
        return [(self.folder / name).read_bytes() for name in OUTPUTS]

    def clear(self) -> None:
        """Begin anew."""
        shutil.rmtree(self.folder / "state", ignore_errors=True)
        for name in OUTPUTS:
            (self.folder / name).unlink(missing_ok=True)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make polls and files of the log small, so that there are many of both."""
    monkeypatch.setattr(inputs, "CHUNK", 5_000)
    monkeypatch.setattr(journal, "SEGMENT_BYTES", 2_000)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Makes folders."""
    return lambda: tmp_path_factory.mktemp("job")


@pytest.fixture(scope="module")
def oracle(folders: Callable[[], Path], bundle: Bundle, model: Model) -> list[bytes]:
    """What a run without state gives, in one piece."""
    job = Job(folders(), bundle, model)
    job.run("state.type=none")
    assert not (job.folder / "state").exists()
    found = job.outputs()
    assert min(len(each.splitlines()) for each in found) >= 5
    return found


@pytest.fixture
def job(folders: Callable[[], Path], bundle: Bundle, model: Model, small: None) -> Job:
    """A job in a folder of its own."""
    del small
    return Job(folders(), bundle, model)


def test_a_run_with_state_is_the_same(job: Job, oracle: Sequence[bytes]) -> None:
    """If it failed, keeping state would change alerts; a second start over a finished input adds nothing."""
    disk = Disk(None)
    assert not job.die(disk)
    assert job.outputs() == oracle
    assert disk.steps.count("replace") > 4
    assert disk.steps.count("unlink") >= 1  # the log was shortened
    job.run()
    assert job.outputs() == oracle


@pytest.mark.slow
def test_every_step_may_be_the_last(job: Job, oracle: Sequence[bytes]) -> None:
    """If it failed, there would be an instant at which `kill -9` loses or doubles an alert."""
    whole = Disk(None)
    job.die(whole)
    kills = 0
    for at in range(len(whole.steps)):
        job.clear()
        kills += job.die(Disk(at, "middle"))
        job.run()
        assert job.outputs() == oracle, (at, whole.steps[at])
    assert kills == len(whole.steps) > 40


crashes = st.tuples(st.integers(0, 60), st.sampled_from(("before", "middle", "after")), st.booleans())


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(crashes, min_size=1, max_size=5))
def test_one_death_after_another(job: Job, oracle: Sequence[bytes], deaths: list[tuple[int, How, bool]]) -> None:
    """If it failed, a process that dies while it puts a death right, or a machine without power, would lose alerts."""
    job.clear()
    for at, how, power in deaths:
        job.die(Disk(at, how, power=power))
    job.run()
    assert job.outputs() == oracle
