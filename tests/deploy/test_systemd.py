"""The systemd unit: what systemd itself says of it, and the promises that deploy/README.md makes for it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"
UNIT = DEPLOY / "systemd" / "tidegauge@.service"
README = (DEPLOY / "README.md").read_text()
COMMAND = "/opt/tidegauge/bin/tidegauge"


def settings(text: str) -> dict[str, list[str]]:
    """The unit's settings: every value of every key, in order."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if "=" in line and not line.startswith(("#", ";")):
            key, value = line.split("=", 1)
            found.setdefault(key, []).append(value)
    return found


def seconds(key: str) -> int:
    """A setting that is a plain number of seconds, which is systemd's unit for a bare number."""
    [value] = settings(UNIT.read_text())[key]
    return int(value)


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze; skip, loudly, where there is none."""
    program = shutil.which("systemd-analyze")
    if program is None:
        message = "THE UNIT WAS NOT SHOWN TO SYSTEMD: there is no systemd-analyze (Debian: apt-get install systemd)"
        pytest.skip(message)
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False)


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """An instance of the unit whose command exists here; systemd-analyze refuses one that does not."""
    command = tmp_path / "tidegauge"
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    path = tmp_path / "tidegauge@pumps.service"
    path.write_text(UNIT.read_text().replace(COMMAND, str(command)))
    return path


def test_verify_is_silent(unit: Path) -> None:
    """A misspelt key or a bad value is ignored by systemd at run time; `verify` exits 0 but prints it."""
    result = analyze("verify", unit)
    assert (result.stdout, result.stderr, result.returncode) == ("", "", 0)


def test_verify_would_speak(unit: Path) -> None:
    """The test above is worth something only if a misspelt key is really printed."""
    unit.write_text(unit.read_text().replace("WatchdogSec=", "WatchdogSecs="))
    assert "WatchdogSecs" in analyze("verify", unit).stderr


def test_exposure(unit: Path) -> None:
    """A line of the hardening that is lost would raise the exposure above 2.0 (or, on systemd 252, above README's)."""
    result = analyze("security", "--offline=true", "--threshold=20", "--no-pager", unit)
    assert result.returncode == 0, result.stdout + result.stderr
    level = re.search(r"Overall exposure level for \S+: (\d+\.\d)", result.stdout)
    assert level is not None
    if analyze("--version").stdout.startswith("systemd 252 "):  # other versions weigh differently
        assert f"says {level[1]} (systemd 252)" in README


@pytest.mark.parametrize("which", ["network", "secret"])
def test_options_on_offer(unit: Path, which: str) -> None:
    """The drop-in of README and the commented credential are copied by operators: they must be valid."""
    if which == "network":
        [text] = re.findall(r"```ini\n(.*?)```", README, re.DOTALL)
        drop_in = unit.parent / f"{unit.name}.d" / "network.conf"
        drop_in.parent.mkdir()
        drop_in.write_text(text)
    else:
        lines = unit.read_text().replace("\n#LoadCredential=", "\nLoadCredential=")
        lines = lines.replace("\n#Environment=", "\nEnvironment=")
        assert "LoadCredential" in settings(lines)
        unit.write_text(lines)
    result = analyze("verify", unit)
    assert (result.stdout, result.stderr, result.returncode) == ("", "", 0)


def test_lifecycle() -> None:
    """Type, watchdog and stop times decide whether a hang is seen and whether the last transaction is finished."""
    found = settings(UNIT.read_text())
    assert found["Type"] == ["notify"]
    assert found["NotifyAccess"] == ["main"]
    assert found["KillMode"] == ["mixed"]
    assert found["Restart"] == ["on-failure"]
    assert found["ExecStart"] == [f"{COMMAND} run --config /etc/tidegauge/%i.yaml"]
    assert seconds("WatchdogSec") > 0
    drain = 10
    assert seconds("TimeoutStopSec") > drain


def test_status_78_stays_down() -> None:
    """A wrong configuration must not be restarted; only the main process's status counts, so the check may not fail."""
    found = settings(UNIT.read_text())
    assert found["RestartPreventExitStatus"] == ["78"]
    assert found["ExecStartPre"] == [f"-{COMMAND} check /etc/tidegauge/%i.yaml"]


def test_start_limit_ends_a_duel_but_not_an_outage() -> None:
    """Two fenced instances must end up `failed`; an outage of Kafka, however long, must never leave the unit down."""
    interval, burst = seconds("StartLimitIntervalSec"), seconds("StartLimitBurst")
    pause = seconds("RestartSec")
    duel = 2 * (pause + 3 + 3)  # each in turn: pause, start, and at most a heartbeat (3 s) until it is fenced
    outage = 30 + pause  # kafka-python tries for 30 s to reach a broker
    assert interval / duel > burst
    assert interval / outage < burst


def test_metrics_of_the_process_remain() -> None:
    """`ProcSubset=pid` hides /proc/stat, and prometheus-client then drops every `process_*` metric without a word."""
    assert "ProcSubset" not in settings(UNIT.read_text())


def test_nothing_is_sent_to_anybody() -> None:
    """ONNX Runtime uploads telemetry unless the variable is set before it is imported."""
    assert "ORT_DISABLE_TELEMETRY=1" in settings(UNIT.read_text())["Environment"]


def test_readme_names_what_there_is() -> None:
    """An operator copies paths and names from README: unit, command, configuration, state must be those of the unit."""
    text = UNIT.read_text()
    assert f"deploy/systemd/{UNIT.name} /etc/systemd/system/" in README
    assert "enable --now tidegauge@pumps" in README
    for path in ("/etc/tidegauge/%i.yaml", "/etc/tidegauge/%i.env", "/opt/tidegauge/bin"):
        assert path in text
        assert path.replace("%i", "pumps") in README
    assert settings(text)["StateDirectory"] == ["tidegauge/%i"]
    assert "`/var/lib/tidegauge/pumps`" in README


def test_readme_lists_every_exit_status() -> None:
    """A status without a row leaves the operator alone at night."""
    [table] = re.findall(r"## Exit status\n(.*?)\n## ", README, re.DOTALL)
    assert re.findall(r"^\| (\d+) \|", table, re.MULTILINE) == ["0", "1", "2", "70", "75", "78"]
