"""The detector: windows → one calibrated score each, from several members and each stream's own past.

A window is brought to units of its stream, every member rebuilds its view of it, each voice boils a residual down to a
log error, `strangeness` says how strange that is for the stream, and the voices are fused. Beside them stand two voices
without a network: the hour of the day, and values beyond all that came before. 0.36 is where the default line begins.
A score has no upper end: cut at 0.98, as it was, the strongest twentieth of some streams' windows were all alike, which
cost 0.02 of VUS-PR on telemetry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models import errors
from models.detector import Detector as Settings
from models.detector import Part
from models.fusion import fused
from models.scaling import Scaling
from models.voices import MEASURED, log_errors
from monitor.detector.distance import Distance
from monitor.detector.extreme import Extreme
from monitor.detector.level import Level
from monitor.detector.profile import Profile
from monitor.score import Scored
from monitor.strangeness import Strangeness, VoicePrior
from monitor.table import AnyColumn, StreamTable
from monitor.threshold import Learned
from monitor.window.windows import Windows

_PROFILE = VoicePrior(-2.0, 1.5, -2.2, 4.0)
_CLIP = 10.0
_LEAST_ERROR = 1e-4
"""Added to a feature's usual error, in the units that members see: what never moved in training does not take all."""


class Rebuilt(Protocol):
    """What a member's graph returns for views."""

    @property
    def reconstruction(self) -> NDArray[np.float32]:
        """`(n, V, F)`."""


class Member(Protocol):
    """A graph that rebuilds views: the same bits for a view, whatever others it is rebuilt with."""

    def score(self, windows: NDArray[np.float32]) -> Rebuilt:
        """Rebuild `(n, V, F)` views."""


