"""`tidegauge check`: whether a configuration would run, and what it would do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from models.bundle import Bundle, BundleError
from monitor.capacity import Load, scoring_seconds
from monitor.cli import _capacity, _quiet
from monitor.cli._engine import bundles_of, load_models
from monitor.cli._kafka import connection, needed
from monitor.cli._options import set_option
from monitor.cli._retention import retention
from monitor.cli._size import size
from monitor.config import Config, ConfigError, load
from monitor.config.model import covers
from monitor.engine import Engine
from monitor.fleets import Loaded, engine_for
from monitor.identity import ALL
from monitor.kafka.clients import require_client
from monitor.kafka.errors import KafkaProblem
from monitor.kafka.topics import Cluster, Found, Topic
from monitor.sources.base import SourceError
from monitor.sources.files import FileSettings
from monitor.sources.kafka import Settings as KafkaSource
from monitor.table import ObjectColumn
from monitor.threshold import DEFAULT_BUDGET, LEVEL, Static, ThresholdSettings, Unified

_NAMED = 5
"""So many features are named."""


@click.command(name="check")
@click.argument("config_path", metavar="CONFIG", type=click.Path(path_type=Path))
@click.option("--connect", is_flag=True, help="Look at the cluster, too: brokers, topics, what this user may do.")
@click.option(
    "--capacity", is_flag=True, help="Estimate what a load takes: processes, memory, bytes of state, restore."
)
@click.option("--streams", type=click.IntRange(min=1), default=1_000, show_default=True, help="Streams of that load.")
@click.option(
    "--rate", type=click.FloatRange(0, min_open=True), default=1.0, show_default=True, help="Records a second of each."
)
@click.option("--partitions", type=click.IntRange(min=1), default=4, show_default=True, help="Partitions of the input.")
@set_option
def command(
    config_path: Path,
    connect: bool,  # noqa: FBT001 - click passes it by name
    capacity: bool,  # noqa: FBT001 - as above
    streams: int,
    rate: float,
    partitions: int,
    overrides: tuple[str, ...],
) -> None:
    """Say whether `tidegauge run --config CONFIG` would start, and what it would do.

    Nothing is changed anywhere, and no running member is disturbed.
    """
    config = load(config_path, overrides)
    _quiet.configure(config)
    name = str(config_path)
    wrong = [f"{name}: {section}: missing" for section in ("source", "sink") if not getattr(config, section)]
    wrong += [f"{name}: {line}" for line in _files(config)]
    wrong += [f"{name}: {line}" for line in _client(config)]
    said: list[str] = []
    try:
        said += _core(config, Load(streams, rate, partitions) if capacity else None)
    except (BundleError, ConfigError) as error:
        wrong.append(f"{name}: {error}")
    unreachable: KafkaProblem | None = None
    if connect:
        try:
            lines, found = _cluster(config, config_path)
            said += lines
            wrong += [f"{name}: {line}" for line in found]
        except KafkaProblem as error:
            unreachable = error
    for line in [*_edges(config), *said]:
        click.echo(line)
    if unreachable is not None:
        if not wrong:
            raise SourceError(str(unreachable), unreachable.status)
        wrong.append(str(unreachable))
    if wrong:
        raise ConfigError("\n".join(wrong))
    click.echo(f"{name}: ok")


def _files(config: Config) -> list[str]:
    """Say which files that the configuration names are not there; nothing is opened, and nothing made."""
    sections = [("source", config.source), *(("sink", sink) for sink in config.sink)]
    wrong = [
        f"{section}.{setting}: there is no file {value}"
        for section, settings in sections
        for setting, value in settings or ()
        if setting.endswith("file") and value is not None and not Path(value).is_file()
    ]
    paths = getattr(config.source, "paths", ())
    wrong += [f"source.path: there is no file {path}" for path in paths if path != "-" and not Path(path).exists()]
    outputs = [("sink.path", getattr(sink, "path", None)) for sink in config.sink]
    outputs += [("dead_letter.path", None if config.dead_letter is None else config.dead_letter.path)]
    wrong += [
        f"{setting}: there is no folder {Path(path).parent}: make it, or name another file"
        for setting, path in outputs
        if path not in {None, "-"} and not Path(path).parent.is_dir()
    ]
    return wrong


def _client(config: Config) -> list[str]:
    """Say whether the client of Kafka that the configuration names is missing."""
    try:
        if isinstance(config.source, KafkaSource):
            require_client(config.source.client)
    except KafkaProblem as error:
        return [str(error)]
    return []


def _edges(config: Config) -> list[str]:
    """Say where records come from and where alerts go."""
    lines = []
    source = config.source
    if isinstance(source, KafkaSource):
        member = source.instance or "a dynamic member"
        lines.append(f"input: {', '.join(source.topics)} on {source.address}, group {source.group_id} as {member}")
        lines.append(f"transactions: {source.transactional_id if source.transactional_id != 'auto' else member}")
    elif source is not None:
        lines.append(f"input: {source.type} {', '.join(getattr(source, 'paths', ()))}".rstrip())
    for sink in config.sink:
        where = getattr(sink, "topic", None) or getattr(sink, "path", None) or getattr(sink, "url", "")
        lines.append(f"alerts: {sink.type} {where}")
    dead = config.dead_letter
    where = None if dead is None else dead.topic or dead.path
    lines.append(f"dead letters: {'counted only' if where is None else where}")
    kept = ", ".join(config.state_topics().values())
    if isinstance(source, FileSettings) and source.pipe is None and config.state.type != "none":
        kept = f"directory {config.state.folder}"
    lines.append(f"state: {kept or 'in memory alone: it begins anew with every start'}")
    return lines


def _core(config: Config, load: Load | None) -> list[str]:
    """Say what becomes of records, and what a load takes; fleet by fleet, where there are several.

    Raises:
        BundleError: if a bundle cannot be read, or its model not loaded.
        ConfigError: if bundle and configuration contradict each other.
    """
    loaded = load_models(bundles_of(config), config, one_core=load is not None)  # a load is counted in whole cores
    engine = engine_for(config, loaded)
    if list(loaded) == [ALL]:
        return _fleet(config, engine.fleets[ALL], loaded[ALL], load)
    left = "" if any(covers(glob, ALL) for glob in loaded) else "; streams that none of them matches are filtered"
    lines = [f"fleets: {', '.join(loaded)}: a stream is of the first that its id matches{left}"]
    if load is not None:
        lines.append("capacity: of each fleet, as if the whole load were its own; the truth lies between")
    for name, each in engine.fleets.items():
        lines += [f"fleet {name}: {line}" for line in _fleet(config, each, loaded[name], load)]
    return lines


def _fleet(config: Config, engine: Engine, loaded: Loaded, load: Load | None) -> list[str]:
    """Say what becomes of the records of one bundle's streams, and what it takes if the load is all theirs."""
    bundle = loaded.bundle
    window, threshold = engine.window, engine.pipeline.threshold
    rows = "records" if window.interval is None else f"cells of {window.interval}"
    names = engine.features if len(engine.features) <= _NAMED else (*engine.features[:_NAMED], "…")
    features = f"{len(engine.features)} features ({', '.join(names)})"
    sizes = engine.pipeline.partition("", 0).table.bytes_per_stream()
    total = sum(sizes.values())
    line, told = (
        sum(sizes.get(column.name, 0) for column in columns)
        for columns in (engine.pipeline.line_columns, engine.pipeline.alert_columns)
    )
    parts = f"window {size(total - line - told)}, score and line {size(line)}, alerts {size(told)}"
    alert, most = config.alert, config.record.max_streams
    one = scoring_seconds(engine)
    full = f"{size(total * most)} for record.max_streams ({most:,}) in a partition"
    lines = [
        f"model: {bundle.manifest.members[0].kind}, {features}, bundle {bundle.path}, sha256 {bundle.sha256[:12]}",
        *_detector(bundle, engine),
        f"speed: scoring a window takes {one * 1e6:.0f} µs here, of many at once",
        f"window: {window.length} {rows}, one every {window.stride}",
        f"threshold: {_promise(config.threshold)}",
        f"ready: {_ready(engine)}",
        f"alert: opens after {alert.open_after} windows over the line, resolves after {alert.resolve_after}",
        f"memory: {size(total)} a stream ({parts}), {full}",
    ]
    objects = [column.name for column in threshold.columns if isinstance(column, ObjectColumn)]
    if objects:
        kind = getattr(config.threshold, "type", "")
        hint = "and is slower: tracked keeps numbers only"
        lines.append(f"memory: threshold.type {kind} keeps a Python object a stream on top of that, {hint}")
    return lines if load is None else [*lines, *_capacity.lines(engine, load, one, config.state)]


