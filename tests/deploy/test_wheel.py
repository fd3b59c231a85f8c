"""The wheel serves from an environment of its own, with nothing of this folder in sight."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import httpx
import pytest
from tests.serve.process import server

ROOT = Path(__file__).parent.parent.parent
pytestmark = pytest.mark.slow


def test_the_wheel_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
    wheels, fresh = tmp_path / "wheels", tmp_path / "fresh"
    source = tmp_path / "source"  # a build leaves files behind
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", wheels, source],
        check=True,
        timeout=300,
    )
    [wheel] = wheels.glob("assay-*.whl")
    venv.create(fresh)
    python = fresh / "bin" / "python"
    subprocess.run(
        [*pip, "--python", python, "install", "--no-deps", "--no-index", wheel],
        check=True,
        timeout=300,
    )
    # Everything but Assay itself comes from the environment that runs the tests.
    [packages] = fresh.glob("lib/python*/site-packages")
    (packages / "tests.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (tmp_path / "empty").mkdir()
    with server(tmp_path / "empty", command=(str(fresh / "bin" / "assay"),)) as running:
        headers = {"Authorization": f"Bearer {running.key}"}
        listed = httpx.get(f"{running.url}/v1/models", headers=headers).json()
        assert any("smollm2" in model["id"] for model in listed["data"])
        made_from = subprocess.run(
            [python, "-c", "import assay; print(assay.__file__)"],
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
        ).stdout
        assert made_from.startswith(str(fresh))
        assert running.stop() == 0
