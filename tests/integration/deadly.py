"""tidegauge, but a record with `POISON` in it kills the process as soon as it is decoded, as a faulty library would."""

from __future__ import annotations

import os
import signal

from monitor.cli import main
from monitor.codec import Decoded, Decoder
from monitor.codec.decoder import Raw
from monitor.table import StreamTable

_decode = Decoder.decode


def _deadly(self: Decoder, batch: Raw, table: StreamTable) -> Decoded:
    if any(value is not None and b"POISON" in value for value in batch.values):
        os.kill(os.getpid(), signal.SIGSEGV)
    return _decode(self, batch, table)


if __name__ == "__main__":
    Decoder.decode = _deadly  # type: ignore[assignment, method-assign]  # the point of this program
    main()
