"""Where this machine can get a real Kafka from: a running one, a Docker engine, or Java with jars from Maven Central.

The jars are kept in a cache folder (below $TIDEGAUGE_KAFKA_CACHE or ~/.cache/tidegauge), named by their versions,
that is filled beside its final place and renamed: two test runs at the same time, or one that was interrupted, leave
either the whole folder or none.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

POM = Path(__file__).with_name("pom.xml")
HOW_TO_GET = (
    "set KAFKA_BOOTSTRAP=host:port to a Kafka whose data may be spoilt, or start Docker, or install Java 17 and Maven"
)


class NoKafkaError(Exception):
    """No broker can be had here; the message is one line that says how to get one."""


@dataclass(frozen=True, slots=True)
class External:
    """A Kafka that somebody else runs: it can be used, but not killed."""

    bootstrap: str


@dataclass(frozen=True, slots=True)
class Docker:
    """A Docker engine with the image of Apache Kafka."""

    program: str
    image: str


@dataclass(frozen=True, slots=True)
class Java:
    """A Java of at least 17 with the jars of Apache Kafka.

    Attributes:
        program: the path of `java`.
        jars: the folder with the jars.
        options: of the JVM.
    """

    program: str
    jars: Path
    options: tuple[str, ...] = ()

    @property
    def archive(self) -> Path:
        """Where Kafka's classes are kept as this JVM has them in memory; see `tests.kafka.classes`."""
        return self.jars.with_name(f"{self.jars.name}.jsa")

    def with_classes(self) -> Java:
        """Return the same with options that use the archive, if it is there; one that does not fit is left alone."""
        if not self.archive.exists():
            return self
        return replace(self, options=(f"-XX:SharedArchiveFile={self.archive}", "-Xshare:auto"))

    def as_delivered(self) -> Java:
        """Return the same with the options that Kafka's own scripts give a broker, for what is measured."""
        return replace(self, options=(*self.options, *DELIVERED))


DELIVERED = (
    *("-Xms1g", "-Xmx1g", "-XX:-UseSerialGC", "-XX:+UseG1GC", "-XX:TieredStopAtLevel=4"),
    *("-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent"),
)
"""The last four, and the heap, are those of `kafka-run-class.sh` and `kafka-server-start.sh`; the rest takes back what
tests save."""

Place = External | Docker | Java


def version() -> str:
    """Return the version of Kafka that the tests are written for."""
    found = re.search(r"<kafka\.version>(.+?)</kafka\.version>", POM.read_text())
    if found is None:
        message = f"{POM} names no kafka.version"
        raise NoKafkaError(message)
    return found[1]


def find() -> Place:
    """Return the first place that works; downloads what is missing.

    Raises:
        NoKafkaError: if there is none.
    """
    if bootstrap := os.environ.get("KAFKA_BOOTSTRAP"):
        return External(bootstrap)
    reasons = []
    for look in (docker, java):
        try:
            return look()
        except NoKafkaError as error:
            reasons.append(str(error))
    message = f"no Kafka for the tests ({'; '.join(reasons)}): {HOW_TO_GET}"
    raise NoKafkaError(message)


def docker() -> Docker:
    """Return the Docker engine of this machine; raises `NoKafkaError` where there is none that has the image."""
    program = shutil.which("docker")
    image = f"apache/kafka:{version()}"
    if program is None:
        message = "no docker"
        raise NoKafkaError(message)
    if not _works([program, "info"], seconds=10):
        message = "docker has no engine"
        raise NoKafkaError(message)
    here = _works([program, "image", "inspect", image], seconds=10)
    if not here and not _works([program, "pull", image], seconds=240):
        message = f"docker cannot pull {image}"
        raise NoKafkaError(message)
    return Docker(program, image)


def _works(command: list[str], seconds: float) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False, timeout=seconds).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def java() -> Java:
    """Return the Java of this machine and the jars; raises `NoKafkaError` where either cannot be had."""
    home = os.environ.get("JAVA_HOME")
    program = shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")
    if program is None:
        message = "no java"
        raise NoKafkaError(message)
    said = subprocess.run([program, "-version"], capture_output=True, check=False, text=True, timeout=30).stderr
    found = re.search(r'version "(\d+)', said)
    if found is None or int(found[1]) < 17:
        message = f"java is {found[1] if found else 'of an unknown version'}, Kafka needs 17"
        raise NoKafkaError(message)
    return Java(program, _jars()).with_classes()


def _jars() -> Path:
    """Return the folder with the jars, filled by Maven if it is not there yet."""
    root = Path(os.environ.get("TIDEGAUGE_KAFKA_CACHE") or Path.home() / ".cache" / "tidegauge")
    folder = root / f"kafka-{version()}-{hashlib.sha256(POM.read_bytes()).hexdigest()[:8]}"
    if folder.is_dir():
        return folder
    maven = shutil.which("mvn")
    if maven is None:
        message = "no mvn, and no jars in the cache"
        raise NoKafkaError(message)
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root, prefix="fetching-") as scratch:
        pom = shutil.copy(POM, scratch)  # Maven writes beside the pom
        filled = Path(scratch) / "jars"
        command = [maven, "-B", "-q", "-ntp", "-f", pom, "dependency:copy-dependencies"]
        command += ["-DincludeScope=runtime", f"-DoutputDirectory={filled}"]
        done = subprocess.run(command, capture_output=True, check=False, text=True)
        if done.returncode != 0:
            first = next((line for line in done.stdout.splitlines() if "ERROR" in line), "it said nothing")
            problem = re.sub(r"https?://\S+", "(address)", first)[:300]  # an address may hold a password
            message = f"mvn could not fetch Kafka's jars: {problem}"
            raise NoKafkaError(message)
        try:
            filled.rename(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another run was faster, and its folder is as good
                raise
    return folder
