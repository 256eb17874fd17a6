"""What becomes of a restored partition when something else takes it on than what wrote it: a new bundle, another stage.

A bundle that the state has not had is a decision of the operator (`state.on_new_bundle`). One that it has had, but that
is not its last, belongs to a member that a rolling deployment has left behind: that one never takes state back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitor.alert import Alert
from monitor.pipeline import Pipeline
from monitor.state.entry import Meta, ModelMark
from monitor.state.restore import Restore
from monitor.state.rows import StateError
from monitor.state.settings import Policy
from monitor.state.stages import NAMES, Generation, Stage, restart


class SupersededError(StateError):
    """Another member has gone on with a newer bundle."""


@dataclass(frozen=True, slots=True)
class Adopted:
    """What an adoption did.

    Attributes:
        stages: generations from here on.
        alerts: events that resolve alerts of the old model.
        restarted: names of the stages that began anew.
        changed: whether anything did, so that it must be committed.
    """

    stages: dict[str, Generation]
    alerts: list[Alert]
    restarted: list[str]
    changed: bool


def check_bundle(meta: Meta, model: ModelMark, policy: Policy, setting: str = "model.bundle") -> bool:
    """Return whether a state changes its bundle; `setting` is what names the bundle.

    Raises:
        SupersededError: if it has gone on to a newer one.
        StateError: if it may not change it.
    """
    had = [sha256 for sha256, _ in meta.bundles]
    if had[-1] == model.sha256:
        return False
    if model.sha256 in had:
        message = (
            f"superseded: the state has gone on from this bundle ({model.sha256[:12]}) to {had[-1][:12]}:"
            f" give this member the newer bundle ({setting})"
        )
        raise SupersededError(message)
    if policy == "refuse":
        message = (
            f"the state belongs to bundle {had[-1][:12]}, and {setting} is {model.sha256[:12]}: set"
            " state.on_new_bundle to restart_lines (lines begin anew, firing alerts are resolved) or keep_lines"
        )
        raise StateError(message)
    return True


def adopt(restore: Restore, pipeline: Pipeline, stages: Sequence[Stage], model: ModelMark, policy: Policy) -> Adopted:
    """Bring a restored partition to the present stages and model; to be called once it is up to date.

    Firing alerts of a model whose lines are not kept are resolved, and so are those whose columns begin anew. Where
    these stay, so does the rest after an opening: the same trouble is not told twice.
    """
    meta, partition = restore.meta, restore.partition
    table, committed = partition.table, meta.next_offset
    replaced = check_bundle(meta, model, policy)
    restarted = set(restore.restarted)
    alerts: list[Alert] = []
    if replaced and policy == "restart_lines":
        restarted.add("line")
    if (replaced and policy == "restart_lines") or "alert" in restarted:
        for alerter in pipeline.alerters:
            firing = np.flatnonzero(alerter.firing(table) & table["live"])
            alerts += alerter.model_changed(table, partition.key, firing, committed - 1, partition.time.value)
            partition.changes.decided(firing)
            partition.changes.decided(alerter.forget_runs(table))  # a run over the old line is none over the new one
    everything = np.arange(table.capacity)
    numbers = dict(meta.stages)
    for stage in stages:
        if stage.name in restarted:
            restart(table, stage.columns, everything)
            old = numbers[stage.name]
            numbers[stage.name] = Generation(stage.signature, old.number + 1, committed)
    if "window" in restarted:
        partition.counts["late"] += meta.pending  # they waited in windows that are gone
    alerts.sort(key=lambda alert: alert.order)
    ordered = [name for name in NAMES if name in restarted]
    return Adopted(numbers, alerts, ordered, bool(replaced or ordered))


def leave(restore: Restore, pipeline: Pipeline, slots: NDArray[np.intp]) -> list[Alert]:
    """Forget streams that belong to another fleet now, once they are up to date; return the ends of their alerts.

    Records of theirs that wait are late: nothing will use them any more.
    """
    partition, table = restore.partition, restore.partition.table
    chosen = np.zeros(table.capacity, np.bool_)
    chosen[slots] = True
    alerts: list[Alert] = []
    for alerter in pipeline.alerters:
        firing = np.flatnonzero(alerter.firing(table) & table["live"] & chosen)
        offset = restore.meta.next_offset - 1
        alerts += alerter.model_changed(table, partition.key, firing, offset, partition.time.value)
    partition.counts["late"] += len(pipeline.windower.unfinished(table, slots))
    table.drop(slots)
    table.settle()
    partition.time.recount(table)
    alerts.sort(key=lambda alert: alert.order)
    return alerts
