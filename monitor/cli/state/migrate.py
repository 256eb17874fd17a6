"""`tidegauge state migrate`: the state of a topic whose number of partitions was changed, or that was made anew."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import get_args

import click

from monitor.cli import _quiet
from monitor.cli._engine import engine_of
from monitor.cli._options import json_option, set_option
from monitor.cli.state._open import snapshot_of, tell
from monitor.config import load
from monitor.kafka.partitioner import Partitioner, partitioner
from monitor.kafka.takeover import Takeover
from monitor.sources.base import Batch, Key, SourceError
from monitor.state import StateStore
from monitor.upkeep.group import StateTopics, grow
from monitor.upkeep.moving import Moved, Target, misplaced, move
from monitor.upkeep.reading import EXIT_OPERATOR, Loaded, LoadedFleets, Reader, messages_of


@click.command(name="migrate")
@click.argument("config_path", metavar="CONFIG", type=click.Path(path_type=Path))
@click.option("--partitions", type=click.IntRange(min=1), required=True, help="Partitions that the topic has now.")
@click.option("--topic", help="Input topic; may be left out if there is one.")
@click.option("--from", "folder", type=click.Path(path_type=Path), help="Take the state from a snapshot.")
@click.option(
    "--partitioner",
    "kind",
    type=click.Choice(get_args(Partitioner)),
    default="murmur2",
    show_default=True,
    help="How producers choose a partition: murmur2 (Java, kafka-python), crc32 (librdkafka: confluent, kcat).",
)
@click.option("--force", is_flag=True, help="Although records or streams do not fit: each is told on standard error.")
@set_option
@json_option
def command(
    config_path: Path,
    partitions: int,
    topic: str | None,
    folder: Path | None,
    kind: Partitioner,
    force: bool,  # noqa: FBT001 - click passes it by name
    overrides: tuple[str, ...],
    as_json: bool,  # noqa: FBT001 - as above
) -> None:
    """Move the streams of CONFIG's group to the partitions that their keys have now.

    All members must be stopped. It is for a topic that has got more partitions, or was made anew with any number. The
    id of a stream must be the key of its messages. Windows, lines and firing alerts move along; where offsets and times
    of a partition cannot, deploy/README.md says what becomes of them.
    """
    config = load(config_path, overrides)
    _quiet.configure(config)
    engine = engine_of(config)
    fleets = engine.fleets
    place = partitioner(kind, partitions)
    with StateTopics(config) as state:
        topic = _one(state, topic)
        with state.take_over(tell) as takeover:
            held = sum(key[0] == topic for key in takeover.places)
            if held != partitions:
                message = f"the topic {topic!r} has {held} partitions: --partitions must be what it has"
                raise SourceError(message, EXIT_OPERATOR)
            store: StateStore = state.store if folder is None else (snapshot := snapshot_of(folder))
            keys = state.keys(topic) if folder is None else sorted(key for key in snapshot.parts if key[0] == topic)
            loaded = _load(Reader(engine, store, state.again, {topic: takeover.identity(topic)}), keys)
            if not loaded:
                message = f"there is no state of {topic!r} to move"
                raise SourceError(message, EXIT_OPERATOR)
            anew = _anew(loaded, takeover, topic)
            if folder is None and not anew and set(loaded) == set(range(partitions)):
                message = f"the state of {topic!r} has {partitions} partitions already: there is nothing to move"
                raise SourceError(message, EXIT_OPERATOR)
            targets = _targets(loaded, takeover, topic, partitions, anew=anew)
            _doubts(state, topic, loaded, takeover, kind, place, anew=anew, force=force)
            identity = takeover.identity(topic)
            moved = {name: move(each, _of(loaded, name), targets, place, identity) for name, each in fleets.items()}
            grow(state, topic, partitions)
            ends = state.store.ends([(topic, number) for number in range(partitions)])
            messages = [
                message
                for number in range(partitions)
                for message in messages_of(
                    {name: each.wholes[number] for name, each in moved.items()},
                    fleets,
                    state.store.topic(topic),
                    ends[topic, number],
                )
            ]
            state.put(takeover, messages, {(topic, number): target.offset for number, target in enumerate(targets)})
    _report(topic, list(moved.values()), targets, as_json=as_json)


def _of(loaded: Mapping[int, LoadedFleets], fleet: str) -> dict[int, Loaded]:
    """Return what one fleet knows of each partition."""
    return {number: each.fleets[fleet] for number, each in loaded.items()}


def _report(topic: str, moves: Sequence[Moved], targets: Sequence[Target], *, as_json: bool) -> None:
    """Say what was done, all fleets together."""
    rows = [
        {
            "topic": topic,
            "partition": number,
            "offset": target.offset,
            "streams": sum(each.wholes[number].partition.table.live_count for each in moves),
        }
        for number, target in enumerate(targets)
    ]
    streams, moved, doubled = (sum(getattr(each, name) for each in moves) for name in ("streams", "moved", "doubled"))
    if as_json:
        found = {"streams": streams, "moved": moved, "doubled": doubled, "partitions": rows}
        click.echo(json.dumps(found, indent=2))
        return
    for row in rows:
        click.echo(f"{topic}-{row['partition']}  offset {row['offset']}  {row['streams']} streams")
    twice = f"; {doubled} were in two partitions, and the older was dropped" if doubled else ""
    click.echo(f"{streams} streams, {moved} of them moved{twice}")


def _one(state: StateTopics, topic: str | None) -> str:
    """Return the topic that is meant."""
    topics = state.topics(topic)
    if len(topics) > 1:
        message = f"source.topics has {len(topics)} topics: name one with --topic"
        raise click.UsageError(message)
    return topics[0]


def _load(reader: Reader, keys: list[Key]) -> dict[int, LoadedFleets]:
    """Return the partitions of which there is state."""
    found: dict[int, LoadedFleets] = {}
    for key in keys:
        loaded = reader.fitting(key)
        if loaded is not None:
            found[key[1]] = loaded
            if loaded.gone is not None:
                tell(f"{key[0]}-{key[1]}: windows begin anew: {loaded.gone}")
    return found


def _anew(loaded: Mapping[int, LoadedFleets], takeover: Takeover, topic: str) -> bool:
    """Return whether the topic is another one than that of the state."""
    now = takeover.identity(topic)
    return any(now is not None and each.meta.input not in {None, now} for each in loaded.values())


def _targets(
    loaded: Mapping[int, LoadedFleets], takeover: Takeover, topic: str, partitions: int, *, anew: bool
) -> list[Target]:
    """Return where each partition goes on: where it stood, or at its first record."""
    found = []
    for number in range(partitions):
        place = takeover.places[topic, number]
        if anew or number not in loaded:
            found.append(Target(place.first, same=False))
            continue
        offset = loaded[number].meta.next_offset
        if not place.first <= offset <= place.end:
            message = (
                f"lost offsets: the state of {topic}-{number} stands at {offset}, and the topic holds {place.first} to"
                f" {place.end}"
            )
            raise SourceError(message, EXIT_OPERATOR)
        found.append(Target(offset, same=True))
    return found


def _doubts(
    state: StateTopics,
    topic: str,
    loaded: Mapping[int, LoadedFleets],
    takeover: Takeover,
    kind: Partitioner,
    place: Callable[[bytes], int],
    *,
    anew: bool,
    force: bool,
) -> None:
    """Refuse, or only say with `force`, what would tear streams apart.

    Raises:
        SourceError: without `force`.
    """
    before = partitioner(kind, max(loaded) + 1)
    wrong = sum(misplaced({number: each}, before) for number, found in loaded.items() for each in found.fleets.values())
    streams = sum(each.streams for each in loaded.values())
    if wrong:
        _doubt(
            f"{wrong} of {streams} streams are not in the partition of {max(loaded) + 1} that {kind} gives their id:"
            " their producers partition otherwise (--partitioner), or by another key",
            force=force,
        )
    left = 0 if anew else sum(_left(state, takeover, (topic, number), each, place) for number, each in loaded.items())
    if left:
        _doubt(
            f"{left} records that were written for the old number of partitions are not processed yet: their streams"
            " have moved, and they would begin new ones where they lie. Better let the daemon read the topic to its"
            " end before partitions are added",
            force=force,
        )


def _doubt(text: str, *, force: bool) -> None:
    if not force:
        message = f"{text}; --force goes on all the same"
        raise SourceError(message, EXIT_OPERATOR)
    tell(text)


def _left(state: StateTopics, takeover: Takeover, key: Key, loaded: LoadedFleets, place: Callable[[bytes], int]) -> int:
    """Return how many unread records of a partition belong to another one now."""
    now = takeover.places.get(key)
    begin = loaded.meta.next_offset
    if now is None or now.end <= begin:
        return 0
    return sum(
        place(record_key) != key[1]
        for batches in state.again(key, begin, now.end)
        for batch in batches
        if isinstance(batch, Batch)
        for record_key in batch.keys
        if record_key is not None
    )
