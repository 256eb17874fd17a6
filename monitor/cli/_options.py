"""Options that several verbs have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Verb = TypeVar("Verb", bound=Callable[..., Any])


def config_option(*, required: bool = False) -> Callable[[Verb], Verb]:
    """`--config FILE`."""
    return click.option(
        "--config", "config_path", type=click.Path(path_type=Path), required=required, help="Configuration file (YAML)."
    )


def set_option(verb: Verb) -> Verb:
    """`--set key=value`, many times."""
    return click.option(
        "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a setting, such as window.length=140."
    )(verb)


def json_option(verb: Verb) -> Verb:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")(verb)
