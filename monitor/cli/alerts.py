"""`tidegauge alerts`: what has been published to the alerts topic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from monitor.alert import RULE
from monitor.cli import _quiet
from monitor.cli._kafka import alerts_topic, connection, readable
from monitor.cli._options import set_option
from monitor.config import ConfigError, load
from monitor.kafka.range import Range

_POLL_SECONDS = 0.5


class _Cause(msgspec.Struct):
    """An entry of `attribution`."""

    feature: str


class _Data(msgspec.Struct):
    """What is shown of an event's data."""

    status: str
    anomaly_score: float
    severity: str
    attribution: list[_Cause] = []
    labels: dict[str, str] = {}


class _Event(msgspec.Struct):
    """What is shown of an event."""

    time: str
    subject: str
    data: _Data


@click.command(name="alerts")
@click.argument("config_path", metavar="CONFIG", type=click.Path(path_type=Path))
@click.option("--follow", is_flag=True, help="Wait for more at the end.")
@click.option(
    "--from", "begin", default="beginning", show_default=True, metavar="beginning|end|TIME", help="Where to begin."
)
@click.option("--json", "as_json", is_flag=True, help="Print the events as they are, one a line.")
@set_option
def command(
    config_path: Path,
    follow: bool,  # noqa: FBT001 - click passes it by name
    begin: str,
    as_json: bool,  # noqa: FBT001 - as above
    overrides: tuple[str, ...],
) -> None:
    """Print the alerts topic of CONFIG, committed events only; no consumer group is touched.

    TIME is that of publishing, as ISO 8601.
    """
    config = load(config_path, overrides)
    _quiet.configure(config)
    topic = alerts_topic(config)
    if topic is None:
        message = f"{config_path}: sink: none of type kafka: there is no alerts topic to read"
        raise ConfigError(message)
    with readable():
        events = Range(connection(config, config_path), topic, begin, None if follow else "end")
        try:
            while not events.exhausted:
                for records in events.poll(_POLL_SECONDS).values():
                    for record in records:
                        click.echo((_raw if as_json else _line)(record))
        finally:
            events.close()


def _raw(record: Any) -> bytes:  # noqa: ANN401 - the client has no types
    """Return an event as it is, on one line: a line break between tokens of JSON is a space as well."""
    value: bytes = record.value or b""
    return value.replace(b"\r", b" ").replace(b"\n", b" ")


def _line(record: Any) -> str:  # noqa: ANN401 - as above
    """Return an event for people."""
    try:
        event = msgspec.json.decode(record.value or b"", type=_Event)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return f"no alert: partition {record.partition} offset {record.offset}"
    data = event.data
    feature = data.attribution[0].feature if data.attribution else "–"
    kind = data.labels.get("kind", RULE)
    feature = feature if kind == RULE else f"{feature} ({kind})"
    text = f"{event.time}  {event.subject}  {data.status:<8}  {data.anomaly_score:8.3g}  {data.severity:<8}  {feature}"
    return "".join(character if character.isprintable() else "�" for character in text)
