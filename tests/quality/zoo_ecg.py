"""The kinds on heart beats (ECG5000, official split), trained on normal beats of the training part and nothing else.

Five folds: each fold's model is trained on four fifths of the 292 normal beats and scores the fifth that it has not
seen; the line is the 0.95 quantile of these 292 scores. A test beat's score is the mean of the five models'; the
figures of single models are means over the five, held against the same line. All settings are the defaults, but for
20 epochs where the case does not say otherwise (60 is the default).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import ranking
from models.base import Shape
from models.settings import TrainSettings
from tests.quality import recordings
from tests.quality.windows import Workbench

LENGTH, FOLDS, EPOCHS, WATCHED, LINE = 140, 5, 20, 35, 0.95
CASES: dict[str, dict[str, Any]] = {
    **{
        kind: {"kind": kind} for kind in ("pca", "dense", "conv", "conv2d", "tcn", "lstm", "sparse", "denoising", "vae")
    },
    "lstm, bidirectional": {"kind": "lstm", "options": {"bidirectional": True}},
    "lstm, decoder state": {"kind": "lstm", "options": {"decoder": "state"}},
    "vae, probability": {"kind": "vae", "options": {"score": "probability"}},
    "vae, 60 epochs": {"kind": "vae", "epochs": 60},
}


def judged(score: NDArray[np.float64], line: float, abnormal: NDArray[np.bool_]) -> dict[str, float]:
    """Return accuracy, F1 of the abnormal beats, and AUC."""
    over = score > line
    hits = float(np.count_nonzero(over & abnormal))
    return {
        "accuracy": float((over == abnormal).mean()),
        "f1": 2 * hits / (np.count_nonzero(over) + np.count_nonzero(abnormal)),
        "auc": ranking.auc_roc(score, abnormal),
    }


def measure(case: str, seed: int) -> dict[str, float]:
    """Train and judge one case with one seed."""
    beats = recordings.ecg5000()
    normal, test = beats.train[:, :, None], beats.test[:, :, None]
    order = np.random.default_rng(seed).permutation(len(normal))
    bench = Workbench(Shape(LENGTH, 1), TrainSettings.model_validate({"epochs": EPOCHS, "seed": seed} | CASES[case]))
    unseen, found, seconds = np.zeros(len(normal)), [], []
    for fold in range(FOLDS):
        held = order[fold::FOLDS]
        rest = np.setdiff1d(order, held)
        watched = np.random.default_rng([seed, fold]).choice(rest, WATCHED, replace=False)
        fitted = bench.fit(normal[np.setdiff1d(rest, watched)], normal[watched], FOLDS * seed + fold)
        unseen[held] = bench.compute(normal[held])[0]
        found.append(bench.compute(test)[0])
        seconds.append(fitted.seconds)
    line = float(np.quantile(unseen, LINE))
    single = [judged(score, line, beats.abnormal) for score in found]
    bag = judged(np.mean(found, axis=0), line, beats.abnormal)
    means = {f"{name}, single": float(np.mean([one[name] for one in single])) for name in bag}
    parameters = float(bench.networks.autoencoder.count_params())
    return {**bag, **means, "parameters": parameters, "code": bench.hyper.code_size, "seconds": float(np.mean(seconds))}


def table(results: Mapping[str, Sequence[dict[str, float]]]) -> list[str]:
    """Return the table in Markdown: mean over the seeds (worst of them)."""
    lines = [
        "| kind | parameters | code | accuracy | F1 | AUC | single model: accuracy | F1 | AUC | processor seconds |",
        "| --- | ---: | ---: | --- | --- | --- | --- | --- | --- | ---: |",
    ]
    for case, found in results.items():
        cells = [case, f"{found[0]['parameters']:,.0f}", f"{found[0]['code']:.0f}"]
        for name in ("accuracy", "f1", "auc", "accuracy, single", "f1, single", "auc, single"):
            values = [one[name] for one in found]
            cells.append(f"{np.mean(values):.4f} ({min(values):.4f})")
        cells.append(f"{np.mean([one['seconds'] for one in found]):.1f}")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def baseline() -> float:
    """Return the AUC of the distance to the mean normal beat, which needs no model."""
    beats = recordings.ecg5000()
    return ranking.auc_roc(np.square(beats.test - beats.train.mean(axis=0)).mean(axis=1), beats.abnormal)
