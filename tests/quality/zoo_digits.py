"""The kinds on images: scikit-learn's handwritten digits, 8×8 pixels as windows of 8 steps × 8 features.

1,000 images train, 200 decide when to stop, the other 597 are what the figures are measured on; which, the seed draws.
Values are divided by 16 to lie in [0, 1]; nothing else is scaled, and the loss is the binary cross-entropy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import ranking
from models.base import Shape
from models.settings import TrainSettings
from tests.quality.windows import Workbench

SHAPE, TRAINED, WATCHED = Shape(8, 8), 1000, 200
KINDS = ("dense", "conv2d", "vae", "denoising")
EPOCHS, NOISE, NEIGHBOURS = 40, 0.3, 5
COMMON: dict[str, Any] = {"loss": "binary_crossentropy", "scaling": "none", "epochs": EPOCHS}
PLANE: dict[str, Any] = {"code_size": 2}  # a code to look at
HELD = tuple(range(10))  # the digits that are held out, one after the other
FEW: dict[str, Any] = {"epochs": 20}  # of the ten trainings with one digit held out


def images() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return images `(1797, 8, 8)` in [0, 1], and which digit each is."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return (found.images / 16).astype(np.float32), found.target.astype(np.int64)


def parts(seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the positions of the images to train on, to stop by, and to measure on."""
    order = np.random.default_rng(seed).permutation(1797)
    return order[:TRAINED], order[TRAINED : TRAINED + WATCHED], order[TRAINED + WATCHED :]


def settings(kind: str, seed: int, **changes: Any) -> TrainSettings:
    """Return the settings of a kind."""
    return TrainSettings.model_validate(COMMON | {"kind": kind, "seed": seed} | changes)


def compression(kind: str, seed: int) -> dict[str, float]:
    """Return compression ratio, error, that of the mean image and of as many principal components, gain and seconds."""
    values, _ = images()
    training, watched, measured = parts(seed)
    bench = Workbench(SHAPE, settings(kind, seed))
    fitted = bench.fit(values[training], values[watched], seed)
    _, rebuilt, codes = bench.compute(values[measured])
    linear = Workbench(SHAPE, TrainSettings(kind="pca", scaling="none", code_size=codes.shape[1], seed=seed))
    linear.fit(values[training], values[watched], seed)
    noise = np.random.default_rng([seed, 1]).normal(scale=NOISE, size=values[measured].shape)
    noisy = np.clip(values[measured] + noise, 0, 1).astype(np.float32)
    cleaned = bench.compute(noisy)[1]
    return {
        "parameters": float(bench.networks.autoencoder.count_params()),
        "code": float(codes.shape[1]),
        "ratio": values[0].size / codes.shape[1],
        "error": _error(values[measured], rebuilt),
        "of the mean image": _error(values[measured], np.broadcast_to(values[training].mean(axis=0), rebuilt.shape)),
        "of pca": _error(values[measured], linear.compute(values[measured])[1]),
        "gain": 10 * float(np.log10(_error(values[measured], noisy) / _error(values[measured], cleaned))),
        "seconds": fitted.seconds,
    }


def plane(kind: str, seed: int, picture: Path | None = None) -> float:
    """Return how often the nearest codes of training images name the digit of another image; draw the plane."""
    from sklearn.neighbors import KNeighborsClassifier

    values, digit = images()
    training, watched, measured = parts(seed)
    bench = Workbench(SHAPE, settings(kind, seed, **PLANE))
    bench.fit(values[training], values[watched], seed)
    known, codes = bench.compute(values[training])[2], bench.compute(values[measured])[2]
    found = KNeighborsClassifier(NEIGHBOURS).fit(known, digit[training]).predict(codes)
    if picture is not None:
        _draw(picture, kind, codes, digit[measured], bench)
    return float((found == digit[measured]).mean())


