"""Replay: production over a recording, to see what it would have done, and how good that would have been.

The engine is the daemon's; only where records come from and where events go is different. The configured sinks, dead
letters, consumer group and offsets are never touched. Events and scores leave in the order of (topic, partition), and
within a partition in the order of the records that caused them, so that they do not depend on how the recording was
cut into batches. A replay begins without state, or with that of a snapshot.

How good it was is counted by event, against labelled intervals of single streams:

* An alert lasts from `startsAt` to `endsAt`, or to the end of the recording if it never resolved. It is right if that
  overlaps a labelled interval of its stream (in any partition), ends included; else it is a false alarm.
* `precision` = right alerts ÷ alerts. `recall` = labelled events that an alert overlaps ÷ labelled events. `f1` is
  their harmonic mean. Where there is nothing to divide by, they are null.
* `detection_delay_seconds` = mean, over the events that were found, of the event time at which the first of their
  alerts fired − the start of the event; 0 for an alert that fired before.
* `false_alarms_per_stream_day` = false alarms ÷ the days from each stream's first used record to its last, summed.
* A labelled event that lies wholly outside its stream's records (the recording may be a part of what was labelled)
  counts for nothing but `labelled_events_outside`.

In a column `label`, a run of labelled rows of a stream is one event. Labels from a file replace those of the column.
"""

from monitor.replay.events import EventFile
from monitor.replay.report import ColdStart, Report, WarmStart
from monitor.replay.runner import replay, replay_fleets
from monitor.replay.scores import ScoreFile, ScoreFormat

__all__ = ["ColdStart", "EventFile", "Report", "ScoreFile", "ScoreFormat", "WarmStart", "replay", "replay_fleets"]
