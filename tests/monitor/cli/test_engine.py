"""Models as a configuration wants them run."""

from __future__ import annotations

from pathlib import Path

from models.bundle import Bundle
from models.serving import Model
from monitor.cli._engine import bundles_of, described, load_models
from monitor.config import Config, load
from monitor.fleets import Loaded, engine_for
from monitor.identity import ALL


def config(folder: Path, bundle: Bundle, settings: str) -> Config:
    """Return a configuration with these settings of `model`."""
    path = folder / "config.yaml"
    path.write_text(f"model: {{bundle: {bundle.path}, {settings}}}\n")
    return load(path)


def loaded(chosen: Config, *, one_core: bool = False) -> tuple[Loaded, Model]:
    """Return what is loaded, and its model."""
    found = load_models(bundles_of(chosen), chosen, one_core=one_core)[ALL]
    assert isinstance(found.model, Model)
    return found, found.model


def test_threads_and_engine_are_the_configured_ones(tmp_path: Path, bundle: Bundle) -> None:
    """Who keeps cores for others, or has OpenVINO, would not be heard."""
    chosen = config(tmp_path, bundle, "threads: 3, engine: openvino")
    found, model = loaded(chosen)
    assert model.threads == 3
    assert model.chunk == (1, 8, 32)
    assert chosen.model.libraries == ("numpy", "onnxruntime", "openvino")
    said = described(engine_for(chosen, {ALL: found}).fleets[ALL], found)
    assert said["threads"] == 3
    assert said["chunk"] == [1, 8, 32]
    assert said["windows_per_second"] > 0
    assert said["warm_up_ms"] > 0


def test_capacity_is_counted_in_single_cores(tmp_path: Path, bundle: Bundle) -> None:
    """A member would be said to take twice what it does, for its model had two cores and the rest of it one."""
    _, model = loaded(config(tmp_path, bundle, "threads: 3"), one_core=True)
    assert model.threads == 1
