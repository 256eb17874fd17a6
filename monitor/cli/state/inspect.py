"""`tidegauge state inspect`: where the state of a consumer group or of files stands, and what it knows of a stream."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from monitor.cli import _quiet
from monitor.cli._engine import engine_of
from monitor.cli._options import json_option, set_option
from monitor.cli.state._open import state_of
from monitor.config import Config, load
from monitor.identity import ALL
from monitor.record import NEVER
from monitor.sources.base import Key, SourceError
from monitor.state import Meta, StateError, fleets_of, read_meta
from monitor.times import to_iso
from monitor.upkeep.files import StateFiles
from monitor.upkeep.group import StateTopics
from monitor.upkeep.reading import Stands, refused
from monitor.upkeep.rows import row


@click.command(name="inspect")
@click.argument("config_path", metavar="CONFIG", type=click.Path(path_type=Path))
@click.option("--topic", help="Of this input topic alone.")
@click.option("--partition", type=click.IntRange(min=0), help="Of this partition alone.")
@click.option("--stream", help="Show what is known of this stream.")
@set_option
@json_option
def command(
    config_path: Path,
    topic: str | None,
    partition: int | None,
    stream: str | None,
    overrides: tuple[str, ...],
    as_json: bool,  # noqa: FBT001 - click passes it by name
) -> None:
    """Show where the state of CONFIG's group stands, partition by partition, or what it knows of one stream.

    With a source of files it is the state in their directory (state.path), and the group's offset is the committed
    position. Nothing is changed, and no running daemon is disturbed. A stream is shown as of the committed offset; its
    windows are rebuilt from the input for that.
    """
    config = load(config_path, overrides)
    _quiet.configure(config)
    with state_of(config) as state:
        keys = [key for key in state.keys_of(topic) if partition in {None, key[1]}]
        if stream is None:
            found = list(_metas(state, keys))
            whole = {**state.told, "partitions": found}
            click.echo(json.dumps(whole, indent=2) if as_json else "\n".join(map(_meta_lines, found)))
            return
        rows = list(_rows(config, state, keys, stream))
    if not rows:
        message = f"no stream {stream!r} is known in {len(keys)} partitions"
        raise SourceError(message)
    if as_json:
        click.echo(json.dumps({"stream": stream, "rows": rows}, indent=2, ensure_ascii=False))
        return
    for found_row in rows:
        for line in _row_lines(found_row):
            click.echo(line)


def _metas(state: StateTopics | StateFiles, keys: list[Key]) -> Iterator[dict[str, Any]]:
    """Yield what META says of partitions, and where the group's offsets are."""
    stands = state.stands(keys)
    for key, end in state.store.ends(keys).items():
        newest = state.store.newest(key, end) if end else None
        try:
            meta = None if newest is None else read_meta(newest)
        except StateError as error:
            raise refused(key, error) from None
        yield _fields(key, meta, stands.get(key))


def _fields(key: Key, meta: Meta | None, stands: Stands | None) -> dict[str, Any]:
    """Return what there is to say of a partition."""
    found: dict[str, Any] = {
        "topic": key[0],
        "partition": key[1],
        "group_offset": None if stands is None else stands.committed,
        "input": None,
        "state": None,
    }
    if stands is not None and stands.held is not None:
        found["input"] = {"first": stands.held[0], "end": stands.held[1]}
    if meta is not None:
        found["state"] = {
            "offset": meta.next_offset,
            "time": None if meta.time == NEVER else to_iso(meta.time),
            "streams": meta.live,
            "counts": meta.counts,
            "pending": meta.pending,
            "needs_input_from": meta.needed,
            "log_from": meta.log,
            "format": meta.format,
            "bundle": meta.bundles[-1][0],
            "bundles": [{"sha256": sha256, "since": since} for sha256, since in meta.bundles],
            "configs": [{"sha256": sha256, "since": since} for sha256, since in meta.configs],
            "stages": {name: {"restarts": each.number, "since": each.since} for name, each in meta.stages.items()},
            "topic_id": meta.input,
            "versions": meta.versions,
        }
        fleets = fleets_of(meta)
        if list(fleets) != [ALL]:
            found["state"]["fleets"] = {
                name: {
                    "bundle": each.bundles[-1][0],
                    "bundles": [{"sha256": sha256, "since": since} for sha256, since in each.bundles],
                    "configs": [{"sha256": sha256, "since": since} for sha256, since in each.configs],
                    "streams": each.live,
                    "time": None if each.time == NEVER else to_iso(each.time),
                    "counts": each.counts,
                    "pending": each.pending,
                    "stages": {kind: {"restarts": s.number, "since": s.since} for kind, s in each.stages.items()},
                }
                for name, each in fleets.items()
            }
            for name in ("bundle", "bundles", "configs", "stages"):
                del found["state"][name]  # each fleet has its own
    return found


