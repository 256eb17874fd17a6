"""Logs: the form of a line, what is held back, and that no secret comes out."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog
from pydantic import ValidationError

from monitor.logs import CLAMPED, LogSettings, Repeats, configure
from tests.kafka.broker import Broker

PASSWORD = "hunter2-open-sesame"  # noqa: S105 - what must never come out
ROOT = str(Path(__file__).parents[2])


class Log(io.StringIO):
    """A place for log lines; a terminal or none."""

    def __init__(self, *, terminal: bool = False) -> None:
        """Begin empty."""
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return self._terminal

    def events(self) -> list[dict[str, Any]]:
        """Return the lines, each of which must be JSON."""

        def refuse(constant: str) -> None:
            raise ValueError(constant)

        return [json.loads(line, parse_constant=refuse) for line in self.getvalue().split("\n")[:-1]]


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Leave logging as it was."""
    names = ["", "kafka", *CLAMPED]
    loggers = [logging.getLogger(name) for name in names]
    levels, handlers = [logger.level for logger in loggers], list(loggers[0].handlers)
    shown = warnings.showwarning
    yield
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)
    warnings.showwarning = shown
    loggers[0].handlers[:] = handlers
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def start(level: str = "info", form: str = "json", secrets: tuple[str, ...] = ()) -> tuple[Log, Any]:
    """Configure logging into memory, and return it with a logger."""
    log = Log()
    configure(LogSettings.model_validate({"level": level, "format": form}), secrets, log)
    return log, structlog.get_logger("tests")


def test_a_line_of_json_has_time_level_and_event() -> None:
    """A log collector takes the daemon's lines apart by these names."""
    log, logger = start()
    logger.info("partition_assigned", topic="sensors", partition=3)
    logger.debug("not_this")
    (event,) = log.events()
    assert list(event) == ["timestamp", "level", "event", "topic", "partition"]
    assert event["timestamp"].endswith("Z")
    assert (event["level"], event["event"], event["partition"]) == ("info", "partition_assigned", 3)


def test_any_value_is_one_line_of_json() -> None:
    """A value that cannot be written must cost neither the line nor the daemon."""

    class Fails:
        def __str__(self) -> str:
            raise RuntimeError

    endless: list[Any] = []
    endless.append(endless)
    log, logger = start()
    logger.info(
        "odd",
        scalar=np.float32(0.5),
        count=np.int64(7),
        flag=np.bool_(True),  # noqa: FBT003 - a value
        array=np.array([1.0, np.nan]),
        nan=float("nan"),
        infinite=np.float64("inf"),
        path=Path("a/b"),
        raw=b"\xff\n",
        text="a\nb\x1b[31m\u2028",
        surrogate="\ud800",
        huge=10**400,
        mapping={1: {"x": (1, 2)}, None: {3}},
        thing=object(),
        fails=Fails(),
        endless=endless,
    )
    (event,) = log.events()
    assert event["event"] == "odd"
    assert event["flag"] is True
    assert event["fails"] == "<Fails>"
    assert event["surrogate"] == "\\ud800"
    assert event["mapping"] == {"1": {"x": [1, 2]}, "None": [3]}
    log, logger = start()
    logger.info(
        "plain",
        scalar=np.float32(0.5),
        count=np.int64(7),
        array=np.array([1.0, np.nan]),
        nan=float("nan"),
        p=Path("a/b"),
    )
    (event,) = log.events()
    assert {name: event[name] for name in ("scalar", "count", "array", "nan", "p")} == {
        "scalar": 0.5,
        "count": 7,
        "array": [1.0, None],
        "nan": None,
        "p": "a/b",
    }


def test_an_exception_is_in_its_line_without_locals() -> None:
    """Local variables are where the passwords are; and a traceback over many lines breaks the collector."""
    for form in ("json", "console"):
        log, logger = start(form=form)
        kept = PASSWORD
        try:
            raise ValueError("password=" + kept)  # noqa: TRY301 - to have one
        except ValueError:
            logger.exception("commit_failed", stage="commit")
        text = log.getvalue()
        assert "commit_failed" in text
        assert "ValueError" in text
        assert "test_logs.py" in text
        assert PASSWORD not in text
        assert "kept" not in text or form == "console"  # the line of source stands in a console traceback
        if form == "json":
            assert log.events()[0]["exception"][0]["exc_type"] == "ValueError"


def test_console_is_for_people() -> None:
    """On a terminal a line must be readable, and what comes from a record must not play with the terminal."""
    log, logger = start(form="console")
    logger.warning("stream_refused", stream="a\x1b[2Jb\nfake line", count=np.int64(3))
    text = log.getvalue()
    assert text.count("\n") == 1
    assert "\x1b" not in text
    assert "stream_refused" in text
    assert "count=3" in text


