"""Training a detector: which members, which calibration, and a bundle that serves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models import bundle as bundles
from models import roster, serving
from models.bundle import Bundle, WindowShape
from models.cells import Cells, TrainingError
from models.ensemble import Trainer
from models.roster import Recruit, Roster
from models.settings import TrainSettings
from models.view import View

LENGTH = 64
WINDOW = WindowShape(length=LENGTH)
_SHARED = Recruit("coarse", "network", View(rows=16, step=4), ("distance",), shared=True)


def cells(streams: int, features: int, scale: float = 1.0, rows: int = 300) -> Cells:
    """Return waves with noise, each stream at its own level."""
    random = np.random.default_rng(0)
    time = np.arange(rows)
    values = [
        scale * (np.sin(time[:, None] / (5 + np.arange(features)) + stream) + random.normal(0, 0.1, (rows, features)))
        for stream in range(streams)
    ]
    starts = np.arange(streams)[:, None] * rows + np.arange(rows - LENGTH + 1)
    return Cells(
        np.concatenate(values).astype(np.float32),
        np.repeat(np.arange(streams), rows).astype(np.int32),
        np.tile(time.astype(np.int64) * 60_000, streams),
        starts.ravel().astype(np.int64),
        np.zeros(streams * rows, np.bool_),
    )


def without_networks(team: Roster) -> Roster:
    """Return a roster with a linear member in the place of each network."""
    members = tuple(replace(m, kind="linear") if m.kind == "network" else m for m in team.members)
    return replace(team, members=members)


def trained(team: Roster, found: Cells, out: Path) -> Bundle:
    """Train."""
    names = tuple(f"f{number}" for number in range(found.values.shape[1]))
    return Trainer(without_networks(team)).train(found, WindowShape(length=LENGTH), names, TrainSettings(), out)


def test_the_rule_looks_at_the_training_rows() -> None:
    """If it failed, the members would not be those that the documentation says."""
    assert roster.choose(cells(1, 1).values, 1) is roster.SINGLE
    assert roster.choose(cells(3, 1).values, 3) is roster.FLEET
    assert roster.choose(cells(1, 3).values, 1) is roster.TELEMETRY
    assert roster.choose(cells(1, 3, scale=50).values, 1) is roster.PROCESS


def test_short_windows_get_the_members_that_fit() -> None:
    """If it failed, a member would look beyond its window."""
    assert {member.name for member in roster.TELEMETRY.within(40).members} == {"level", "joint", "centred"}
    with pytest.raises(ValueError, match="needs 16 rows at least"):
        roster.FLEET.within(12)


@pytest.mark.parametrize(
    ("team", "found"),
    [
        (roster.SINGLE, cells(1, 1)),
        (roster.FLEET, cells(3, 1)),
        (roster.TELEMETRY, cells(1, 3)),
        (roster.PROCESS, cells(2, 3, scale=50)),
    ],
    ids=["single", "fleet", "telemetry", "process"],
)
def test_a_detector_is_read_back_as_it_was_written(team: Roster, found: Cells, tmp_path: Path) -> None:
    """If it failed, what is served would not be what was trained."""
    made = trained(team, found, tmp_path / "bundle")
    read = bundles.read(tmp_path / "bundle")
    assert read.manifest == made.manifest
    detector = read.manifest.detector
    assert detector is not None
    assert [part.name for part in detector.parts] == [member.name for member in team.members]
    model = serving.Model(read)
    assert set(model.members) == {part.name for part in detector.parts if part.onnx}
    usual = [array for name, array in model.arrays.items() if name.endswith(".squares")]
    assert [array.shape for array in usual] == [(found.values.shape[1],)]
    assert (usual[0] > 0).all()
    for voice in detector.voices:
        assert voice.q50 < voice.qt
        if voice.form == "summary":
            assert model.arrays[f"{voice.name}.factor"].shape == (2 * found.values.shape[1],) * 2


def test_a_member_that_is_there_already_is_taken_as_it_is(tmp_path: Path) -> None:
    """If it failed, a stream's own bundle would not have the fleet's member beside its own."""
    team = Roster(
        "stream",
        8,
        profile=True,
        extreme=True,
        members=(_SHARED,),
    )
    fleet = trained(team, cells(3, 1), tmp_path / "fleet")
    own = Trainer(team).train(cells(1, 1), WINDOW, ("f0",), TrainSettings(), tmp_path / "own", beside=fleet)
    assert own.content("coarse.onnx") == fleet.content("coarse.onnx")
    assert own.manifest.members[0].parameters == fleet.manifest.members[0].parameters


def test_a_fleet_that_has_nothing_to_share_is_refused_with_the_remedy(tmp_path: Path) -> None:
    """If it failed, a stream would get its own member in place of the fleet's, and nobody would know."""
    team = Roster("stream", 8, profile=True, extreme=True, members=(_SHARED,))
    fine = replace(_SHARED, view=View(rows=16))
    fleet = trained(replace(team, members=(fine,)), cells(3, 1), tmp_path / "fleet")
    one = Trainer(team)
    with pytest.raises(TrainingError, match="no member that this bundle would share"):
        one.train(cells(1, 1), WINDOW, ("f0",), TrainSettings(), tmp_path / "own", beside=fleet)
    with pytest.raises(TrainingError, match=r"other features or another window\.interval"):
        one.train(cells(1, 2), WINDOW, ("f0", "f1"), TrainSettings(), tmp_path / "own", beside=fleet)


