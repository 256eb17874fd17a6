"""The command line: one verb, one file, found by its name.

Data goes to stdout, everything else to stderr. Exit status: 0 done, 1 failed and a retry may help, 2 usage, 70 the
watchdog ended a hung transaction, 75 fenced by another instance, 78 an operator must act.
"""

from __future__ import annotations

import errno
import os
import pkgutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

import click

from models.bundle import BundleError
from models.cells import TrainingError
from models.evaluation import EvaluationError
from monitor import __version__
from monitor.config import EXIT_CONFIG, ConfigError
from monitor.http import HttpError
from monitor.sinks.base import SinkError
from monitor.sources.base import SourceError

_OUTPUT_ERRORS = {errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


class Verbs(click.Group):
    """Imports a verb when it is asked for: the daemon does not wait for what only training needs.

    A verb that is a word of Python has an underscore behind its file's name.
    """

    def __init__(self, *args: Any, package: str, **more: Any) -> None:
        """Take the verbs of a package."""
        super().__init__(*args, **more)
        self._package = import_module(package)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the verbs."""
        del ctx
        return sorted(self._modules())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a verb, None if there is no such one."""
        del ctx
        name = self._modules().get(cmd_name)
        return None if name is None else import_module(f"{self._package.__name__}.{name}").command

    def _modules(self) -> dict[str, str]:
        """Return the modules' names by verb."""
        names = [module.name for module in pkgutil.iter_modules(self._package.__path__)]
        return {name.rstrip("_"): name for name in names if name[0] != "_"}


@click.group(cls=Verbs, package=__name__, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tidegauge")
def cli() -> None:
    """tidegauge: a streaming anomaly monitor for Kafka."""


def failure(error: Exception) -> int:
    """Print what went wrong, one line each, and return the exit status."""
    for line in str(error).splitlines():
        click.echo(f"tidegauge: {line}", err=True)
    if isinstance(error, ConfigError | BundleError):
        return EXIT_CONFIG
    return int(getattr(error, "status", 1))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a verb; what a user can cause ends in a line, never in a traceback.

    Args:
        arguments: the command line without the program; None = this process's.
    """
    try:
        cli.main(arguments, prog_name="tidegauge", standalone_mode=False)
        if sys.stdout is not None and not sys.stdout.closed:
            sys.stdout.flush()  # now, and not when the interpreter ends: it would end with a message of its own
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (ConfigError, BundleError, TrainingError, EvaluationError, SourceError, SinkError, HttpError) as error:
        status = failure(error)
        _leave_output()
        sys.exit(status)
    except OSError as error:
        if error.errno not in _OUTPUT_ERRORS or error.filename is not None:
            raise
        # A reader that has seen enough (`| head`) is told nothing.
        if error.errno != errno.EPIPE:
            click.echo(f"tidegauge: standard output cannot be written: {error.strerror}", err=True)
        _leave_output()
        sys.exit(1)


def _leave_output() -> None:
    """Let what is left in standard output's buffer go nowhere, if it cannot go where it should.

    Else the interpreter tries again when it ends, and ends with a message and a status of its own.
    """
    try:
        if sys.stdout is not None and not sys.stdout.closed:
            sys.stdout.flush()
    except OSError:
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)
