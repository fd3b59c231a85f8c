"""The files that put Assay on a server: they parse, and name what there is."""

from __future__ import annotations

import configparser
import os
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML
from typer.main import get_command

from assay.cli.main import app
from assay.config.state import database_variable, objects_variable
from assay.jobs.service import STOP_SECONDS
from assay.serve.server import DRAIN_S

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"


def options() -> set[str]:
    """Of `assay serve`."""
    command: Any = get_command(app)
    return {name for parameter in command.commands["serve"].params for name in parameter.opts}


def test_the_dockerfile() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    joined = re.sub(r"\\\n", " ", text)
    lines = [line for line in joined.splitlines() if line and not line.startswith("#")]
    known = {
        "FROM", "ARG", "WORKDIR", "COPY", "RUN", "ENV", "USER", "VOLUME", "EXPOSE", "HEALTHCHECK",
        "ENTRYPOINT", "CMD",
    }  # fmt: skip
    assert {line.split()[0] for line in lines} <= known
    [copied] = [line.split()[1:-1] for line in lines if line.startswith("COPY pyproject")]
    assert all((ROOT / name).exists() for name in copied)
    assert [line for line in lines if line.startswith("USER")] == ["USER assay"]
    [command] = [line for line in lines if line.startswith("CMD")]
    assert set(re.findall(r"--[a-z-]+", command)) <= options()


@pytest.mark.parametrize("name", ["compose.yaml", "compose.single.yaml"])
def test_the_compose_files(name: str) -> None:
    compose = YAML(typ="safe").load((DEPLOY / name).read_text())
    services = compose["services"]
    service = services["assay"]
    assert int(service["stop_grace_period"].removesuffix("s")) > DRAIN_S + STOP_SECONDS
    assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).exists()
    ports = [port for one in services.values() for port in one.get("ports", ())]
    assert all(port.startswith("127.0.0.1:") for port in ports)
    mounted = {volume.split(":")[0] for one in services.values() for volume in one["volumes"]}
    assert mounted == set(compose["volumes"])
    shared = {one["network_mode"] for one in services.values() if "network_mode" in one}
    assert shared <= {f"service:{other}" for other in services}


def test_assay_takes_the_database_and_the_bucket_of_the_compose_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compose = YAML(typ="safe").load((DEPLOY / "compose.yaml").read_text())
    given = {key for one in compose["services"].values() for key in _passwords(one)}
    assert given == {"POSTGRES_PASSWORD", "S3_PASSWORD"}
    environment = compose["services"]["assay"]["environment"]
    for name, value in environment.items():
        monkeypatch.setenv(name, re.sub(r"\$\{\w+\}", "0f1e2d", value))
    assert database_variable() == "postgresql://assay:0f1e2d@127.0.0.1/assay"
    assert objects_variable() == "s3://assay/state"
    # Plain HTTP is accepted on this machine alone, and so is PostgreSQL without TLS here.
    assert environment["AWS_ENDPOINT_URL"].startswith("http://127.0.0.1:")
    listens = " ".join(compose["services"]["objects"]["command"])
    assert environment["AWS_ENDPOINT_URL"].removeprefix("http://") in listens


def _passwords(service: dict[str, Any]) -> set[str]:
    """Variables that whoever starts it has to set."""
    return set(re.findall(r"\$\{(\w+)", str(service.get("environment"))))


def ray_cluster() -> list[dict[str, Any]]:
    """The cluster, its volume and its rule of the network."""
    return list(YAML(typ="safe").load_all((DEPLOY / "kuberay.yaml").read_text()))


