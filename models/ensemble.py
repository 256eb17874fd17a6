"""Training a detector: members by the roster's rule, their voices calibrated, all of it in one bundle."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from models import bundle as bundles
from models import calibration, errors, export, linear, roster, scaling
from models.backend import versions
from models.base import Hyperparameters, Shape, find
from models.cells import Cells, TrainingError, check
from models.detector import ARRAYS, Detector, Part, Voice
from models.feeding import Feed
from models.fitting import Fitter, Outcome
from models.graph import Graph
from models.rehearsal import LEAST, rehearse, stretches
from models.roster import Recruit, Roster
from models.sample import Sample, draw, scaled
from models.split import split
from models.view import View
from models.voices import calibrated, log_errors

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from models.bundle import Bundle, WindowShape
    from models.detector import Rehearsal
    from models.settings import TrainSettings

_LEAST_WARMUP = 150


Residual = Callable[["NDArray[np.float32]"], "NDArray[np.float32]"]
"""Views `(n, V, F)` → what a member leaves of them, the same shape."""


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
        sample = draw(cells, window, team.scale, scale)
        self._outcomes.clear()
        ready = {} if beside is None else _shared(team, beside, window, names)
        with bundles.workspace(out) as folder:
            parts: list[Part] = []
            voices: list[Voice] = []
            rebuilt: dict[str, Residual] = {}
            arrays: dict[str, NDArray[np.float64]] = {}
            members: list[bundles.Member] = []
            shown: tuple[View, NDArray[np.float32]] | None = None
            for recruit in team.members:
                onnx = None if recruit.kind == "gaussian" else f"{recruit.name}.onnx"
                views, rebuilt[recruit.name] = recruit.view.apply(sample.windows), _itself
                kind: str = recruit.kind
                if onnx is not None:
                    content, rebuilt[recruit.name], member = (
                        _linear(recruit, views, sample.late, settings)
                        if recruit.kind == "linear"
                        else self._network(recruit, views, sample.stream, settings, ready.get(recruit.name))
                    )
                    (folder / onnx).write_bytes(content)
                    members.append(member)
                    kind = member.kind
                parts.append(Part(name=recruit.name, kind=kind, onnx=onnx, view=recruit.view))
                left = rebuilt[recruit.name](views)
                if shown is None and onnx is not None and recruit.view.step == 1:
                    shown = recruit.view, left
                if shown is not None and shown[1] is left:
                    unseen = left[sample.late] if recruit.kind == "linear" else left
                    arrays[f"{recruit.name}.squares"] = errors.feature_squares(unseen).mean(axis=0, dtype=np.float64)
                late = sample.late if recruit.kind == "linear" else None
                voices += [
                    calibrated(recruit.name, form, left, sample.stream, late, arrays, team.short)
                    for form in recruit.forms
                ]
            np.savez_compressed(folder / ARRAYS, allow_pickle=False, **arrays)
            owner, ends = cells.stream[cells.starts], cells.time[cells.starts + window.length - 1]
            per_stream, per_day = calibration.rates(owner, ends, ends - cells.time[cells.starts])

            def heard(places: NDArray[np.intp]) -> NDArray[np.float64]:
                windows = scaled(cells.gather(sample.usable[places], window.length), team.scale, scale)
                seen = {one.name: rebuilt[one.name](one.view.apply(windows)) for one in team.members}
                return np.stack([log_errors(voice, seen[voice.part], arrays) for voice in voices], axis=1)

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
                    stretches(cells.stream[cells.starts[sample.usable]]),
                    heard,
                    voices,
                    weight,
                    team.fuse,
                    team.gain,
                    per_day,
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
                training=_summary(self._outcomes, len(sample.windows), len(cells.starts), made.rehearsal),
                versions=versions(),
                files=bundles.describe(folder),
            )
            return bundles.publish(folder, out, manifest)

    def _network(
        self,
        recruit: Recruit,
        views: NDArray[np.float32],
        stream: NDArray[np.int32],
        settings: TrainSettings,
        ready: tuple[bytes, bundles.Member] | None,
    ) -> tuple[bytes, Residual, bundles.Member]:
        """Train a network on views, or take one that is there; return its graph, its residuals and its entry."""
        content, member = self._fitted(recruit, views, stream, settings) if ready is None else ready
        rows, features = views.shape[1:]
        graph = Graph(content, rows, features, views[:37])
        return content, lambda seen: seen - graph.score(seen).reconstruction, member

    def _fitted(
        self, recruit: Recruit, views: NDArray[np.float32], stream: NDArray[np.int32], settings: TrainSettings
    ) -> tuple[bytes, bundles.Member]:
        """Train a network on views; return its graph and entry."""
        count, rows, features = views.shape
        shape = Shape(rows, features)
        open_ = {name: value for name, value in recruit.defaults.items() if name not in settings.model_fields_set}
        hyper = settings.model_copy(update=open_).resolve(shape)
        plain = scaling.fit(scaling.measure(views.reshape(-1, features), np.ones(count * rows, np.bool_)), "none")
        fitter = self._fitter(settings, shape, hyper)
        cells = Cells(
            views.reshape(-1, features),
            np.repeat(stream, rows),
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
        member = bundles.Member(
            name=recruit.name,
            kind=settings.kind,
            onnx=f"{recruit.name}.onnx",
            hyperparameters=hyper,
            parameters=fitter.networks.autoencoder.count_params(),
        )
        return export.convert(core, shape, plain), member

    def _fitter(self, settings: TrainSettings, shape: Shape, hyper: Hyperparameters) -> Fitter:
        key = (settings.kind, shape, hyper.model_dump_json(exclude={"seed"}))
        if key not in self._fitters:
            self._fitters[key] = Fitter(find(settings.kind), shape, hyper)
        return self._fitters[key]


def _itself(views: NDArray[np.float32]) -> NDArray[np.float32]:
    return views


def _shared(
    team: Roster, fleet: Bundle, window: WindowShape, features: tuple[str, ...]
) -> dict[str, tuple[bytes, bundles.Member]]:
    """Return graph and entry of the members that a fleet's bundle has for this one, by name.

    One feature is like another, since each stream has its own scale; of several the order counts, and which they are.
    """
    made, theirs = fleet.manifest, {} if fleet.manifest.detector is None else fleet.manifest.detector.parts
    alike = len(features) == 1 == len(made.features) or made.features == features
    if made.window.interval != window.interval or not alike:
        message = f"{fleet.path} has other features or another window.interval: train a fleet's like these"
        raise TrainingError(message)
    views = {part.name: part.view for part in theirs}
    members = {member.name: member for member in made.members}
    found = {
        recruit.name: (fleet.content(members[recruit.name].onnx), members[recruit.name])
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


def _linear(
    recruit: Recruit, views: NDArray[np.float32], late: NDArray[np.bool_], settings: TrainSettings
) -> tuple[bytes, Residual, bundles.Member]:
    """Fit a linear member; its residuals are those of a fit to the older windows, which the newer ones did not see."""
    model = linear.fit(views, recruit.variance)
    early = linear.fit(views[~late], recruit.variance)
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
    return linear.graph(model, *views.shape[1:]), lambda seen: early.residual(seen).astype(np.float32), member


def _residuals(
    names: tuple[str, ...], sample: Sample, shown: tuple[View, NDArray[np.float32]] | None
) -> tuple[calibration.Residual, ...]:
    """Return the tables of the member that is shown in alerts; without one, those of the usual level, 0 when scaled."""
    actual, expected = sample.windows, np.zeros_like(sample.windows)
    if shown is not None:
        view, left = shown
        actual = sample.windows[:, sample.windows.shape[1] - view.rows :]
        expected = view.restore(sample.windows, view.apply(sample.windows) - left)
    return calibration.residuals(names, actual * sample.units, expected * sample.units)


def _summary(
    outcomes: Sequence[tuple[Outcome, int, int]], used: int, windows: int, rehearsal: Rehearsal | None
) -> bundles.Training:
    """Return how the training went: the first network's, where there is one; times and warnings of all of them."""
    doubts = [
        "a network is no better than the training mean on the validation windows"
        for outcome, _, _ in outcomes
        if outcome.best.validation_loss >= outcome.baseline
    ]
    if rehearsal is not None and rehearsal.heights:
        events = "1 event stands" if len(rehearsal.heights) == 1 else f"{len(rehearsal.heights)} events stand"
        doubts.append(
            f"{events} above the usual line in {rehearsal.days:.3g} stream-days of training windows, the highest at"
            f" {rehearsal.heights[0]:.2f} (usual {LEAST:g}): the line of an alert budget begins above those that the"
            " budget has no room for; rows that are labelled as incidents do not count"
        )
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
