"""`tidegauge export --format onnx --int8`: a bundle with weights of 8 bits, held against its original."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from models import bundle as bundles
from models import rounding
from models.bundle import Bundle, Rounded
from models.cells import TrainingError
from monitor import parity
from monitor.cli import _lines, _quiet
from monitor.cli._engine import load_models
from monitor.cli._progress import Steps
from monitor.config import load
from monitor.identity import ALL
from monitor.parity import Parity
from monitor.sinks.base import SinkError
from monitor.sources import for_recording

_PER_MILLE = 1
"""Windows in a thousand that may differ."""

_FEW = 1_000
"""Windows below which a single one that differs is too many, and none that does says little."""


def make(
    path: Path, out: Path, recordings: Sequence[str], config_path: Path | None, overrides: Sequence[str]
) -> dict[str, Any]:
    """Write the bundle, if it raises the same alerts on a recording; return what a program reads.

    Raises:
        BundleError: if there is nothing to round, or `out` cannot be written.
        ConfigError: if the configuration is wrong, or contradicts the bundle.
        SinkError: if there is no folder for it.
        SourceError: if the recording cannot be read.
        TrainingError: if the alerts differ, or no window could be compared; then nothing is written.
    """
    config = load(config_path, overrides)
    _quiet.configure(config)
    rounding.require()
    found = bundles.read(path)
    if out.resolve() == path.resolve():
        message = f"--out {out} is the bundle itself, which is still needed: name another directory"
        raise click.UsageError(message)
    if not out.absolute().parent.is_dir():  # it would be made, and left behind by a refusal
        message = f"{out}: cannot be written: there is no folder {out.parent}"
        raise SinkError(message)
    with bundles.workspace(out) as folder, Steps() as steps:
        steps.step("rounding")
        made = rounding.write(found, folder)
        steps.step("comparing")
        first, second = (load_models({ALL: each}, config)[ALL] for each in (found, made))
        source = for_recording(recordings, config.source).build(config.record, found.manifest.features)
        compared = parity.compare(config, first, second, source, steps.records)
        _refuse(compared, path, recordings)
        said = Rounded(
            bundle=found.sha256,
            windows=compared.windows,
            differing=compared.differing,
            largest_difference=compared.largest,
        )
        published = bundles.publish(folder, out, made.manifest.model_copy(update={"rounded": said}))
    _warn(compared)
    return _fields(found, published, compared)


def _refuse(compared: Parity, path: Path, recordings: Sequence[str]) -> None:
    """Refuse a bundle that would raise other alerts.

    Raises:
        TrainingError: with the figures.
    """
    if compared.windows == 0:
        message = f"{recordings[0]}: no window of it can be scored, so nothing can be compared: name another recording"
        raise TrainingError(message)
    if compared.differing * 1_000 > compared.windows * _PER_MILLE:
        message = (
            f"bundle {path}: with weights of 8 bits only {_percent(compared.share)} of {compared.windows:,} windows of"
            f" {recordings[0]} have the same status and events, 99.9 % are needed (scores differ by"
            f" {compared.middle:.2%} in the middle, {compared.largest:.2%} at most): nothing is written"
        )
        raise TrainingError(message)


def _warn(compared: Parity) -> None:
    """Say on standard error where the agreement says little."""
    if compared.windows < _FEW:
        _lines.say("warning", f"{compared.windows:,} windows are few: from {_FEW:,} on the agreement says more")
    if not any(compared.anomalous):
        _lines.say(
            "warning", "no window is over its line: name a recording with incidents, too, to see that alerts agree"
        )


def table(out: Path, told: dict[str, Any]) -> list[str]:
    """Return the lines for people."""
    agreement, size, scores = told["agreement"], told["size"], told["scores"]
    over, fired = (f"{first:,} and {second:,}" for first, second in (agreement["anomalous"], agreement["firing"]))
    middle, largest = scores["median_difference"], scores["largest_difference"]
    told_of = {
        "agreement": (
            f"{_percent(agreement['share'])} of {agreement['windows']:,} windows have the same status and events,"
            f" {agreement['differing']:,} differ"
        ),
        "alerts": f"{fired} fired, {over} windows over their line (before and after)",
        "scores": (
            f"differ by {middle:.2%} in the middle, {largest:.2%} at most, of the score or its line, whichever is"
            " greater"
        ),
        "graphs": _smaller(size["graphs"], size["graphs_before"]),
        "bundle": f"{out}: {_smaller(size['bundle'], size['bundle_before'])}; sha256 {told['sha256'][:12]}",
    }
    return [f"{name:<9} {text}" for name, text in told_of.items()]


def _smaller(now: int, before: int) -> str:
    """Return a size beside the one that it was."""
    return f"{now:,} bytes, {now / before:.0%} of {before:,}"


def _fields(found: Bundle, made: Bundle, compared: Parity) -> dict[str, Any]:
    """Return what a program reads."""
    sizes = {}
    for bundle, when in ((made, ""), (found, "_before")):
        files = bundle.manifest.files
        sizes[f"graphs{when}"] = sum(files[name].size for name in rounding.graphs(bundle))
        sizes[f"bundle{when}"] = sum(file.size for file in files.values()) + len(_manifest(bundle))
    return {
        "bundle": found.sha256,
        "sha256": made.sha256,
        "kind": found.manifest.members[0].kind,
        "size": sizes,
        "agreement": {
            "share": compared.share,
            "windows": compared.windows,
            "differing": compared.differing,
            "anomalous": compared.anomalous,
            "firing": compared.firing,
        },
        "scores": {"median_difference": compared.middle, "largest_difference": compared.largest},
    }


def _manifest(bundle: Bundle) -> bytes:
    return (bundle.path / bundles.MANIFEST).read_bytes()


def _percent(share: float) -> str:
    """Return a share, rounded down: 99.8999 % is no 99.9 %."""
    return f"{int(share * 1e5) / 1e3:.3f} %"
