"""The kind `lstm`."""

from __future__ import annotations

from typing import Any

import pytest

from models import backend
from models.base import Networks, Shape
from models.lstm import Lstm
from tests.models.waves import settings


def built(**changes: Any) -> Networks:
    """Build networks for windows of 12 rows and 2 features."""
    backend.load()
    shape = Shape(12, 2)
    return Lstm.build(shape, settings(**changes).resolve(shape))


@pytest.mark.parametrize(("bidirectional", "kind"), [(False, "LSTM"), (True, "Bidirectional")])
def test_the_decoder_mirrors_the_encoder(*, bidirectional: bool, kind: str) -> None:
    """Layers, nodes or the direction would not be what the settings say."""
    networks = built(nodes=[8, 6], options={"bidirectional": bidirectional})
    encoder, decoder = networks.encoder.layers[1:], networks.decoder.layers[1:]
    assert [type(layer).__name__ for layer in encoder] == [kind, kind, "Dense"]
    assert [type(layer).__name__ for layer in decoder] == ["RepeatVector", "LSTM", "LSTM", "Dense"]
    assert [layer.units for layer in decoder[1:3]] == [6, 8]
    width = 2 if bidirectional else 1
    assert [layer.output.shape[-1] for layer in encoder] == [8 * width, 6 * width, 4]
    assert networks.autoencoder.output_shape == (None, 12, 2)


def test_a_probability_comes_out_where_the_loss_needs_one() -> None:
    """Binary cross-entropy of numbers outside [0, 1] is not a number."""
    chosen = built(loss="binary_crossentropy", scaling="minmax", activation="relu")
    assert chosen.decoder.layers[-1].activation.__name__ == "sigmoid"
    assert chosen.decoder.layers[2].activation.__name__ == "relu"
    assert built().decoder.layers[-1].activation.__name__ == "linear"