def test_the_ray_cluster() -> None:
    cluster, volume, policy = ray_cluster()
    spec = cluster["spec"]
    assert spec["authOptions"] == {"mode": "token"}
    assert f"ray=={spec['rayVersion']}" in (ROOT / "constraints.txt").read_text().split()
    head = spec["headGroupSpec"]
    assert head["rayStartParams"]["include-dashboard"] == "false"
    [workers] = spec["workerGroupSpecs"]
    claims = set()
    for group in (head, workers):
        pod = group["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert not pod["automountServiceAccountToken"]
        volumes = {one["name"]: one for one in pod["volumes"]}
        claims |= {
            one["persistentVolumeClaim"]["claimName"]
            for one in pod["volumes"]
            if "persistentVolumeClaim" in one
        }
        for container in (*pod["containers"], *pod["initContainers"]):
            assert not container["securityContext"]["allowPrivilegeEscalation"]
            assert container["resources"]["limits"] == container["resources"]["requests"]
            assert {one["name"] for one in container["volumeMounts"]} <= set(volumes)
        [ray] = pod["containers"]
        environment = {one["name"]: one["value"] for one in ray["env"]}
        assert environment["OMP_NUM_THREADS"] == ray["resources"]["limits"]["cpu"]
        assert environment["RAY_USAGE_STATS_ENABLED"] == "0"
        assert environment["RAY_worker_niceness"] == "0"
        port = int(group["rayStartParams"]["node-manager-port"])
        assert ray["readinessProbe"]["tcpSocket"]["port"] == port
    assert claims == {volume["metadata"]["name"]}
    label = {"ray.io/cluster": cluster["metadata"]["name"]}
    assert policy["spec"]["podSelector"]["matchLabels"] == label
    [allowed] = policy["spec"]["ingress"]
    assert allowed["from"] == [{"podSelector": {"matchLabels": label}}]


def test_the_ray_cluster_is_as_kuberays_schema_says() -> None:
    """ASSAY_TEST_KUBERAY names a folder with its CRDs (ray-operator/config/crd/bases)."""
    if (folder := os.environ.get("ASSAY_TEST_KUBERAY")) is None:
        pytest.skip("ASSAY_TEST_KUBERAY is not set")
    text = (Path(folder) / "ray.io_rayclusters.yaml").read_text()
    crd = YAML(typ="safe").load(text)
    [schema] = [
        one["schema"]["openAPIV3Schema"] for one in crd["spec"]["versions"] if one["name"] == "v1"
    ]
    _forbid_unknown(schema)
    schema["properties"]["metadata"] = {"type": "object"}
    cluster = ray_cluster()[0]
    # `jsonschema.validate` would first look at each line of the schema, every time.
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(cluster)
    cluster["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["imagine"] = "x"
    with pytest.raises(jsonschema.ValidationError, match="imagine"):
        validator.validate(cluster)


def _forbid_unknown(schema: Any) -> None:
    """As `kubectl apply` does: a field that the schema does not know is an error."""
    if isinstance(schema, list):
        for one in schema:
            _forbid_unknown(one)
    elif isinstance(schema, dict):
        if isinstance(schema.get("properties"), dict) and not schema.get(
            "x-kubernetes-preserve-unknown-fields"
        ):
            schema.setdefault("additionalProperties", False)
        for one in schema.values():
            _forbid_unknown(one)


def test_the_systemd_unit() -> None:
    unit = configparser.ConfigParser(interpolation=None, strict=True)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string((DEPLOY / "assay.service").read_text())
    assert set(unit.sections()) == {"Unit", "Service", "Install"}
    assert int(unit["Service"]["TimeoutStopSec"]) > DRAIN_S + STOP_SECONDS
    assert unit["Service"]["KillMode"] == "mixed"  # else workers are stopped, and started again
    command = unit["Service"]["ExecStart"].split()
    assert command[0].endswith("/bin/assay")
    assert command[1] == "serve"
    assert {word for word in command if word.startswith("--")} <= options()


def test_the_demo_installs_the_product_alone() -> None:
    """What tests need comes with the first test, check or bench."""
    text = (ROOT / "Makefile").read_text()
    rules = dict(re.findall(r"^([\w$()-]+):([^#\n]*)(?:#.*)?$", text, re.MULTILINE))
    recipes = dict(re.findall(r"^(\$\(\w+\)):.*\n((?:\t.*\n)+)", text, re.MULTILINE))
    assert "[test]" not in recipes["$(STAMP)"]
    assert "$(call install,.)" in recipes["$(STAMP)"]
    assert "3, 11" in recipes["$(STAMP)"]
    assert "'.[test]'" in recipes["$(TESTS)"]
    assert rules["demo"].split() == ["$(STAMP)"]
    assert rules["$(TESTS)"].split() == ["$(STAMP)", "$(MOTO)/installed"]
    assert rules["test"].split() == ["check"]
    names = ("test-fast", "soak", "check", "docs", "screenshots", "recording", "bench", "install")
    for name in names:
        assert rules[name].split() == ["$(TESTS)"]
