"""One broker process: a JVM of our own, or a container; stopped, killed and frozen by its own id alone."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import IO

    from tests.kafka.place import Docker, Java

# Small and quick to start: a test broker lives for seconds, and the compiler's second tier never pays.
JVM = ("-Xms192m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:+ExitOnOutOfMemoryError")


class Node(Protocol):
    """What a broker process can be made to do."""

    def start(self) -> None:
        """Format its folder if that was not done, and start it; returns before it listens."""

    def stop(self, seconds: float) -> None:
        """Ask it to end, and kill it when it has not done so in time."""

    def kill(self) -> None:
        """End it at once (SIGKILL); what it had in memory is lost, what it wrote is not."""

    def pause(self) -> None:
        """Freeze it: its connections stay open, and nobody answers."""

    def resume(self) -> None:
        """Let a frozen one go on."""

    def running(self) -> bool:
        """Return whether the process is there."""

    def said(self) -> str:
        """Return the end of what it printed."""


class JavaNode:
    """A broker in a JVM of this machine."""

    def __init__(
        self, place: Java, settings: Mapping[str, str], format_options: list[str], folder: Path, keeper: IO[str]
    ) -> None:
        """Write its settings into `folder`; `keeper` is told of its process."""
        self._folder = folder
        self._keeper = keeper
        self._process: subprocess.Popen[bytes] | None = None
        self._java = [place.program, *JVM, *place.options]
        self._classpath = f"{place.jars}/*"
        self._settings = folder / "server.properties"
        self._settings.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        self._format = ["format", "--ignore-formatted", "-c", str(self._settings), *format_options]
        self._printed = folder / "printed.txt"

    @property
    def pid(self) -> int | None:
        """The id of the process, None before the first start."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """See `Node`."""
        if not (self._folder / "formatted").exists():
            self._run("kafka.tools.StorageTool", *self._format)
            assert self._process is not None
            if self._process.wait(120) != 0:
                return  # whoever waits for the node sees that it ended, and what it said
            (self._folder / "formatted").touch()
        self._run("kafka.Kafka", str(self._settings))

    def _run(self, main: str, *arguments: str) -> None:
        """Run a class of Kafka's jars as the node's process."""
        command = [*self._java, "-cp", self._classpath, main, *arguments]
        with self._printed.open("ab") as printed:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                # A session of its own: Ctrl-C must reach the test run alone, which needs its broker to end well.
                start_new_session=True,
            )
        self._keeper.write(f"process {self.pid}\n")
        self._keeper.flush()

    def stop(self, seconds: float) -> None:
        """See `Node`."""
        if self._process is None:
            return
        self._signal(signal.SIGCONT)
        self._signal(signal.SIGTERM)
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """See `Node`."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait(30)

    def pause(self) -> None:
        """See `Node`."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """See `Node`."""
        self._signal(signal.SIGCONT)

    def running(self) -> bool:
        """See `Node`."""
        return self._process is not None and self._process.poll() is None

    def said(self) -> str:
        """See `Node`."""
        return self._printed.read_text(errors="replace")[-3000:] if self._printed.exists() else ""

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            os.kill(self._process.pid, number)


class DockerNode:
    """A broker in a container on the host's network, so that its addresses are the same as those of a JVM."""

    def __init__(
        self, place: Docker, settings: Mapping[str, str], format_options: list[str], name: str, keeper: IO[str]
    ) -> None:
        """Prepare the command; `keeper` is told of the container, called `name`."""
        self._program = place.program
        self._name = name
        self._keeper = keeper
        self._created = False
        text = "".join(f"{key}={value}\n" for key, value in {**settings, "log.dirs": "/tmp/kafka"}.items())  # noqa: S108 - inside the container
        script = (
            'printf %s "$SETTINGS" > /tmp/server.properties && cd /opt/kafka/bin'
            ' && ./kafka-storage.sh format --ignore-formatted -c /tmp/server.properties "$@"'
            " && exec ./kafka-server-start.sh /tmp/server.properties"
        )
        self._create = ["run", "--detach", "--name", name, "--network", "host", "--env", f"SETTINGS={text}"]
        self._create += ["--env", "KAFKA_HEAP_OPTS=-Xms192m -Xmx384m", "--entrypoint", "sh", place.image]
        self._create += ["-c", script, "sh", *format_options]

    def start(self) -> None:
        """See `Node`."""
        if self._created:
            self._docker("start", self._name)
            return
        self._keeper.write(f"container {self._program} {self._name}\n")
        self._keeper.flush()
        self._docker(*self._create)
        self._created = True

    def stop(self, seconds: float) -> None:
        """See `Node`."""
        if self._created:
            self._docker("stop", "--time", str(round(seconds)), self._name)

    def kill(self) -> None:
        """See `Node`."""
        if self.running():
            self._docker("kill", "--signal", "KILL", self._name)

    def pause(self) -> None:
        """See `Node`."""
        self._docker("pause", self._name)

    def resume(self) -> None:
        """See `Node`."""
        self._docker("unpause", self._name)

    def running(self) -> bool:
        """See `Node`."""
        return self._created and self._docker("inspect", "--format", "{{.State.Running}}", self._name).strip() == "true"

    def said(self) -> str:
        """See `Node`."""
        return self._docker("logs", "--tail", "40", self._name) if self._created else ""

    def _docker(self, *arguments: str) -> str:
        done = subprocess.run([self._program, *arguments], capture_output=True, check=True, text=True, timeout=120)
        return done.stdout + (done.stderr if arguments[0] == "logs" else "")
