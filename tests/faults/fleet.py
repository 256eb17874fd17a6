"""The members of the group: daemons as processes, started again when they end, as systemd would."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.faults import clock, points
from tests.integration.daemon import Daemon

RETRIED = (-signal.SIGKILL, 0, 1, 70, 75)
"""Exit statuses after which a supervisor starts a daemon again (0: it was asked to end); 78 waits for an operator."""

_PAGE = os.sysconf("SC_PAGE_SIZE")


class Member:
    """One member: a name, a configuration, and the daemon that has it at the moment.

    Attributes:
        name: of the member.
        config: its configuration.
        env: more of its environment, at its next starts.
        daemon: the process.
        begun: when it was started.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        config: Mapping[str, Any],
        keep: Callable[[int], None],
        rule: str | None = None,
    ) -> None:
        """Start nothing yet; `keep` is told of each process, `rule` is one that all of them break."""
        self._folder, self._keep, self._rule = folder, keep, rule
        self.name, self.config = name, config
        self._turns = 0
        self.env: dict[str, str] = {}
        self.daemon: Daemon | None = None
        self.begun = 0.0

    def start(self, steps: Sequence[points.Step] = ()) -> Daemon:
        """Start a daemon: the product as it is, or with a plan, or with a broken rule."""
        rule = self._rule
        self._turns += 1
        folder = self._folder / f"{self.name}-{self._turns}"
        folder.mkdir(parents=True)
        hooked = bool(steps) or rule is not None or clock.VARIABLE in self.env
        if steps:
            points.write(folder / points.PLAN, list(steps))
        more = self.env | ({"FAULTS_BREAK": rule} if rule else {})
        program = ("tests.faults.process",) if hooked else ("monitor",)
        self.daemon = Daemon(folder, self.config, env=more, program=program)
        self._keep(self.pid)
        self.begun = time.monotonic()
        return self.daemon

    @property
    def running(self) -> bool:
        """Whether its process is there."""
        return self.daemon is not None and self.daemon.process.poll() is None

    @property
    def pid(self) -> int:
        """The process."""
        assert self.daemon is not None
        return self.daemon.process.pid

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        if self.running:
            os.kill(self.pid, number)


class Fleet:
    """All members of the group.

    Attributes:
        members: by name.
        kills: kills from outside (`external`), and crashes at each place.
        statuses: exit statuses of daemons that nobody had killed.
        complaints: what no fault excuses: tracebacks, and ends that wait for an operator.
    """

    def __init__(self, folder: Path, keep: Callable[[int], None], rule: str | None = None) -> None:
        """Start nothing yet; `keep` is told of each process, `rule` is one that all of them break."""
        self._folder, self._keep, self._rule = folder, keep, rule
        self.members: dict[str, Member] = {}
        self.kills: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.complaints: list[str] = []
        self.excused: set[int] = set()

    def add(self, name: str, config: Mapping[str, Any]) -> Member:
        """Start a member."""
        member = self.members[name] = Member(self._folder, name, config, self._keep, self._rule)
        member.start()
        return member

    def kill(self, name: str) -> None:
        """SIGKILL; the member is started again by the next `tend`."""
        member = self.members[name]
        if member.running:
            assert member.daemon is not None
            member.daemon.kill()
            self.kills["external"] += 1

    def crash(self, name: str, place: str, steps: Sequence[points.Step], seconds: float = 40) -> bool:
        """Replace a member by one that is to kill itself at a place by a plan; return whether it did so in time."""
        self.kill(name)
        member = self.members[name]
        self._judge(member)
        daemon = member.start(steps)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and daemon.process.poll() is None:
            self.tend(but=name)
            time.sleep(0.05)
        passed = points.passed(daemon.folder)
        if passed and passed[-1].endswith(" kill") and daemon.process.poll() == -signal.SIGKILL:
            self.kills[place] += 1
            return True
        self.kill(name)
        return False

    def stop(self, name: str) -> None:
        """SIGTERM; it must end with 0 within 10 s."""
        member = self.members[name]
        if not member.running or member.daemon is None:
            return
        daemon = member.daemon
        status, seconds = daemon.stop()
        self._judge(member)
        self.kills["term"] += 1
        if seconds > 10 or (status not in {0, 75} and '"starting"' in daemon.text):
            self.complaints.append(f"{name}: status {status} after {seconds:.1f} s on SIGTERM")

    def remove(self, name: str) -> None:
        """Stop a member for good."""
        self.stop(name)
        self.members.pop(name)

    def tend(self, but: str = "") -> None:
        """Start what has ended again, half a second after its start at the earliest."""
        for member in list(self.members.values()):
            if member.running or member.name == but:
                continue
            self._judge(member)
            member.start()

    def wait(self, true: Callable[[], bool], what: str, seconds: float) -> None:
        """Tend the members until something is true.

        Raises:
            TimeoutError: if it does not become true in time.
        """
        deadline = time.monotonic() + seconds
        while not true():
            if time.monotonic() > deadline:
                raise TimeoutError(what)
            self.tend()
            time.sleep(0.1)

    def ready(self, seconds: float = 600) -> None:
        """Wait until every member says that it consumes.

        Raises:
            TimeoutError: if one does not in time.
        """

        def all_are() -> bool:
            daemons = [member.daemon for member in self.members.values()]
            return all(daemon is not None and '"ready"' in daemon.text for daemon in daemons)

        self.wait(all_are, "a member does not become ready", seconds)

    def rest(self, seconds: float) -> None:
        """Let time pass, and tend the members meanwhile."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.tend()
            time.sleep(0.1)

    def sizes(self) -> list[tuple[str, int, int, int]]:
        """Return name, resident bytes, open files and threads of each member that runs."""
        found = []
        for member in self.members.values():
            try:
                process = Path(f"/proc/{member.pid}")
                resident = int((process / "statm").read_text().split()[1]) * _PAGE
                files = len(list((process / "fd").iterdir()))
                threads = len(list((process / "task").iterdir()))
            except OSError:
                continue
            found.append((member.name, resident, files, threads))
        return found

    def close(self) -> None:
        """Kill all of them."""
        for member in self.members.values():
            if member.daemon is not None:
                member.signal(signal.SIGCONT)
                member.daemon.kill()

    def _judge(self, member: Member) -> None:
        """Look at how a daemon ended."""
        daemon = member.daemon
        if daemon is None or daemon.process.poll() is None:
            return
        status = int(daemon.process.returncode)
        if status != -signal.SIGKILL:
            self.statuses[status] += 1
        text = daemon.text
        if "Traceback" in text:
            self.complaints.append(f"{member.name}: a traceback: {text[text.find('Traceback') :][-1500:]}")
        elif status == -signal.SIGTERM and '"starting"' not in text:
            pass  # it came before the daemon had begun
        elif status not in RETRIED and status not in self.excused:
            said = " | ".join(daemon.said[-2:])
            self.complaints.append(f"{member.name} ended with {status}: {said}")
        member.daemon = None
