"""Durable state: what is known of the streams, as rows of a log that is written in the transaction.

`rows` packs columns of some slots into bytes, `entry` is what stands in a log, `log` decides what a commit writes
(deltas, images, META), `fleets` puts the logs of several fleets into one, and `restore` builds a partition from such a
log and from the input behind it. `stages` tells what of it fits the present stages, `adoption` what a new bundle does
to it. `store` is what every place for logs must be able to do.
"""

from monitor.state.entry import Meta, ModelMark, fleets_of, read_entry, read_meta
from monitor.state.fleets import FleetLogs
from monitor.state.log import StateLog, Writer
from monitor.state.restore import Restore
from monitor.state.rows import StateError
from monitor.state.settings import StateSettings
from monitor.state.stages import begun, stages_of
from monitor.state.store import META_KEY, StateStore

__all__ = [
    "META_KEY",
    "FleetLogs",
    "Meta",
    "ModelMark",
    "Restore",
    "StateError",
    "StateLog",
    "StateSettings",
    "StateStore",
    "Writer",
    "begun",
    "fleets_of",
    "read_entry",
    "read_meta",
    "stages_of",
]
