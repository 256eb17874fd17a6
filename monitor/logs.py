"""Logs: lines of JSON on standard error, or readable ones on a terminal. Standard output is for data.

An event is a name in snake_case and its facts: `log.warning("partition_lost", topic=…, partition=…)`. Modules get
their logger by `structlog.get_logger()`; what libraries write with `logging` comes out in the same form, as
`library_message`. No secret leaves the process this way: values under names that look like secrets are blanked out,
tracebacks have no local variables, and the loggers of kafka-python that print whole requests, passwords included, never
get below INFO.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Final, Literal, TextIO

import msgspec
import numpy as np
import structlog
from pydantic import BaseModel, ConfigDict, Field
from structlog.typing import EventDict, Processor

CLAMPED: Final = (
    "kafka.protocol",
    "kafka.protocol.parser",
    "kafka.net",
    "kafka.net.connection",
    "kafka.sasl",
    "kafka.admin",
)
"""Loggers of kafka-python that print passwords at DEBUG: requests, raw bytes, and the admin client's configuration."""

_BLANK: Final = "**********"
_NAMES: Final = r"passw|secret|token|credential|authorization|auth_bytes|api_?key|private_?key"
_SECRET_NAME = re.compile(rf"(?i)(?:{_NAMES})(?!\w*_(?:file|path|provider)$)")
_SECRET_TEXT = re.compile(
    rf"""(?ix) (?P<name> [\w.-]* (?:{_NAMES}) [\w.-]*) (?P<is> ['"]? \s* [=:] \s*)
    (?: (?:bearer|basic) \s+ \S+ | b?'(?:\\.|[^'\\])*' | b?"(?:\\.|[^"\\])*" | [^\s,;)\]}}]+ )"""
)
_USER_INFO = re.compile(r"(\w+://)[^/\s]*:[^/\s]*@")
_LEAST_SECRET: Final = 4  # characters; blanking out every "a" would leave nothing to read
_REPEATS_KEPT: Final = 1_000
_DEPTH: Final = 8  # of values in values; one that holds itself has no end
_BITS: Final = 64


class LogSettings(BaseModel):
    """Section `log`: what is written to standard error, and how."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="the least level that is written")
    format: Literal["auto", "json", "console"] = Field(
        "auto", description="auto: console on a terminal, JSON elsewhere"
    )


class Repeats:
    """Lets one of several equal events through in `every` seconds, and counts those that it holds back."""

    def __init__(self, every: float = 10.0, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin without any; `clock` is in seconds."""
        self._every = every
        self._clock = clock
        self._seen: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()

    def admit(self, event: Hashable) -> int | None:
        """Return how many were held back since the last one that came through, or None: hold this one back."""
        now = self._clock()
        since, held = self._seen.get(event, (-float("inf"), 0))
        if now - since < self._every:
            self._seen[event] = (since, held + 1)
            return None
        self._seen[event] = (now, 0)
        self._seen.move_to_end(event)
        if len(self._seen) > _REPEATS_KEPT:
            self._seen.popitem(last=False)
        return held


def configure(settings: LogSettings, secrets: Iterable[str] = (), stream: TextIO | None = None) -> None:
    """Set up all logging of the process; may be called again.

    Args:
        settings: level and format.
        secrets: values that are blanked out wherever they come up, such as passwords read from files.
        stream: where to write; standard error if None.
    """
    file = _Stream(sys.stderr if stream is None else stream)
    console = settings.format == "console" or (settings.format == "auto" and file.isatty())
    known = tuple(sorted((text for text in secrets if len(text) >= _LEAST_SECRET), key=len, reverse=True))
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    ending: list[Processor] = [*_exceptions(console=console), _Redact(known), *_rendering(file, console=console)]
    stamp = structlog.processors.TimeStamper(
        fmt="%Y-%m-%d %H:%M:%S" if console else "iso", utc=not console, key="timestamp"
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            _Once(Repeats()),
            stamp,
            *ending,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file),  # type: ignore[arg-type] # writes and flushes
        cache_logger_on_first_use=False,  # nothing on the hot way logs, and tests configure again
    )
    handler = _Handler(file)
    handler.addFilter(_Libraries(Repeats()))
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_log_level, structlog.stdlib.add_logger_name, _library, stamp],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ending],
        )
    )
    _route(handler, level)


def _route(handler: logging.Handler, level: int) -> None:
    """Send what libraries log to `handler`, as far as an operator wants to know it."""
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(max(level, logging.WARNING))
    # At INFO the Kafka client tells of every connection and rebalance; the daemon's own events say what matters of it.
    kafka = level if level == logging.DEBUG else max(level, logging.WARNING)
    logging.getLogger("kafka").setLevel(kafka)
    for name in CLAMPED:
        logging.getLogger(name).setLevel(max(kafka, logging.INFO))
    logging.captureWarnings(capture=True)


