"""`tidegauge run`: the daemon."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import FrameType

import click
import structlog

from monitor import logs
from monitor.breaker import Breaker, place
from monitor.capacity import most_records
from monitor.cli._engine import bundles_of, described, load_models
from monitor.cli._options import config_option, set_option
from monitor.config import ConfigError, load
from monitor.fleets import engine_for
from monitor.http import Health, HttpServer
from monitor.identity import ALL
from monitor.metrics import Metrics
from monitor.relay import Relay, relayed, relays
from monitor.service import Service
from monitor.sources.resume import resume

log = structlog.get_logger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT)
STOP_SECONDS = 9.5
"""So long after a signal the process ends in any case: 10 s are promised."""

EXIT_HUNG = 70

_M_ARENA_MAX = -8  # malloc.h of glibc


@click.command(name="run")
@config_option(required=True)
@set_option
def command(config_path: Path, overrides: tuple[str, ...]) -> None:
    """Consume records, score windows, publish alerts."""
    config = load(config_path, overrides)
    if config.source is None:
        message = f"{config_path}: source: missing: where do records come from?"
        raise ConfigError(message)
    if not config.sink:
        message = f"{config_path}: sink: missing: where do alerts go?"
        raise ConfigError(message)
    logs.configure(config.log, config.secrets())
    _share_memory()
    loaded = load_models(bundles_of(config), config)
    engine = engine_for(config, loaded)
    metrics = Metrics(config.topics())
    one = list(engine.fleets) == [ALL]
    for fleet, each in engine.fleets.items():
        metrics.describe_model(each.model.sha256, each.model.kind, each.model.length, None if one else fleet)
    told = {fleet: described(each, loaded[fleet]) for fleet, each in engine.fleets.items()}
    health = Health()
    status = 1
    with HttpServer(config.http, metrics, health) as http:
        log.info(
            "starting",
            **(told[ALL] if one else {"fleets": told}),
            http=f"{http.host}:{http.port}",
        )
        for name in SIGNALS:
            signal.signal(name, _leave)
        source = resume(config.source, config.record, engine.features, config.state, config.outputs())
        source.cap(min(most_records(each, loaded[fleet]) for fleet, each in engine.fleets.items()))
        fed: list[Relay] = []
        try:
            sinks = [sink.build() for sink in relayed(config)[1]]
            breaker = Breaker(*place(config))
            service = Service(config, engine, source, sinks, metrics, health, breaker=breaker)

            def stop(signum: int, frame: FrameType | None) -> None:
                service.stop(signum, frame)
                guard = threading.Timer(STOP_SECONDS, _abandon)
                guard.daemon = True
                guard.start()

            fed = relays(config, metrics.refused)
            for name in SIGNALS:
                signal.signal(name, stop)
            gc.collect()
            gc.freeze()  # what lives until the end need not be looked through again and again
            status = service.run()
        finally:
            for relay in fed:
                relay.stop()
            for relay in fed:
                relay.close()
            source.close()
    sys.exit(status)


def _share_memory() -> None:
    """Let all threads take memory from one place: else each keeps for itself what it has freed, some 10 MB in all."""
    with suppress(OSError, AttributeError):  # other C libraries have no such setting
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def _leave(signum: int, frame: FrameType | None) -> None:
    """End a process that has not begun its work."""
    del signum, frame
    sys.exit(0)


def _abandon() -> None:
    """End a process that was asked to and does not: something hangs, and what is not committed is done again."""
    with suppress(OSError):
        os.write(2, b"tidegauge: did not end in time: what is not committed is done again after a restart\n")
    os._exit(EXIT_HUNG)
