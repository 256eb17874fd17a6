"""tidegauge: a streaming anomaly monitor for Kafka. The modules, in the order of the data."""

__version__ = "0.1.0"
