"""`tidegauge state import`: a snapshot becomes the state of a consumer group."""

from __future__ import annotations

import json
from pathlib import Path

import click

from monitor.cli import _quiet
from monitor.cli._options import json_option, set_option
from monitor.cli.state._open import snapshot_of, tell
from monitor.config import load
from monitor.kafka.takeover import Takeover
from monitor.message import Message
from monitor.sources.base import Key, SourceError
from monitor.state.snapshot import Snapshot
from monitor.upkeep.group import StateTopics, fits, imported
from monitor.upkeep.reading import EXIT_OPERATOR


@click.command(name="import")
@click.argument("config_path", metavar="CONFIG", type=click.Path(path_type=Path))
@click.option("--from", "folder", type=click.Path(path_type=Path), required=True, help="What `state export` wrote.")
@click.option("--force", is_flag=True, help="Although the group has offsets or state: these are lost.")
@set_option
@json_option
def command(
    config_path: Path,
    folder: Path,
    force: bool,  # noqa: FBT001 - click passes it by name
    overrides: tuple[str, ...],
    as_json: bool,  # noqa: FBT001 - as above
) -> None:
    """Give CONFIG's group the state and the offsets of a snapshot, in one transaction.

    All members must be stopped. A group that has offsets or state already is refused without --force: to set it back
    is to publish again, under the same ids, what it has published since.
    """
    config = load(config_path, overrides)
    _quiet.configure(config)
    snapshot = snapshot_of(folder)
    with StateTopics(config) as state:
        for topic in state.source.topics:
            state.keys(topic)
        with state.take_over(tell) as takeover:
            _check(state, takeover, snapshot, force=force)
            ends = state.store.ends(list(snapshot.parts))
            messages: list[Message] = []
            for key in snapshot.parts:
                name = state.store.topic(key[0])
                messages += imported(snapshot, key, name, ends[key], takeover.identity(key[0]))
            state.put(takeover, messages, {key: part.offset for key, part in snapshot.parts.items()})
    rows = [{"topic": p.topic, "partition": p.partition, "offset": p.offset} for p in snapshot.parts.values()]
    if as_json:
        click.echo(json.dumps({"group": state.source.group_id, "partitions": rows}, indent=2))
        return
    for row in rows:
        click.echo(f"{row['topic']}-{row['partition']}  offset {row['offset']}")


def _check(state: StateTopics, takeover: Takeover, snapshot: Snapshot, *, force: bool) -> None:
    """Make sure that the snapshot can be the group's state.

    Raises:
        SourceError: if it cannot.
    """
    logs: set[Key] = {key for topic in state.source.topics for key in state.keys(topic)}
    held = {topic: sum(key[0] == topic for key in takeover.places) for topic in state.source.topics}
    for key, part in snapshot.parts.items():
        if key[0] not in held:
            message = f"the snapshot is of the topic {key[0]!r}, which is none of source.topics"
            raise SourceError(message, EXIT_OPERATOR)
        theirs = 1 + max(number for topic, number in snapshot.parts if topic == key[0])
        if key not in takeover.places or key not in logs:
            message = (
                f"the snapshot has {theirs} partitions of {key[0]!r}, the topic has {held[key[0]]}, and its state has"
                f" {sum(log[0] == key[0] for log in logs)}: `tidegauge state migrate CONFIG --topic {key[0]}"
                f" --partitions {held[key[0]]} --from DIR` moves streams to the partitions that there are"
            )
            raise SourceError(message, EXIT_OPERATOR)
        fits(key, part.offset, takeover.places[key])
    if force:
        return
    known = [key for key, place in takeover.places.items() if place.committed is not None]
    known += [key for key, end in state.store.ends(sorted(logs)).items() if end and state.store.newest(key, end)]
    if known:
        names = ", ".join(f"{topic}-{number}" for topic, number in sorted(set(known)))
        message = f"the group has offsets or state already ({names}): --force replaces them"
        raise SourceError(message, EXIT_OPERATOR)