def _detector(bundle: Bundle, engine: Engine) -> list[str]:
    """Say which members a bundle of preset `quality` has, and which kind of line `tracked` becomes with them."""
    found = bundle.manifest.detector
    if found is None:
        return []
    members = [part.name if part.name == part.kind else f"{part.name} ({part.kind})" for part in found.parts]
    members += [name for name, on in (("hour of the day", found.profile), ("new extremes", found.extreme)) if on]
    threshold = engine.pipeline.threshold
    line = threshold.Settings.model_fields["type"].default
    lines = [f"detector: {', '.join(members)}; their line is {line}"]
    if isinstance(threshold, Unified) and found.rehearsal is not None and threshold.begins > LEVEL:
        above = f"{len(found.rehearsal.heights)} events above {LEVEL:g} in {found.rehearsal.days:.3g} stream-days"
        lines.append(f"line: begins at {threshold.begins:.2f}, because the training windows have {above}")
    return lines


def _ready(engine: Engine) -> str:
    """Say how many records a new stream needs until it is judged, and until that is by what is usual for itself."""
    window, pipeline = engine.window, engine.pipeline
    one = "record" if window.interval is None else "cell"
    first = window.length + pipeline.warmup * window.stride
    said = f"a new stream is scored from {one} {first:,} on"
    learned = pipeline.learned
    if learned is None:
        return f"{said}; nothing is learned of it (confidence null)"
    half = window.length + round(learned.weight) * window.stride
    return f"{said}; from {one} {max(first, half):,} on its own past counts as much as the bundle's (confidence 0.5)"


