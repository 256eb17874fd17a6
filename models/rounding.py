"""A bundle whose weights are whole numbers of 8 bits: a third of the graph's size, or less, and served as any other.

Each row of weights that makes one output (a unit of a gate, a column, a filter) has its own scale, symmetric around 0:
weight = number × scale, the number from -127 to 127. The graph holds numbers and scales, and multiplies them out, which
ONNX Runtime does once while loading: from there on it runs the same operators on the same shapes as before, in float32.
So a window's score depends on nothing but the window, as before, and is as fast to have, not faster.

Why not otherwise, as tried with ONNX Runtime 1.31 (figures in `tests/performance/RESULTS.md`):

* `DequantizeLinear` in front of an operator is not computed while loading but in every call, and together with a MatMul
  becomes MatMulNBits, which rounds the windows' values too: a chunk of one window gives other bits than larger ones.
* Static quantisation of activations leaves recurrent layers as they are (there is no such kernel), is slower in each
  kind of network that was tried, and cuts off what is outside of the calibrated ranges: an anomaly.
* Dynamic quantisation scales by the whole chunk.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from models import bundle as bundles
from models import extras
from models.bundle import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from models.bundle import Bundle

LEVELS = 127
"""The greatest number; -128 is left out, so that a weight and its opposite are rounded alike."""

_LEAST = 64  # numbers of a weight that are worth a scale and two more nodes
_WEIGHTS = {"LSTM": (1, 2), "MatMul": (0, 1), "Gemm": (1,), "Conv": (1,), "ConvTranspose": (1,)}
"""Which inputs of an operator are weights. Biases stay as they are: they are few, and add to every sum."""

_LEFT_OUT = (".keras", ".png")
"""How names of files end that a bundle with rounded weights does not have: they are of other networks than its own."""


def require() -> None:
    """Look whether what writes graphs is installed.

    Raises:
        TrainingError: if it is not.
    """
    extras.require("an export with --int8", ["onnx"])


def graphs(bundle: Bundle) -> list[str]:
    """Return the names of a bundle's graphs, one for each member."""
    return list(dict.fromkeys(member.onnx for member in bundle.manifest.members))


def write(bundle: Bundle, folder: Path) -> Bundle:
    """Write a bundle's files into `folder`, its graphs with rounded weights; the manifest is for `bundles.publish`.

    Returns:
        The files with their manifest, ready to be served, under the hash of the bundle that they were made from.

    Raises:
        BundleError: if a file is not as the manifest says, or there is nothing to round.
    """
    if bundle.manifest.rounded is not None:
        message = f"bundle {bundle.path}: its weights have 8 bits already"
        raise BundleError(message)
    names, some = graphs(bundle), False
    for name in bundle.manifest.files:
        content = bundle.content(name)
        if name in names:
            made = rounded(content)
            some |= made is not None
            content = content if made is None else made
        if not name.endswith(_LEFT_OUT):
            (folder / name).write_bytes(content)
    if not some:
        message = (
            f"bundle {bundle.path}: no weight of it has {_LEAST} numbers or more: there is nothing to make smaller"
        )
        raise BundleError(message)
    return replace(bundle, path=folder, manifest=bundle.manifest.model_copy(update={"files": bundles.describe(folder)}))


def rounded(content: bytes) -> bytes | None:
    """Return an ONNX file with its weights rounded; None if it has none that are worth it."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load_from_string(content)
    graph = model.graph
    constants = {constant.name: constant for constant in graph.initializer}
    before: list[Any] = []
    for name, axes in _found(graph, constants).items():
        numbers, scale = rows(numpy_helper.to_array(constants[name]), axes)
        graph.initializer.remove(constants[name])
        graph.initializer.extend(
            [numpy_helper.from_array(numbers, f"{name}_int8"), numpy_helper.from_array(scale, f"{name}_scale")]
        )
        before += [
            helper.make_node("Cast", [f"{name}_int8"], [f"{name}_whole"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{name}_whole", f"{name}_scale"], [name]),
        ]
    if not before:
        return None
    nodes = [*before, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(model, full_check=True)
    made: bytes = model.SerializeToString(deterministic=True)
    return made


def rows(weights: NDArray[np.float32], axes: tuple[int, ...]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return weights as whole numbers, and what these are multiplied by.

    Args:
        weights: finite.
        axes: along which they share a scale; the scale keeps them with size 1.
    """
    scale = np.abs(weights).max(axis=axes, keepdims=True) / np.float32(LEVELS)
    scale = np.where(scale > 0, scale, np.float32(1)).astype(np.float32)
    return np.clip(np.rint(weights / scale), -LEVELS, LEVELS).astype(np.int8), scale


def _found(graph: Any, constants: dict[str, Any]) -> dict[str, tuple[int, ...]]:  # noqa: ANN401 - an ONNX graph
    """Return the weights that are worth rounding by name, with the axes that are summed over."""
    from onnx import TensorProto

    found: dict[str, tuple[int, ...]] = {}
    for node in graph.node:
        for place in _WEIGHTS.get(node.op_type, ()):
            constant = constants.get(node.input[place])
            if constant is None or constant.data_type != TensorProto.FLOAT or np.prod(constant.dims) < _LEAST:
                continue
            found.setdefault(constant.name, tuple(_summed(node, place, len(constant.dims))))
    return found


def _summed(node: Any, place: int, rank: int) -> Iterator[int]:  # noqa: ANN401 - an ONNX node
    """Yield the axes of a weight that its operator sums over: what is left of them makes one output each."""
    if node.op_type in {"Conv", "ConvTranspose"}:
        yield 1 if node.op_type == "Conv" else 0
        yield from range(2, rank)
        return
    turned = node.op_type == "Gemm" and any(each.name == "transB" and each.i for each in node.attribute)
    second = node.op_type == "LSTM" or turned or (node.op_type == "MatMul" and place == 0)
    yield rank - 1 if second or rank == 1 else rank - 2
