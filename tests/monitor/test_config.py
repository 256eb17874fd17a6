"""The configuration: what is read, and what is said of what cannot be."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from monitor import sinks, sources
from monitor.config import Config, ConfigError, load
from monitor.strict_yaml import parse
from monitor.threshold import AnyThresholdSettings

ROOT = Path(__file__).parents[2]
CASES = ROOT / "tests" / "data" / "config"
EXAMPLE = ROOT / "config.example.yaml"
GOOD = sorted(CASES.glob("*.good.yaml"))
BAD = sorted(CASES.glob("*.bad.yaml"))


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have settings of their own."""
    for name in [name for name in os.environ if name.startswith("TIDEGAUGE_")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.name)
def test_good_ones_load(path: Path) -> None:
    """If it failed, a configuration that the documents promise would be refused."""
    assert isinstance(load(path), Config)


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.name)
def test_bad_ones_are_explained(path: Path) -> None:
    """If it failed, an operator would have to guess which setting is wrong. What is said stands above each file."""
    said = [line[2:] for line in path.read_text().splitlines() if line.startswith("# ")]
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(caught.value).splitlines() == [f"{path}: {line}" for line in said]


def test_files_that_are_none(tmp_path: Path) -> None:
    """If it failed, a wrong path or a binary file would end in a traceback."""
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    for path, text in [
        (tmp_path / "none.yaml", "No such file"),
        (tmp_path, "Is a directory"),
        (binary, "is not UTF-8"),
    ]:
        with pytest.raises(ConfigError, match=f"^{re.escape(str(path))}.*{text}"):
            load(path)


