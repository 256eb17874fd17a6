"""Durable state: what is known of the streams, as rows of a log that is written in the transaction.

`rows` packs columns of some slots into bytes, `log` decides what is written at a commit (deltas, images, META), and
`restore` builds a partition from such a log and from the input behind it.
"""

from monitor.state.log import Meta, StateLog
from monitor.state.restore import Restore
from monitor.state.rows import StateError

__all__ = ["Meta", "Restore", "StateError", "StateLog"]
