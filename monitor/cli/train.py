"""`tidegauge train`: recordings → bundle."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import click

from models import bundle as bundles
from models import search
from models.base import Shape, find
from models.bundle import Bundle, WindowShape
from models.comparison import rank
from models.settings import TrainSettings
from models.training import TrainingError, train
from monitor import dataset, sources
from monitor.cli import _kinds, _lines, _quiet
from monitor.cli._options import config_option, json_option, set_option
from monitor.cli._progress import Steps
from monitor.config import Config, ConfigError, load
from monitor.dataset import Dataset, shape
from monitor.duration import Duration
from monitor.window.settings import NEEDS_GRID

_NEEDED = ("tensorflow", "keras", "tf2onnx", "onnx", "matplotlib")


@click.command(name="train")
@click.argument("recordings", nargs=-1, required=True, metavar="RECORDING…")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="Directory of the bundle; with several kinds, of a bundle for each.",
)
@click.option("--kind", metavar="A,B,…", help="Kind of autoencoder (train.kind), or several to compare.")
@click.option("--search", "trials", metavar="N", type=click.IntRange(1), help="Search hyper-parameters, N trials.")
@click.option("--budget", metavar="DURATION", default="10m", show_default=True, help="Time for each kind's search.")
@click.option("--features", metavar="A,B,…", help="Columns, in order; left out: what the first records have.")
@click.option("--labels", type=click.Path(), metavar="FILE", help="CSV stream,start,end of what is anomalous.")
@click.option(
    "--beside",
    type=click.Path(path_type=Path),
    metavar="BUNDLE",
    help="A fleet's bundle (train.preset quality), whose members one for a single stream shares.",
)
@config_option()
@set_option
@json_option
def command(  # noqa: PLR0913, PLR0917 - click hands over one argument for each option
    recordings: tuple[str, ...],
    out: Path,
    kind: str | None,
    features: str | None,
    labels: str | None,
    trials: int | None,
    budget: str,
    beside: Path | None,
    config_path: Path | None,
    overrides: tuple[str, ...],
    *,
    as_json: bool,
) -> None:
    """Fit an autoencoder to recordings, calibrate it, and write a bundle.

    A recording is a file (JSON Lines, also as kcat -J writes them, CSV, Parquet; .gz, .zst) or
    kafka://TOPIC?from=…&to=…. Windows that a label touches are left out. Several kinds are trained one after the other,
    each into OUT/KIND, and compared in a table; with labels, also by how well they find what is labelled. A training
    that was killed goes on where it was when the same command is given again.
    """
    kinds = () if kind is None else _kinds.names(kind)
    chosen = _configurations(config_path, overrides, kinds)
    config = chosen[0]
    _quiet.configure(config)
    # What would fail after a long reading fails now.
    require_training()
    plan = _plan(trials, budget)
    fleet = _fleet(config.train, beside, out, several=plan is not None or len(kinds) > 1)
    outs = _places(out, kinds)
    ranges = None if labels is None else dataset.read_ranges(labels, config.record)
    settings = sources.for_recording(recordings, config.source)
    columns = settings.peek(config.record) if features is None else _names(features)
    if not columns:
        message = f"{recordings[0]}: no features in its first records: name them with --features"
        raise TrainingError(message)
    for one in chosen:
        _check(one.train, Shape(config.window.length, len(columns)))
    rows, warnings, bundle = [], list[str](), None
    with Steps() as steps:
        steps.step("reading")
        source = settings.build(config.record, columns)
        found = dataset.read(source, columns, config.record, config.window, ranges, steps.records)
        window, labelled = shape(config.window), bool(found.cells.label.any())
        for place, one in zip(outs, chosen, strict=True):
            final = one.train if plan is None else _search(steps, found, window, columns, one.train, plan)
            steps.step(f"training {final.kind}")
            bundle = train(found.cells, window, columns, final, place, steps.epoch, fleet)
            if len(outs) > 1:
                rows.append(_kinds.row(bundle, rank(bundle, found.cells) if labelled else None))
                warnings += [f"{place.name}: {warning}" for warning in bundle.manifest.training.warnings]
    _lines.tell(found)
    if len(outs) > 1:
        for warning in warnings:
            _lines.say("warning", warning)
        _lines.say("bundles", f"{out}: {', '.join(place.name for place in outs)}")
        click.echo(json.dumps({"kinds": rows, **_lines.reading(found)}) if as_json else _kinds.table(rows))
    elif bundle is not None:
        _lines.summarize(bundle)
        if as_json:
            click.echo(json.dumps(_lines.report(bundle, found)))


def _fleet(settings: TrainSettings, beside: Path | None, out: Path, *, several: bool) -> Bundle | None:
    """Return the fleet's bundle that members are taken from, if one is named.

    Raises:
        TrainingError: if the preset does not go with the options.
        BundleError: if it cannot be read.
    """
    if settings.preset == "quality" and several:
        message = "train.preset quality chooses its members itself: leave --search out, and name one kind or none"
        raise TrainingError(message)
    if beside is None:
        return None
    if settings.preset != "quality":
        message = "--beside takes members from a fleet's bundle: it needs train.preset quality"
        raise TrainingError(message)
    if beside.resolve() == out.resolve():
        message = f"--out {out} is the fleet's bundle itself, which is still needed: name another directory"
        raise TrainingError(message)
    return bundles.read(beside)


def _configurations(path: Path | None, overrides: tuple[str, ...], kinds: Sequence[str]) -> list[Config]:
    """Return the configuration for each kind, or the one that is given; they differ in the kind alone.

    Raises:
        ConfigError: if the sections contradict each other.
    """
    found = [load(path, (*overrides, f"train.kind={name}")) for name in kinds] or [load(path, overrides)]
    if found[0].record.layout == "long" and found[0].window.interval is None:
        message = "record.layout long needs window.interval: one record a sensor is joined on the time grid"
        raise ConfigError(message)
    if found[0].window.gaps_without_grid:
        message = f"window.max_gap: found {found[0].window.max_gap}: it {NEEDS_GRID}"
        raise ConfigError(message)
    return found


def _places(out: Path, kinds: Sequence[str]) -> list[Path]:
    """Return where each kind's bundle goes; there is nothing else, and no bundle where their folder is to be.

    Raises:
        BundleError: if something is in the way.
    """
    places = [out / name for name in kinds] if len(kinds) > 1 else [out]
    for place in places:
        bundles.refuse_other(place)
    if len(kinds) > 1 and (out / bundles.MANIFEST).exists():
        message = f"{out} is a bundle, and cannot hold those of several kinds: name another directory, or remove it"
        raise bundles.BundleError(message)
    return places


def _check(settings: TrainSettings, window: Shape) -> None:
    """Refuse what the kind cannot be with these settings and windows.

    Raises:
        TrainingError: with what to change.
    """
    try:
        find(settings.kind).check(window, settings.resolve(window))
    except ValueError as error:
        raise TrainingError(str(error)) from None


@dataclass(frozen=True, slots=True)
class _Plan:
    """How long to search: at most so many trials, and seconds."""

    trials: int
    seconds: float


def _plan(trials: int | None, budget: str) -> _Plan | None:
    """Return the plan that the options name, None without a search."""
    if trials is None:
        return None
    search.require()
    try:
        return _Plan(trials, Duration(budget).seconds)
    except ValueError as error:
        message = f"--budget {error}"
        raise click.UsageError(message) from None


def _search(
    steps: Steps, found: Dataset, window: WindowShape, features: Sequence[str], settings: TrainSettings, plan: _Plan
) -> TrainSettings:
    """Search around the settings of one kind, say what was found, and return it."""
    steps.step(f"searching {settings.kind}")
    made = search.search(found.cells, window, features, settings, plan.trials, plan.seconds, steps.trial)
    goal = "average precision" if made.labelled else "validation error"
    _lines.say(
        "search",
        f"{settings.kind}: {goal} {made.best.value:.4g} in trial {made.best.number} of {len(made.trials)}"
        f" (as set: {made.trials[0].value:.4g}): {json.dumps(made.best.chosen)}",
    )
    return made.settings


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
