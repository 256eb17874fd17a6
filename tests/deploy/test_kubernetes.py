"""The Kubernetes manifests: by Kubernetes' own schemas, by what README promises, and as kustomize renders them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
BASE = DEPLOY / "kubernetes" / "base"
README = (DEPLOY / "README.md").read_text()
KUSTOMIZATION = yaml.safe_load((BASE / "kustomization.yaml").read_text())

# The oldest release that README names (and kubernetes-validate knows), and the newest at the time of writing.
RELEASES = ("1.25", "1.37")

Resource = dict[str, Any]


def manifests() -> dict[str, Resource]:
    """The base's own resources by kind, before any rendering."""
    found = [yaml.safe_load((BASE / name).read_text()) for name in KUSTOMIZATION["resources"]]
    return {resource["kind"]: resource for resource in found}


def pod() -> dict[str, Any]:
    """The spec of the StatefulSet's pods."""
    spec: dict[str, Any] = manifests()["StatefulSet"]["spec"]["template"]["spec"]
    return spec


def container() -> dict[str, Any]:
    """The one container of the pods."""
    [found] = pod()["containers"]
    assert isinstance(found, dict)
    return found


def environment() -> dict[str, str]:
    """The field of the pod that each environment variable is taken from."""
    return {item["name"]: item["valueFrom"]["fieldRef"]["fieldPath"] for item in container()["env"]}


def validate(release: str, *paths: Path) -> None:
    """Hold files against the schemas of a Kubernetes release; an unknown or misspelt key is an error."""
    command = [sys.executable, "-m", "kubernetes_validate", "--strict", "-k", release, *map(str, paths)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "WARN" not in result.stdout + result.stderr


def render(folder: Path) -> str:
    """What kustomize makes of a folder; skips, loudly, where there is no kustomize 4 or later."""
    standalone, kubectl = shutil.which("kustomize"), shutil.which("kubectl")
    if standalone is not None:
        command = [standalone, "build", str(folder)]
    elif kubectl is not None and "Kustomize Version: v" in _run([kubectl, "version", "--client"]).stdout:
        command = [kubectl, "kustomize", str(folder)]
    else:
        message = "THE KUBERNETES MANIFESTS WERE NOT RENDERED: there is neither kustomize nor kubectl 1.25 or later"
        pytest.skip(message)
    result = _run(command)
    assert result.stderr == "", "kustomize has something to say"
    assert result.returncode == 0
    return result.stdout


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a program that was found on the path."""
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    """README's overlay as an operator would lay it out: beside a copy of the base, with a configuration of its own."""
    shutil.copytree(BASE, tmp_path / "base")
    [text] = [block for block in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL) if "kind: Kustomization" in block]
    folder = tmp_path / "pumps"
    folder.mkdir()
    (folder / "kustomization.yaml").write_text(text)
    config = (BASE / "config.yaml").read_text().replace("group_id: tidegauge", "group_id: pumps-tidegauge")
    (folder / "config.yaml").write_text(config)
    return folder


@pytest.mark.parametrize("release", RELEASES)
def test_schemas(release: str) -> None:
    """A misspelt key is dropped silently by the API server, and with it the protection that it names."""
    validate(release, *(BASE / name for name in KUSTOMIZATION["resources"]))


def test_schemas_would_speak(tmp_path: Path) -> None:
    """The test above is worth something only if a misspelt key is really refused."""
    path = tmp_path / "statefulset.yaml"
    text = (BASE / "statefulset.yaml").read_text()
    path.write_text(text.replace("readOnlyRootFilesystem", "readonlyRootFilesystem"))
    with pytest.raises(AssertionError, match="readonlyRootFilesystem"):
        validate(RELEASES[-1], path)


def test_every_file_is_used() -> None:
    """A manifest that the kustomization does not name is never applied, and nobody notices."""
    generated = [name for generator in KUSTOMIZATION["configMapGenerator"] for name in generator["files"]]
    assert {path.name for path in BASE.iterdir()} == {"kustomization.yaml", *KUSTOMIZATION["resources"], *generated}


