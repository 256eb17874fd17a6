"""Logs of the verbs that people wait for: warnings only, unless the configuration says how much is wanted."""

from __future__ import annotations

from monitor import logs
from monitor.config import Config


def configure(config: Config) -> None:
    """Send logs to standard error, from warnings on if `log.level` is not set."""
    settings = config.log
    if "level" not in settings.model_fields_set:
        settings = settings.model_copy(update={"level": "warning"})
    logs.configure(settings, config.secrets())
