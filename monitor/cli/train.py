"""`tidegauge train`: recordings → bundle."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from models import bundle as bundles
from models.bundle import Bundle
from models.training import TrainingError, train
from monitor import dataset, sources
from monitor.cli import _quiet
from monitor.cli._options import config_option, json_option, set_option
from monitor.cli._progress import Steps
from monitor.config import ConfigError, load
from monitor.dataset import Dataset, shape
from monitor.window.settings import NEEDS_GRID

_NEEDED = ("tensorflow", "keras", "tf2onnx", "onnx", "matplotlib")


@click.command(name="train")
@click.argument("recordings", nargs=-1, required=True, metavar="RECORDING…")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Directory of the bundle.")
@click.option("--kind", help="Kind of autoencoder (train.kind).")
@click.option("--features", metavar="A,B,…", help="Columns, in order; left out: what the first records have.")
@click.option("--labels", type=click.Path(), metavar="FILE", help="CSV stream,start,end of what is anomalous.")
@config_option()
@set_option
@json_option
def command(
    recordings: tuple[str, ...],
    out: Path,
    kind: str | None,
    features: str | None,
    labels: str | None,
    config_path: Path | None,
    overrides: tuple[str, ...],
    *,
    as_json: bool,
) -> None:
    """Fit an autoencoder to recordings, calibrate it, and write a bundle.

    A recording is a file (JSON Lines, also as kcat -J writes them, CSV, Parquet; .gz, .zst) or
    kafka://TOPIC?from=…&to=…. Windows that a label touches are left out.
    """
    config = load(config_path, overrides if kind is None else (*overrides, f"train.kind={kind}"))
    if config.record.layout == "long" and config.window.interval is None:
        message = "record.layout long needs window.interval: one record a sensor is joined on the time grid"
        raise ConfigError(message)
    if config.window.gaps_without_grid:
        message = f"window.max_gap: found {config.window.max_gap}: it {NEEDS_GRID}"
        raise ConfigError(message)
    _quiet.configure(config)
    # What would fail after a long reading fails now.
    require_training()
    bundles.refuse_other(out)
    ranges = None if labels is None else dataset.read_ranges(labels, config.record)
    settings = sources.for_recording(recordings, config.source)
    names = settings.peek(config.record) if features is None else _names(features)
    if not names:
        message = f"{recordings[0]}: no features in its first records: name them with --features"
        raise TrainingError(message)
    with Steps() as steps:
        steps.step("reading")
        source = settings.build(config.record, names)
        found = dataset.read(source, names, config.record, config.window, ranges, steps.records)
        steps.step("training")
        bundle = train(found.cells, shape(config.window), names, config.train, out, steps.epoch)
    _tell(found)
    _summarize(bundle)
    if as_json:
        click.echo(json.dumps(_report(bundle, found)))


def require_training(*more: str) -> None:
    """Look whether what training needs, and `more` packages, are installed, without loading them.

    Raises:
        TrainingError: if it is not.
    """
    missing = [name for name in (*_NEEDED, *more) if find_spec(name) is None]
    if missing:
        message = f"training needs what is not installed here ({missing[0]}): pip install 'tidegauge[train]'"
        raise TrainingError(message)


def _names(text: str) -> tuple[str, ...]:
    """Return the features that an option names."""
    names = tuple(name.strip() for name in text.split(","))
    if not all(names) or len(set(names)) != len(names):
        message = f"--features {text}: write different names with commas between them"
        raise click.UsageError(message)
    return names


def _tell(found: Dataset) -> None:
    """Say on standard error what became of the records."""
    classes = ", ".join(f"{number:,} {name.replace('_', ' ')}" for name, number in found.classes.items() if number)
    pending = f", {found.pending:,} still waiting at the end" if found.pending else ""
    _say("records", f"{found.records:,} of {_streams(len(found.streams))}: {classes or 'none used'}{pending}")
    for reason, number in sorted(found.reasons.items()):
        _say("unusable", f"{number:,} {reason}; the first: {found.examples[reason]}")
    if found.unknown:
        _say("unknown", f"{found.unknown:,} values of features that are not trained")
    if found.filled:
        _say("filled", f"{found.filled:,} windows are left out: too many of their cells were filled")
    if found.strangers:
        some = ", ".join(found.strangers[:5]) + (", …" if len(found.strangers) > 5 else "")  # noqa: PLR2004 - a line's worth
        _say("labels", f"{len(found.strangers)} labelled streams are not in the recording: {some}")


def _summarize(bundle: Bundle) -> None:
    """Say on standard error how the training went."""
    manifest = bundle.manifest
    training, calibration = manifest.training, manifest.calibration
    quantiles = dict(calibration.quantiles)
    _say(
        "windows",
        f"{training.training_windows:,} trained on, {training.validation_windows:,} for validation,"
        f" {training.calibration_windows:,} for calibration, {training.left_out_windows:,} left out",
    )
    _say("epochs", f"{training.epochs}, the best of them number {training.best_epoch}; {training.seconds:.0f} s")
    _say(
        "loss",
        f"{training.validation_loss:.4g} on validation windows; the training mean has {training.baseline_loss:.4g}",
    )
    _say(
        "scores",
        f"{quantiles[0.5]:.3g} in the middle, {quantiles[0.99]:.3g} at the 0.99 quantile of {calibration.count:,}"
        f" normal windows of {_streams(calibration.streams)}",
    )
    for warning in training.warnings:
        _say("warning", warning)
    member = manifest.members[0]
    _say("bundle", f"{bundle.path}: {member.kind}, {member.parameters:,} parameters, {', '.join(manifest.features)}")


def _streams(number: int) -> str:
    return "1 stream" if number == 1 else f"{number:,} streams"


def _say(name: str, text: str) -> None:
    click.echo(f"{name:<9} {text}", err=True)


def _report(bundle: Bundle, found: Dataset) -> dict[str, Any]:
    """Return what a program wants to know."""
    manifest = bundle.manifest
    return {
        "bundle": str(bundle.path),
        "sha256": bundle.sha256,
        "kind": manifest.members[0].kind,
        "features": list(manifest.features),
        "window": manifest.window.model_dump(mode="json"),
        "streams": len(found.streams),
        "records": found.records,
        "classes": dict(found.classes),
        "pending": found.pending,
        "dead_letters": dict(found.reasons),
        "filled_windows": found.filled,
        "training": manifest.training.model_dump(mode="json"),
        "calibration": manifest.calibration.model_dump(mode="json"),
    }