def test_environment_and_set_lie_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it failed, a container could not be configured, or `--set` would lose against its environment."""
    path = tmp_path / "tidegauge.yaml"
    path.write_text("window: {length: 10, stride: 2}\nalert: {open_after: 3}\n")
    monkeypatch.setenv("TIDEGAUGE_WINDOW__LENGTH", "20")
    monkeypatch.setenv("TIDEGAUGE_HTTP__PORT", "9108")
    config = load(path, ["window.stride=4", "train.nodes=[8, 4]", "threshold.q=0.99"])
    assert (config.window.length, config.window.stride, config.alert.open_after, config.http.port) == (20, 4, 3, 9108)
    assert config.train.nodes == (8, 4)
    assert load(path, ["window.length=30"]).window.length == 30


def test_the_interval_may_be_the_bundles() -> None:
    """If it failed, nobody could set only `lateness` for the long layout without saying again what the bundle says."""
    assert load(None, ["record.layout=long", "window.lateness=30s"]).window.lateness.ms == 30_000
    with pytest.raises(ConfigError, match=r"needs window\.interval"):
        load(None, ["record.layout=long", "window.interval=null"])


_KAFKA = "source={type: kafka, topics: [a], group_id: g}"
_FILE = "source={type: jsonl, path: [a, b]}"


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ((_KAFKA, "sink={type: kafka, topic: a}"), "sink: 'a' is named by source.topics already"),
        ((_KAFKA, "sink={type: kafka, topic: b}", "dead_letter={topic: a}"), "dead_letter: 'a' is named by source.top"),
        ((_KAFKA, "sink={type: kafka, topic: b}", "dead_letter={topic: b}"), "dead_letter: 'b' is named by sink alre"),
        ((_KAFKA, "sink=[{type: kafka, topic: b}, {type: kafka, topic: c}]"), "sink: found two of type kafka"),
        (("source={type: kafka, topics: [a, a], group_id: g}",), "source.topics: 'a' is named by source.topics alr"),
        ((_FILE, "sink={type: jsonl, path: b}"), "sink: 'b' is named by source.path already"),
        ((_FILE, "sink=[{type: jsonl, path: c}, {type: jsonl, path: c}]"), "sink: 'c' is named by sink already"),
    ],
)
def test_output_does_not_become_input(overrides: tuple[str, ...], said: str) -> None:
    """If it failed, dead letters or alerts would come back as records for ever, or a second topic get nothing."""
    with pytest.raises(ConfigError) as caught:
        load(None, overrides)
    assert said in str(caught.value)
    load(None, ["source={type: jsonl, path: '-'}", "sink={type: jsonl, path: '-'}"])


_OTHER = "{type: kafka, topic: b, bootstrap_servers: ['other:9092']}"


@pytest.mark.parametrize(
    ("sink", "said"),
    [
        (_OTHER, "sink.bootstrap_servers: found [other:9092], but source has [localhost:9092]: alerts go out in the s"),
        (f"[{{type: jsonl, path: c}}, {_OTHER}]", "sink.1.bootstrap_servers: found [other:9092], but source has"),
        ("{type: kafka, topic: b, ssl_cafile: ca.pem}", "sink.ssl_cafile: found ca.pem, but source has null"),
        ("{type: kafka, topic: b, transactional_id: me}", "sink.transactional_id: found me, but source has auto"),
    ],
)
def test_a_sink_has_no_connection_of_its_own(sink: str, said: str) -> None:
    """If it failed, alerts would silently go to another cluster than the one that the configuration names."""
    with pytest.raises(ConfigError) as caught:
        load(None, [_KAFKA, f"sink={sink}"])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    load(None, [_KAFKA, "sink={type: kafka, topic: b, bootstrap_servers: ['localhost:9092'], client_id: tidegauge}"])
    load(None, ["source={type: jsonl, path: a}", f"sink={_OTHER}"])  # it is the only one


@pytest.mark.parametrize("host", ["localhost", "0.0.0.0", "::", "::1", "gauge-1.example.", "a_b"])  # noqa: S104 - not bound
def test_hosts_to_listen_on(host: str) -> None:
    """If it failed, a host that can be listened on would be refused."""
    assert load(None, [f"http.host='{host}'"]).http.host == host


@pytest.mark.parametrize("host", ["", "0.0.0.0:9108", "256.0.0.1", "a b", "1.2.3", "-a", "http://localhost", "[::]"])
def test_hosts_that_are_none(host: str) -> None:
    """If it failed, a slip would be found by the daemon, or by a name server after many seconds."""
    with pytest.raises(ConfigError, match=r"^configuration: http\.host: found .*, expected an IP address"):
        load(None, [f"http.host='{host}'"])


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("window.length", "--set window.length: write key=value, such as window.length=140"),
        ("window.lenght=1", "configuration: window.lenght: unknown key"),
        ("window.length=[1", "--set window.length=[1: line 1: expected ',' or ']', but got '<stream end>'"),
        ("window.length='1'", "configuration: window.length: found '1', expected a whole number"),
    ],
)
def test_wrong_overrides(override: str, said: str) -> None:
    """If it failed, a slip on the command line would end in a traceback, or in a setting that nobody asked for."""
    with pytest.raises(ConfigError) as caught:
        load(None, [override])
    assert str(caught.value) == said


def test_secrets_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """If it failed, a password would stand in the process list, in a message, or in a printed configuration."""
    with pytest.raises(ConfigError, match="does not belong on a command line") as caught:
        load(None, ["source.sasl_plain_password=hush"])
    assert "hush" not in str(caught.value)
    monkeypatch.setenv("TIDEGAUGE_SOURCE", '{"type": "kafka", "topics": ["a"], "group_id": "g"}')
    monkeypatch.setenv("TIDEGAUGE_SOURCE__SASL_PLAIN_PASSWORD", "hush")
    config = load(None)
    assert config.secrets() == ["hush"]
    assert "hush" not in repr(config)
    monkeypatch.setenv(
        "TIDEGAUGE_SOURCE", '{"type": "kafka", "topics": ["a"], "group_id": "g", "sasl_plain_password": [31337]}'
    )
    monkeypatch.delenv("TIDEGAUGE_SOURCE__SASL_PLAIN_PASSWORD")
    with pytest.raises(ConfigError, match="found a value") as caught:
        load(None)
    assert "31337" not in str(caught.value)


def test_the_hash_is_of_what_decides_alerts() -> None:
    """If it failed, an alert would name another configuration because a port changed, or the same for another line."""
    config = load(None)
    same = load(None, ["http.port=1", "train.epochs=3"])
    other = load(None, ["threshold.q=0.9"])
    assert config.sha256(config.window) == same.sha256(same.window)
    assert config.sha256(config.window) != other.sha256(other.window)


# ── the example ──


def _blocks() -> list[dict[str, Any]]:
    """Return the example as it is, and each of its commented alternatives."""
    text = EXAMPLE.read_text()
    found: list[dict[str, Any]] = [parse(text)]
    block: list[str] = []
    for line in [*text.splitlines(), ""]:
        begins = re.match(r"# [a-z_]+:( |$)", line) is not None
        if block and (begins or not line.startswith("#   ")):
            found.append(parse("\n".join(block)))
            block = []
        if begins or (block and line.startswith("#   ")):
            block.append(line[2:])
    return found


def _sections(kind: str) -> Iterator[dict[str, Any]]:
    """Yield what the example has of a section, the entries of a list one by one."""
    for block in _blocks():
        section = block.get(kind, [])
        yield from section if isinstance(section, list) else [section]


def _kinds() -> dict[str, dict[str, type[BaseModel]]]:
    """Return the models of the sections whose `type` decides what is in them."""
    thresholds = get_args(get_args(AnyThresholdSettings)[0])
    return {
        "source": dict(sources.kinds()),
        "sink": dict(sinks.kinds()),
        "threshold": {model.model_fields["type"].default: model for model in thresholds},
    }


def _check(path: str, shown: Mapping[str, Any], model: type[BaseModel]) -> None:
    """Compare what is shown with a model: every field is there, and has its default if it has one."""
    fields = {name: field for name, field in model.model_fields.items() if name != "sasl_plain_password"}
    assert set(shown) == set(fields), path
    read = model.model_validate(dict(shown))
    for name, field in fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            _check(f"{path}.{name}", shown[name], inner)
        elif field.default is not PydanticUndefined and field.default is not None:
            assert getattr(read, name) == field.default, f"{path}.{name}"


def test_the_example_loads_with_each_alternative(tmp_path: Path) -> None:
    """If it failed, somebody who copies a part of the example would get an error."""
    assert EXAMPLE.read_text().startswith("# yaml-language-server: $schema=deploy/schemas/config.schema.json\n")
    load(EXAMPLE)
    whole, *alternatives = _blocks()
    assert len(alternatives) >= 8
    for block in alternatives:
        path = tmp_path / "alternative.yaml"
        merged = {**whole, **block}
        if "source" in block:
            del merged["dead_letter"]  # a topic
        if "dead_letter" in block or any("bootstrap_servers" in sink for sink in block.get("sink", ())):
            merged["source"] = {"type": "csv", "path": "a.csv"}
            merged["dead_letter"] = block.get("dead_letter", {"path": "dead.jsonl"})
        path.write_text(yaml.safe_dump(merged))
        load(path)


def test_the_example_shows_every_setting_with_its_default() -> None:
    """If it failed, a setting would be known only to those who read the code, or be shown with a wrong default."""
    whole = _blocks()[0]
    kinds = _kinds()
    assert set(whole) == set(Config.model_fields)
    for name, field in Config.model_fields.items():
        if name in kinds or name == "dead_letter":
            continue
        assert isinstance(field.annotation, type)
        _check(name, whole[name], field.annotation)
    for section, models in kinds.items():
        shown = {kind: [part for part in _sections(section) if part["type"] == kind] for kind in models}
        for kind, model in models.items():
            assert shown[kind], f"{section}.type {kind} is not shown"
            fullest = max(shown[kind], key=len)
            _check(f"{section} ({kind})", fullest, model)
    for part in _sections("dead_letter"):
        assert set(part) == set(get_args(Config.model_fields["dead_letter"].annotation)[0].model_fields)
    assert "sasl_plain_password)" in EXAMPLE.read_text()


def test_every_line_of_the_example_has_a_reason() -> None:
    """If it failed, a setting would be shown without a word on what it is for."""
    naked = [
        line for line in EXAMPLE.read_text().splitlines() if re.match(r"  +[a-z_]+: \S", line) and " # " not in line
    ]
    assert not naked


def test_a_password_that_lost_its_colon_is_not_shown(tmp_path: Path) -> None:
    """If it failed, a typing error would write the password into the log of a start that failed."""
    path = tmp_path / "config.yaml"
    path.write_text("source: {type: kafka, topics: [a], group_id: g, sasl_plain_password=hunter2-hunter2}\n")
    with pytest.raises(ConfigError, match=r"source\.sasl_plain_passw…: unknown key") as caught:
        load(path)
    assert "hunter2" not in str(caught.value)