class Detector:
    """Scores the windows of partitions; all that it knows of a stream lies in the columns of the table.

    Attributes:
        columns: of all its steps.
        members: names of what `Scored.said` has: the bundle's members, and the voices without a network.
        learned: how much of what the voices are held against is a stream's own.
        warmup: windows of a new stream that are learned from and not scored.
    """

    def __init__(
        self,
        settings: Settings,
        scaling: Scaling,
        members: Mapping[str, Member],
        arrays: Mapping[str, NDArray[np.float64]],
        stride: int,
    ) -> None:
        """Set up.

        Args:
            settings: what the bundle says.
            scaling: of the bundle.
            members: the graphs by the name of their part.
            arrays: what voices measure distances by.
            stride: rows from one window to the next.
        """
        self._settings, self._scaling, self._members, self._stride = settings, scaling, members, stride
        self._arrays = arrays
        features = len(scaling.mean)
        self._level = Level(features, settings.level_rows) if settings.scale == "stream" else None
        self._distances = {
            part.name: Distance(
                f"part{number}", arrays[f"{part.name}.mean"], arrays[f"{part.name}.covariance"], settings.weight
            )
            for number, part in enumerate(settings.parts)
            if f"{part.name}.covariance" in arrays
        }
        usual = arrays.get(f"{_spokesman(settings.parts).name}.squares", np.ones(features))
        self._usual = np.broadcast_to(_LEAST_ERROR + usual, (features,))
        priors = [VoicePrior(v.q50, v.qt, v.mean, v.variance) for v in settings.voices]
        self._strangeness = Strangeness("voices", priors, settings.short, settings.weight)
        self._profile = Profile(settings.level_rows, settings.windows_per_day) if settings.profile else None
        short = max(3, round(settings.windows_per_day / 24))
        self._hours = Strangeness("hours", [_PROFILE], min(short, 64), settings.weight) if settings.profile else None
        self._extreme = Extreme(features) if settings.extreme else None
        names = tuple(part.name for part in settings.parts)
        self._speakers = [names.index(voice.part) for voice in settings.voices]
        beside = [name for name, on in (("profile", settings.profile), ("extreme", settings.extreme)) if on]
        self.members = (*names, *beside)
        self.learned, self.warmup = Learned("voices_seen", settings.weight), settings.warmup
        steps = (self._level, *self._distances.values(), self._strangeness, self._profile, self._hours, self._extreme)
        self.columns: tuple[AnyColumn, ...] = tuple(
            column for step in steps if step is not None for column in step.columns
        )

    def judge(self, table: StreamTable, windows: Windows, max_missing: float) -> Scored:
        """Score windows sorted by slot, those of a stream in their order, and learn from them.

        The first `warmup` windows of a stream are learned from and not scored.
        """
        count, length, features = windows.values.shape
        usable = windows.missing <= max_missing
        at = np.flatnonzero(usable)
        warming = np.zeros(count, np.bool_)
        told = np.zeros((count, len(self.members)), np.float32)
        found = Scored(
            usable,
            np.full(count, np.nan),
            np.zeros((count, features), np.float32),
            np.zeros((count, length, features), np.float32),
            warming,
            told,
        )
        if len(at) == 0:
            return found
        slots, values = windows.slot[at], windows.values[at]
        views, (scale, offset) = self._scaled(table, slots, values)
        with np.errstate(over="ignore", invalid="ignore"):
            vectors, found.errors[at], rebuilt = self._residuals(views)
            found.reconstruction[at] = np.where(np.isnan(rebuilt), np.nan_to_num(values), rebuilt * scale + offset)
        sound = np.isfinite(found.errors[at]).all(axis=1)
        for part in vectors:
            sound &= np.isfinite(part.reshape(len(at), -1)).all(axis=1)
        if not sound.all():  # a member met values far beyond its training: what no number is said of teaches nothing
            lost = at[~sound]
            usable[lost], found.errors[lost] = False, 0.0
            at, slots, values, views = at[sound], slots[sound], values[sound], views[sound]
            vectors = [part[sound] for part in vectors]
        warm = np.empty(len(at), np.bool_)
        refreshed = [slots[:0]]
        for turn in _rounds(slots):
            warm[turn] = table["voices_seen"][slots[turn]] >= self._settings.warmup
            found.score[at[turn]], told[at[turn]] = self._step(
                table, slots[turn], windows.end[at[turn]], values[turn], views[turn], [part[turn] for part in vectors]
            )
            now = slots[turn]
            refreshed += [now[distance.refreshed(table, now)] for distance in self._distances.values()]
        new = at[~warm]
        warming[new], usable[new], found.score[new], found.errors[new] = True, False, np.nan, 0.0
        return replace(found, refreshed=np.concatenate(refreshed))

    def _scaled(
        self, table: StreamTable, slots: NDArray[np.int32], values: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Return windows in the units that members see, no NaN, and scale and offset `(n, 1, F)` of the way back."""
        count, _, features = values.shape
        if self._level is None:
            if self._settings.scale == "standard":
                offset, scale = (np.asarray(part, np.float32) for part in (self._scaling.offset, self._scaling.scale))
                scaled = np.clip((values - offset) / scale, -_CLIP, _CLIP)
                missing = self._scaling.missing()
            else:
                offset, scale = np.zeros(features, np.float32), np.ones(features, np.float32)
                scaled, missing = values, np.asarray(self._scaling.mean, np.float32)
            whole = (count, 1, features)
            return np.where(np.isnan(scaled), missing, scaled).astype(np.float32), (
                np.broadcast_to(scale, whole),
                np.broadcast_to(offset, whole),
            )
        scaled = np.empty_like(values)
        scale, offset = (np.empty((count, 1, features), np.float32) for _ in range(2))
        settled = self._level.settled(table, slots)
        still = np.flatnonzero(~settled)
        for turn in _rounds(slots[still]):
            rows = still[turn]
            new = rows[~self._level.settled(table, slots[rows])]  # a level may settle in the midst of a batch
            self._level.learn(table, slots[new], values[new], self._stride)
            scaled[rows] = self._level.apply(table, slots[rows], values[rows])
            scale[rows, 0], offset[rows, 0] = self._level.units(table, slots[rows])
        rows = np.flatnonzero(settled)
        scaled[rows] = self._level.apply(table, slots[rows], values[rows])
        scale[rows, 0], offset[rows, 0] = self._level.units(table, slots[rows])
        return scaled, (scale, offset)

    def _residuals(
        self, windows: NDArray[np.float32]
    ) -> tuple[list[NDArray[np.float64]], NDArray[np.float32], NDArray[np.float32]]:
        """Return each voice's log error or vector, the features' errors, and reconstructions (NaN where none is).

        A feature's error is its mean square residual in multiples of what is usual for it: a feature that is always
        rebuilt badly is not named for that.
        """
        residuals: dict[str, NDArray[np.float32]] = {}
        shown = np.full(windows.shape, np.nan, np.float32)
        feature_errors = np.zeros((len(windows), windows.shape[2]), np.float32)
        chosen = _spokesman(self._settings.parts)
        for part in self._settings.parts:
            seen = part.view.apply(windows)
            rebuilt = self._members[part.name].score(seen).reconstruction if part.onnx else np.zeros_like(seen)
            residuals[part.name] = seen - rebuilt
            if part is chosen:
                feature_errors = (errors.feature_squares(residuals[part.name]) / self._usual).astype(np.float32)
                if part.view.step == 1:
                    shown[:, windows.shape[1] - part.view.rows :] = part.view.restore(windows, rebuilt)
        vectors: list[NDArray[np.float64]] = []
        for voice in self._settings.voices:
            residual = residuals[voice.part]
            if voice.form in MEASURED:
                vectors.append(residual.reshape(len(residual), -1).astype(np.float64))
            else:
                vectors.append(log_errors(voice, residual, self._arrays))
        return vectors, feature_errors, shown

    def _step(
        self,
        table: StreamTable,
        slots: NDArray[np.int32],
        end: NDArray[np.int64],
        values: NDArray[np.float32],
        scaled: NDArray[np.float32],
        vectors: list[NDArray[np.float64]],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the score of one window of each of distinct streams, and what each member said of it.

        While a stream warms up both mean nothing.
        """
        logs = np.empty((len(slots), len(vectors)))
        measured: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]] = {}
        for number, (voice, vector) in enumerate(zip(self._settings.voices, vectors, strict=True)):
            if voice.form not in MEASURED:
                logs[:, number] = vector
                continue
            if voice.part not in measured:
                measured[voice.part] = self._distances[voice.part].step(table, slots, vector)
            logs[:, number] = measured[voice.part][MEASURED.index(voice.form)]
        seen = table["voices_seen"][slots]
        said = self._strangeness.step(table, slots, logs)
        members = np.zeros((len(slots), len(self.members)))
        for number, speaker in enumerate(self._speakers):
            members[:, speaker] = np.maximum(members[:, speaker], self._settings.gain * said[:, number])
        score = self._settings.gain * fused(said, self._settings.fuse, self._speakers)
        if self._profile is not None and self._hours is not None:
            error, counts = self._profile.step(table, slots, scaled[:, -1, 0].astype(np.float64), end)
            hours = self._hours.step(table, slots, error[:, None])[:, 0]
            members[:, len(self._settings.parts)] = np.where(counts, np.maximum(self._settings.gain * hours, 0.0), 0.0)
            score = np.where(counts, np.maximum(score, self._settings.gain * hours), score)
        score = np.maximum(score, 0.0)
        warm = seen >= self._settings.warmup
        if self._extreme is not None:
            length = values.shape[1]
            new = (np.arange(length) >= length - self._stride) | (seen == 0)[:, None]
            fresh = np.where(new[:, :, None], values, np.float32(np.nan))
            if not (seen == 0).any():
                fresh = fresh[:, -self._stride :]
            members[:, -1] = self._extreme.step(table, slots, fresh, warm)
            score = np.maximum(score, members[:, -1])
        return score, members


def _rounds(slots: NDArray[np.int32]) -> Iterator[NDArray[np.intp]]:
    """Yield positions in sorted `slots`, one of each stream at a time, each stream's in order."""
    if len(slots) == 0:
        return
    starts = np.flatnonzero(np.concatenate([[True], slots[1:] != slots[:-1]]))
    counts = np.diff(np.append(starts, len(slots)))
    turn = 0
    while len(starts):
        yield starts + turn
        turn += 1
        more = counts > turn
        starts, counts = starts[more], counts[more]


def _spokesman(parts: tuple[Part, ...]) -> Part:
    """Return the member whose residuals are shown in alerts: the first that rebuilds rows as they are."""
    return next((part for part in parts if part.onnx and part.view.step == 1), parts[0])
