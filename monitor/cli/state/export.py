"""`tidegauge state export`: a snapshot of the state of a consumer group, or of an input of files."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from monitor.cli import _quiet
from monitor.cli._engine import engine_of
from monitor.cli._options import json_option, set_option
from monitor.cli.state._open import state_of, tell
from monitor.config import Config, load
from monitor.sources.base import SourceError
from monitor.sources.files import FileSettings
from monitor.state import StateError
from monitor.state.snapshot import Part, SnapshotWriter
from monitor.upkeep.reading import EXIT_OPERATOR


@click.command(name="export")
@click.argument("config_path", metavar="CONFIG", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Directory to make; it must not exist.")
@set_option
@json_option
def command(
    config_path: Path,
    out: Path,
    overrides: tuple[str, ...],
    as_json: bool,  # noqa: FBT001 - click passes it by name
) -> None:
    """Save what CONFIG's group knows of the streams, each partition at its committed offset.

    With a source of files it is the state in their directory (state.path). The daemon may run meanwhile. `tidegauge
    replay --state DIR` goes on from there, `tidegauge state import` brings a group's back. A snapshot is whole: no
    input is needed to read it.
    """
    config = load(config_path, overrides)
    _quiet.configure(config)
    engine = engine_of(config)
    with state_of(config) as state:
        keys = state.keys_of()
        reader = state.reading(engine)
        parts: list[tuple[Part, int]] = []
        try:
            with SnapshotWriter(out) as snapshot:
                for key in keys:
                    loaded = reader.fitting(key)
                    if loaded is None:
                        continue
                    if loaded.gone is not None:
                        tell(f"{key[0]}-{key[1]}: windows begin anew: {loaded.gone}")
                    part = snapshot.add(key, loaded.meta.next_offset, loaded.messages(key[0]))
                    parts.append((part, loaded.streams))
        except StateError as error:
            raise SourceError(str(error), EXIT_OPERATOR) from None
    if as_json:
        rows = [
            {"topic": p.topic, "partition": p.partition, "offset": p.offset, "streams": streams, "bytes": p.bytes}
            for p, streams in parts
        ]
        click.echo(json.dumps({"snapshot": str(out), "partitions": rows}, indent=2))
        return
    for part, streams in parts:
        click.echo(f"{part.topic}-{part.partition}  offset {part.offset}  {streams} streams  {part.bytes} bytes")
    for recording in _recordings(config, [part for part, _ in parts]):
        tell(f"from here on: tidegauge replay {recording} --config {config_path} --state {out}")


def _recordings(config: Config, parts: Sequence[Part]) -> Iterator[str]:
    """Yield what a replay from here on reads, as a shell takes it."""
    if isinstance(config.source, FileSettings):
        yield shlex.join(config.source.paths)
        return
    for topic in dict.fromkeys(part.topic for part in parts):
        places = ",".join(f"{part.partition}:{part.offset}" for part in parts if part.topic == topic)
        yield f"'kafka://{topic}?from={places}'"
