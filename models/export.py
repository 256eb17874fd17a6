"""Keras to ONNX: one graph that takes raw windows with holes and gives scores, nothing else to compute around it.

The networks, in scaled units, are converted by tf2onnx; what lies around them is written here node by node, because the
converter turns a choice between two values into a sum of products, in which NaN wins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from models import backend
from models.base import Shape, find
from models.bundle import BundleError
from models.cells import TrainingError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

    from models.base import Autoencoder, Hyperparameters, Networks
    from models.bundle import Bundle
    from models.graph import Graph
    from models.scaling import Scaling

OPSET = 17
LIMIT = 1e6
"""Scaled values are held within ± this, so that no finite input can overflow to infinity, and infinity to NaN."""

TOLERANCE = 1e-4
"""The largest relative difference between Keras and ONNX Runtime with which a bundle is written."""

_LEAST = (
    1e-3  # squared scaled units: an error below is compared as this, for float32 rounding of values near 1 shows there
)
_GREATEST = float(np.finfo(np.float32).max)
_CORE = ("cell_errors", "scaled_reconstruction", "latent")


def core(kind: type[Autoencoder], networks: Networks, shape: Shape, hyper: Hyperparameters) -> Any:  # noqa: ANN401 - a Keras model
    """Return the Keras model of what the kind computes: scaled windows in, cell errors, reconstruction and code out."""
    backend.load()
    import keras

    scaled = keras.Input((shape.length, shape.features), name="scaled")
    return keras.Model(scaled, kind.cell_errors(networks, scaled, hyper), name="core")


def _erfc(context: Any, node: Any, _name: str, _arguments: Any) -> None:  # noqa: ANN401 - tf2onnx has no types
    """Write erfc, which `gelu` is made of and the converter does not know, as 1 − erf."""
    node.type = "Erf"
    one = context.make_const(f"{node.name}_one", np.array(1, np.float32))
    minus = context.insert_new_node_on_output("Neg", node.output[0], name=f"{node.name}_minus")
    context.insert_new_node_on_output("Add", minus.output[0], f"{node.name}_plus", [minus.output[0], one.output[0]])


def convert(model: Any, shape: Shape, scaling: Scaling) -> bytes:  # noqa: ANN401 - a Keras model; Keras has no types
    """Return the ONNX file of a bundle made from a `core` model."""
    import onnx
    import tensorflow as tf
    import tf2onnx

    signature = [tf.TensorSpec((None, shape.length, shape.features), tf.float32, name="scaled")]
    graph = tf.function(lambda scaled: model(scaled, training=False), input_signature=signature)
    made, _ = tf2onnx.convert.from_function(
        graph, input_signature=signature, opset=OPSET, custom_op_handlers={"Erfc": (_erfc, [])}
    )
    _rename(made.graph, dict(zip([node.name for node in made.graph.output], _CORE, strict=True)))
    before, after, constants = _around(scaling, shape)
    nodes = [*before, *made.graph.node, *after]
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    made.graph.initializer.extend(constants)
    code = made.graph.output[2].type.tensor_type.shape.dim[1].dim_value
    ends = {
        "windows": ("n", shape.length, shape.features),
        "score": ("n",),
        "errors": ("n", shape.features),
        "reconstruction": ("n", shape.length, shape.features),
        "latent": ("n", code),
    }
    described = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, sizes) for name, sizes in ends.items()
    ]
    del made.graph.input[:], made.graph.output[:]
    made.graph.input.extend(described[:1])
    made.graph.output.extend(described[1:])
    made.graph.name, made.producer_name, made.producer_version = "autoencoder", "tidegauge", ""
    made.doc_string = made.graph.doc_string = ""  # the converter writes names in that differ by run
    _number(made.graph)
    onnx.checker.check_model(made, full_check=True)
    content: bytes = made.SerializeToString(deterministic=True)
    return content


def _rename(graph: Any, names: dict[str, str]) -> None:  # noqa: ANN401 - an ONNX graph
    """Give the graph's outputs their names, wherever they are read or written."""
    for node in graph.node:
        for ends in (node.input, node.output):
            for position, end in enumerate(ends):
                ends[position] = names.get(end, end)
    for node in graph.output:
        node.name = names[node.name]