def _meta_lines(found: Mapping[str, Any]) -> str:
    """Return a partition for people."""
    where, meta = f"{found['topic']}-{found['partition']}", found["state"]
    group = "no offset" if found["group_offset"] is None else f"offset {found['group_offset']}"
    input_ = "" if found["group_offset"] is not None else ", no such partition"
    if found["input"] is not None:
        input_ = f", input {found['input']['first']} to {found['input']['end']}"
    if meta is None:
        return f"{where}  group {group}{input_}, no state"
    counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in sorted(meta["counts"].items()))
    first = (
        f"{where}  group {group}, state at {meta['offset']}{input_}: {meta['streams']} streams, time"
        f" {meta['time'] or '–'}"
    )
    second = f"  {counts or 'no records'}, {meta['pending']} pending; needs the input from {meta['needs_input_from']}"
    if "fleets" not in meta:
        return f"{first}\n{second}; {_written_by(meta)}"
    fleets = [
        f"  fleet {name}: {each['streams']} streams; {_written_by(each)}" for name, each in meta["fleets"].items()
    ]
    return "\n".join([first, second, *fleets])


def _written_by(found: Mapping[str, Any]) -> str:
    return f"bundle {found['bundle'][:12]}, configuration {found['configs'][-1]['sha256'][:12]}"


def _rows(config: Config, state: StateTopics | StateFiles, keys: list[Key], stream: str) -> Iterator[dict[str, Any]]:
    """Yield what is known of a stream, of each partition that knows it."""
    engine = engine_of(config)
    reader = state.reading(engine)
    for key in keys:
        loaded = reader.load(key)
        for name, each in {} if loaded is None else loaded.fleets.items():
            slot = each.partition.table.slots.get(stream.encode())
            if slot is not None:
                fleet = {} if name == ALL else {"fleet": name}
                yield {**row(engine.fleets[name], each, slot), **fleet}


def _row_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield a stream for people."""
    window, alert = found["window"], found["alert"]
    fleet = f" (fleet {found['fleet']})" if "fleet" in found else ""
    yield f"{found['stream']}{fleet}  {found['topic']}-{found['partition']}, as of offset {found['offset']}"
    yield f"  since offset {found['first_offset']}, last active {found['active'] or '–'} (partition time)"
    yield (
        f"  window: {window['rows']} rows ({window['fill']:.0%} of {window['length']}), last record"
        f" {window['last_time'] or '–'}, {window['waiting']} waiting{', one held' if window['held'] else ''}"
    )
    yield f"  line: {'–' if found['line'] is None else format(found['line'], '.6g')}"
    if alert["firing"]:
        yield (
            f"  alert: firing since {alert['since']} ({alert['severity']}, {alert['alert_id']}), last score"
            f" {alert['score']:.6g} over {alert['threshold']:.6g}, {alert['under_run']} windows under it"
        )
    else:
        yield (
            f"  alert: none firing, {alert['over_run']} windows over the line; last opened"
            f" {alert['last_opened'] or 'never'}; {alert['scored']} windows scored"
        )
    for stage in found["unread_stages"]:
        yield f"  the state of {stage} was written with other settings, and is not shown"
    if "windows_lost" in found:
        yield f"  windows cannot be rebuilt: {found['windows_lost']}"
    for name, value in found["columns"].items():
        yield f"  {name:<16} {json.dumps(value)}"
