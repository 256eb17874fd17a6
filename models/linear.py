"""The linear autoencoder of views: principal components in closed form, as an ONNX graph of the bundle's form.

What a network adds can only be told beside it: on telemetry these carry most of the score. It trains in a second
and needs no TensorFlow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_WINDOWS = 800
"""Windows that are decomposed at most, evenly spread over those there are."""

_LEAST_SQUARE = 1e-12
_OPSET = 17


@dataclass(frozen=True)
class Linear:
    """Mean `(D,)` and orthonormal axes `(K, D)` of flattened views, D = rows × features."""

    mean: NDArray[np.float64]
    axes: NDArray[np.float64]

    def residual(self, views: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return what is left of views `(n, rows, F)`, in the same shape."""
        flat = views.reshape(len(views), -1).astype(np.float64) - self.mean
        left: NDArray[np.float64] = flat - flat @ self.axes.T @ self.axes
        return left.reshape(views.shape)


def fit(views: NDArray[np.float32], variance: float) -> Linear:
    """Return the fewest principal components of views `(n, rows, F)`, n ≥ 1, that explain so much of the variance.

    At least one component is kept, also of views that never change.
    """
    chosen = np.unique(np.linspace(0, len(views) - 1, min(len(views), MOST_WINDOWS)).round().astype(np.int64))
    flat = views[chosen].reshape(len(chosen), -1).astype(np.float64)
    mean = flat.mean(axis=0)
    squares, axes = _decomposed(flat - mean)
    total = float(np.sum(squares))
    kept = 1 + int(np.searchsorted(np.cumsum(squares), variance * total)) if total > 0 else 1
    return Linear(mean, axes[: min(kept, len(axes))])


def _decomposed(centred: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return squared singular values of `(n, D)`, falling, and their axes.

    Of wide matrices by way of the products of their rows: that takes a tenth of the time. It knows nothing of axes with
    less than 1e-12 of the largest square, which no share of the variance worth naming needs; they are left out.
    """
    if len(centred) >= centred.shape[1]:
        _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
        return sizes**2, axes
    squares, rows = np.linalg.eigh(centred @ centred.T)
    known = max(1, int(np.count_nonzero(squares > _LEAST_SQUARE * squares[-1])))
    squares, rows = np.maximum(squares[: -known - 1 : -1], 0.0), rows[:, : -known - 1 : -1]
    axes, _ = np.linalg.qr(centred.T @ rows)  # orthonormal to the last bit also where a square is small
    return squares, axes.T


def graph(model: Linear, rows: int, features: int) -> bytes:
    """Return the ONNX file: views in, score, errors, reconstruction and code out."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    size, code = rows * features, len(model.axes)
    values = {
        "flat": np.array([-1, size]),
        "whole": np.array([-1, rows, features]),
        "mean": model.mean.astype(np.float32),
        "down": np.ascontiguousarray(model.axes.T, np.float32),
        "up": np.ascontiguousarray(model.axes, np.float32),
        "rows": np.array([1]),
        "axis": np.array(1),
        "last": np.array(-1),
        "row_count": np.float32(rows),
        "feature_count": np.float32(features),
    }
    # Sums run one after the other (CumSum): ReduceSum gives other bits where a row begins at another address.
    nodes = [
        helper.make_node("Reshape", ["windows", "flat"], ["flattened"]),
        helper.make_node("Sub", ["flattened", "mean"], ["moved"]),
        helper.make_node("MatMul", ["moved", "down"], ["latent"]),
        helper.make_node("MatMul", ["latent", "up"], ["back"]),
        helper.make_node("Add", ["back", "mean"], ["rebuilt"]),
        helper.make_node("Reshape", ["rebuilt", "whole"], ["reconstruction"]),
        helper.make_node("Sub", ["windows", "reconstruction"], ["residual"]),
        helper.make_node("Mul", ["residual", "residual"], ["squares"]),
        helper.make_node("CumSum", ["squares", "axis"], ["row_sums"]),
        helper.make_node("Gather", ["row_sums", "last"], ["sums"], axis=1),
        helper.make_node("Div", ["sums", "row_count"], ["errors"]),
        helper.make_node("CumSum", ["errors", "axis"], ["feature_sums"]),
        helper.make_node("Gather", ["feature_sums", "last"], ["sum"], axis=1),
        helper.make_node("Div", ["sum", "feature_count"], ["score"]),
    ]
    ends: dict[str, list[str | int | None]] = {
        "windows": ["n", rows, features],
        "score": ["n"],
        "errors": ["n", features],
        "reconstruction": ["n", rows, features],
        "latent": ["n", code],
    }
    described = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in ends.items()]
    constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()]
    made = helper.make_graph(nodes, "linear", described[:1], described[1:], constants)
    model_proto = helper.make_model(
        made, opset_imports=[helper.make_opsetid("", _OPSET)], producer_name="tidegauge", ir_version=9
    )
    onnx.checker.check_model(model_proto, full_check=True)
    content: bytes = model_proto.SerializeToString(deterministic=True)
    return content