@pytest.mark.parametrize(("form", "terminal", "json_"), [("auto", False, True), ("json", True, True)])
def test_form_follows_the_terminal(form: str, *, terminal: bool, json_: bool) -> None:
    """Under systemd it is JSON by itself; the setting wins over the terminal."""
    log = Log(terminal=terminal)
    configure(LogSettings.model_validate({"format": form}), stream=log)
    structlog.get_logger().info("here")
    assert log.getvalue().startswith("{") is json_


def test_a_terminal_gets_console() -> None:
    """Who starts it by hand does not read JSON."""
    log = Log(terminal=True)
    configure(LogSettings(), stream=log)
    structlog.get_logger().info("here")
    assert not log.getvalue().startswith("{")


def test_standard_output_stays_clean() -> None:
    """`tidegauge replay | jq` reads standard output; a log line in it would break the pipe."""
    code = (
        "from monitor.logs import *; import structlog, logging; configure(LogSettings());"
        "structlog.get_logger().info('here'); logging.getLogger('kafka.client').error('there')"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True, cwd=ROOT)
    assert found.stdout == ""
    assert [json.loads(line)["event"] for line in found.stderr.splitlines()] == ["here", "library_message"]


@pytest.mark.parametrize("redirect", ["2>/dev/full", "2>&-", "2> >(exit 0)"])
def test_a_log_that_nobody_takes_stops_nothing(redirect: str) -> None:
    """A full disk under the log must not end the monitoring."""
    code = (
        "from monitor.logs import *; import structlog, logging, time; configure(LogSettings()); time.sleep(0.2);"
        "[structlog.get_logger().info('here', i=i) for i in range(9)]; logging.getLogger('kafka').error('x');"
        "print('on')"
    )
    command = f'exec "{sys.executable}" -c "$1" {redirect}'
    found = subprocess.run(["bash", "-c", command, "bash", code], stdout=subprocess.PIPE, check=False, cwd=ROOT)
    assert found.stdout == b"on\n"


# ── what repeats ──


def test_repeats_come_once_in_ten_seconds_with_a_count() -> None:
    """A dead broker must not fill the disk with one and the same line."""
    now = [0.0]
    repeats = Repeats(10.0, lambda: now[0])
    admitted: list[int | None] = []
    for now[0] in (0.0, 1.0, 9.9, 10.0, 10.1, 25.0):
        admitted.append(repeats.admit("x"))
    assert admitted == [0, None, None, 2, None, 1]
    assert repeats.admit("y") == 0


def test_repeats_are_bounded() -> None:
    """A text with a new number in it each time must not fill the memory."""
    repeats = Repeats()
    for i in range(10_000):
        repeats.admit(i)
    assert len(repeats._seen) <= 1_000


def test_equal_errors_are_held_back_and_others_are_not() -> None:
    """What is new must be seen among what repeats."""
    log, logger = start()
    for i in range(5):
        logger.error("publish_failed", sink="kafka", attempt=i)
        logger.info("turned", attempt=i)
    logger.error("publish_failed", sink="jsonl")
    found = [event["event"] for event in log.events()]
    assert found.count("publish_failed") == 2
    assert found.count("turned") == 5


# ── libraries ──


def test_libraries_come_out_in_the_same_form() -> None:
    """The Kafka client's warnings belong to the daemon's log, not to lines of their own form."""
    log, _ = start()
    kafka = logging.getLogger("kafka.coordinator")
    kafka.info("Joined group")
    for delay in (0.1, 0.2):
        kafka.warning("Marking the coordinator dead (node %s), waiting %.1f s", 1, delay)
    logging.getLogger("elsewhere").info("not of interest")
    (event,) = log.events()
    assert event["event"] == "library_message"
    assert event["message"] == "Marking the coordinator dead (node 1), waiting 0.1 s"
    assert (event["logger"], event["level"]) == ("kafka.coordinator", "warning")


def test_level_reaches_libraries() -> None:
    """`level: error` must silence warnings of libraries, too; `debug` must show what the client does."""
    log, _ = start("error")
    logging.getLogger("kafka.coordinator").warning("no")
    assert log.getvalue() == ""
    log, _ = start("debug")
    logging.getLogger("kafka.coordinator").debug("yes")
    assert log.events()[0]["message"] == "yes"


def test_configure_again_does_not_double() -> None:
    """A second set-up in one process must not write every line twice."""
    start()
    log, logger = start()
    logger.info("here")
    logging.getLogger("kafka").error("there")
    assert len(log.events()) == 2


