"""Bundles whose weights have 8 bits."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from onnx import TensorProto, helper, numpy_helper

from models import export, extras, linear, rounding
from models.bundle import BundleError, Rounded
from models.cells import TrainingError
from models.graph import Graph
from models.serving import Model, calibration_windows

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from models.bundle import Bundle


@pytest.fixture(scope="module")
def rounded(bundle: Bundle) -> bytes:
    """The bundle's graph with weights of 8 bits."""
    content = rounding.rounded(bundle.content("model.onnx"))
    assert content is not None
    return content


def constants(content: bytes) -> dict[str, NDArray[Any]]:
    """Return the constants of a graph by name."""
    return {each.name: numpy_helper.to_array(each) for each in onnx.load_from_string(content).graph.initializer}


@given(
    array_shapes(min_dims=2, max_dims=4, max_side=6).flatmap(
        lambda shape: st.tuples(
            arrays(np.float32, shape, elements=st.floats(-1e6, 1e6, width=32)),
            st.sets(st.integers(0, len(shape) - 1), min_size=1),
        )
    )
)
def test_no_weight_moves_by_more_than_half_a_level(drawn: tuple[NDArray[np.float32], set[int]]) -> None:
    """A network would be changed by more than its 8 bits make necessary, or get NaN where all weights are 0."""
    weights, axes = drawn
    numbers, scale = rounding.rows(weights, tuple(axes))
    assert numbers.dtype == np.int8
    assert numbers.min() >= -127
    assert np.isfinite(scale).all()
    assert (scale > 0).all()
    back = numbers.astype(np.float64) * scale
    assert (np.abs(back - weights) <= 0.5001 * scale).all()
    assert (np.sign(back) * np.sign(weights) >= 0).all()


def test_every_output_has_its_own_scale(bundle: Bundle, rounded: bytes) -> None:
    """One large weight would take the precision of all others."""
    before, after = constants(bundle.content("model.onnx")), constants(rounded)
    names = [name.removesuffix("_int8") for name in after if name.endswith("_int8")]
    used = {
        node.input[place]: node.op_type
        for node in onnx.load_from_string(rounded).graph.node
        for place in (1, 2)[: len(node.input) - 1]
    }
    assert {used[name] for name in names} == {"LSTM", "MatMul"}
    for name in names:
        weights, numbers, scale = before[name], after[f"{name}_int8"], after[f"{name}_scale"]
        assert numbers.dtype == np.int8
        summed = weights.ndim - (1 if used[name] == "LSTM" else 2)
        assert scale.shape == tuple(1 if axis == summed else size for axis, size in enumerate(weights.shape))
        assert (np.abs(numbers).max(axis=summed) == 127).all()
        assert (np.abs(numbers * scale - weights) <= 0.5001 * scale).all()
    assert not set(names) & set(after)
    biases = [name for name, kind in used.items() if kind == "LSTM" and name in before and name not in names]
    assert all(before[name].tobytes() == after[name].tobytes() for name in biases)


def test_it_is_the_graph_with_other_weights_to_the_last_bit(bundle: Bundle, rounded: bytes) -> None:
    """Other kernels would run, whose scores may depend on the chunk, or weights be multiplied out in every call."""
    model, found = onnx.load_from_string(bundle.content("model.onnx")), constants(rounded)
    for constant in model.graph.initializer:
        if f"{constant.name}_int8" in found:
            weights = found[f"{constant.name}_int8"].astype(np.float32) * found[f"{constant.name}_scale"]
            constant.CopyFrom(numpy_helper.from_array(weights, constant.name))
    probes = calibration_windows(bundle)
    wanted, got = (Graph(content, 12, 2, probes) for content in (model.SerializeToString(), rounded))
    assert got.chunk == wanted.chunk
    assert got.score(probes).same(wanted.score(probes)).all()
    assert (got.encode(probes) == wanted.encode(probes)).all()


