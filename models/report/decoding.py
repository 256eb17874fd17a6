"""What the decoder makes of the space of codes: a grid over its plane, and of a VAE's prior."""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from models import codes, latent, sampling
from models.base import find
from models.report.page import Picture, Section
from models.report.subject import picked
from models.report.windows import IMAGE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from models.report.subject import Subject

GRID = 9
"""Points of the decoded grid along each axis."""

SAMPLES = 24
"""Windows that are drawn from the prior."""


def section(subject: Subject) -> Section | None:
    """Return what the decoder makes of a grid over the plane of codes, and where there is a prior, of draws from it."""
    if not subject.single:
        return None
    decoder, prior = codes.Decoder(subject.bundle), find(subject.kind).draws
    names = subject.manifest.features
    places = picked(len(subject.windows), latent.MOST)
    found = subject.model.encode(subject.gather(places)).astype(np.float64)
    points, axes = grid(found, prior=prior)
    told = f"What the decoder makes of {GRID} × {GRID} points: {axes}."
    caption = f"{told} Each small picture is a window of {subject.length} rows."
    pictures = [Picture("decoded-grid", "A grid of codes", caption, _tiles(decoder.decode(points), GRID, names))]
    text = ["Neighbouring codes should decode to windows that are alike, and all of them should look like windows."]
    if prior:
        drawn = sampling.drawn(SAMPLES, found.shape[1], seed=0)
        told = "Draws from the prior (standard normal codes), decoded: what the model takes for normal windows."
        pictures.append(Picture("samples", "Samples", told, _tiles(decoder.decode(drawn), SAMPLES // 3, names)))
    return Section("Decoded", text, pictures=pictures)


def grid(found: NDArray[np.float64], *, prior: bool) -> tuple[NDArray[np.float32], str]:
    """Return codes `(GRID², Z)`, row after row from the top, and what the axes are, for windows with codes `(n, Z)`.

    In two dimensions the grid has the quantiles of the prior, if there is one: every point stands for as much of it.
    """
    if prior and found.shape[1] == 2:  # noqa: PLR2004 - a plane
        steps = np.array([NormalDist().inv_cdf(q) for q in np.linspace(0.025, 0.975, GRID)])
        mean, axes = np.zeros(2), np.eye(2)
        across, up, told = steps, steps, "code 1 to the right, code 2 upwards, at even quantiles of the prior"
    else:
        mean, axes, deviations = latent.components(found)
        steps = np.linspace(-2, 2, GRID)
        across, up = steps * deviations[0], steps * (deviations[1] if len(deviations) > 1 else 0.0)
        told = "the two greatest principal components of the codes, from −2 to 2 deviations around their mean"
    whole = mean + across[None, :, None] * axes[0] + up[::-1][:, None, None] * axes[1]
    return whole.reshape(-1, found.shape[1]).astype(np.float32), told


def _tiles(windows: NDArray[np.float32], columns: int, names: Sequence[str]) -> Figure:
    """Draw windows `(n, L, F)` as small multiples on one scale, row after row from the top.

    All are drawn into one pair of axes: a hundred pairs take ten seconds.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    rows = -(-len(windows) // columns)
    figure = Figure(figsize=(11, 11 * rows / columns * 0.75), layout="constrained")
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.set(xlim=(-0.04, columns), ylim=(-0.04, rows))
    low, high = windows.min(axis=(0, 1)), windows.max(axis=(0, 1))
    spread = np.where(high > low, high - low, 1)
    for at, window in enumerate(windows):
        left, bottom = at % columns, rows - 1 - at // columns
        if windows.shape[2] >= IMAGE:
            box = (left, left + 0.95, bottom, bottom + 0.93)
            axes.imshow(window, vmin=low.min(), vmax=high.max(), cmap="viridis", aspect="auto", extent=box)
        else:  # each feature on its own scale, the same in all tiles
            axes.add_patch(Rectangle((left, bottom), 0.95, 0.93, fill=False, edgecolor="lightgrey"))
            steps = left + 0.03 + 0.89 * np.linspace(0, 1, len(window))
            for feature, values in enumerate(((window - low) / spread).T):
                label = names[feature] if at == 0 else None
                axes.plot(steps, bottom + 0.04 + 0.85 * values, linewidth=1, color=f"C{feature}", label=label)
    axes.set(xlim=(-0.04, columns), ylim=(-0.04, rows))  # images have moved them
    if 1 < windows.shape[2] < IMAGE:
        figure.legend(loc="outside upper center", ncols=windows.shape[2], fontsize="small")
    return figure
