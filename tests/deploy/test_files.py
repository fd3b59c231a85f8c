"""The files that put Assay on a server: they parse, and name what there is."""

from __future__ import annotations

import configparser
import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from typer.main import get_command

from assay.cli.main import app
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
        "FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "VOLUME", "EXPOSE", "HEALTHCHECK",
        "ENTRYPOINT", "CMD",
    }  # fmt: skip
    assert {line.split()[0] for line in lines} <= known
    [copied] = [line.split()[1:-1] for line in lines if line.startswith("COPY pyproject")]
    assert all((ROOT / name).exists() for name in copied)
    assert [line for line in lines if line.startswith("USER")] == ["USER assay"]
    [command] = [line for line in lines if line.startswith("CMD")]
    assert set(re.findall(r"--[a-z-]+", command)) <= options()


def test_the_compose_file() -> None:
    compose = YAML(typ="safe").load((DEPLOY / "compose.yaml").read_text())
    service = compose["services"]["assay"]
    assert int(service["stop_grace_period"].removesuffix("s")) > DRAIN_S + STOP_SECONDS
    assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).exists()
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert {volume.split(":")[0] for volume in service["volumes"]} == set(compose["volumes"])


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
    assert rules["$(TESTS)"].split() == ["$(STAMP)"]
    assert rules["test"].split() == ["check"]
    names = ("test-fast", "soak", "check", "docs", "screenshots", "recording", "bench", "install")
    for name in names:
        assert rules[name].split() == ["$(TESTS)"]