def test_several_features_are_shared_only_as_they_are(tmp_path: Path) -> None:
    """If it failed, pressures would be rebuilt by what was learned of flows, and nobody would know."""
    team = replace(roster.PROCESS, members=(Recruit("short", "network", View(rows=10), ("summary",), shared=True),))
    found = cells(2, 2, scale=50)
    fleet = trained(team, found, tmp_path / "fleet")
    one = Trainer(team)
    with pytest.raises(TrainingError, match="other features"):
        one.train(found, WINDOW, ("f1", "f0"), TrainSettings(), tmp_path / "own", beside=fleet)
    made = one.train(found, WINDOW, ("f0", "f1"), TrainSettings(kind="conv"), tmp_path / "own", beside=fleet)
    assert made.content("short.onnx") == fleet.content("short.onnx")
    assert made.manifest.members == fleet.manifest.members  # what it is, not what this training asked for
    assert made.manifest.detector is not None
    assert made.manifest.detector.parts[0].kind == "linear"


@pytest.mark.parametrize(
    "team", [roster.FLEET, roster.TELEMETRY, roster.PROCESS], ids=["fleet", "telemetry", "process"]
)
def test_labelled_rows_teach_nothing(team: Roster, tmp_path: Path) -> None:
    """If it failed, an incident in the recording would count as normal."""
    made = []
    for size in (1, 9):
        found = cells(1, 1 if team.profile else 3)
        found.values[100:120] += size
        found.label[100:120] = True
        made.append(trained(team, found, tmp_path / str(size)).manifest)
    assert made[0].detector == made[1].detector
    assert made[0].scaling == made[1].scaling


def test_a_quiet_end_of_the_recording_is_not_all_that_is_normal(tmp_path: Path) -> None:
    """If it failed, a detector of a recording that ends with a quiet stretch would cry at every busy one."""
    team = replace(
        roster.TELEMETRY, members=(Recruit("shape", "linear", View(rows=40, form="centred"), ("mean_square",)),)
    )
    found = cells(1, 3)
    found.values[180:] = 0.0
    made = trained(team, found, tmp_path / "bundle").manifest.detector
    assert made is not None
    (voice,) = made.voices
    quiet, busy = np.log(1e-6), np.log(0.1**2 / 2)
    assert voice.qt > (quiet + busy) / 2


def test_too_few_windows_are_refused(tmp_path: Path) -> None:
    """If it failed, a detector would be calibrated on next to nothing."""
    with pytest.raises(TrainingError, match="20 usable windows of 64 rows are too few"):
        trained(roster.FLEET, cells(1, 1, rows=83), tmp_path / "bundle")


def test_restless_training_windows_are_remembered(tmp_path: Path) -> None:
    """If it failed, the line of a restless machine would begin where that of a calm one does."""
    team = replace(roster.TELEMETRY, members=(roster.TELEMETRY.members[0],))
    calm = cells(1, 3, scale=0.3, rows=1500)
    random = np.random.default_rng(3)
    restless = cells(1, 3, scale=0.3, rows=1500)
    restless.values[:] = restless.values + random.normal(0, 0.02, restless.values.shape)
    for start in (300, 700, 1100):
        restless.values[start : start + 40] += random.normal(0, 1.5, (40, 3))
    heights = []
    for number, found in enumerate((calm, restless)):
        made = trained(team, found, tmp_path / str(number)).manifest.detector
        assert made is not None
        assert made.rehearsal is not None
        assert made.rehearsal.days == pytest.approx((1500 - LENGTH + 1) / 1440, rel=0.01)
        heights.append(made.rehearsal.heights)
        told = "\n".join(bundles.read(tmp_path / str(number)).manifest.training.warnings)
        assert ("above the usual line in 0.998 stream-days" in told) == (number == 1)
    assert heights[0] == ()
    assert len(heights[1]) >= 1


def test_where_a_stream_learns_its_own_level_nothing_is_rehearsed(tmp_path: Path) -> None:
    """If it failed, lines would begin at heights that the daemon's own scores do not have."""
    made = trained(roster.SINGLE, cells(1, 1), tmp_path / "bundle").manifest.detector
    assert made is not None
    assert made.rehearsal is None
