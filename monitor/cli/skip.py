"""`tidegauge skip`: past a record that cannot even be fetched, or past records that are gone."""

from __future__ import annotations

import json
from pathlib import Path

import click

from monitor.cli import _quiet
from monitor.cli._engine import engine_of
from monitor.cli._options import json_option, set_option
from monitor.cli.state._open import tell
from monitor.config import Config, load
from monitor.delivery import DeadLetterFile, letter_message
from monitor.kafka.takeover import Place
from monitor.message import Message
from monitor.sources.base import Key, SourceError
from monitor.upkeep.group import StateTopics
from monitor.upkeep.reading import EXIT_OPERATOR, LoadedFleets, Reader
from monitor.upkeep.skipping import MOST, Between, between


@click.command(name="skip")
@click.argument("config_path", metavar="CONFIG", type=click.Path(path_type=Path))
@click.option("--topic", required=True, help="Input topic.")
@click.option("--partition", type=click.IntRange(min=0), required=True, help="Its partition.")
@click.option("--offset", type=click.IntRange(min=-1), required=True, help="The last offset to skip.")
@click.option("--all", "every", is_flag=True, help="Although records that can be read are skipped, too.")
@set_option
@json_option
def command(
    config_path: Path,
    topic: str,
    partition: int,
    offset: int,
    every: bool,  # noqa: FBT001 - click passes it by name
    overrides: tuple[str, ...],
    as_json: bool,  # noqa: FBT001 - as above
) -> None:
    """Let CONFIG's group go on behind an offset of a partition, with its state, in one transaction.

    All members must be stopped. What the daemon's last line names is skipped: a batch that cannot be read, or records
    that are gone. A record that can be read becomes a dead letter of reason `skipped`; more than one of them are
    skipped only with --all. Lines, alerts and windows stay; windows begin anew only if the input is gone from which
    they would be rebuilt.
    """
    config = load(config_path, overrides)
    _quiet.configure(config)
    key, to = (topic, partition), offset + 1
    with StateTopics(config) as state:
        state.topics(topic)
        engine = engine_of(config)
        with state.take_over(tell) as takeover:
            place = takeover.places.get(key)
            if place is None:
                message = f"the topic {topic!r} has no partition {partition}"
                raise SourceError(message, EXIT_OPERATOR)
            reader = Reader(engine, state.store, state.again, {topic: takeover.identity(topic)})
            loaded = reader.fitting(key) if state.kept and key in state.keys(topic) else None
            stands = _stands(key, place, loaded)
            _check(key, place, stands, to)
            found = between(state.reader, key, max(stands, place.first), to)
            _doubts(key, found, offset, every=every)
            if loaded is not None and loaded.gone is not None:
                tell(f"windows begin anew: {loaded.gone}")
            for reason in found.reasons:
                tell(f"skipped: {reason}")
            messages = _letters(config, found)
            if loaded is not None:
                loaded.dead_lettered(len(found.letters))
                messages += loaded.messages(state.store.topic(topic), to, state.store.ends([key])[key])
            state.put(takeover, messages, {key: to})
    lost = max(0, min(place.first, to) - stands)
    fields = {
        "topic": topic,
        "partition": partition,
        "from": stands,
        "offset": to,
        "dead_letters": len(found.letters),
        "unreadable": [{"first": first, "last": last} for first, last in found.unreadable],
        "gone": lost,
        "windows_restarted": loaded is not None and loaded.gone is not None,
    }
    if as_json:
        click.echo(json.dumps(fields, indent=2))
        return
    click.echo(f"{topic}-{partition}  from {stands} to {to}: {len(found.letters)} dead letters, {lost} records gone")


def _stands(key: Key, place: Place, loaded: LoadedFleets | None) -> int:
    """Return where the partition stands: where its state does, or else the group.

    Raises:
        SourceError: if neither does.
    """
    if loaded is not None:
        return loaded.meta.next_offset
    if place.committed is None:
        message = f"the group has neither offset nor state of {key[0]}-{key[1]}: it begins at source.start"
        raise SourceError(message, EXIT_OPERATOR)
    return place.committed


def _check(key: Key, place: Place, stands: int, to: int) -> None:
    """Make sure that a partition can go on at an offset.

    Raises:
        SourceError: if it cannot.
    """
    least = min(stands, place.end)  # behind the end: the topic has lost records
    if not max(least, place.first) <= to <= place.end:
        message = (
            f"--offset {to - 1}: {key[0]}-{key[1]} stands at {stands} and holds {place.first} to {place.end}: name"
            f" {max(least, place.first) - 1} to {place.end - 1}"
        )
        raise SourceError(message, 2)


def _doubts(key: Key, found: Between, offset: int, *, every: bool) -> None:
    """Refuse to skip more than what was meant.

    Raises:
        SourceError: if it is more.
    """
    last = max((last for _, last in found.unreadable), default=-1)
    if last > offset:
        message = f"--offset {offset}: lies in a batch that cannot be read: skip all of it with --offset {last}"
        raise SourceError(message, 2)
    count = len(found.letters)
    if count > MOST:
        message = f"more than {MOST} records that can be read would be skipped: skip them in steps"
        raise SourceError(message, 2)
    if not every and count > (0 if found.unreadable else 1):
        message = (
            f"{count} records of {key[0]}-{key[1]} that can be read lie before offset {offset + 1}: let the daemon"
            " process them until it stops, or make dead letters of them with --all"
        )
        raise SourceError(message, EXIT_OPERATOR)


def _letters(config: Config, found: Between) -> list[Message]:
    """Return the dead letters that go to Kafka; those that go to a file are written."""
    dead = config.dead_letter
    if dead is None or not found.letters:
        return []
    if dead.topic is not None and dead.type in {None, "kafka"}:
        return [letter_message(dead.topic, letter) for letter in found.letters]
    file = DeadLetterFile(dead.path or "")
    try:
        file.write(found.letters)
    finally:
        file.close()
    return []