def test_the_operators_that_run_are_those_of_before(bundle: Bundle, rounded: bytes, tmp_path: Path) -> None:
    """Weights would be multiplied out in every call, which costs more than the network."""
    import onnxruntime

    run = []
    for content in (bundle.content("model.onnx"), rounded):
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath, options.log_severity_level = str(tmp_path / "optimised.onnx"), 3
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        run.append([node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node])
    assert sorted(run[0]) == sorted(run[1])


@pytest.mark.parametrize(
    ("operator", "place", "shape", "settings", "scale"),
    [
        ("MatMul", 1, (8, 16), {}, (1, 16)),
        ("MatMul", 0, (16, 8), {}, (16, 1)),
        ("Gemm", 1, (8, 16), {}, (1, 16)),
        ("Gemm", 1, (16, 8), {"transB": 1}, (16, 1)),
        ("Conv", 1, (6, 4, 3), {}, (6, 1, 1)),
        ("ConvTranspose", 1, (4, 6, 3), {}, (1, 6, 1)),
    ],
)
def test_each_operator_sums_over_its_own_axes(
    operator: str, place: int, shape: tuple[int, ...], settings: dict[str, Any], scale: tuple[int, ...]
) -> None:
    """Scales would go across outputs, and the result be coarser than it says."""
    weights = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    other: list[int | str] = {0: [8, "n"], 1: ["n", 8] if len(shape) == 2 else ["n", 4, 9]}[place]  # type: ignore[assignment]  # two kinds
    ends = ["w", "x"] if place == 0 else ["x", "w"]
    graph = helper.make_graph(
        [helper.make_node(operator, ends, ["y"], **settings)],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, other)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * len(shape))],
        [numpy_helper.from_array(weights, "w")],
    )
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
    made = rounding.rounded(content)
    assert made is not None
    assert constants(made)["w_scale"].shape == scale


def test_small_weights_stay_and_a_bundle_of_them_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    """A bundle would be written that is larger than before, under the name of a smaller one."""
    views = np.random.default_rng(0).normal(size=(50, 4, 2)).astype(np.float32)
    content = linear.graph(linear.fit(views, 0.5), 4, 2)
    assert rounding.rounded(content) is None
    small = tmp_path / "small"
    small.mkdir()
    (small / "model.onnx").write_bytes(content)
    from models.bundle import describe

    one = replace(bundle, path=small, manifest=bundle.manifest.model_copy(update={"files": describe(small)}))
    with pytest.raises(BundleError, match="no weight of it has 64 numbers or more"):
        rounding.write(one, tmp_path)


def test_a_bundle_is_written_without_what_it_does_not_serve(bundle: Bundle, rounded: bytes, tmp_path: Path) -> None:
    """It would be as large as before, or hold networks that score otherwise than its graph."""
    made = rounding.write(bundle, tmp_path)
    assert sorted(made.manifest.files) == ["calibration.npz", "model.onnx", "training.json"]
    assert made.content("model.onnx") == rounded
    assert made.manifest.calibration == bundle.manifest.calibration
    assert Model(made).score(calibration_windows(bundle)).score.shape == (len(calibration_windows(bundle)),)


def test_what_rounded_weights_have_not_is_said_in_a_line(bundle: Bundle, tmp_path: Path) -> None:
    """Who decodes with it, or rounds it again, would read a traceback, or get weights that were rounded twice."""
    said = Rounded(bundle=bundle.sha256, windows=10, differing=0, largest_difference=0.0)
    made = replace(bundle, manifest=bundle.manifest.model_copy(update={"rounded": said}))
    with pytest.raises(BundleError, match=f"made from .sha256 {bundle.sha256[:12]}"):
        export.restore(made)
    with pytest.raises(BundleError, match="8 bits already"):
        rounding.write(made, tmp_path)


def test_without_onnx_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a serving machine the verb would end in an ImportError, after the recording was read."""
    monkeypatch.setattr(extras, "find_spec", lambda _: None)
    with pytest.raises(TrainingError, match=r"pip install 'tidegauge\[train\]'"):
        rounding.require()
