"""The daemon at a Kafka with every lock on: what lets it in, what it needs to be allowed, and what it says if not."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from models.bundle import Bundle
from tests.integration.conftest import Job, both_clients, make_job
from tests.integration.daemon import PATIENCE, ROOT, Daemon, environment, until
from tests.integration.streams import PERIOD, rows
from tests.kafka import place, topics
from tests.kafka.authority import Authority
from tests.kafka.fortress import PLAIN_PASSWORD, PLAIN_USER, Fortress

PASSWORD, PASSPHRASE = "Sesame,open-9", "Rumpel=stilzchen7"
STREAM = "pump-of-nobody"
ROWS = PERIOD + 25
"""With one bump in them, and what follows it: an alert that fires and resolves."""

Rights = dict[tuple[str, str], str]


@pytest.fixture(scope="module")
def fortress() -> Iterator[Fortress]:
    """The Kafka of these tests."""
    try:
        where = place.find()
    except place.NoKafkaError as error:
        pytest.skip(str(error))
    if isinstance(where, place.External):
        pytest.skip("locks can only be put on a Kafka that is started here")
    with Fortress() as found:
        yield found


@dataclass(frozen=True)
class Way:
    """A way in: settings of the source, the principal, and the secrets that must not show."""

    source: dict[str, Any]
    principal: str
    secrets: tuple[str, ...]


@pytest.fixture(scope="module")
def ways(fortress: Fortress, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Callable[[], Way]]:
    """Every way in, each for a new principal, by name."""
    folder = tmp_path_factory.mktemp("secrets")
    cafile = folder / "ca.pem"
    cafile.write_text(fortress.authority.certificate)

    def file(name: str, content: str) -> str:
        path = folder / name
        path.write_text(f"{content}\n")
        path.chmod(0o400)
        return str(path)

    def mutual() -> Way:
        name = _new("cert")
        certificate, key = fortress.authority.sign(name, password=PASSPHRASE).write(folder, name)
        source = {"ssl_certfile": str(certificate), "ssl_keyfile": str(key)}
        source["ssl_password_file"] = file(f"{name}.phrase", PASSPHRASE)
        return Way(_secure(fortress.tls, "SSL", cafile, **source), f"CN={name}", (PASSPHRASE,))

    def password(mechanism: str) -> Way:
        user, phrase = (PLAIN_USER, PLAIN_PASSWORD) if mechanism == "PLAIN" else (_new("user"), PASSWORD)
        if mechanism != "PLAIN":
            fortress.scram(user, phrase, mechanism)
        source = {"sasl_mechanism": mechanism, "sasl_plain_username": user}
        source["sasl_plain_password_file"] = file(f"{user}.password", phrase)
        return Way(_secure(fortress.login, "SASL_SSL", cafile, **source), user, (phrase,))

    def token() -> Way:
        name = _new("token")
        text = fortress.issuer.token(name)
        source = {"sasl_mechanism": "OAUTHBEARER", "sasl_oauthbearer_token_file": file(name, text)}
        return Way(_secure(fortress.login, "SASL_SSL", cafile, **source), name, (text, text.rpartition(".")[2]))

    def credentials() -> Way:
        name = _new("client")
        fortress.issuer.clients[name] = PASSWORD
        source = {
            "sasl_mechanism": "OAUTHBEARER",
            "sasl_oauthbearer_token_endpoint_url": f"{fortress.issuer.url}/token",
            "sasl_oauthbearer_client_id": name,
            "sasl_oauthbearer_client_secret_file": file(f"{name}.secret", PASSWORD),
        }
        return Way(_secure(fortress.login, "SASL_SSL", cafile, **source), name, (PASSWORD,))

    found: dict[str, Callable[[], Way]] = {"mutual TLS": mutual, "token": token, "client credentials": credentials}
    for mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
        found[mechanism] = partial(password, mechanism)
    return found


def _new(kind: str) -> str:
    return f"{kind}-{uuid.uuid4().hex[:8]}"


def _secure(address: str, protocol: str, cafile: Path, **more: Any) -> dict[str, Any]:
    return {
        "bootstrap_servers": [address],
        "security_protocol": protocol,
        "ssl_cafile": str(cafile),
        **more,
    }


@pytest.fixture
def job(fortress: Fortress, bundle: Bundle, client: str) -> Callable[..., Job]:
    """Makes jobs, with input in which bumps fire and one record is none."""

    def make() -> Job:
        made = make_job(
            bundle, fortress.bootstrap, lambda **how: topics.create_topic(fortress.bootstrap, **how), client=client
        )
        topics.produce(fortress.bootstrap, made.input, [*rows((STREAM,), 0, ROWS), b"{"])
        return made

    return make


def documented(work: Job, *, second_sink: bool = False) -> Rights:
    """Return the rights that deploy/README.md lists, for a job."""
    table = re.findall(
        r"^\| (Group|TransactionalId|Topic) \| `(\S+)` \| ([\w, ]+) \| (.*) \|$",
        (ROOT / "deploy" / "README.md").read_text(),
        re.MULTILINE,
    )
    assert len(table) == 9
    names = {"source.topics": work.input, "sink.topic": work.alerts, "dead_letter.topic": work.dead}
    rights: Rights = {}
    for kind, name, operations, purpose in table:
        if purpose.endswith(" only") and not (second_sink and "second sink" in purpose):
            continue
        resource = "transactional_id" if kind == "TransactionalId" else kind.lower()
        key = (resource, names.get(name, name.replace("<group_id>", work.group)))
        rights[key] = f"{rights.get(key, '')} {operations.upper().replace(',', '')}".strip()
    return rights


def _lines(path: Path, count: int) -> bool:
    return path.exists() and path.read_bytes().count(b"\n") == count


def shown(secret: str) -> list[str]:
    """Return the forms in which a secret could show."""
    raw = secret.encode()
    middle = base64.b64encode(b"\0" + raw)[2:-4].decode()  # whatever comes before and after it
    return [secret, raw.hex(), repr(raw)[2:-1], base64.b64encode(raw).decode().rstrip("="), middle]


@both_clients
def test_every_way_in_with_exactly_the_documented_rights(
    fortress: Fortress, ways: dict[str, Callable[[], Way]], job: Callable[..., Job], tmp_path: Path
) -> None:
    """If it failed, a mechanism would not work, would show its secret, or the list of rights would be wrong."""
    running: list[tuple[str, Way, Job, Daemon]] = []
    try:
        for name, make in ways.items():
            way, work = make(), job()
            second = name == "mutual TLS"
            fortress.allow(way.principal, documented(work, second_sink=second))
            config = {**work.member(**way.source), "log": {"level": "debug"}}
            if second:
                config["sink"] = [config["sink"], {"type": "jsonl", "path": str(tmp_path / "events.jsonl")}]
            running.append((name, way, work, Daemon(tmp_path / name, config)))
        for name, way, work, daemon in running:
            daemon.ready()
            until(partial(topics.consume_all, fortress.bootstrap, work.dead), name)
            fired = [json.loads(each.value) for each in topics.consume_all(fortress.bootstrap, work.alerts)]
            assert [(each["subject"], each["data"]["status"]) for each in fired] == [
                (STREAM, "firing"),
                (STREAM, "resolved"),
            ], name
            metrics = daemon.get("/metrics")[1]
            if name == "mutual TLS":
                until(partial(_lines, tmp_path / "events.jsonl", 2), name)
            assert daemon.stop()[0] == 0, name
            assert daemon.said == [], name
            assert "kafka." in daemon.text, name  # the client did log, at debug
            for text in (daemon.text, metrics):
                assert not [form for secret in way.secrets for form in shown(secret) if form in text], name
            assert STREAM not in metrics, name
        given = fortress.issuer.given
        assert given
        assert not [each for _, _, _, daemon in running for each in given if each in daemon.text]
    finally:
        for *_, daemon in running:
            daemon.kill()


def outcomes(configs: dict[str, dict[str, Any]], folder: Path) -> dict[str, tuple[int, str]]:
    """Start daemons that must fail, all at once; return the status and the one line of each."""
    daemons = {name: Daemon(folder / name, config) for name, config in configs.items()}
    found = {}
    try:
        for name, daemon in daemons.items():
            status = daemon.ended()
            assert "Traceback" not in daemon.text, f"{name}: {daemon.text[-3000:]}"
            assert len(daemon.said) == 1, f"{name}: {daemon.said}"
            found[name] = status, daemon.said[0]
    finally:
        for daemon in daemons.values():
            daemon.kill()
    return found


def asked(configs: dict[str, dict[str, Any]], folder: Path) -> dict[str, tuple[int, str]]:
    """Do the same with `tidegauge topics`, which connects as the daemon does, and loads no model before."""
    folder.mkdir()
    begun = {}
    for name, config in configs.items():
        path = folder / f"{name}.yaml"
        path.write_text(json.dumps(config))
        command = [sys.executable, "-m", "monitor", "topics", str(path)]
        begun[name] = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment())
    found = {}
    for name, process in begun.items():
        said = process.communicate(timeout=PATIENCE)[1].splitlines()
        assert len(said) == 1, f"{name}: {said}"
        found[name] = process.returncode, said[0]
    return found


def test_who_is_not_let_in_is_told_why(
    fortress: Fortress, ways: dict[str, Callable[[], Way]], job: Callable[..., Job], tmp_path: Path
) -> None:
    """If it failed, a wrong file or password would be told as a broker that cannot be reached, or show a secret."""
    other = tmp_path / "other.pem"
    other.write_text(Authority().certificate)
    stranger, key = Authority().sign("stranger").write(tmp_path, "stranger")
    wrong = tmp_path / "wrong"
    wrong.write_text("not-the-Password\n")
    ended = tmp_path / "ended"
    ended.write_text(fortress.issuer.token("anybody", seconds=-600))
    here = fortress.login.replace("localhost", "127.0.0.1")
    plain, mutual = ways["PLAIN"]().source, ways["mutual TLS"]().source
    scram, token, client = (ways[name]().source for name in ("SCRAM-SHA-256", "token", "client credentials"))
    none = {"ssl_certfile": None, "ssl_keyfile": None, "ssl_password_file": None}
    no_tls = {"security_protocol": "SASL_PLAINTEXT"}
    cases: dict[str, tuple[dict[str, Any], str]] = {
        "another authority": ({**scram, "ssl_cafile": str(other)}, "check source.ssl_cafile"),
        "another host": ({**scram, "bootstrap_servers": [here]}, "does not name the host: write source.bootstrap"),
        "no certificate": ({**mutual, **none}, "set source.ssl_certfile"),
        "a strange certificate": (
            {**mutual, **none, "ssl_certfile": str(stranger), "ssl_keyfile": str(key)},
            "want a certificate that they trust: set source.ssl_certfile",
        ),
        "a wrong passphrase": ({**mutual, "ssl_password_file": str(wrong)}, "source.ssl_password_file"),
        "no TLS there": (
            {**plain, "bootstrap_servers": [fortress.bootstrap]},
            "do not speak TLS on this port: check source.security_protocol",
        ),
        "PLAIN": ({**plain, "sasl_plain_password_file": str(wrong)}, "source.sasl_plain_password_file"),
        "SCRAM": ({**scram, "sasl_plain_password_file": str(wrong)}, "source.sasl_plain_password_file"),
        "another mechanism": ({**scram, "sasl_mechanism": "SCRAM-SHA-512"}, "check source.sasl_mechanism"),
        "an ended token": (
            {**token, "sasl_oauthbearer_token_file": str(ended)},
            "check source.sasl_mechanism, and the token that source.sasl_oauthbearer_*",
        ),
        "a wrong secret": (
            {**client, "sasl_oauthbearer_client_secret_file": str(wrong)},
            "answered 401 (invalid_client): check source.sasl_oauthbearer_client_id",
        ),
        "an open password": ({**plain, **no_tls}, "source: PLAIN over SASL_PLAINTEXT shows the password"),
        "an open token": ({**token, **no_tls}, "source: OAUTHBEARER over SASL_PLAINTEXT shows the token"),
    }
    work = job()
    # So long the client tries, whatever brokers answer.
    configs = {name: work.member(**source, bootstrap_timeout_ms=6_000) for name, (source, _) in cases.items()}
    daemons = {name: configs.pop(name) for name in ("another authority", "another host", "SCRAM", "an ended token")}
    found = {**outcomes(daemons, tmp_path), **asked(configs, tmp_path / "asked")}
    for name, (_, said) in cases.items():
        status, line = found[name]
        assert said in line, f"{name}: {line}"
        assert status == 78, f"{name}: {line}"
        text = (tmp_path / name / "log").read_text() if name in daemons else line
        assert not [each for each in ("not-the-Password", ended.read_text().strip(), PASSPHRASE) if each in text], name


def test_a_right_that_is_missing_is_named(
    fortress: Fortress, ways: dict[str, Callable[[], Way]], job: Callable[..., Job], tmp_path: Path
) -> None:
    """If it failed, a missing right would be found out by the first alert that does not go out, or by nobody."""
    cases = {
        "input": ("topic", "source.topics", "READ"),
        "alerts": ("topic", "sink.topic", "WRITE"),
        "dead": ("topic", "dead_letter.topic", "WRITE"),
        "group": ("group", "source.group_id", "READ"),
        "transactions": ("transactional_id", "source.transactional_id", "WRITE"),
        "state": ("topic", "state.topic", "WRITE"),
    }
    configs, expected = {}, {}
    for name, (kind, setting, right) in {**cases, "unseen": cases["alerts"]}.items():
        way, work = ways["token"](), job()
        names = {"group": work.group, "transactions": f"{work.group}-*", "state": f"{work.group}-state-*"}
        names["unseen"] = work.alerts
        resource = (kind, names.get(name) or getattr(work, name))
        rights = documented(work)
        assert right in rights.pop(resource).split()
        if kind == "topic" and name != "unseen":
            rights[resource] = "DESCRIBE"  # it may be looked at, but not be used
        fortress.allow(way.principal, rights)
        configs[name] = work.member(**way.source)
        expected[name] = (setting, f"ACL {right}" if name != "unseen" else "`tidegauge topics CONFIG --create`")
    found = outcomes(configs, tmp_path)
    for name, said in expected.items():
        status, line = found[name]
        assert status == 78, f"{name}: {line}"
        assert [text for text in said if text not in line] == [], f"{name}: {line}"


def test_tokens_are_renewed_and_an_issuer_may_be_away(
    fortress: Fortress, ways: dict[str, Callable[[], Way]], job: Callable[..., Job], tmp_path: Path
) -> None:
    """If it failed, a daemon with a token would end after an hour, or with the next restart of the issuer."""
    way, work = ways["client credentials"](), job()
    fortress.allow(way.principal, documented(work))
    issuer = fortress.issuer
    before, issuer.seconds = issuer.seconds, 5
    try:
        with Daemon(tmp_path / "one", work.member(**way.source)) as daemon:
            until(partial(topics.consume_all, fortress.bootstrap, work.alerts), "nothing fires")
            first = len(issuer.given)
            until(lambda: len(issuer.given) > first, "no token is renewed")
            issuer.answers.extend([(503, b"")] * 6)
            until(lambda: not issuer.answers, "no token is renewed again")
            renewed = len(issuer.given)
            topics.produce(fortress.bootstrap, work.input, rows((STREAM,), ROWS, ROWS + 2 * PERIOD))
            until(lambda: len(topics.consume_all(fortress.bootstrap, work.alerts)) > 4, "it does not go on")
            until(lambda: len(issuer.given) > renewed, "no token is renewed once the issuer is back")
            assert daemon.stop()[0] == 0
            assert daemon.said == []
            assert not [each for each in (*issuer.given, *way.secrets) if each in daemon.text]
    finally:
        issuer.seconds = before
        issuer.answers.clear()
