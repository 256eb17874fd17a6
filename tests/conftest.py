"""Fixtures of all tests: a real Kafka for the run, topics in it, and one tiny trained bundle."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator

import pytest
import structlog

from models.bundle import Bundle
from models.cells import Cells
from models.serving import Model
from models.training import Epoch
from tests.bundles import EPOCHS, fan_bundle, tiny_bundle
from tests.kafka import topics
from tests.kafka.broker import Broker
from tests.kafka.place import NoKafkaError
from tests.models.waves import waves

_missing: list[str] = []

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that starts the tests in the background has SIGINT ignored, in all that they start too.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that uses Kafka, so that `-m 'not kafka'` leaves exactly those out."""
    for item in items:
        if "kafka" in getattr(item, "fixturenames", ()):
            item.add_marker("kafka")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say once, and loudly, that the Kafka tests did not run."""
    if _missing:
        terminalreporter.write_line(f"KAFKA TESTS WERE NOT RUN: {_missing[0]}", red=True, bold=True)


@pytest.fixture(autouse=True)
def _plain_logs() -> Iterator[None]:
    """Give loggers their defaults back after a test that has configured them: others look at what is logged."""
    yield
    if structlog.is_configured():
        structlog.reset_defaults()


@pytest.fixture(scope="session")
def kafka() -> Iterator[Broker]:
    """A Kafka of one node that all tests of the run share: make topics of your own, and do not kill it."""
    broker, reason = None, ""
    try:
        broker = Broker()
    except NoKafkaError as error:
        reason = str(error)
    if broker is None:
        _missing[:] = [reason]
        if os.environ.get("CI"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    with broker:
        yield broker


@pytest.fixture
def topic(kafka: Broker) -> Iterator[Callable[..., str]]:
    """Makes topics: `topic(partitions=4, cleanup_policy="compact")` returns the name of a new one."""
    made: list[str] = []

    def make(partitions: int = 1, name: str | None = None, **configs: str) -> str:
        made.append(topics.create_topic(kafka.bootstrap, name, partitions, **configs))
        return made[-1]

    yield make
    if made and not kafka.owned:
        topics.delete_topics(kafka.bootstrap, made)


@pytest.fixture
def kcat() -> str:
    """The path of kcat; the test is skipped where it is not installed."""
    program = topics.kcat()
    if program is None:
        pytest.skip("no kcat")
    return program


@pytest.fixture(scope="session")
def cells() -> Cells:
    """The recording that `bundle` was trained on."""
    return waves()


@pytest.fixture(scope="session")
def epochs(bundle: Bundle) -> list[Epoch]:
    """What the training of `bundle` reported."""
    assert bundle
    return EPOCHS


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A trained bundle. Copy it before changing it."""
    return tiny_bundle(tmp_path_factory)


@pytest.fixture(scope="session")
def fans(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A trained bundle of another fleet, with other features and windows. Copy it before changing it."""
    return fan_bundle(tmp_path_factory)


@pytest.fixture(scope="session")
def model(bundle: Bundle) -> Model:
    """The bundle's model."""
    return Model(bundle)
