"""`tidegauge schema`: JSON Schemas."""

from __future__ import annotations

import json

import click

from monitor.cli._schemas import SCHEMAS


@click.command(name="schema")
@click.argument("name", type=click.Choice(tuple(SCHEMAS)))
def command(name: str) -> None:
    """Print a JSON Schema (2020-12): of the configuration, of records, of alert events, or of their data."""
    click.echo(json.dumps(SCHEMAS[name](), indent=2, ensure_ascii=False))
