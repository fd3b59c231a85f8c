"""An installation that cannot go on says so in a sentence, and what to do; the next one goes on."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
OLD = f"""#!{sys.executable}
import sys
sys.version_info = (3, 10, 13)
assert sys.argv[1] == "-c", sys.argv
exec(sys.argv[2])
"""
"""A Python that says it is 3.10, and makes no environment."""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):  # of a make that runs the tests
        monkeypatch.delenv(name, raising=False)
    if shutil.which("make") is None:
        pytest.skip("needs make")
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def executable(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def environment(checkout: Path, install: str) -> None:
    """One that has pip already, which does `install`, a line of the shell."""
    says = f'#!/bin/sh\ncase "$*" in *version*) exit 0;; *) {install};; esac\n'
    executable(checkout / ".venv" / "bin" / "python", says)


def test_an_older_python_is_refused_before_anything_is_made(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old = executable(checkout / "python3", OLD)
    make = ["make", "demo", f"PYTHON={old}"]
    done = subprocess.run(make, cwd=checkout, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "Python 3.11 or newer" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (checkout / ".venv").exists()
    import setuptools  # noqa: F401  # loaded while the version is the true one

    monkeypatch.setattr(sys, "version_info", (3, 10, 13, "final", 0))
    with pytest.raises(SystemExit, match=r"Python 3\.11 or newer; this is 3\.10"):
        runpy.run_path(str(ROOT / "setup.py"))


def test_an_installation_that_fails_ends_in_what_to_do(checkout: Path) -> None:
    environment(checkout, "echo 'ERROR: No matching distribution' >&2; exit 1")
    make = ["make", "demo", f"PYTHON={sys.executable}"]
    done = subprocess.run(make, cwd=checkout, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "ERROR: No matching distribution\nassay: not everything" in done.stderr
    assert "run the same command again" in done.stderr
    assert not (checkout / ".venv" / "installed").exists()


@pytest.mark.parametrize(
    ("settings", "installer"),
    [
        ("", "uv"),
        ("global.timeout='60'", "uv"),
        ("global.index-url='https://mirror.example/simple'", "pip"),
        ("install.extra-index-url='https://mirror.example/simple'", "pip"),
        (":env:.no-index='1'", "pip"),
        (":env:.find-links='/wheels /more'", "pip"),
        (None, "pip"),
    ],
)
def test_uv_installs_only_where_pip_has_no_index_of_its_own(
    checkout: Path, settings: str | None, installer: str
) -> None:
    """It would go to its default index although another was named, or none allowed."""
    says = "exit 1" if settings is None else f'echo "{settings}"'
    environment(
        checkout, f'echo; case "$*" in *"config list"*) {says};; *) echo by pip; exit 1;; esac'
    )
    executable(checkout / "bin" / "uv", "#!/bin/sh\necho by uv\n")
    done = subprocess.run(
        ["make", ".venv/installed", f"PYTHON={sys.executable}"],
        cwd=checkout,
        env={**os.environ, "PATH": f"{checkout / 'bin'}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert re.findall("by (uv|pip)", done.stdout) == [installer]


@pytest.mark.parametrize("variable", ["PIP_NO_INDEX", "PIP_FIND_LINKS", "PIP_CONFIG_FILE"])
def test_pip_tells_of_its_indexes_as_the_makefile_reads_them(tmp_path: Path, variable: str) -> None:
    """However little it is told to say."""
    file = tmp_path / "pip.conf"
    file.write_text("[install]\nextra-index-url = https://mirror.example/simple\n")
    value = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/a /b", "PIP_CONFIG_FILE": str(file)}[variable]
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PIP_")}
    [rule] = re.findall(r"^UV_MAY := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    command = rule.replace("$(PIP)", f"{sys.executable} -m pip").replace("$$", "$")
    told = {"PIP_CONFIG_FILE": os.devnull, "PIP_QUIET": "2", **kept, "PATH": os.environ["PATH"]}
    for more, allowed in (({}, True), ({variable: value}, False)):
        done = subprocess.run(["sh", "-c", command], env={**told, **more}, check=False)
        assert (done.returncode == 0) == allowed


def test_ctrl_c_ends_an_installation_in_what_to_do(checkout: Path) -> None:
    sleeps = "import time; print('started', flush=True); time.sleep(60)"
    environment(checkout, f'exec {sys.executable} -c "{sleeps}"')  # a shell misses some signals
    running = subprocess.Popen(
        ["make", "demo", f"PYTHON={sys.executable}"],
        cwd=checkout,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert running.stdout is not None
    assert running.stdout.readline() == "started\n"
    os.killpg(running.pid, signal.SIGINT)
    _, said = running.communicate(timeout=120)
    assert running.returncode != 0
    assert "assay: stopped. Run the same command again to continue." in said
    assert not (checkout / ".venv" / "installed").exists()
