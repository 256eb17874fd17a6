"""Durable state: what is known of the streams, as rows of a log that is written in the transaction.

`rows` packs columns of some slots into bytes, `log` decides what is written at a commit (deltas, images, META), and
`restore` builds a partition from such a log and from the input behind it. `stages` tells what of it fits the present
stages, `adoption` what a new bundle does to it. `store` is what every place for logs must be able to do.
"""

from monitor.state.log import Meta, ModelMark, StateLog, Writer, read_entry, read_meta
from monitor.state.restore import Restore
from monitor.state.rows import StateError
from monitor.state.settings import StateSettings
from monitor.state.stages import begun, stages_of
from monitor.state.store import META_KEY, StateStore

__all__ = [
    "META_KEY",
    "Meta",
    "ModelMark",
    "Restore",
    "StateError",
    "StateLog",
    "StateSettings",
    "StateStore",
    "Writer",
    "begun",
    "read_entry",
    "read_meta",
    "stages_of",
]
