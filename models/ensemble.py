"""Training a detector: members by the roster's rule, their voices calibrated, all of it in one bundle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from models import bundle as bundles
from models import calibration, errors, export, linear, roster, scaling
from models.backend import versions
from models.base import Hyperparameters, Shape, find
from models.cells import Cells, TrainingError, check, scorable
from models.detector import ARRAYS, Detector, Part, Voice
from models.feeding import Feed
from models.fitting import Fitter, Outcome
from models.graph import Graph
from models.rehearsal import rehearse
from models.roster import Recruit, Roster
from models.scaling import Scaling
from models.split import split
from models.view import View
from models.voices import calibrated

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from models.bundle import Bundle, WindowShape
    from models.settings import TrainSettings

MOST_WINDOWS = 40_000
"""Windows that members are trained and calibrated on at most, evenly spread."""

LEAST_WINDOWS = 40
"""Fewer tell nothing of the spread of an error."""

HELD_OUT = 0.3
"""Share of each stream's windows, the newest, that a linear member is not fitted to while it is calibrated."""

CLIP = {"stream": 20.0, "standard": 10.0, "raw": np.inf}
_LEAST_WARMUP = 150


@dataclass(frozen=True)
class Sample:
    """Training windows as members see them.

    Attributes:
        windows: `(n, L, F)` float32, scaled, no NaN.
        stream: `(n,)` int32.
        late: `(n,)` bool, the newest of each stream.
        scale: `(n, 1, F)`, how many raw units a scaled one is.
        usable: windows without labelled rows that these were drawn from.
    """

    windows: NDArray[np.float32]
    stream: NDArray[np.int32]
    late: NDArray[np.bool_]
    scale: NDArray[np.float32]
    usable: int


