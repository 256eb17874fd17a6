"""Faults of brokers and of what they keep: F4, F6, F9, F13, F17."""

from __future__ import annotations

from tests.faults.catalogue import fault
from tests.faults.world import World


@fault("F4", "brokers are killed or restarted one after the other, the controller among them", weight=2)
def rolling(world: World) -> list[str]:
    """Kill -9, or SIGTERM, of each node in turn or of the controller; the next one when all are back."""
    cluster, chance = world.cluster, world.chance
    nodes = [cluster.leader_of_controllers()] if chance.random() < 0.4 else chance.sample(cluster.numbers, 3)
    for node in nodes:
        if chance.random() < 0.5:
            cluster.kill(node)
        else:
            cluster.stop(node)
        world.fleet.rest(chance.uniform(0.5, 3))
        cluster.mend()
    return []


@fault("F6", "brokers are frozen for 3 or 12 s", weight=2)
def frozen(world: World) -> list[str]:
    """SIGSTOP of one node or of all."""
    cluster, chance = world.cluster, world.chance
    nodes = cluster.numbers if chance.random() < 0.5 else [chance.choice(cluster.numbers)]
    seconds = chance.choice([3, 3, 12])
    for node in nodes:
        cluster.pause(node)
    world.fleet.rest(seconds)
    for node in nodes:
        cluster.resume(node)
    cluster.mend()
    return []


@fault("F13", "two of three brokers are gone for longer than a message may take", weight=1)
def too_few(world: World) -> list[str]:
    """Below min.insync.replicas and without a quorum, until they come back."""
    nodes = world.chance.sample(world.cluster.numbers, 2)
    for node in nodes:
        world.cluster.kill(node)
    world.fleet.rest(world.chance.uniform(7, 10))
    world.cluster.mend()
    return []
