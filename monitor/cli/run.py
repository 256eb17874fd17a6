"""`tidegauge run`: the daemon."""

from __future__ import annotations

import gc
import signal
import sys
from pathlib import Path

import click
import structlog

from models.bundle import read
from monitor import logs
from monitor.cli._options import config_option, set_option
from monitor.config import ConfigError, load
from monitor.engine import Engine
from monitor.http import Health, HttpServer
from monitor.metrics import Metrics
from monitor.relay import Relay, relayed
from monitor.service import Service

log = structlog.get_logger(__name__)


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
    bundle = read(config.model.bundle)
    from models.serving import Model  # after the checks above: it loads the engine that runs networks

    model = Model(bundle)
    engine = Engine(config, bundle, model)
    metrics = Metrics(config.topics())
    metrics.describe_model(bundle.sha256, bundle.manifest.members[0].kind, engine.window.length)
    health = Health()
    status = 1
    with HttpServer(config.http, metrics, health) as http:
        log.info(
            "starting",
            bundle=str(bundle.path),
            sha256=bundle.sha256[:12],
            kind=bundle.manifest.members[0].kind,
            features=len(engine.features),
            window=f"{engine.window.length}/{engine.window.stride}",
            chunk=list(model.chunk),
            http=f"{http.host}:{http.port}",
        )
        source = config.source.build(config.record, engine.features)
        relays: list[Relay] = []
        try:
            fed, direct = relayed(config)
            service = Service(config, engine, source, [sink.build() for sink in direct], metrics, health)
            for name in (signal.SIGTERM, signal.SIGINT):
                signal.signal(name, service.stop)
            relays = [Relay(config, sink) for sink in fed]
            gc.collect()
            gc.freeze()  # what lives until the end need not be looked through again and again
            status = service.run()
        finally:
            for relay in relays:
                relay.close()
            source.close()
    sys.exit(status)
