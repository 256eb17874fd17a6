"""What a LiteRT file asks of a microcontroller: its operators, which of them the micro interpreter lacks, its memory.

The interpreter is TensorFlow Lite for Microcontrollers. It has no heap: all tensors that are not weights lie in one
array, the arena, whose size is fixed when the firmware is built. Where each tensor lies is planned as the interpreter's
own planner does: the largest first, each at the lowest place that is free for as long as it lives
(`greedy_memory_planner.cc`; Pisarchyk and Lee, Efficient memory management for deep neural net inference, 2020).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

_NAMES = """
ABS ADD ADD_N ARG_MAX ARG_MIN ASSIGN_VARIABLE AVERAGE_POOL_2D BATCH_MATMUL BATCH_TO_SPACE_ND BROADCAST_ARGS
BROADCAST_TO CALL_ONCE CAST CEIL CONCATENATION CONV_2D COS CUMSUM DEPTHWISE_CONV_2D DEPTH_TO_SPACE
DEQUANTIZE DIV ELU EMBEDDING_LOOKUP EQUAL EXP EXPAND_DIMS FILL FLOOR FLOOR_DIV FLOOR_MOD FULLY_CONNECTED
GATHER GATHER_ND GREATER GREATER_EQUAL HARD_SWISH IF L2_NORMALIZATION L2_POOL_2D LEAKY_RELU LESS LESS_EQUAL
LOG LOGICAL_AND LOGICAL_NOT LOGICAL_OR LOGISTIC LOG_SOFTMAX MAXIMUM MAX_POOL_2D MEAN MINIMUM MIRROR_PAD MUL
NEG NOT_EQUAL PACK PAD PADV2 PRELU QUANTIZE READ_VARIABLE REDUCE_MAX REDUCE_MIN RELU RELU6 RESHAPE
RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR REVERSE_V2 ROUND RSQRT SELECT_V2 SHAPE SIN SLICE SOFTMAX
SPACE_TO_BATCH_ND SPACE_TO_DEPTH SPLIT SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE SQUEEZE STRIDED_SLICE SUB SUM
SVDF TANH TRANSPOSE TRANSPOSE_CONV UNIDIRECTIONAL_SEQUENCE_LSTM UNPACK VAR_HANDLE WHILE ZEROS_LIKE
"""

OPERATORS = frozenset(_NAMES.split())
"""What `micro_mutable_op_resolver.h` of TensorFlow Lite for Microcontrollers can add, as of 2025."""

_ALIGNMENT = 16  # bytes that a tensor's place in the arena is a multiple of
_TENSOR = 16  # bytes of bookkeeping for each tensor, on a processor of 32 bits
_OPERATOR = 128  # the same for each operator: node, registration, and what it prepares
_BYTES = {"FLOAT32": 4, "INT32": 4, "INT64": 8, "INT16": 2, "FLOAT16": 2, "INT8": 1, "UINT8": 1, "BOOL": 1}


@dataclass(frozen=True, slots=True)
class Needs:
    """What a file asks for.

    Attributes:
        operators: how often each operator is used, by name.
        lacking: those that the micro interpreter does not have.
        tensors: bytes of the tensors that are not weights, in the greedy plan.
        arena: an estimate of the arena in bytes: the tensors and bookkeeping. Kernels of a vendor may ask for more.
    """

    operators: dict[str, int]
    lacking: tuple[str, ...]
    tensors: int
    arena: int


def needs(content: bytes) -> Needs:
    """Look through a LiteRT file that the converter has written.

    Raises:
        ImportError: if TensorFlow, which knows the format, is not installed.
    """
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.Model.GetRootAs(content, 0)
    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if name[0] != "_"}
    codes = [model.OperatorCodes(place) for place in range(model.OperatorCodesLength())]
    kinds = [names[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())] for code in codes]
    used: Counter[str] = Counter()
    tensors = total = 0
    for number in range(model.SubgraphsLength()):
        graph = model.Subgraphs(number)
        count = graph.OperatorsLength()
        used.update(kinds[graph.Operators(place).OpcodeIndex()] for place in range(count))
        size = plan(_buffers(schema, model, graph))
        tensors += size
        total += size + _TENSOR * graph.TensorsLength() + _OPERATOR * count
    operators = dict(sorted(used.items()))
    return Needs(operators, tuple(name for name in operators if name not in OPERATORS), tensors, total)


def plan(buffers: Sequence[tuple[int, int, int]]) -> int:
    """Return the bytes that buffers of (size, first use, last use) need, placed greedily; uses are included."""
    placed: list[tuple[int, int, int, int]] = []  # offset, end, first, last
    for size, first, last in sorted(buffers, key=lambda buffer: (-buffer[0], buffer[1])):
        offset = 0
        for begin, end, since, until in sorted(placed):
            if since <= last and first <= until:
                if begin - offset >= size:
                    break
                offset = max(offset, end)
        placed.append((offset, offset + size, first, last))
    return max((end for _, end, _, _ in placed), default=0)


def _buffers(schema: Any, model: Any, graph: Any) -> list[tuple[int, int, int]]:  # noqa: ANN401 - the format's own classes
    """Return size, first and last use of each tensor that is no constant; inputs live from the start, outputs on."""
    kinds = {code: name for name, code in vars(schema.TensorType).items() if name[0] != "_"}
    count = graph.OperatorsLength()
    first = {int(place): 0 for place in graph.InputsAsNumpy()}
    last = dict(first)
    for step in range(count):
        operator = graph.Operators(step)
        for place in _places(operator.OutputsAsNumpy()):
            first.setdefault(place, step)
            last[place] = step
        for place in _places(operator.InputsAsNumpy()):
            last[place] = step
    last |= {int(place): count for place in graph.OutputsAsNumpy()}
    found = []
    for place, since in first.items():
        tensor = graph.Tensors(place)
        if model.Buffers(tensor.Buffer()).DataLength():
            continue
        cells = int(np.prod(tensor.ShapeAsNumpy(), dtype=np.int64)) if tensor.ShapeLength() else 1
        size = cells * _BYTES.get(kinds[tensor.Type()], 8)
        found.append((-(-size // _ALIGNMENT) * _ALIGNMENT, since, last[place]))
    return found


def _places(tensors: Any) -> list[int]:  # noqa: ANN401 - an array, or 0 for none
    """Return the tensors that are there; an optional one that is not has the number -1."""
    return [int(place) for place in np.atleast_1d(tensors) if place >= 0] if np.ndim(tensors) else []
