"""Logs of the verbs that people wait for: warnings of our own only, unless the configuration says how much is wanted.

What a Kafka client logs while it fails is said again, in one readable line, by the error that it ends in.
"""

from __future__ import annotations

import logging

from monitor import logs
from monitor.config import Config


def configure(config: Config) -> None:
    """Send logs to standard error; from warnings on, and without the client's, if `log.level` is not set."""
    settings = config.log
    quiet = "level" not in settings.model_fields_set
    if quiet:
        settings = settings.model_copy(update={"level": "warning"})
    logs.configure(settings, config.secrets())
    if quiet:
        for handler in logging.getLogger().handlers:
            handler.addFilter(_not_of_the_client)


def _not_of_the_client(record: logging.LogRecord) -> bool:
    return record.name.partition(".")[0] != "kafka"
