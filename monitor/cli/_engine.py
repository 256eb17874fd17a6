"""What `run`, `replay`, `check` and the verbs about state share: the bundles of a configuration, and its engine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.bundle import Bundle, read
from monitor.config import Config
from monitor.engine import Engine
from monitor.fleets import Fleets, Loaded, engine_for
from monitor.identity import ALL


def bundles_of(config: Config, bundle: Path | None = None) -> dict[str, Bundle]:
    """Return the bundle of each fleet by its glob; `bundle` is for all streams, instead of the configuration's.

    Raises:
        BundleError: if one cannot be read.
    """
    paths = config.model.fleets if bundle is None else {ALL: bundle}
    found = {path: read(path) for path in dict.fromkeys(paths.values())}
    return {name: found[path] for name, path in paths.items()}


def load_models(bundles: Mapping[str, Bundle], config: Config, *, one_core: bool = False) -> dict[str, Loaded]:
    """Return the bundles with their models, each loaded once.

    Args:
        bundles: of each fleet, by its glob.
        config: says what runs them.
        one_core: whether they are to score on one core, whatever the configuration says.

    Raises:
        BundleError: if one cannot be loaded.
    """
    from models.serving import Model  # it loads the engine that runs networks

    threads = 1 if one_core else config.model.most_threads
    every = {each.path: each for each in bundles.values()}.values()
    models = {bundle.path: Model(bundle, threads, config.model.engine) for bundle in every}
    return {name: Loaded(bundle, models[bundle.path]) for name, bundle in bundles.items()}


def engine_of(config: Config) -> Engine | Fleets:
    """Return the engine that a configuration makes.

    Raises:
        BundleError: if a bundle cannot be read.
        ConfigError: if it contradicts the configuration.
    """
    return engine_for(config, load_models(bundles_of(config), config))


def described(engine: Engine, loaded: Loaded) -> dict[str, Any]:
    """Return what the log says of a model when the daemon begins."""
    return {
        "bundle": str(loaded.bundle.path),
        "sha256": loaded.bundle.sha256[:12],
        "kind": engine.model.kind,
        "features": len(engine.features),
        "window": f"{engine.window.length}/{engine.window.stride}",
        **_speed(loaded.model),
    }


def _speed(model: object) -> dict[str, Any]:
    """Return what loading found out, of a model that was loaded from a bundle."""
    from models.serving import Model

    if not isinstance(model, Model):
        return {}
    return {
        "chunk": list(model.chunk),
        "threads": model.threads,
        "windows_per_second": round(model.rate),
        "warm_up_ms": round(model.warm_up * 1e3),
    }
