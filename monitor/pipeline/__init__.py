"""The pure core, put together: records of several partitions in, alerts out. `pipeline` is the way through it."""

from monitor.pipeline.output import REASONS, STATUS, Output, ScoreRows
from monitor.pipeline.partition import Partition
from monitor.pipeline.pipeline import Pipeline

__all__ = ["REASONS", "STATUS", "Output", "Partition", "Pipeline", "ScoreRows"]
