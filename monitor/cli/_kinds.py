"""Several kinds of autoencoder trained on one recording, and the table that compares them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click

from models.bundle import Bundle
from models.comparison import Ranking

_COLUMNS = ("kind", "parameters", "code", "seconds", "epochs", "validation error", "of the mean's", "AUC-PR", "VUS-PR")


def names(text: str) -> tuple[str, ...]:
    """Return the kinds that `--kind` names.

    Raises:
        UsageError: if one is empty or named twice.
    """
    found = tuple(name.strip() for name in text.split(","))
    if not all(found) or len(set(found)) != len(found):
        message = f"--kind {text}: write different kinds with commas between them"
        raise click.UsageError(message)
    return found


def row(bundle: Bundle, ranking: Ranking | None) -> dict[str, Any]:
    """Return what the table has of one kind, for a program; figures that the recording cannot give are null."""
    member, training = bundle.manifest.members[0], bundle.manifest.training
    ranks = {} if ranking is None else {name: _number(value) for name, value in asdict(ranking).items()}
    return {
        "kind": member.kind,
        "bundle": str(bundle.path),
        "parameters": member.parameters,
        "code_size": member.hyperparameters.code_size,
        "seconds": training.seconds,
        "epochs": training.epochs,
        "validation_error": training.validation_error,
        "baseline_error": training.baseline_error,
        "figures": training.figures,
        **ranks,
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the table for a reader, the kinds in the order of their training."""
    lines: list[tuple[str, ...]] = [_COLUMNS]
    for found in rows:
        share = found["validation_error"] / found["baseline_error"] if found["baseline_error"] else math.nan
        lines.append(
            (
                found["kind"],
                f"{found['parameters']:,}",
                str(found["code_size"]),
                f"{found['seconds']:.1f}",
                str(found["epochs"]),
                f"{found['validation_error']:.4g}",
                f"{share:.1%}" if math.isfinite(share) else "–",
                *(_shown(found.get(name)) for name in ("auc_pr", "vus_pr")),
            )
        )
    if all(line[-1] == line[-2] == "–" for line in lines[1:]):
        lines = [line[:-2] for line in lines]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            [line[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(line[1:], widths[1:], strict=True))]
        )
        for line in lines
    )


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