def _promise(settings: ThresholdSettings) -> str:
    """Say what a threshold promises."""
    kind = str(getattr(settings, "type", ""))
    value = settings.value if isinstance(settings, Static.Settings) else None
    if value is not None:
        return f"{kind}, {value:g}"
    if settings.q is not None:
        return f"{kind}, {1 - settings.q:.3g} crossings a scored window"
    return f"{kind}, {settings.budget or DEFAULT_BUDGET:g} alerts a stream and day"


def _cluster(config: Config, path: Path) -> tuple[list[str], list[str]]:
    """Return what the cluster has, and what is wrong with it.

    Raises:
        KafkaProblem: if the cluster cannot be asked.
    """
    wanted = needed(config)
    if not wanted:
        return [], []
    said: list[str] = []
    wrong: list[str] = []
    cluster = Cluster(connection(config, path))
    try:
        found = cluster.find([topic.name for topic in wanted])
        source = config.source
        if isinstance(source, KafkaSource):
            relays = [f"{source.group_id}.{sink.type}" for sink in config.sink if sink.type != "kafka"]
            ids = [] if source.instance is None and source.transactional_id == "auto" else [source.identity]
            wrong += cluster.forbidden([source.group_id, *relays], ids)
    finally:
        cluster.close()
    for topic in wanted:
        there = found.get(topic.name)
        if there is None:
            make = f"make it with `tidegauge topics {path} --create`"
            wrong.append(f"{topic.setting}: the topic {topic.name!r} does not exist: {make}")
            continue
        said.append(f"topic {topic.name} ({topic.purpose}): {there.partitions} partitions")
        wrong += _forbidden(topic, there)
        wrong += _unfit(topic.beside(found), there)
    near, lost = retention(config, connection(config, path), found)
    return [*said, *near], [*wrong, *lost]


def _forbidden(topic: Topic, found: Found) -> Sequence[str]:
    """Say which right on a topic is missing."""
    if found.rights is None or "ALL" in found.rights:
        return ()
    missing = [right for right in topic.rights if right not in found.rights]
    return [f"{topic.setting}: this user has no right to {right} the topic {topic.name!r} (ACL)" for right in missing]


def _unfit(topic: Topic, found: Found) -> Sequence[str]:
    """Say why a topic cannot hold state."""
    if topic.purpose != "state":
        return ()
    lines = []
    if found.partitions != topic.partitions:
        counts = f"has {found.partitions} partitions, and its input has {topic.partitions}"
        lines.append(f"{topic.setting}: the topic {topic.name!r} {counts}: they must be the same")
    policy = found.configs.get("cleanup.policy")
    if policy is not None and policy != "compact":
        lines.append(
            f"{topic.setting}: the topic {topic.name!r} has cleanup.policy={policy}: with anything but compact"
            " what is known of the streams would be deleted"
        )
    return lines
