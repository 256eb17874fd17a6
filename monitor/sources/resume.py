"""Opening a source where the last run left it, for the daemon."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from monitor.record import RecordSettings
from monitor.sources.base import Output, Source, SourceError, SourceSettings
from monitor.sources.files import EXIT_OPERATOR, FileSettings, check, topic
from monitor.sources.kept import Kept
from monitor.state import StateSettings

log = structlog.get_logger(__name__)


def resume(
    settings: SourceSettings,
    record: RecordSettings,
    features: Sequence[str] | None,
    state: StateSettings,
    outputs: Sequence[Output] = (),
) -> Source:
    """Open a source: files with their state in a directory, unless they cannot be read twice; others keep their own.

    Args:
        settings: of any kind of source.
        record: where the fields of a record lie.
        features: names of the features, as in `SourceSettings.build`.
        state: where what is known is kept.
        outputs: where events and dead letters go.

    Raises:
        SourceError: if it cannot be opened, or is not what the last run left (status 78).
    """
    if not isinstance(settings, FileSettings):
        return settings.build(record, features)
    pipe = settings.pipe
    if state.type == "directory" and pipe is not None:
        message = f"{topic([pipe])}: a pipe cannot be read again after a restart: state.type must be none for it"
        raise SourceError(message, EXIT_OPERATOR)
    if state.type == "none" or pipe is not None:
        why = "state.type none" if pipe is None else "a pipe cannot be read again"
        log.warning("state_not_kept", reason=f"{why}: a restart begins anew, and events may come again")
        return settings.build(record, features)
    for path in settings.paths:
        check(path)
    return Kept(settings, record, features, state.folder, outputs)
