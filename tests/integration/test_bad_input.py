"""Bad records through Kafka: each gets its reason, costs no other record, and stops nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.integration.conftest import Job, both_clients
from tests.integration.daemon import Daemon, until
from tests.integration.streams import MINUTE, PERIOD, START, rows, value
from tests.kafka.broker import Broker
from tests.kafka.topics import Record, consume_all, produce

ROW = 1_000


def with_pressure(text: bytes) -> bytes:
    """Return a record whose pressure is this text."""
    return b'{"time": %d, "values": {"pressure": %b}}' % (START + ROW * MINUTE, text)


def at(time: object) -> bytes:
    """Return a record with this time."""
    return json.dumps({"time": time, "values": {"pressure": 1.0}}).encode()


BAD: dict[str, list[tuple[bytes | None, bytes | None]]] = {
    "encoding": [(b"x", b'{"values": {"pressure": 1, "note": "\xff\xfe"}}')],
    "syntax": [
        (b"x", b"{broken"),
        (b"x", b""),
        (b"x", b'{"note": ' + b"[" * 50_000),
        (b"x", with_pressure(b"NaN")),
        (b"x", with_pressure(b"Infinity")),
    ],
    "range": [(b"x", with_pressure(b"1e39"))],
    "shape": [(b"x", with_pressure(b"true")), (b"x", with_pressure(b'"7"')), (b"x", b"[1, 2]"), (b"x", b"7")],
    "features": [
        (b"x", b'{"values": {"colour": 1}}'),
        (b"x", b'{"values": {"pressure": null}}'),
        (b"x", b'{"values": {}}'),
    ],
    "stream": [(key, value(ROW)) for key in (b"", b"x" * 257, b"a\nb", b"\xff", None)],
    "size": [(b"x", b'{"values": {"pressure": 1}, "note": "%b"}' % (b"y" * 65_536)), (b"x", b"z" * 1_000_000)],
    "null": [(b"x", None)],
    "time": [(b"x", at("1969-12-31T23:59:59Z")), (b"x", at("2101-01-01T00:00:00Z")), (b"x", at("yesterday"))],
}
EITHER = [(b"x", with_pressure(b"1e999")), (b"x", with_pressure(b"9" * 5_000))]
"""Numbers that no float holds: `range` or `syntax`, as the parser meets them."""


@both_clients
def test_each_gets_its_reason(kafka: Broker, job: Callable[..., Job], folder: Path) -> None:
    """If it failed, one producer's bug would cost other streams their records, or stop the daemon."""
    work = job()
    good = ("pump-1", "pump-2")
    bad = [(reason, key, raw) for reason, cases in BAD.items() for key, raw in cases]
    bad += [("range|syntax", key, raw) for key, raw in EITHER]
    records = list(rows(good, 0, PERIOD))
    mixed: list[Record] = []
    for number, record in enumerate(records):
        mixed.append(record)
        if number < len(bad):
            mixed.append(Record(bad[number][2], key=bad[number][1]))
    assert len(bad) < len(records)
    produce(kafka.bootstrap, work.input, mixed)
    with Daemon(folder / "one", work.member()) as daemon:
        until(lambda: daemon.consumed() == len(mixed), "the daemon stops at a bad record")
        until(lambda: daemon.identity() == (len(mixed), len(mixed)), "records are not accounted for")
        found = daemon.metrics()
        assert found['tidegauge_records_total{class="dead_lettered"}'] == len(bad)
        assert found['tidegauge_records_total{class="processed"}'] == len(records)
        for reason, cases in BAD.items():
            assert found[f'tidegauge_dead_letters_total{{reason="{reason}"}}'] >= len(cases), reason
        assert daemon.stop()[0] == 0
    letters = consume_all(kafka.bootstrap, work.dead)
    assert len(letters) == len(bad)
    for letter, (reason, key, raw) in zip(letters, bad, strict=True):
        headers = dict(letter.headers)
        assert headers["reason"].decode() in reason.split("|"), (headers, (raw or b"")[:80])
        sent = mixed[int(headers["source-offset"])]
        assert (sent.key, sent.value) == (key, raw)
        assert letter.key == key
        assert letter.value == (raw if len(raw or b"") < 900_000 else (raw or b"")[: 900_000 - len(key or b"")])
    fired = [json.loads(each.value)["subject"] for each in consume_all(kafka.bootstrap, work.alerts)]
    assert fired == list(good)


def test_too_many_streams_and_far_clocks(kafka: Broker, job: Callable[..., Job], folder: Path) -> None:
    """If it failed, a producer with random keys would fill the memory, or a wrong clock would pass unseen."""
    work = job()
    now = START + 10_000_000
    many = [Record(value(0), key=b"s%d" % number, timestamp_ms=START) for number in range(8)]
    far = [Record(value(1), key=b"s0", timestamp_ms=now)]
    produce(kafka.bootstrap, work.input, [*many, *far])
    config = {**work.member(), "record": {"max_streams": 5, "max_skew": "10m"}}
    with Daemon(folder / "one", config) as daemon:
        until(lambda: daemon.identity() == (9, 9), "records are not accounted for")
        found = daemon.metrics()
        assert daemon.stop()[0] == 0
    assert found['tidegauge_dead_letters_total{reason="cardinality"}'] == 3
    assert found['tidegauge_dead_letters_total{reason="skew"}'] == 1
    reasons = [dict(each.headers)["reason"] for each in consume_all(kafka.bootstrap, work.dead)]
    assert reasons == [b"cardinality"] * 3 + [b"skew"]


def test_a_jumping_clock_is_held_and_reset(kafka: Broker, job: Callable[..., Job], folder: Path) -> None:
    """If it failed, one record of the year 2099 would silence its stream, or the books would not balance."""
    work = job()
    forward = [Record(value(row), key=b"s") for row in range(20)]
    ahead = [Record(value(10_000_000), key=b"s"), *(Record(value(row), key=b"s") for row in range(20, 30))]
    back = [Record(value(row), key=b"s") for row in range(-40, -30)]
    produce(kafka.bootstrap, work.input, [*forward, *ahead, *back, forward[0]])
    total = 42
    with Daemon(folder / "one", work.member()) as daemon:
        until(lambda: daemon.identity() == (total, total), "records are not accounted for")
        found = daemon.metrics()
        assert daemon.stop()[0] == 0
    assert found["tidegauge_clock_resets_total"] == 1
    assert found['tidegauge_records_total{class="late"}'] == 1 + 7  # the one far ahead, and those before the reset
    assert found['tidegauge_dead_letters_total{reason="late"}'] == 0


def test_neither_key_nor_value(kafka: Broker, job: Callable[..., Job], folder: Path, kcat: str) -> None:
    """If it failed, an empty message, which Kafka allows and our client cannot even send, would stop the daemon."""
    import subprocess

    work = job()
    command = [kcat, "-P", "-Z", "-b", kafka.bootstrap, "-t", work.input, "-K", ":"]
    subprocess.run(command, input=b":\n", check=True, timeout=60)
    with Daemon(folder / "one", work.member()) as daemon:
        until(lambda: daemon.identity() == (1, 1), "the record is not accounted for")
        assert daemon.stop()[0] == 0
    (letter,) = consume_all(kafka.bootstrap, work.dead)
    assert dict(letter.headers)["reason"] == b"null"
