"""Batches of windows."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from models.cells import Cells
from models.feeding import LEAST_STEPS, Feed
from models.scaling import fit, measure


def feed(cells: Cells, count: int, batch: int) -> Feed:
    """Return a feed of the first `count` windows."""
    scaling = fit(measure(cells.values, np.ones(len(cells.values), bool)), "minmax")
    return Feed(cells, np.arange(count), 12, scaling, batch)


def test_missing_cells_are_the_mean_for_the_network_and_nothing_for_the_loss(cells: Cells) -> None:
    """A hole would pull the reconstruction towards a number that nobody measured."""
    made = feed(cells, 50, 8)
    inputs, targets = made.take(np.arange(50))
    holes = np.isnan(cells.gather(np.arange(50), 12))
    assert holes.any()
    assert_array_equal(np.isnan(targets), holes)
    assert_allclose(inputs[holes], np.broadcast_to(made.scaling.missing(), inputs.shape)[holes])
    assert_array_equal(inputs[~holes], targets[~holes])


def test_an_epoch_has_at_least_50_steps(cells: Cells) -> None:
    """Twenty windows would be seen twenty times in all, and nothing would be learned."""
    made = feed(cells, 20, 8)
    order = made.order(0, 0)
    assert made.steps() == LEAST_STEPS
    assert len(order) == LEAST_STEPS * 8
    counts = np.bincount(order, minlength=20)
    assert counts.max() - counts.min() <= 1


def test_a_long_epoch_has_every_window_once(cells: Cells) -> None:
    """Windows would be left out or counted twice."""
    made = feed(cells, 300, 4)
    assert made.steps() == 75
    assert_array_equal(np.sort(made.order(0, 0)), np.arange(300))


def test_the_order_is_drawn_anew_for_each_epoch_and_the_same_for_each_seed(cells: Cells) -> None:
    """Epochs would repeat one order, or a training could not be repeated."""
    made = feed(cells, 300, 4)
    assert_array_equal(made.order(1, 2), made.order(1, 2))
    assert not np.array_equal(made.order(1, 2), made.order(1, 3))
    assert not np.array_equal(made.order(1, 2), made.order(2, 2))


def test_a_pass_goes_through_every_window_in_order(cells: Cells) -> None:
    """The last, smaller batch of a validation would be lost."""
    made = feed(cells, 21, 8)
    assert [len(inputs) for inputs, _ in made.once()] == [8, 8, 5]