def held_out(kind: str, seed: int) -> list[float]:
    """Return for each digit the AUC of finding it, by a model that was trained on the nine others."""
    values, digit = images()
    training, watched, measured = parts(seed)
    bench = Workbench(SHAPE, settings(kind, seed, **FEW))
    found = []
    for strange in HELD:
        usual = [part[digit[part] != strange] for part in (training, watched)]
        bench.fit(values[usual[0]], values[usual[1]], seed)
        found.append(ranking.auc_roc(bench.compute(values[measured])[0], digit[measured] == strange))
    return found


def measure(kind: str, seed: int, picture: Path | None = None) -> dict[str, Any]:
    """Measure all of one kind with one seed."""
    aucs = held_out(kind, seed)
    return {
        **compression(kind, seed),
        "neighbours": plane(kind, seed, picture),
        "auc": float(np.mean(aucs)),
        "auc, hardest digit": min(aucs),
        "hardest digit": HELD[int(np.argmin(aucs))],
    }


def table(results: Mapping[str, Sequence[dict[str, Any]]]) -> list[str]:
    """Return the table in Markdown: mean over the seeds (worst of them)."""
    columns = (
        *("kind", "parameters", "cells → code", "error (MSE)", "mean image", "PCA, same code", "gain on noise, dB"),
        *("k-NN on a 2-D code", "one digit held out, AUC", "hardest digit", "processor seconds"),
    )
    lines = [f"| {' | '.join(columns)} |", f"| {' | '.join(['---'] * len(columns))} |"]
    for kind, found in results.items():
        worst = {"error": max}
        shown = {}
        for name in ("error", "gain", "neighbours", "auc", "auc, hardest digit"):
            values = [one[name] for one in found]
            shown[name] = f"{np.mean(values):.4f} ({worst.get(name, min)(values):.4f})"
        mean = {
            name: float(np.mean([one[name] for one in found])) for name in ("of the mean image", "of pca", "seconds")
        }
        digits = "/".join(str(one["hardest digit"]) for one in found)
        lines.append(
            f"| {kind} | {found[0]['parameters']:,.0f} | 64 → {found[0]['code']:.0f}, 1/{found[0]['ratio']:.0f} |"
            f" {shown['error']} | {mean['of the mean image']:.4f} | {mean['of pca']:.4f} | {shown['gain']} |"
            f" {shown['neighbours']} | {shown['auc']} | {shown['auc, hardest digit']} ({digits}) |"
            f" {mean['seconds']:.1f} |"
        )
    return lines


def _error(actual: NDArray[np.float32], rebuilt: NDArray[Any]) -> float:
    return float(np.square(actual.astype(np.float64) - rebuilt).mean())


def _draw(path: Path, kind: str, codes: NDArray[Any], digit: NDArray[np.int64], bench: Workbench) -> None:
    """Draw the codes, coloured by digit, and the digits that a grid of codes is decoded to."""
    from statistics import NormalDist

    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5), layout="constrained")
    left, right = figure.subplots(1, 2)
    points = left.scatter(codes[:, 0], codes[:, 1], c=digit, cmap="tab10", vmin=-0.5, vmax=9.5, s=8)
    figure.colorbar(points, ax=left, ticks=range(10), label="digit")
    left.set(title=f"{kind}: codes of 597 images it was not trained on", xlabel="code 1", ylabel="code 2")
    # Even shares of the codes on each axis: the quantiles of the prior of a VAE, those of the codes of another kind.
    shares = np.linspace(0.04, 0.96, 15)
    across, down = (
        [NormalDist().inv_cdf(share) for share in shares] if kind == "vae" else np.quantile(codes[:, axis], shares)
        for axis in (0, 1)
    )
    grid = np.array([[x, y] for y in reversed(list(down)) for x in across], np.float32)
    made = np.asarray(bench.networks.decoder(grid)).reshape(len(shares), len(shares), 8, 8)
    tiles = np.pad(made, ((0, 0), (0, 0), (1, 1), (0, 0)))  # digits fill their rows, and would run into each other
    right.imshow(tiles.transpose(0, 2, 1, 3).reshape(10 * len(shares), -1), cmap="gray_r", vmin=0, vmax=1, aspect=0.8)
    right.set(title="digits generated over the plane of codes", xticks=[], yticks=[])
    figure.savefig(path, dpi=70)
