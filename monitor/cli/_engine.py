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


def load_models(bundles: Mapping[str, Bundle]) -> dict[str, Loaded]:
    """Return the bundles with their models, each loaded once.

    Raises:
        BundleError: if one cannot be loaded.
    """
    from models.serving import Model  # it loads the engine that runs networks

    models = {bundle.path: Model(bundle) for bundle in {each.path: each for each in bundles.values()}.values()}
    return {name: Loaded(bundle, models[bundle.path]) for name, bundle in bundles.items()}


def engine_of(config: Config) -> Engine | Fleets:
    """Return the engine that a configuration makes.

    Raises:
        BundleError: if a bundle cannot be read.
        ConfigError: if it contradicts the configuration.
    """
    return engine_for(config, load_models(bundles_of(config)))


def described(engine: Engine, loaded: Loaded) -> dict[str, Any]:
    """Return what the log says of a model when the daemon begins."""
    return {
        "bundle": str(loaded.bundle.path),
        "sha256": loaded.bundle.sha256[:12],
        "kind": engine.model.kind,
        "features": len(engine.features),
        "window": f"{engine.window.length}/{engine.window.stride}",
        "chunk": list(getattr(loaded.model, "chunk", ())),
    }