def test_restricted_pod_security() -> None:
    """A namespace that enforces the `restricted` standard would refuse the pods."""
    assert pod()["securityContext"]["runAsNonRoot"] is True
    assert pod()["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    context = container()["securityContext"]
    assert context["allowPrivilegeEscalation"] is False
    assert context["readOnlyRootFilesystem"] is True
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(pod())
    assert all(set(volume) & {"configMap", "secret", "emptyDir"} for volume in pod()["volumes"])


def test_no_token_and_no_stray_settings() -> None:
    """No pod gets a token for an API it never calls, nor settings made of the names of neighbouring services."""
    assert pod()["automountServiceAccountToken"] is False
    assert manifests()["ServiceAccount"]["automountServiceAccountToken"] is False
    assert pod()["serviceAccountName"] == manifests()["ServiceAccount"]["metadata"]["name"]
    assert pod()["enableServiceLinks"] is False


def test_runs_as_the_images_user() -> None:
    """The image's files and the mounted secrets are readable for one user; it must be this one."""
    [user] = re.findall(r"^USER (\d+):\d+$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    context = pod()["securityContext"]
    assert [context[key] for key in ("runAsUser", "runAsGroup", "fsGroup")] == [int(user)] * 3


def test_something_to_write_to() -> None:
    """With a read-only root, a library that wants a temporary file needs /tmp."""
    mounts = {mount["name"]: mount for mount in container()["volumeMounts"]}
    [tmp] = [volume["name"] for volume in pod()["volumes"] if "emptyDir" in volume]
    assert mounts[tmp]["mountPath"] == "/tmp"  # noqa: S108 - the name inside the container, not a file of this test
    assert all(mount.get("readOnly") for name, mount in mounts.items() if name != tmp)


def test_secrets_are_files() -> None:
    """A secret in the environment is inherited and dumped; a file that others can read is no secret."""
    [secret] = [volume["secret"] for volume in pod()["volumes"] if "secret" in volume]
    owner_reads = 0o400
    # Kubernetes' YAML is 1.1: 0400 is octal there, and PyYAML reads it the same way.
    assert secret["defaultMode"] == owner_reads
    assert f"`{secret['secretName']}`" in README
    assert "envFrom" not in container()
    assert all("secretKeyRef" not in item["valueFrom"] for item in container()["env"])


def test_probes() -> None:
    """A liveness probe that asks the broker restarts every pod in an outage; one without a start-up probe, at start."""
    paths = {name: container()[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert paths == {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
    assert {container()[name]["httpGet"]["port"] for name in paths} == {"metrics"}
    assert {"`/livez`", "`/readyz`", "`/metrics`"} <= set(re.findall(r"^\| (`/\w+`) \|", README, re.MULTILINE))


def test_identity() -> None:
    """Two pods with one identity fence each other; a pod with a new one at each start costs a rebalance."""
    assert environment() == {
        "TIDEGAUGE_SOURCE__GROUP_INSTANCE_ID": "metadata.name",
        "TIDEGAUGE_SOURCE__TRANSACTIONAL_ID": "metadata.name",
    }


def test_names_are_within_the_rights_of_readme() -> None:
    """README grants transactional ids with the prefix `<group_id>-`; the pods' names must begin so."""
    config = yaml.safe_load((BASE / "config.yaml").read_text())
    assert manifests()["StatefulSet"]["metadata"]["name"] == config["source"]["group_id"]


def test_stop_and_rollout() -> None:
    """Too short a grace kills the last transaction; ordered starts wait for a pod that waits for the group."""
    spec = manifests()["StatefulSet"]["spec"]
    assert spec["podManagementPolicy"] == "Parallel"
    drain = 10
    assert pod()["terminationGracePeriodSeconds"] > drain
    assert manifests()["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1


def test_requests_and_limits() -> None:
    """Memory that is promised but not reserved ends in an eviction; without a limit one pod takes the node."""
    resources = container()["resources"]
    assert set(resources["requests"]) == set(resources["limits"]) == {"cpu", "memory"}
    assert resources["requests"]["memory"] == resources["limits"]["memory"]


def test_selectors_find_the_pods() -> None:
    """A selector that matches nothing is valid: no metrics, no budget, no policy, and no word of it."""
    found = manifests()
    labels = found["StatefulSet"]["spec"]["template"]["metadata"]["labels"]
    selectors = [
        found["StatefulSet"]["spec"]["selector"]["matchLabels"],
        found["Service"]["spec"]["selector"],
        found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        found["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
    ]
    assert all(selector.items() <= labels.items() and selector for selector in selectors)


def test_network() -> None:
    """The port of the configuration, of the container, of the service and of the policy must be the same one."""
    config = yaml.safe_load((BASE / "config.yaml").read_text())
    [port] = container()["ports"]
    [served] = manifests()["Service"]["spec"]["ports"]
    assert config["http"] == {"host": "0.0.0.0", "port": port["containerPort"]}  # noqa: S104 - what pods must bind
    assert served["targetPort"] == port["name"]
    policy = manifests()["NetworkPolicy"]["spec"]
    assert policy["ingress"][0]["ports"] == [{"port": port["name"], "protocol": "TCP"}]
    broker = int(config["source"]["bootstrap_servers"][0].rpartition(":")[2])
    ports = [rule for peer in policy["egress"] for rule in peer["ports"]]
    assert any(rule["port"] <= broker <= rule.get("endPort", rule["port"]) for rule in ports)


def test_arguments_lead_to_the_configuration() -> None:
    """The path of the arguments must be the one at which the ConfigMap is mounted."""
    [volume] = [volume["name"] for volume in pod()["volumes"] if "configMap" in volume]
    [mount] = [mount["mountPath"] for mount in container()["volumeMounts"] if mount["name"] == volume]
    assert container()["args"] == ["run", "--config", f"{mount}/config.yaml"]


@pytest.mark.parametrize("secured", [False, True])
def test_configuration_is_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, secured: bool) -> None:
    """A pod with a configuration that tidegauge refuses never starts; the commented lines must hold too."""
    configuration = pytest.importorskip("monitor.config", exc_type=ModuleNotFoundError)
    text = (BASE / "config.yaml").read_text()
    if secured:
        text = re.sub(r"^  # (?=\w+: )", "  ", text, flags=re.MULTILINE)
        text = text.replace("/run/secrets/tidegauge", str(tmp_path))
        (tmp_path / "password").write_text("a password\n")
        (tmp_path / "ca.crt").write_text("")
        assert yaml.safe_load(text)["source"]["security_protocol"] == "SASL_SSL"
    for name in environment():
        monkeypatch.setenv(name, "tidegauge-0")
    path = tmp_path / "config.yaml"
    path.write_text(text)
    config = configuration.load(path)
    assert (config.source.group_instance_id, config.source.transactional_id) == ("tidegauge-0", "tidegauge-0")


def test_rendered_base(tmp_path: Path) -> None:
    """The base must render, be valid as a whole, and mount the ConfigMap under the name with the hash."""
    path = tmp_path / "rendered.yaml"
    path.write_text(render(BASE))
    validate(RELEASES[-1], path)
    found = {resource["kind"]: resource for resource in yaml.safe_load_all(path.read_text())}
    assert set(found) == {*manifests(), "ConfigMap"}
    name = found["ConfigMap"]["metadata"]["name"]
    assert re.fullmatch(r"tidegauge-config-\w{10}", name)
    volumes = found["StatefulSet"]["spec"]["template"]["spec"]["volumes"]
    assert [volume["configMap"]["name"] for volume in volumes if "configMap" in volume] == [name]
    assert yaml.safe_load(found["ConfigMap"]["data"]["config.yaml"]) == yaml.safe_load(
        (BASE / "config.yaml").read_text()
    )


def test_rendered_overlay(overlay: Path) -> None:
    """README's overlay is what operators copy: it must render with its image, count, names and configuration."""
    path = overlay / "rendered.yaml"
    path.write_text(render(overlay))
    validate(RELEASES[-1], path)
    found = {resource["kind"]: resource for resource in yaml.safe_load_all(path.read_text())}
    assert {resource["metadata"]["namespace"] for resource in found.values()} == {"monitoring"}
    stateful = found["StatefulSet"]
    spec = stateful["spec"]["template"]["spec"]
    group = yaml.safe_load(found["ConfigMap"]["data"]["config.yaml"])["source"]["group_id"]
    assert stateful["metadata"]["name"] == group == "pumps-tidegauge"
    assert f"`{group}-0`" in README
    assert stateful["spec"]["serviceName"] == found["Service"]["metadata"]["name"]
    assert spec["serviceAccountName"] == found["ServiceAccount"]["metadata"]["name"]
    assert stateful["spec"]["selector"]["matchLabels"]["app.kubernetes.io/instance"] == "pumps"
    asked = yaml.safe_load((overlay / "kustomization.yaml").read_text())
    assert spec["containers"][0]["image"] == f"{asked['images'][0]['newName']}:{asked['images'][0]['newTag']}"
    assert stateful["spec"]["replicas"] == asked["replicas"][0]["count"]


def test_a_changed_configuration_rolls_the_pods(overlay: Path) -> None:
    """Without a new name of the ConfigMap, pods would run on with the old configuration."""
    before = render(overlay)
    with (overlay / "config.yaml").open("a") as file:
        file.write("threshold:\n  q: 0.999\n")
    names = [re.findall(r"name: (pumps-tidegauge-config-\w+)", text) for text in (before, render(overlay))]
    assert len(set(names[0])) == len(set(names[1])) == 1
    assert names[0] != names[1]
