"""The configuration: one YAML file, a section a step in the order of the data, and the environment over it.

Strict: an unknown or doubled key, or a value of a wrong type, is an error that names its path.
"""

from monitor.config.loading import EXIT_CONFIG, ConfigError, load
from monitor.config.model import FleetSettings, ModelSettings
from monitor.config.settings import Config, DeadLetterSettings

__all__ = [
    "EXIT_CONFIG",
    "Config",
    "ConfigError",
    "DeadLetterSettings",
    "FleetSettings",
    "ModelSettings",
    "load",
]