def _number(graph: Any) -> None:  # noqa: ANN401 - an ONNX graph
    """Order nodes as the outputs need them, and number them, constants and what lies between them in that order.

    The converter's names differ from run to run, and with them its order of nodes that do not depend on each other.
    """
    nodes = _ordered(graph)
    del graph.node[:]
    graph.node.extend(nodes)
    names = {end.name: end.name for end in (*graph.input, *graph.output)} | {"": ""}
    for position, node in enumerate(graph.node):
        for ends in (node.input, node.output):
            for place, end in enumerate(ends):
                ends[place] = names.setdefault(end, f"t{len(names)}")
        node.name = f"{node.op_type}_{position}"
    constants = [constant for constant in graph.initializer if constant.name in names]
    for constant in constants:
        constant.name = names[constant.name]
    constants.sort(key=lambda constant: int(constant.name[1:]))
    del graph.initializer[:], graph.value_info[:]
    graph.initializer.extend(constants)


def _ordered(graph: Any) -> list[Any]:  # noqa: ANN401 - an ONNX graph
    """Return the nodes that the outputs depend on, each behind those that it needs."""
    made = {end: position for position, node in enumerate(graph.node) for end in node.output}
    ordered: list[Any] = []
    seen: set[int] = set()
    waiting = [(made[end.name], False) for end in reversed(graph.output)]
    while waiting:
        position, ready = waiting.pop()
        node = graph.node[position]
        if ready:
            ordered.append(node)
        elif position not in seen:
            seen.add(position)
            waiting.append((position, True))
            waiting += [(made[end], False) for end in reversed(node.input) if end in made and made[end] not in seen]
    return ordered


def _around(scaling: Scaling, shape: Shape) -> tuple[list[Any], list[Any], list[Any]]:
    """Return the nodes before the networks, those after them, and their constants.

    Constants have a window's shape, not a row's: ONNX Runtime walks over rows of a few features one by one, and over
    whole windows at the speed of memory, with the same results to the last bit.

    A missing cell becomes the feature's training mean for the network, and counts in no error. Errors are summed
    up one after the other: ReduceSum along a row in memory gives other bits where the row begins at another address, so
    that a score would depend on the window's place in the batch. Counts are whole numbers, exact in any order.
    """
    from onnx import TensorProto, helper, numpy_helper

    def window(row: ArrayLike) -> NDArray[np.float32]:
        return np.tile(np.asarray(row, np.float32), (shape.length, 1))

    values = {
        "offset": window(scaling.offset),
        "scale": window(scaling.scale),
        "mean": window(scaling.missing()),
        "least": np.float32(-LIMIT),
        "most": np.float32(LIMIT),
        "lowest": np.float32(-_GREATEST),
        "highest": np.float32(_GREATEST),
        "one": np.float32(1),
        "zero": np.float32(0),
        "rows": np.array([1]),
        "axis": np.array(1),
        "last": np.array(-1),
    }
    constants = [numpy_helper.from_array(np.asarray(value), f"unit/{name}") for name, value in values.items()]

    def node(operator: str, ends: str, output: str, **settings: Any) -> Any:  # noqa: ANN401 - ONNX attributes
        names = [f"unit/{end}" if end in values else end for end in ends.split()]
        return helper.make_node(operator, names, [output], name=f"unit/{output}", **settings)

    before = [
        node("IsNaN", "windows", "missing"),
        node("Sub", "windows offset", "centred"),
        node("Div", "centred scale", "divided"),
        node("Clip", "divided least most", "clipped"),
        node("Where", "missing mean clipped", "scaled"),
    ]
    after = [
        node("Where", "missing zero cell_errors", "present_errors"),
        node("Not", "missing", "present"),
        node("Cast", "present", "weights", to=TensorProto.FLOAT),
        node("CumSum", "present_errors axis", "running"),
        node("Gather", "running last", "sums", axis=1),
        node("ReduceSum", "weights rows", "counts", keepdims=0),
        node("Max", "counts one", "counts_least"),
        node("Div", "sums counts_least", "errors"),
        node("CumSum", "sums axis", "running_sums"),
        node("Gather", "running_sums last", "sum", axis=1),
        node("ReduceSum", "counts rows", "count", keepdims=0),
        node("Max", "count one", "count_least"),
        node("Div", "sum count_least", "score"),
        node("Mul", "scaled_reconstruction scale", "multiplied"),
        node("Add", "multiplied offset", "moved"),
        node("Clip", "moved lowest highest", "reconstruction"),
    ]
    return before, after, constants


