"""`tidegauge topics`: the topics that a configuration needs, and what the cluster has of them."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from monitor.cli import _quiet
from monitor.cli._kafka import connection, needed, readable
from monitor.cli._options import json_option, set_option
from monitor.config import load
from monitor.kafka.topics import Cluster, Found, Topic


@click.command(name="topics")
@click.argument("config_path", metavar="CONFIG", type=click.Path(path_type=Path))
@click.option("--create", is_flag=True, help="Make those that are missing; never alters one.")
@set_option
@json_option
def command(
    config_path: Path,
    create: bool,  # noqa: FBT001 - click passes it by name
    overrides: tuple[str, ...],
    as_json: bool,  # noqa: FBT001 - as above
) -> None:
    """Show the topics that CONFIG needs, with their settings, and what the cluster has."""
    config = load(config_path, overrides)
    _quiet.configure(config)
    wanted = needed(config)
    settings = connection(config, config_path)
    with readable():
        cluster = Cluster(settings)
        try:
            made = cluster.create(wanted) if create else []
            found = cluster.find([topic.name for topic in wanted])
        finally:
            cluster.close()
    wanted = [topic.beside(found) for topic in wanted]
    if as_json:
        topics = [_fields(topic, found.get(topic.name), made) for topic in wanted]
        fields = {"bootstrap_servers": list(settings.bootstrap_servers), "topics": topics}
        click.echo(json.dumps(fields, indent=2, ensure_ascii=False))
        return
    for line in _lines(wanted, found, made):
        click.echo(line)


def _fields(topic: Topic, found: Found | None, made: Collection[str]) -> dict[str, Any]:
    """Return what `--json` says of a topic."""
    there = None
    if found is not None:
        there = {
            "partitions": found.partitions,
            "replication": found.replication,
            "configs": dict(found.configs),
        }
    return {
        "name": topic.name,
        "purpose": topic.purpose,
        "partitions": topic.partitions,
        "configs": dict(topic.configs),
        "created": topic.name in made,
        "found": there,
    }


def _lines(wanted: Sequence[Topic], found: Mapping[str, Found], made: Collection[str]) -> list[str]:
    """Return what people read."""
    width = max(len(topic.name) for topic in wanted) if wanted else 0
    lines = []
    for topic in wanted:
        there = found.get(topic.name)
        if there is None:
            state = f"missing: wants {topic.partitions} partitions{_settings(topic.configs)}"
        else:
            state = "made" if topic.name in made else "there"
            state += f": {there.partitions} partitions, {there.replication} replicas{_settings(there.configs)}"
            if there.partitions != topic.partitions:
                state += f"; it must have {topic.partitions}, as its input" if topic.like else ""
                state += "" if topic.like else f"; {topic.partitions} would be made (source.partitions)"
        lines.append(f"{topic.name:<{width}}  {topic.purpose:<12}  {state}")
        if topic.hint:
            lines.append(f"{'':<{width}}  {'':<12}  {topic.hint}")
    return lines


def _settings(configs: Mapping[str, str]) -> str:
    return "".join(f", {name}={value}" for name, value in sorted(configs.items()))
