"""The kind `lstm`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.testing import assert_allclose

from models import backend, export
from models.base import Networks, Shape
from models.lstm import Lstm
from models.serving import Model
from models.training import train
from tests.models.waves import FEATURES, WINDOW, settings, waves


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


def test_a_state_is_made_of_the_code_once() -> None:
    """The code would be multiplied at every step after all, or the decoder not know it."""
    networks = built(nodes=[8, 6], options={"decoder": "state"})
    decoder = networks.decoder
    assert {layer.name for layer in decoder.layers if type(layer).__name__ == "Dense"} >= {"hidden", "cell"}
    first, second = (layer for layer in decoder.layers if type(layer).__name__ == "LSTM")
    assert [first.units, second.units] == [6, 8]
    assert first.cell.kernel.shape == (1, 24)
    codes = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    rebuilt = decoder.predict(codes, verbose=0)
    assert np.ptp(rebuilt, axis=0).min() > 0
    assert np.ptp(rebuilt, axis=1).min() > 0


@pytest.mark.slow
def test_a_bundle_with_such_a_decoder_has_two_fused_layers(tmp_path: Path) -> None:
    """Its graph would differ from Keras, or unroll the decoder step by step, and be slow."""
    made = train(waves(), WINDOW, FEATURES, settings(options={"decoder": "state"}), tmp_path / "bundle")
    operators = [node.op_type for node in onnx.load_from_string(made.content("model.onnx")).graph.node]
    assert operators.count("LSTM") == 2
    assert not {"Loop", "Scan"} & set(operators)
    assert made.manifest.training.validation_loss < made.manifest.training.baseline_loss
    scaling, windows = made.manifest.scaling, waves(holes=0).gather(np.arange(40), 12)
    again = export.restore(made).autoencoder.predict(scaling.apply(windows), verbose=0)
    assert_allclose(again, scaling.apply(Model(made).score(windows).reconstruction), atol=1e-4)


def test_a_probability_comes_out_where_the_loss_needs_one() -> None:
    """Binary cross-entropy of numbers outside [0, 1] is not a number."""
    chosen = built(loss="binary_crossentropy", scaling="minmax", activation="relu")
    assert chosen.decoder.layers[-1].activation.__name__ == "sigmoid"
    assert chosen.decoder.layers[2].activation.__name__ == "relu"
    assert built().decoder.layers[-1].activation.__name__ == "linear"