def difference(model: Any, graph: Graph, windows: NDArray[np.float32], scaling: Scaling) -> float:  # noqa: ANN401 - a Keras model
    """Return the largest relative difference between Keras and ONNX Runtime over all outputs of windows `(n, L, F)`.

    Errors are compared relative to themselves (to 1e-3 squared scaled units where they are smaller), reconstructions
    in scaled units and codes relative to the largest magnitude of their column (a feature that never moved may be
    rebuilt as exactly 0). The windows are compared a second time with a tenth of the cells missing.
    """
    holes = windows.copy()
    holes[np.random.default_rng(0).random(holes.shape) < 0.1] = np.nan  # noqa: PLR2004 - a tenth of the cells
    both = np.concatenate([windows, holes])
    present = ~np.isnan(both)
    scaled = np.where(present, np.clip(scaling.apply(both), -LIMIT, LIMIT), scaling.missing())
    errors, rebuilt, codes = (np.asarray(part, np.float64) for part in model.predict(scaled, batch_size=32, verbose=0))
    sums, counts = (errors * present).sum(axis=1), present.sum(axis=1)
    scores = graph.score(both)
    own = sums / np.maximum(counts, 1), sums.sum(axis=1) / np.maximum(counts.sum(axis=1), 1)
    found = [
        _share(expected, got, np.maximum(np.abs(expected), _LEAST))
        for expected, got in zip(own, (scores.errors, scores.score), strict=True)
    ]
    raw = rebuilt * np.asarray(scaling.scale) + np.asarray(scaling.offset)
    # in raw units a float32 cannot be finer than its own magnitude allows
    scaled_size, raw_size = (np.abs(part).max(axis=(0, 1)) for part in (rebuilt, raw))
    size = np.maximum(np.maximum(scaled_size, _LEAST) * np.asarray(scaling.scale), raw_size * _LEAST)
    found.append(_share(raw, scores.reconstruction, size))
    found.append(_share(codes, graph.encode(both), np.maximum(np.abs(codes).max(axis=0), np.finfo(np.float32).tiny)))
    return max(found)


def _share(expected: NDArray[Any], got: NDArray[Any], size: NDArray[Any]) -> float:
    """Return the largest difference as a share of `size`; infinity if anything is not finite."""
    with np.errstate(invalid="ignore"):
        share = np.abs(expected - got) / size
    return float(share.max()) if np.isfinite(share).all() else float("inf")


def compare(model: Any, graph: Graph, windows: NDArray[np.float32], scaling: Scaling) -> None:  # noqa: ANN401 - a Keras model
    """Refuse a graph that does not compute what Keras does.

    Raises:
        TrainingError: if they differ by more than `TOLERANCE`.
    """
    found = difference(model, graph, windows, scaling)
    if not found <= TOLERANCE:
        message = (
            f"the ONNX graph differs from Keras by {found:.1e} (relative), {TOLERANCE:g} at most: no bundle is written"
        )
        raise TrainingError(message)


def save(networks: Networks, folder: Path) -> None:
    """Save autoencoder, encoder and decoder, each as a Keras file, for those who go on in Keras."""
    for name in ("autoencoder", "encoder", "decoder"):
        getattr(networks, name).save(folder / f"{name}.keras")


def restore(bundle: Bundle) -> Networks:
    """Build a bundle's networks from its manifest, and load their weights; no architecture is read from a file.

    Raises:
        BundleError: if the weights are not as the manifest says, or were left out when they were rounded.
    """
    member, manifest = bundle.manifest.members[0], bundle.manifest
    if manifest.rounded is not None:
        message = (
            f"bundle {bundle.path} has weights of 8 bits and no networks of Keras: name the bundle that it was made"
            f" from (sha256 {manifest.rounded.bundle[:12]})"
        )
        raise BundleError(message)
    backend.load()
    shape = Shape(manifest.window.length, len(manifest.features))
    networks = find(member.kind).build(shape, member.hyperparameters)
    bundle.content("autoencoder.keras")  # checked once more
    networks.autoencoder.load_weights(bundle.path / "autoencoder.keras")
    return networks
