"""Section `train`."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from models.base import Shape
from models.settings import TrainSettings


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "gru"}, "there is no autoencoder of the kind 'gru'"),
        ({"nodes": [32, 16], "layers": 3}, "layers is 3, but nodes has 2"),
        ({"nodes": []}, "every layer needs at least one unit"),
        ({"nodes": 0}, "every layer needs at least one unit"),
        ({"loss": "binary_crossentropy"}, "set train.scaling to minmax"),
        ({"validation_split": 0.5, "calibration_split": 0.5}, "leave nothing to train on"),
        ({"options": {"beta": 1}}, "options.beta of the kind lstm"),
        ({"options": {"bidirectional": "often"}}, "options.bidirectional of the kind lstm"),
        ({"epoch": 3}, "epoch"),
        ({"learning_rate": float("nan")}, "learning_rate"),
    ],
)
def test_wrong_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    """A misspelt or contradictory setting would be ignored, or fail in the middle of the training."""
    with pytest.raises(ValidationError, match=message):
        TrainSettings.model_validate(changes)


@pytest.mark.parametrize(
    ("changes", "nodes"),
    [
        ({}, (64,)),
        ({"nodes": 8}, (8,)),
        ({"nodes": 8, "layers": 3}, (8, 8, 8)),
        ({"layers": 2}, (64, 64)),
        ({"nodes": [32, 16]}, (32, 16)),
        ({"nodes": [32, 16], "layers": 2}, (32, 16)),
    ],
)
def test_layers_and_nodes(changes: dict[str, Any], nodes: tuple[int, ...]) -> None:
    """The network would have other layers than the settings say."""
    hyper = TrainSettings.model_validate(changes).resolve(Shape(24, 1))
    assert (hyper.nodes, hyper.layers) == (nodes, len(nodes))
