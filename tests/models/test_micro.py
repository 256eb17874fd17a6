"""What a LiteRT file asks of a microcontroller."""

from __future__ import annotations

import contextlib
import io
import warnings
from itertools import pairwise

import numpy as np
import pytest

from models import backend
from models.micro import needs, plan


def test_buffers_that_never_meet_share_their_place() -> None:
    """The arena would be the sum of all tensors, and too large for the chip that it fits on."""
    assert plan([]) == 0
    assert plan([(64, 0, 1), (32, 1, 2), (64, 2, 3)]) == 96
    assert plan([(64, 0, 3), (32, 1, 1), (32, 2, 2), (16, 1, 2)]) == 64 + 32 + 16
    assert plan([(10, step, step + 1) for step in range(50)]) == 20


def test_a_plan_is_never_below_what_lives_at_once() -> None:
    """The firmware would stop when it allocates its tensors."""
    random = np.random.default_rng(0)
    for _ in range(50):
        first = random.integers(0, 10, 8)
        buffers = [(int(size), int(a), int(a + more)) for size, a, more in zip(
            random.integers(1, 9, 8) * 16, first, random.integers(0, 5, 8), strict=True
        )]  # fmt: skip
        most = max(sum(size for size, a, b in buffers if a <= step <= b) for step in range(15))
        assert most <= plan(buffers) <= sum(size for size, _, _ in buffers)


@pytest.mark.slow
def test_operators_that_microcontrollers_lack_are_named() -> None:
    """A model would be flashed that the interpreter refuses."""
    backend.load()
    import tensorflow as tf

    spec = tf.TensorSpec((1, 8), tf.float32)
    traced = tf.function(lambda values: tf.tile(tf.nn.relu(values), [1, 4])).get_concrete_function(spec)
    with warnings.catch_warnings(), backend.silence(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        content = tf.lite.TFLiteConverter.from_concrete_functions([traced]).convert()
    found = needs(content)
    assert found.operators == {"RELU": 1, "TILE": 1}
    assert found.lacking == ("TILE",)
    # 8 floats go in, 8 lie between, 32 come out: the last two steps meet
    assert found.tensors == (8 + 32) * 4
    assert found.arena > found.tensors
    assert all(a < b for a, b in pairwise(found.operators))
