"""What `tidegauge train` says of a recording and of a bundle: lines for a reader, an object for a program."""

from __future__ import annotations

from typing import Any

import click

from models.bundle import Bundle
from monitor.dataset import Dataset


def tell(found: Dataset) -> None:
    """Say on standard error what became of the records."""
    classes = ", ".join(f"{number:,} {name.replace('_', ' ')}" for name, number in found.classes.items() if number)
    pending = f", {found.pending:,} still waiting at the end" if found.pending else ""
    say("records", f"{found.records:,} of {_streams(len(found.streams))}: {classes or 'none used'}{pending}")
    for reason, number in sorted(found.reasons.items()):
        say("unusable", f"{number:,} {reason}; the first: {found.examples[reason]}")
    if found.unknown:
        say("unknown", f"{found.unknown:,} values of features that are not trained")
    if found.filled:
        say("filled", f"{found.filled:,} windows are left out: too many of their cells were filled")
    if found.strangers:
        some = ", ".join(found.strangers[:5]) + (", …" if len(found.strangers) > 5 else "")  # noqa: PLR2004 - a line's worth
        say("labels", f"{len(found.strangers)} labelled streams are not in the recording: {some}")


def summarize(bundle: Bundle) -> None:
    """Say on standard error how the training went."""
    manifest = bundle.manifest
    training, calibration = manifest.training, manifest.calibration
    quantiles = dict(calibration.quantiles)
    say(
        "windows",
        f"{training.training_windows:,} trained on, {training.validation_windows:,} for validation,"
        f" {training.calibration_windows:,} for calibration, {training.left_out_windows:,} left out",
    )
    say("epochs", f"{training.epochs}, the best of them number {training.best_epoch}; {training.seconds:.0f} s")
    say(
        "loss",
        f"{training.validation_loss:.4g} on validation windows; the training mean has {training.baseline_loss:.4g}",
    )
    detector = manifest.detector
    if detector is None:
        say(
            "scores",
            f"{quantiles[0.5]:.3g} in the middle, {quantiles[0.99]:.3g} at the 0.99 quantile of {calibration.count:,}"
            f" normal windows of {_streams(calibration.streams)}",
        )
    else:
        say("members", ", ".join(f"{part.name} ({part.kind})" for part in detector.parts))
        if detector.rehearsal is not None and not detector.rehearsal.heights:
            days = f"{detector.rehearsal.days:.3g} stream-days of training windows"
            say("events", f"none stands above the usual line in {days}")
    for name, figure in training.figures.items():
        say("figure", f"{name.replace('_', ' ')}: {figure:.3g}")
    for warning in training.warnings:
        say("warning", warning)
    kind = manifest.members[0].kind if detector is None else "preset quality"
    parameters = sum(member.parameters for member in manifest.members)
    say("bundle", f"{bundle.path}: {kind}, {parameters:,} parameters, {', '.join(manifest.features)}")


def reading(found: Dataset) -> dict[str, Any]:
    """Return what a program wants to know of the recording."""
    return {
        "streams": len(found.streams),
        "records": found.records,
        "classes": dict(found.classes),
        "pending": found.pending,
        "dead_letters": dict(found.reasons),
        "filled_windows": found.filled,
    }


def _streams(number: int) -> str:
    return "1 stream" if number == 1 else f"{number:,} streams"


def say(name: str, text: str) -> None:
    """Write one line to standard error: what it is about, then the text."""
    click.echo(f"{name:<9} {text}", err=True)


def report(bundle: Bundle, found: Dataset) -> dict[str, Any]:
    """Return what a program wants to know."""
    manifest = bundle.manifest
    return {
        "bundle": str(bundle.path),
        "sha256": bundle.sha256,
        "kind": manifest.members[0].kind,
        "features": list(manifest.features),
        "window": manifest.window.model_dump(mode="json"),
        **reading(found),
        "training": manifest.training.model_dump(mode="json"),
        "calibration": manifest.calibration.model_dump(mode="json"),
    }