class _Stream:
    """A stream that a log may always be written to: that nobody reads it is no reason to stop."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """Write, if that is possible."""
        with suppress(OSError, ValueError):
            if self._stream is not None:
                self._stream.write(text)

    def flush(self) -> None:
        """Flush, if that is possible."""
        with suppress(OSError, ValueError):
            if self._stream is not None:
                self._stream.flush()

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        with suppress(OSError, ValueError):
            return self._stream is not None and self._stream.isatty()
        return False


class _Handler(logging.StreamHandler[Any]):
    """Known by its class, so that `configure` replaces its own handler and no other."""


class _Once:
    """Holds back repeated warnings and errors of the daemon: equal are those with the same name and texts."""

    def __init__(self, repeats: Repeats) -> None:
        self._repeats = repeats

    def __call__(self, _: object, method: str, event: EventDict) -> EventDict:
        """Drop the event, or say how many like it were dropped."""
        if method in {"debug", "info"}:
            return event
        texts = tuple(sorted((name, value) for name, value in event.items() if isinstance(value, str)))
        held = self._repeats.admit(texts)
        if held is None:
            raise structlog.DropEvent
        return {**event, "held_back": held} if held else event


class _Libraries(logging.Filter):
    """Holds back repeated messages of libraries, and what the clamped loggers must not say at all."""

    def __init__(self, repeats: Repeats) -> None:
        super().__init__()
        self._repeats = repeats

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is written."""
        if record.levelno < logging.INFO and record.name.startswith(CLAMPED):
            return False
        if record.levelno < logging.WARNING:
            return True
        # The text without its arguments: a time or a number of attempts makes no other message of it.
        held = self._repeats.admit((record.name, record.levelno, str(record.msg)))
        record.held_back = held or 0
        return held is not None


def _library(_: object, __: str, event: EventDict) -> EventDict:
    """Give a library's sentence the form of an event."""
    event["message"] = event["event"]
    event["event"] = "library_message"
    if held := getattr(event.get("_record"), "held_back", 0):
        event["held_back"] = held
    return event


class _Redact:
    """Blanks out secrets: by the name of a value, by what a text looks like, and by the known values."""

    def __init__(self, known: tuple[str, ...]) -> None:
        self._known = known

    def __call__(self, _: object, __: str, event: EventDict) -> EventDict:
        """Return the event without secrets, and with plain values in place of NumPy's."""
        return {name: self._value(name, value) for name, value in event.items()}

    def _value(self, name: object, value: Any, depth: int = 0) -> Any:  # noqa: ANN401, PLR0911 - anything may be logged
        if isinstance(name, str) and _SECRET_NAME.search(name) and value is not None and not isinstance(value, bool):
            return _BLANK
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, float):
            return float(value)  # of NumPy's as well
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, int):
            return int(value) if value.bit_length() < _BITS else f"{value:#x}"
        if depth < _DEPTH:
            if isinstance(value, Mapping):
                return {str(key): self._value(key, item, depth + 1) for key, item in value.items()}
            if isinstance(value, list | tuple | set | frozenset):
                return [self._value(None, item, depth + 1) for item in value]
            if isinstance(value, np.generic | np.ndarray):
                return self._value(None, value.tolist(), depth + 1)
        return self._text(_described(value))

    def _text(self, text: str) -> str:
        for secret in self._known:
            text = text.replace(secret, _BLANK)
        text = text.encode(errors="backslashreplace").decode()  # half a surrogate pair cannot be written
        return _USER_INFO.sub(rf"\1{_BLANK}@", _SECRET_TEXT.sub(_blank, text))


def _described(value: object) -> str:
    """Return an object as text; a logger must not fail where the object does."""
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - it may raise anything
        return f"<{type(value).__name__}>"


def _blank(found: re.Match[str]) -> str:
    return found[0] if not _SECRET_NAME.search(found["name"]) else found["name"] + found["is"] + _BLANK


def _exceptions(*, console: bool) -> list[Processor]:
    """Return what renders exceptions: never with local variables, where secrets are."""
    if console:
        return [structlog.processors.format_exc_info]
    transform = structlog.tracebacks.ExceptionDictTransformer(show_locals=False, max_frames=20)
    return [structlog.processors.ExceptionRenderer(transform)]


def _rendering(file: _Stream, *, console: bool) -> list[Processor]:
    """Return what makes a line of an event."""
    if not console:
        return [_json]
    return [
        _printable,
        structlog.dev.ConsoleRenderer(
            colors=file.isatty() and not _no_color(), exception_formatter=structlog.dev.plain_traceback
        ),
    ]


def _no_color() -> bool:
    import os

    return bool(os.environ.get("NO_COLOR"))


def _printable(_: object, __: str, event: EventDict) -> EventDict:
    """Escape control characters: what comes from a record must not move the cursor or begin a line."""
    return {
        name: value if not isinstance(value, str) or value.isprintable() or name == "exception" else repr(value)
        for name, value in event.items()
    }


def _json(_: object, __: str, event: EventDict) -> str:
    """Return a line of JSON, time, level and name first; NaN is null."""
    ordered = {name: event[name] for name in ("timestamp", "level", "event") if name in event} | {**event}
    return msgspec.json.encode(ordered).decode()
