"""A recording, cut into the windows that a bundle's model takes: what verbs begin with that compute on windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models import bundle as bundles
from models.bundle import Bundle
from models.cells import TrainingError, check, scorable
from models.codes import single
from monitor import dataset
from monitor.agreement import effective_window
from monitor.cli import _lines, _quiet
from monitor.cli._progress import Steps
from monitor.config import Config, load
from monitor.dataset import Dataset
from monitor.dataset.recording import Rows
from monitor.sources import for_recording
from monitor.window import WindowSettings


@dataclass(frozen=True)
class Cut:
    """Rows and windows of a recording.

    Attributes:
        bundle: the bundle.
        config: the configuration.
        window: how windows were cut.
        found: rows, streams, and what became of the records.
        windows: positions in `found.cells.starts` of the windows that can be scored.
    """

    bundle: Bundle
    config: Config
    window: WindowSettings
    found: Dataset
    windows: NDArray[np.int64]

    @property
    def interval(self) -> int:
        """Width of a cell in ms, 0 without a grid."""
        return self.window.interval_ms

    @property
    def measured(self) -> NDArray[np.float32]:
        """`(N, F)` values, without those that were made to fill gaps: NaN in their place."""
        found = self.found
        return (
            np.where(found.made[:, None], np.float32(np.nan), found.cells.values)
            if found.made.any()
            else found.cells.values
        )

    def rows(self, values: NDArray[np.float32], part: NDArray[np.intp]) -> Rows:
        """Return the rows at the positions `part`, with other values `(N, F)`, as they would be recorded.

        On a time grid a row gets the start of its cell: read again, it falls into the same one.
        """
        cells = self.found.cells
        return Rows(
            self.found.streams,
            cells.stream[part],
            cells.time[part] - self.interval,
            self.bundle.manifest.features,
            values[part],
        )


def begin(path: Path, config_path: Path | None, overrides: Sequence[str], what: str) -> tuple[Bundle, Config]:
    """Return bundle and configuration for a verb that needs one autoencoder.

    Raises:
        BundleError: if the bundle cannot be read, or has several members.
        ConfigError: if the configuration is wrong.
    """
    config = load(config_path, tuple(overrides))
    _quiet.configure(config)
    found = bundles.read(path)
    single(found, what)
    return found, config


def cut(bundle: Bundle, config: Config, recordings: Sequence[str], *, told: bool = True) -> Cut:
    """Read a recording to its end, as training and production do.

    Args:
        bundle: its features and windows count.
        config: the configuration.
        recordings: what the command line names.
        told: say on standard error what became of the records.

    Raises:
        ConfigError: if the configuration contradicts the bundle.
        SourceError: if the recording cannot be read.
        TrainingError: if it has no window that can be scored.
    """
    window = effective_window(config, bundle)
    features = bundle.manifest.features
    with Steps() as steps:
        steps.step("reading")
        source = for_recording(recordings, config.source).build(config.record, features)
        found = dataset.read(source, features, config.record, window, progress=steps.records)
    if told:
        _lines.tell(found)
    made = dataset.shape(window)
    check(found.cells, made, features)
    windows = np.flatnonzero(scorable(found.cells, made, len(features))).astype(np.int64)
    if len(windows) == 0:
        message = f"{recordings[0]}: too much is missing in every window (window.max_missing {window.max_missing:g})"
        raise TrainingError(message)
    return Cut(bundle, config, window, found, windows)
