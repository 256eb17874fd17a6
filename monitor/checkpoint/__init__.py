"""A local directory that holds state and position of an input, for sources that are files.

A commit is one *checkpoint*: `checkpoint.json` is written beside the old one, brought to disk and renamed over it. It
says where everything stands: the input, the log of the state (`state-0`, …), and the length of every output. What was
written behind those lengths belongs to a commit that never came, and a start cuts it off. So there is one instant at
which all of it counts, the rename, and a crash at any other leaves what the last checkpoint said. `lock` keeps a second
process out; `look` reads it all the same.
"""

from monitor.checkpoint.files import CheckpointError, Place, head_of, is_regular, place_of
from monitor.checkpoint.folder import Folder
from monitor.checkpoint.look import Look

__all__ = ["CheckpointError", "Folder", "Look", "Place", "head_of", "is_regular", "place_of"]