class Trainer:
    """Trains detectors, one after the other; networks are compiled once."""

    def __init__(self, chosen: Roster | None = None) -> None:
        """Set up; the roster's rule chooses members unless some are given."""
        self._chosen = chosen
        self._outcomes: list[tuple[Outcome, int, int]] = []
        self._fitters: dict[tuple[str, Shape, str], Fitter] = {}

    def train(
        self,
        cells: Cells,
        window: WindowShape,
        features: Sequence[str],
        settings: TrainSettings,
        out: Path,
        beside: Bundle | None = None,
    ) -> Bundle:
        """Train a detector, and write its bundle to `out`.

        Args:
            cells: rows and windows of the recording, raw units.
            window: how the windows were cut.
            features: names of the columns.
            settings: kind and settings of the members that are networks.
            out: directory of the bundle.
            beside: a fleet's bundle, whose networks stand in for those of this one that saw more there (`shared`).

        Raises:
            TrainingError: if nothing can be trained from these cells, or `beside` has nothing for them.
            BundleError: if `out` cannot be written.
        """
        names = tuple(features)
        bundles.refuse_other(out)
        check(cells, window, names)
        streams = len(np.unique(cells.stream[cells.starts]))
        team = (self._chosen or roster.choose(cells.values[~cells.label], streams)).within(window.length)
        spread = scaling.measure(
            cells.values, cells.covered(np.arange(len(cells.starts)), window.length) & ~cells.label
        )
        scale = scaling.fit(spread, "standard" if team.scale == "standard" else "none")
        sample = _sample(cells, window, team.scale, scale)
        self._outcomes.clear()
        ready = {} if beside is None else _shared(team, beside, window, names)
        with bundles.workspace(out) as folder:
            parts: list[Part] = []
            voices: list[Voice] = []
            logs: list[NDArray[np.float64]] = []
            arrays: dict[str, NDArray[np.float64]] = {}
            members: list[bundles.Member] = []
            shown: tuple[View, NDArray[np.float32]] | None = None
            for recruit in team.members:
                onnx = None if recruit.kind == "gaussian" else f"{recruit.name}.onnx"
                kind = settings.kind if recruit.kind == "network" else recruit.kind
                parts.append(Part(name=recruit.name, kind=kind, onnx=onnx, view=recruit.view))
                left = sample.windows[:0]
                if recruit.kind == "gaussian":
                    left = recruit.view.apply(sample.windows)
                elif recruit.kind == "linear":
                    content, left, member = _linear(recruit, sample, settings)
                else:
                    content, left, member = self._network(recruit, sample, settings, ready.get(recruit.name))
                if onnx is not None:
                    (folder / onnx).write_bytes(content)
                    members.append(member)
                if shown is None and onnx is not None and recruit.view.step == 1:
                    shown = recruit.view, left
                if shown is not None and shown[1] is left:
                    unseen = left[sample.late] if recruit.kind == "linear" else left
                    arrays[f"{recruit.name}.squares"] = errors.feature_squares(unseen).mean(axis=0, dtype=np.float64)
                late = sample.late if recruit.kind == "linear" else None
                for form in recruit.forms:
                    voice, said = calibrated(recruit.name, form, left, sample.stream, late, arrays, team.short)
                    voices.append(voice)
                    logs.append(said)
            np.savez_compressed(folder / ARRAYS, allow_pickle=False, **arrays)
            owner, ends = cells.stream[cells.starts], cells.time[cells.starts + window.length - 1]
            per_stream, per_day = calibration.rates(owner, ends, ends - cells.time[cells.starts])
            weight = 50.0 if team.scale == "stream" else float(min(len(sample.windows), 2000))
            made = Detector(
                scale=team.scale,
                level_rows=max(1, round(per_stream) + window.length - 1),
                short=team.short,
                warmup=min(_LEAST_WARMUP, round(per_stream)) if team.scale == "stream" else 0,
                weight=weight,
                fuse=team.fuse,
                gain=team.gain,
                profile=team.profile,
                extreme=team.extreme,
                windows_per_day=per_day,
                parts=tuple(parts),
                voices=tuple(voices),
                rehearsal=None
                if team.scale == "stream"
                else rehearse(
                    np.stack(logs, axis=1), sample.stream, voices, weight, team.fuse, team.gain, sample.usable / per_day
                ),
            )
            manifest = bundles.Manifest(
                members=tuple(members),
                detector=made,
                window=window,
                features=names,
                scaling=scale,
                calibration=calibration.calibrate(
                    np.exp(np.array([voice.q50 for voice in voices])).astype(np.float32),
                    1.0,
                    len(np.unique(owner)),
                    per_stream,
                    per_day,
                ),
                residuals=_residuals(names, sample, shown),
                training=_summary(self._outcomes, len(sample.windows), len(cells.starts)),
                versions=versions(),
                files=bundles.describe(folder),
            )
            return bundles.publish(folder, out, manifest)

    def _network(
        self, recruit: Recruit, sample: Sample, settings: TrainSettings, ready: tuple[bytes, int] | None
    ) -> tuple[bytes, NDArray[np.float32], bundles.Member]:
        """Train a network on views, or take one that is there; return its graph, residuals and entry."""
        views = recruit.view.apply(sample.windows)
        count, rows, features = views.shape
        shape = Shape(rows, features)
        open_ = {name: value for name, value in recruit.defaults.items() if name not in settings.model_fields_set}
        hyper = settings.model_copy(update=open_).resolve(shape)
        plain = scaling.fit(scaling.measure(views.reshape(-1, features), np.ones(count * rows, np.bool_)), "none")
        if ready is None:
            fitter = self._fitter(settings, shape, hyper)
            cells = Cells(
                views.reshape(-1, features),
                np.repeat(sample.stream, rows),
                np.zeros(count * rows, np.int64),
                np.arange(count, dtype=np.int64) * rows,
                np.zeros(count * rows, np.bool_),
            )
            parts = split(cells, bundles.WindowShape(length=rows), 0.1, 0.01, hyper.seed)
            feeds = [
                Feed(cells, part, rows, plain, batch)
                for part, batch in (
                    (np.concatenate([parts.training, parts.calibration]), hyper.batch_size),
                    (parts.validation, max(256, hyper.batch_size)),
                )
            ]
            outcome = fitter.fit(feeds[0], feeds[1], seed=hyper.seed)
            self._outcomes.append((outcome, len(feeds[0].windows), len(feeds[1].windows)))
            core = export.core(find(settings.kind), fitter.networks, shape, hyper)
            ready = export.convert(core, shape, plain), fitter.networks.autoencoder.count_params()
        graph = Graph(ready[0], rows, features, views[:37])
        left = views - graph.score(views).reconstruction
        member = bundles.Member(
            name=recruit.name,
            kind=settings.kind,
            onnx=f"{recruit.name}.onnx",
            hyperparameters=hyper,
            parameters=ready[1],
        )
        return ready[0], left, member

    def _fitter(self, settings: TrainSettings, shape: Shape, hyper: Hyperparameters) -> Fitter:
        key = (settings.kind, shape, hyper.model_dump_json(exclude={"seed"}))
        if key not in self._fitters:
            self._fitters[key] = Fitter(find(settings.kind), shape, hyper)
        return self._fitters[key]


def _shared(
    team: Roster, fleet: Bundle, window: WindowShape, features: tuple[str, ...]
) -> dict[str, tuple[bytes, int]]:
    """Return graph and number of parameters of the members that a fleet's bundle has for this one, by name."""
    made, theirs = fleet.manifest, {} if fleet.manifest.detector is None else fleet.manifest.detector.parts
    if (made.window.interval, len(made.features)) != (window.interval, len(features)):
        message = f"{fleet.path} has another number of features or another window.interval: train a fleet's like these"
        raise TrainingError(message)
    views = {part.name: part.view for part in theirs}
    members = {member.name: member for member in made.members}
    found = {
        recruit.name: (fleet.content(members[recruit.name].onnx), members[recruit.name].parameters)
        for recruit in team.members
        if recruit.shared and views.get(recruit.name) == recruit.view
    }
    if not found:
        message = (
            f"{fleet.path} has no member that this bundle would share: a bundle for one stream shares those of a"
            " fleet's that was trained with train.preset quality"
        )
        raise TrainingError(message)
    return found