def test_python_warnings_are_events() -> None:
    """A deprecation warning on bare standard error would be a line that is no JSON."""
    code = "from monitor.logs import *; import warnings; configure(LogSettings()); warnings.warn('old')"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True, cwd=ROOT)
    assert "old" in json.loads(found.stderr)["message"]


# ── secrets ──


def test_names_that_look_like_secrets_are_blanked() -> None:
    """A whole configuration may be logged by mistake; its passwords must not be in it."""
    log, logger = start("debug")
    logger.info(
        "configured",
        sasl_plain_password=PASSWORD,
        config={"ssl_password": PASSWORD, "nested": [{"bearer_token": PASSWORD}], "password_file": "/run/secrets/p"},
        headers={"Authorization": f"Bearer {PASSWORD}"},
        api_key=PASSWORD,
        url=f"https://me:{PASSWORD}@host:9093/x",
        stream="pump-17",
    )
    assert PASSWORD not in log.getvalue()
    (event,) = log.events()
    assert event["config"]["password_file"] == "/run/secrets/p"  # noqa: S105 - the name of a file
    assert event["stream"] == "pump-17"
    assert event["url"] == "https://**********@host:9093/x"


@pytest.mark.parametrize(
    "text",
    [
        f"config: {{'sasl_plain_username': 'me', 'sasl_plain_password': '{PASSWORD}', 'port': 9092}}",
        f"sasl_plain_password={PASSWORD}, next=1",
        f"SaslAuthenticateRequest(auth_bytes=b'\\x00me\\x00{PASSWORD}')",
        f'{{"client_secret": "a \\" {PASSWORD}"}}',
        f"Authorization: Bearer {PASSWORD}",
        f"Authorization: Basic {PASSWORD}",
        f"cannot reach http://me:{PASSWORD}@proxy:3128",
    ],
)
def test_texts_that_look_like_secrets_are_blanked(text: str) -> None:
    """Libraries put passwords into sentences."""
    log, logger = start("debug")
    logging.getLogger("kafka.consumer").warning("got %s", text)
    logger.info("failed", error=text)
    assert len(log.events()) == 2
    assert PASSWORD not in log.getvalue()


def test_known_secrets_are_blanked_wherever_they_are() -> None:
    """What nobody thought of: the value itself gives it away."""
    log, logger = start(secrets=(PASSWORD, "x"))
    logger.info("odd", note=f"tried {PASSWORD}!", deep=[{"a": f"<{PASSWORD}>"}], x="xx")
    assert PASSWORD not in log.getvalue()
    assert log.events()[0]["x"] == "xx"  # too short to be one


def test_clamped_loggers_stay_above_debug() -> None:
    """These print requests with the password in them, in forms that no pattern finds."""
    log, _ = start("debug")
    for name in (*CLAMPED, "kafka.net.sasl.plain", "kafka.net.manager"):
        logger = logging.getLogger(name)
        assert not logger.isEnabledFor(logging.DEBUG)
        logger.info("%s", name)
    assert [event["message"] for event in log.events()][: len(CLAMPED)] == list(CLAMPED)
    late = logging.getLogger("kafka.net.late")
    late.setLevel(logging.DEBUG)
    late.debug(PASSWORD)
    late.setLevel(logging.NOTSET)
    assert PASSWORD not in log.getvalue()


CLIENT = """
import sys
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from monitor.logs import LogSettings, configure
configure(LogSettings(level="debug"))
for client in (KafkaConsumer, KafkaProducer, KafkaAdminClient):
    try:
        client(
            bootstrap_servers=sys.argv[1], security_protocol="SASL_PLAINTEXT", sasl_mechanism="PLAIN",
            sasl_plain_username="tidegauge", sasl_plain_password=sys.argv[2], bootstrap_timeout_ms=700,
        )
    except Exception as error:
        print(type(error).__name__)
"""


def test_level_debug_shows_no_password(kafka: Broker) -> None:
    """The client prints whole requests, bytes and configurations at debug; a broker that refuses it gets them all."""
    if not kafka.sasl_bootstrap:
        pytest.skip("this Kafka has no SASL")
    found = subprocess.run(
        [sys.executable, "-c", CLIENT, kafka.sasl_bootstrap, PASSWORD],
        capture_output=True,
        check=True,
        text=True,
        cwd=ROOT,
        timeout=120,
    )
    assert found.stdout.split() == ["KafkaTimeoutError"] * 3  # what a wrong password looks like
    assert len(found.stderr.splitlines()) > 10
    assert PASSWORD not in found.stderr


def test_settings_are_strict() -> None:
    """A level that is none must be refused with the configuration."""
    for given in ({"level": "trace"}, {"format": "xml"}, {"file": "x"}):
        with pytest.raises(ValidationError):
            LogSettings.model_validate(given)
