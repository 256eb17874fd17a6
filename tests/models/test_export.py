"""The exported graph."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, get_args

import numpy as np
import onnx
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from models import export
from models.base import Activation, Shape, find
from models.cells import TrainingError
from models.graph import Graph
from models.serving import Model
from models.settings import TrainSettings
from models.training import train
from tests.models.waves import FEATURES, WINDOW

if TYPE_CHECKING:
    from pathlib import Path

    from models.bundle import Bundle
    from models.cells import Cells


def test_the_graph_has_the_form_of_the_design(bundle: Bundle) -> None:
    """Others who run the graph would not find its inputs and outputs."""
    graph = onnx.load_from_string(bundle.content("model.onnx")).graph

    def described(ends: list[onnx.ValueInfoProto]) -> dict[str, list[int | str]]:
        return {end.name: [size.dim_param or size.dim_value for size in end.type.tensor_type.shape.dim] for end in ends}

    assert described(list(graph.input)) == {"windows": ["n", 12, 2]}
    assert described(list(graph.output)) == {
        "score": ["n"],
        "errors": ["n", 2],
        "reconstruction": ["n", 12, 2],
        "latent": ["n", 4],
    }


def test_recurrent_layers_are_the_fused_operator(bundle: Bundle) -> None:
    """A loop, or one multiplication a row, would cost several times as much."""
    operators = Counter(node.op_type for node in onnx.load_from_string(bundle.content("model.onnx")).graph.node)
    assert operators["LSTM"] == 2
    assert operators["MatMul"] + operators["Gemm"] <= 2
    assert not operators.keys() & {"Loop", "Scan", "If"}


def test_networks_come_back_from_a_bundle(bundle: Bundle, model: Model, cells: Cells) -> None:
    """A bundle could not be looked into, or trained further."""
    networks, scaling = export.restore(bundle), bundle.manifest.scaling
    windows = cells.gather(np.arange(20), 12)
    windows[np.isnan(windows)] = 50
    scaled = scaling.apply(windows)
    rebuilt = np.asarray(networks.autoencoder.predict(scaled, verbose=0))
    assert_allclose(rebuilt, scaling.apply(model.score(windows).reconstruction), rtol=1e-3, atol=1e-4)
    codes = np.asarray(networks.encoder.predict(scaled, verbose=0))
    assert_allclose(codes, model.encode(windows), rtol=1e-3, atol=1e-5)
    assert_array_equal(np.asarray(networks.decoder.predict(codes, verbose=0)), rebuilt)


def test_the_saved_parts_are_keras_models(bundle: Bundle) -> None:
    """Somebody who goes on in Keras could not open them."""
    import keras

    for name, out in (("autoencoder", (None, 12, 2)), ("encoder", (None, 4)), ("decoder", (None, 12, 2))):
        assert keras.saving.load_model(bundle.path / f"{name}.keras", compile=False).output_shape == out


def test_a_feature_that_is_always_zero_can_be_exported(cells: Cells, tmp_path: Path) -> None:
    """If it failed, one dead sensor in the recording would refuse the whole bundle: it is rebuilt as 0, or nearly."""
    dead = replace(cells, values=np.concatenate([cells.values, np.zeros_like(cells.values[:, :1])], axis=1))
    made = train(dead, WINDOW, (*FEATURES, "dead"), TrainSettings(kind="pca"), tmp_path / "bundle")
    scores = Model(made).score(dead.gather(np.arange(8), 12))
    assert np.isfinite(scores.score).all()
    assert_allclose(scores.reconstruction[:, :, 2], 0, atol=1e-6)


def test_a_graph_that_differs_is_refused(bundle: Bundle, cells: Cells) -> None:
    """A bundle would score otherwise than the network that was trained."""
    shape, member = Shape(12, 2), bundle.manifest.members[0]
    windows = cells.gather(np.arange(64), 12)
    graph = Graph(bundle.content("model.onnx"), 12, 2, windows)
    networks = export.restore(bundle)
    core = export.core(find(member.kind), networks, shape, member.hyperparameters)
    assert export.difference(core, graph, windows, bundle.manifest.scaling) <= export.TOLERANCE
    weights = networks.autoencoder.get_weights()
    networks.autoencoder.set_weights([weights[0] * 1.01, *weights[1:]])
    with pytest.raises(TrainingError, match="differs from Keras by"):
        export.compare(core, graph, windows, bundle.manifest.scaling)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_one_network_gives_one_file(bundle: Bundle, scale: float) -> None:
    """The same training would give bundles that cannot be told to be the same."""
    shape, scaling = Shape(12, 2), bundle.manifest.scaling.model_copy(update={"scale": (scale, scale)})
    hyper = bundle.manifest.members[0].hyperparameters
    made = [
        export.convert(export.core(find("lstm"), export.restore(bundle), shape, hyper), shape, scaling)
        for _ in range(2)
    ]
    assert made[0] == made[1]


@pytest.mark.slow
@pytest.mark.parametrize("activation", get_args(Activation))
def test_every_activation_can_be_exported(bundle: Bundle, cells: Cells, activation: Activation) -> None:
    """If it failed, a training would end in a traceback after its last epoch."""
    shape, scaling = Shape(12, 2), bundle.manifest.scaling
    hyper = TrainSettings(kind="dense", activation=activation).resolve(shape)
    core = export.core(find("dense"), find("dense").build(shape, hyper), shape, hyper)
    windows = cells.gather(np.arange(64), 12)
    graph = Graph(export.convert(core, shape, scaling), 12, 2, windows)
    assert export.difference(core, graph, windows, scaling) <= export.TOLERANCE
