"""Faults of what comes in: F14, F20."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from kafka import KafkaProducer
from kafka.record.util import calc_crc32c

from tests.faults.catalogue import fault
from tests.faults.faults_side import aside_of, refuses
from tests.faults.feed import START
from tests.faults.world import Verdict, World

_BOMB = 8 << 20
_KEYS, _KEY_SECONDS, _MOST_STREAMS = 10_000, 6.0, 300
_CRC_AT, _ATTRIBUTES_AT, _NO_CODEC = 17, 21, 6


@fault(
    "F14",
    "records and batches that nobody can use, one that is small only on the wire, 100,000 keys a minute",
    weight=2,
)
def poison(world: World) -> list[str]:
    """A tenth of the records is garbage; a kill falls in between. Then, beside it, one thing that is worse."""
    world.feed.garbage = 0.1
    world.fleet.rest(2)
    with_bomb = KafkaProducer(
        bootstrap_servers=world.cluster.bootstrap.split(","), compression_type="gzip", max_request_size=2 * _BOMB
    )
    try:
        with_bomb.send(world.topics["input"], key=b"bomb", value=b"[" + b" " * _BOMB, partition=0).get(timeout=20)
    finally:
        with_bomb.close(timeout=10)
    world.kill(world.pick())
    world.fleet.rest(3)
    world.feed.garbage = 0.0
    if not world.poisons:
        world.poisons = list(KINDS)
        world.chance.shuffle(world.poisons)
    kind = world.poisons.pop()
    world.told.append(kind)
    return [f"F14 {kind}: {each}" for each in KINDS[kind](world)]


def _flood(world: World) -> list[str]:
    """New keys at 100,000 a minute, in a job whose partitions take few streams: the rest are dead letters."""
    with aside_of(world, {"record": {"max_streams": _MOST_STREAMS}}) as aside:
        producer = KafkaProducer(bootstrap_servers=world.cluster.bootstrap.split(","), linger_ms=5)
        value = json.dumps({"time": START, "values": {"pressure": 50.0, "flow": 1000.0}}).encode()
        try:
            for turn in range(10):
                for key in range(turn * _KEYS // 10, (turn + 1) * _KEYS // 10):
                    producer.send(aside.topics["input"], key=b"new-%d" % key, value=value)
                aside.fleet.rest(_KEY_SECONDS / 10)
            producer.flush(60)
        finally:
            producer.close(timeout=10)
        verdict = aside.check(Verdict("F14"))
        few = [] if verdict.letters >= _KEYS // 2 else [f"only {verdict.letters} dead letters"]
        return verdict.broken + few


def _damaged(spoil: Callable[[bytearray], None]) -> Callable[[World], list[str]]:
    """Return a fault that spoils a batch on the disks of all brokers: the member ends, says so, and goes on later."""

    def run(world: World) -> list[str]:
        with aside_of(world) as aside:
            broken = aside.check(Verdict("F14")).broken
            aside.fleet.stop("m0")
            aside.feed.start()
            world.fleet.rest(1.5)
            aside.feed.stop()
            name = f"{aside.topics['input']}-0"
            files = [log / name / f"{0:020}.log" for log in world.cluster.logs.values() if (log / name).is_dir()]
            if not files:
                return ["no broker's log is in reach"]
            whole = [_spoil(file, spoil) for file in files]
            try:
                broken += refuses(aside, name.rpartition("-")[0], "tidegauge skip")
            finally:
                for file, (at, batch) in zip(files, whole, strict=True):
                    _overwrite(file, at, batch)
            aside.fleet.members["m0"].daemon = None
            return broken + aside.check(Verdict("F14")).broken

    return run


def _spoil(file: Path, spoil: Callable[[bytearray], None]) -> tuple[int, bytes]:
    """Spoil the last batch of a segment; return where it is, and what it was."""
    data = file.read_bytes()
    at = following = 0
    while following + 12 <= len(data) and (size := int.from_bytes(data[following + 8 : following + 12], "big")):
        at, following = following, following + 12 + size
    batch = bytearray(data[at:following])
    spoil(batch)
    _overwrite(file, at, bytes(batch))
    return at, data[at:following]


def _overwrite(file: Path, at: int, data: bytes) -> None:
    with file.open("r+b") as opened:
        opened.seek(at)
        opened.write(data)


def _another_byte(batch: bytearray) -> None:
    """Change the last byte: the checksum is not that of what was written."""
    batch[-1] ^= 0x55


def _no_codec(batch: bytearray) -> None:
    """Say that it is compressed by a codec that does not exist; the checksum is right."""
    batch[_ATTRIBUTES_AT + 1] = batch[_ATTRIBUTES_AT + 1] & ~7 | _NO_CODEC
    batch[_CRC_AT : _CRC_AT + 4] = calc_crc32c(bytes(batch[_ATTRIBUTES_AT:])).to_bytes(4, "big")


KINDS: dict[str, Callable[[World], list[str]]] = {
    "new keys": _flood,
    "damaged batch": _damaged(_another_byte),
    "unknown codec": _damaged(_no_codec),
}


@fault("F20", "producers abort what they wrote", weight=1)
def aborted(world: World) -> list[str]:
    """Aborted transactions in the input; a kill falls in between."""
    world.feed.aborted = 0.2
    world.fleet.rest(3)
    world.kill(world.pick())
    world.fleet.rest(3)
    world.feed.aborted = 0.0
    return []
