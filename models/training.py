"""Training: from the cells of a recording to a bundle.

Split, scale, fit with early stopping, export, compare, calibrate with the exported graph itself, and write. The same
cells, settings and seed give the same weights on the same machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models import bundle as bundles
from models import calibration, export, picture, scaling
from models.backend import versions
from models.base import Hyperparameters, Shape, find
from models.bundle import WindowShape
from models.cells import Cells, TrainingError, check
from models.checkpoint import Checkpoint, Epoch, fingerprint
from models.feeding import Feed
from models.fitting import Fitter, Outcome
from models.graph import Graph
from models.serving import CALIBRATION
from models.split import Parts, split

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from models.bundle import Bundle
    from models.scaling import Scaling
    from models.settings import TrainSettings

__all__ = ["Cells", "Epoch", "TrainingError", "WindowShape", "train"]

SCORED = 200_000
"""Windows that a calibration scores at most; more are thinned out evenly."""

WATCHED = 20_000
"""Windows that the validation after each epoch scores at most; more are thinned out evenly."""

KEPT = 256
"""Windows that `calibration.npz` holds at most."""

_CELLS = 4_000_000  # cells of the windows kept or compared at a time: 16 MB


def train(
    cells: Cells,
    window: WindowShape,
    features: Sequence[str],
    settings: TrainSettings,
    out: Path,
    progress: Callable[[Epoch], None] | None = None,
    beside: Bundle | None = None,
) -> Bundle:
    """Train an autoencoder, and write its bundle to `out`, replacing a bundle that is there.

    Args:
        cells: rows and windows of the recording, in raw units.
        window: how the windows were cut.
        features: names of the columns.
        settings: which autoencoder, and how.
        out: directory of the bundle.
        progress: called after each epoch.
        beside: a fleet's bundle whose members this one may share, with the preset `quality`.

    Raises:
        TrainingError: if nothing can be trained from these cells with these settings.
        BundleError: if `out` cannot be written, or holds something else than a bundle.
    """
    if settings.preset == "quality":
        from models.ensemble import Trainer

        return Trainer().train(cells, window, features, settings, out, beside=beside)
    names = tuple(features)
    bundles.refuse_other(out)
    check(cells, window, names)
    kind, shape = find(settings.kind), Shape(window.length, len(names))
    hyper = settings.resolve(shape)
    parts = split(cells, window, hyper.validation_split, hyper.calibration_split, hyper.seed)
    scale, warnings = measured_scaling(cells, parts, names, window.length, hyper)
    training, validation = (
        Feed(cells, windows, window.length, scale, batch)
        for windows, batch in (
            (parts.training, hyper.batch_size),
            (parts.validation[_spread(len(parts.validation), WATCHED)], max(256, hyper.batch_size)),
        )
    )
    fitter = Fitter(kind, shape, hyper)
    outcome = fitter.fit(
        training, validation, checkpoint=_checkpoint(out, cells, window, names, settings.kind, hyper), progress=progress
    )
    networks = fitter.networks
    with bundles.workspace(out) as folder:
        warnings += _doubts(parts, outcome)
        export.save(networks, folder)
        core = export.core(kind, networks, shape, hyper)
        content = export.convert(core, shape, scale)
        (folder / bundles.ONNX).write_bytes(content)
        held = parts.calibration[_spread(len(parts.calibration), SCORED)]
        kept = held[_spread(len(held), min(KEPT, max(16, _CELLS // (window.length * len(names)))))]
        sample = cells.gather(kept, window.length)
        graph = Graph(content, window.length, len(names), sample)
        export.compare(core, graph, sample, scale)
        scores, tables = _measure(cells, held, names, window.length, graph)
        np.savez_compressed(folder / CALIBRATION, windows=sample, score=graph.score(sample).score)
        summary = bundles.Training(
            epochs=len(outcome.history),
            best_epoch=outcome.best.epoch,
            loss=outcome.best.loss,
            validation_loss=outcome.best.validation_loss,
            baseline_loss=outcome.baseline,
            seconds=round(outcome.seconds, 3),
            training_windows=len(parts.training),
            validation_windows=len(parts.validation),
            calibration_windows=len(parts.calibration),
            validation_error=_error(validation, graph),
            baseline_error=_error(validation, None),
            figures=kind.figures(networks, validation.inputs),
            left_out_windows=len(cells.starts) - sum(map(len, (parts.training, parts.validation, parts.calibration))),
            warnings=tuple(warnings),
        )
        picture.write(folder, outcome.history, settings.kind, hyper, summary)
        owner, ends = cells.stream[cells.starts], cells.time[cells.starts + window.length - 1]
        manifest = bundles.Manifest(
            members=(
                bundles.Member(
                    name=settings.kind,
                    kind=settings.kind,
                    hyperparameters=hyper,
                    parameters=networks.autoencoder.count_params(),
                ),
            ),
            window=window,
            features=names,
            scaling=scale,
            calibration=calibration.calibrate(
                scores,
                float(cells.covered(parts.calibration, window.length).sum()) / window.length,
                len(np.unique(owner[parts.calibration])),
                *calibration.rates(owner, ends, ends - cells.time[cells.starts]),
            ),
            residuals=tables,
            training=summary,
            versions=versions(),
            files=bundles.describe(folder),
        )
        return bundles.publish(folder, out, manifest)


def measured_scaling(
    cells: Cells, parts: Parts, features: tuple[str, ...], length: int, hyper: Hyperparameters
) -> tuple[Scaling, list[str]]:
    """Measure the training rows and choose the scaling; sentences of warning come with it."""
    spread = scaling.measure(cells.values, cells.covered(parts.training, length))
    empty = [features[position] for position in spread.empty()]
    if empty:
        message = f"feature {empty[0]!r} has no value in the training rows: leave it out, or record it"
        raise TrainingError(message)
    scale = scaling.fit(spread, hyper.scaling)
    if hyper.loss == "binary_crossentropy" and hyper.scaling == "none":
        least, most = min(spread.least), max(spread.greatest)
        if least < 0 or most > 1:
            message = (
                f"loss binary_crossentropy needs values in [0, 1], but the training rows reach from {least:g} to"
                f" {most:g}: set train.scaling to minmax"
            )
            raise TrainingError(message)
    warnings = [
        f"feature {features[position]!r} is constant ({spread.mean[position]:g}) in training: any change will stand out"
        for position in spread.constant()
    ]
    return scale, warnings


def _checkpoint(
    out: Path, cells: Cells, window: WindowShape, features: tuple[str, ...], kind: str, hyper: Hyperparameters
) -> Checkpoint:
    """Return the checkpoint of this training, a hidden file beside the bundle; its folder is there afterwards."""
    rest = (window.model_dump_json(), *features, *versions().values())
    bundles.make_room(out)
    return Checkpoint(out.absolute().parent / f".{out.name}.checkpoint.npz", fingerprint(cells, kind, hyper, rest))


def _error(validation: Feed, graph: Graph | None) -> float:
    """Return the mean squared error of the present cells of the validation windows, in scaled units.

    That of the graph's reconstructions, or, without a graph, that of the training mean. Other than the loss it can be
    compared between kinds: it knows no penalty, and is the same whatever the loss.
    """
    total, count = 0.0, 0
    for start in range(0, len(validation.windows), validation.batch):
        raw = validation.cells.gather(validation.windows[start : start + validation.batch], validation.length)
        actual, rebuilt = validation.scaling.apply(raw), np.broadcast_to(validation.scaling.missing(), raw.shape)
        if graph is not None:
            rebuilt = validation.scaling.apply(graph.score(raw).reconstruction)
        present = ~np.isnan(actual)
        total += float(np.square(actual[present] - rebuilt[present], dtype=np.float64).sum())
        count += int(present.sum())
    return total / max(count, 1)


def _doubts(parts: Parts, outcome: Outcome) -> list[str]:
    """Return what makes the result doubtful."""
    doubts = []
    if parts.shared:
        doubts.append(f"{parts.shared} training windows share rows with held-out windows: the recording is short")
    if len(parts.calibration) < 50:  # noqa: PLR2004 - below, not even the quantile 0.98 is borne out
        doubts.append(f"the calibration has {len(parts.calibration)} windows only: the first lines will be rough")
    if outcome.best.validation_loss >= outcome.baseline:
        doubts.append("the model is no better than the training mean on the validation windows")
    return doubts


def _measure(
    cells: Cells, held: NDArray[np.int64], features: tuple[str, ...], length: int, graph: Graph
) -> tuple[NDArray[np.float32], tuple[calibration.Residual, ...]]:
    """Score the calibration windows with the exported graph; residuals come from as many as fit into memory."""
    batch = max(1, _CELLS // (length * len(features)))
    scores = [graph.score(cells.gather(held[at : at + batch], length)).score for at in range(0, len(held), batch)]
    some = cells.gather(held[_spread(len(held), batch)], length)
    return np.concatenate(scores), calibration.residuals(features, some, graph.score(some).reconstruction)


def _spread(count: int, most: int) -> NDArray[np.int64]:
    """Return at most `most` positions of `count`, evenly spread from the first to the last."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))
