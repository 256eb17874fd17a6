"""`tidegauge state`: look at the state of a consumer group, save it, bring it back, move it."""

from __future__ import annotations

import click

from monitor.cli import Verbs


@click.group(name="state", cls=Verbs, package=__name__)
def command() -> None:
    """What is known of the streams: look at it, save it, bring it back, move it to other partitions."""