def _sample(cells: Cells, window: WindowShape, scale: roster.Scale, standard: Scaling) -> Sample:
    """Return the windows without labelled rows, scaled as the detector will scale them."""
    length = window.length
    usable = np.flatnonzero(~cells.touched(cells.label, length) & scorable(cells, window, cells.values.shape[1]))
    if len(usable) < LEAST_WINDOWS:
        message = (
            f"{len(usable)} usable windows of {length} rows are too few for the preset quality, {LEAST_WINDOWS} are"
            " needed (labelled ones and those above window.max_missing do not count)"
        )
        raise TrainingError(message)
    drawn = usable[np.unique(np.linspace(0, len(usable) - 1, min(len(usable), MOST_WINDOWS)).round().astype(np.int64))]
    owner = cells.stream[cells.starts[drawn]]
    windows = cells.gather(drawn, length)
    units = np.broadcast_to(np.asarray(standard.scale, np.float32), (len(windows), 1, windows.shape[2])).copy()
    if scale == "stream":
        for stream in np.unique(owner):
            own = cells.values[(cells.stream == stream) & ~cells.label].astype(np.float64)
            mean, deviation = np.nanmean(own, axis=0), np.nanstd(own, axis=0)
            rows = owner == stream
            windows[rows] = (windows[rows] - mean) / (deviation + 1e-9)
            units[rows] = deviation + 1e-9
        windows = np.where(np.isnan(windows), 0.0, windows)
    else:
        windows = standard.apply(windows)
        windows = np.where(np.isnan(windows), standard.missing(), windows)
    _, first, count = np.unique(owner, return_index=True, return_counts=True)
    place = np.arange(len(owner)) - np.repeat(first, count)
    late = place >= (1 - HELD_OUT) * np.repeat(count, count)
    return Sample(np.clip(windows, -CLIP[scale], CLIP[scale]).astype(np.float32), owner, late, units, len(usable))


def _linear(
    recruit: Recruit, sample: Sample, settings: TrainSettings
) -> tuple[bytes, NDArray[np.float32], bundles.Member]:
    """Fit a linear member; its residuals are those of a fit to the older windows, which the newer ones did not see."""
    views = recruit.view.apply(sample.windows)
    model = linear.fit(views, recruit.variance)
    early = linear.fit(views[~sample.late], recruit.variance)
    left = early.residual(views).astype(np.float32)
    shape = Shape(*views.shape[1:])
    fields = settings.resolve(shape).model_dump() | {
        "code_size": len(model.axes),
        "layers": 1,
        "nodes": (len(model.axes),),
        "activation": "linear",
        "options": {"variance": recruit.variance},
    }
    member = bundles.Member(
        name=recruit.name,
        kind="linear",
        onnx=f"{recruit.name}.onnx",
        hyperparameters=Hyperparameters.model_validate(fields),
        parameters=model.axes.size + model.mean.size,
    )
    return linear.graph(model, *views.shape[1:]), left, member


def _residuals(
    names: tuple[str, ...], sample: Sample, shown: tuple[View, NDArray[np.float32]] | None
) -> tuple[calibration.Residual, ...]:
    """Return the tables of the member that is shown in alerts; without one, those of the usual level, 0 when scaled."""
    actual, expected = sample.windows, np.zeros_like(sample.windows)
    if shown is not None:
        view, left = shown
        actual = sample.windows[:, sample.windows.shape[1] - view.rows :]
        expected = view.restore(sample.windows, view.apply(sample.windows) - left)
    return calibration.residuals(names, actual * sample.scale, expected * sample.scale)


def _summary(outcomes: Sequence[tuple[Outcome, int, int]], used: int, windows: int) -> bundles.Training:
    """Return how the training went: the first network's, where there is one; times and warnings of all of them."""
    doubts = [
        "a network is no better than the training mean on the validation windows"
        for outcome, _, _ in outcomes
        if outcome.best.validation_loss >= outcome.baseline
    ]
    first = outcomes[0] if outcomes else None
    return bundles.Training(
        epochs=0 if first is None else len(first[0].history),
        best_epoch=0 if first is None else first[0].best.epoch,
        loss=0.0 if first is None else first[0].best.loss,
        validation_loss=0.0 if first is None else first[0].best.validation_loss,
        baseline_loss=0.0 if first is None else first[0].baseline,
        seconds=round(sum(outcome.seconds for outcome, _, _ in outcomes), 3),
        training_windows=used if first is None else first[1],
        validation_windows=0 if first is None else first[2],
        calibration_windows=used,
        left_out_windows=windows - used,
        warnings=tuple(doubts),
    )
