"""Faults between the members and the brokers, by the proxies and by what the client is told: F10, F11, F12."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from tests.faults import proxy
from tests.faults.catalogue import fault
from tests.faults.points import GIVEN_UP, Step
from tests.faults.world import CLIENTS, World

APIS = {"messages": proxy.PRODUCE, "partitions": proxy.ADD_PARTITIONS, "offsets": proxy.OFFSETS, "end": proxy.END}


def _delayed(world: World) -> None:
    for each in world.proxies.of.values():
        each.weather.delay = 0.3
    world.fleet.rest(6)


def _silent(world: World) -> None:
    """One node cannot be reached, and nobody is told."""
    node = world.chance.choice(world.cluster.numbers)
    world.proxies.of[node].weather.silent = True
    world.fleet.rest(world.chance.uniform(3, 9))


def _reset(world: World) -> None:
    for _ in range(6):
        world.proxies.reset(*world.chance.sample(world.cluster.numbers, world.chance.randrange(1, 4)))
        world.fleet.rest(0.8)


def _half(world: World) -> None:
    for _ in range(3):
        world.proxies.close_half()
        world.fleet.rest(1.5)


def _refused(world: World) -> None:
    for each in world.proxies.of.values():
        each.weather.refuse = True
    world.proxies.reset()
    world.fleet.rest(5)


def _answers_lost(world: World) -> None:
    """The brokers do what they are asked, and the answer does not arrive."""
    for _ in range(4):
        api = world.chance.choice(list(APIS.values()))
        for each in world.proxies.of.values():
            each.weather.lose[api] = 1
        world.fleet.rest(1.5)


def _ends_lost(world: World) -> None:
    for _ in range(4):
        for each in world.proxies.of.values():
            each.weather.lose[proxy.END] = 1
        world.fleet.rest(1.5)


def _ends_twice(world: World) -> None:
    for each in world.proxies.of.values():
        each.weather.twice[proxy.END] = 20
    world.fleet.rest(5)


def _ends_late(world: World) -> None:
    """The end of a transaction arrives when the next one has long begun (KIP-890, Jepsen)."""
    for _ in range(3):
        for each in world.proxies.of.values():
            each.weather.held = world.chance.uniform(0.2, 4)
            each.weather.hold[proxy.END] = 1
        world.fleet.rest(3)


KINDS: dict[str, Callable[[World], None]] = {
    "delay": _delayed,
    "silence": _silent,
    "reset": _reset,
    "half-close": _half,
    "refused": _refused,
    "answers lost": _answers_lost,
    "EndTxn's answer lost": _ends_lost,
    "EndTxn twice": _ends_twice,
    "EndTxn late": _ends_late,
}


@fault("F10", "the network delays, drops, resets, and loses or repeats the end of a transaction", weight=6)
def network(world: World) -> list[str]:
    """One kind of bad weather."""
    if not world.weathers:
        world.weathers = list(KINDS)
        world.chance.shuffle(world.weathers)
    kind = world.weathers.pop()
    world.told.append(kind)
    KINDS[kind](world)
    world.proxies.fair()
    return []


_ONE, _ALL = "one member", "all members"
LINKS = tuple(itertools.product((1, 2, 3), (_ONE, _ALL), ("both", "to", "from")))
"""How many brokers are cut off, from whom, and in which direction: `to` them, `from` them or `both`."""


@fault("F11", "links between members and brokers are down, once for 4 to 12 s or again and again", weight=2)
def link_down(world: World) -> list[str]:
    """Nothing gets through, and nobody is told; connections live on, and what was on its way arrives when it can.

    By the proxies, and not with network namespaces: those would need links of the machine's own.
    """
    if not world.links:
        world.links = list(LINKS)
        world.chance.shuffle(world.links)
    count, who, way = world.links.pop()
    nodes = world.chance.sample(world.cluster.numbers, count)
    whom = world.pick() if who == _ONE else ""
    flapping = world.chance.random() < 0.3
    world.told.append(f"{count} of 3 brokers, {who}, {way}{', flapping' if flapping else ''}")
    for _ in range(5 if flapping else 1):
        for node in nodes:
            weather = world.proxies.of[node].weather
            weather.way, weather.whom = way, whom
            weather.silent = True
        world.fleet.rest(world.chance.uniform(0.5, 2.5) if flapping else world.chance.uniform(4, 12))
        world.proxies.fair()
        if flapping:
            world.fleet.rest(world.chance.uniform(0.1, 1))
    return []


ANSWERS = {
    "NotEnoughReplicasError": 400,  # again and again, until the message is given up
    "OutOfOrderSequenceNumberError": 1,
    "UnknownProducerIdError": 1,
    "InvalidProducerEpochError": 1,
    "NotLeaderForPartitionError": 3,
    "RequestTimedOutError": 2,
    "UnknownError": 1,
    GIVEN_UP: 5,
}


@fault("F12", "brokers answer messages with errors, or messages are given up", weight=2)
def answers(world: World) -> list[str]:
    """One kind of error, for some time."""
    # What brokers say to librdkafka cannot be made up.
    made_up = list(ANSWERS) if world.client == CLIENTS[0] else [GIVEN_UP]
    error = world.chance.choice(world.answers or made_up)
    world.told.append(error)
    name = world.pick()
    world.kill(name)
    passes = world.chance.randrange(1, 10)
    step = Step("answer", passes, "error", error, times=ANSWERS[error])
    if error == GIVEN_UP:
        step = Step("drain", passes, "expire", times=ANSWERS[error])
    world.fleet.members[name].start([step])
    world.fleet.rest(8)
    world.kill(name)
    return []
