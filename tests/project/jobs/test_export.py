"""Exports as jobs: through the gate into the folder's state, packed as a zip, or refused."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.small import small_project

from assay.errors import ModelError, NotFoundError, StateError, UsageError
from assay.evaluate import parity
from assay.jobs import queue
from assay.jobs.service import work_on
from assay.project import Project, jobs
from assay.project.jobs import export
from assay.project.jobs.export import EXPORT, Export, pack
from assay.project.workspace import Workspace
from assay.release.forms import FORMS
from assay.store import audit
from assay.store.files import new_folder


@dataclass
class Gate:
    """What the parity gate has found."""

    refusals: tuple[str, ...] = ()


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, str]:
    made = small_project(tmp_path_factory.mktemp("export"), rows=120)
    return made, made.train().version


def done(workspace: Workspace) -> queue.Job:
    job = work_on(workspace.store, [EXPORT], jobs.handlers(workspace)).once()
    assert job is not None
    return job


@pytest.mark.slow
def test_an_export_is_a_job_and_its_files_a_zip(pets: tuple[Project, str]) -> None:
    project, id = pets
    workspace = Workspace(project.root).act_as("user:ann")
    asked = export.start(workspace, id[:10], "adapter")
    with pytest.raises(StateError, match="already queued"):
        export.start(workspace, id, "adapter")
    with pytest.raises(NotFoundError):
        export.find_finished(workspace, asked.id)
    assert done(workspace).status == "succeeded"
    found = export.find_finished(workspace, asked.id)
    assert (found.version, found.to) == (id, "adapter")
    assert found.job.result is not None
    assert found.job.result["parity"]["refusals"] == []
    with zipfile.ZipFile(io.BytesIO(b"".join(pack(found)))) as archive:
        assert archive.testzip() is None
        names = [f"{id[:12]}-adapter/{file}" for file in found.job.result["files"]]
        assert archive.namelist() == names
        weights = archive.read(f"{id[:12]}-adapter/adapter_model.safetensors")
    version = project.store.folder / "versions" / id
    assert weights == (version / "adapter_model.safetensors").read_bytes()
    assert audit.entries(workspace.store, workspace.name)[0].action == "version.export"
    again = export.start(workspace, id, "adapter")
    assert done(workspace).status == "succeeded"
    newest, first = export.exports(workspace)
    assert (newest.job.id, newest.bytes) == (again.id, found.bytes)
    assert (first.job.id, first.bytes) == (asked.id, None)  # the new one has taken its place


@pytest.mark.slow
def test_what_the_gate_refuses_is_told_with_the_first_difference(
    pets: tuple[Project, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    project, id = pets
    workspace = Workspace(project.root)

    def spelled(*_: Any) -> list[str]:
        return ["Prompt 3 has different tokens from token 2 on ([1] here, [2] there)."]

    monkeypatch.setattr(parity, "_rendering", spelled)
    export.start(workspace, id, "merged")
    job = done(workspace)
    assert job.status == "failed"
    assert "Prompt 3 has different tokens from token 2 on" in str(job.error)
    newest = export.exports(workspace)[0]
    assert (newest.to, newest.bytes) == ("merged", None)
    assert not newest.folder.exists()


@pytest.mark.slow
def test_what_cannot_be_exported_is_not_queued(pets: tuple[Project, str], tmp_path: Path) -> None:
    project, id = pets
    workspace = Workspace(project.root)
    before = len(export.exports(workspace))
    with pytest.raises(UsageError, match="not an export format"):
        export.start(workspace, id, "tflite")
    with pytest.raises(ModelError, match="no version"):
        export.start(workspace, "abcdef01", "gguf")
    with pytest.raises(UsageError, match="not a project"):
        export.start(Workspace(tmp_path), id, "gguf")
    assert len(export.exports(workspace)) == before


def test_a_zip_is_made_piece_by_piece(tmp_path: Path) -> None:
    content = bytes(range(256)) * 20_000
    (tmp_path / "model.gguf").write_bytes(content)
    script = tmp_path / "serve.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    pieces = list(pack(Export(None, "a" * 64, "gguf", tmp_path, len(content))))  # type: ignore[arg-type]
    assert max(map(len, pieces)) < 2**21
    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as archive:
        assert archive.read("aaaaaaaaaaaa-gguf/model.gguf") == content
        assert archive.getinfo("aaaaaaaaaaaa-gguf/serve.sh").external_attr >> 16 & 0o111


def _exporting(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, work: Any) -> None:
    """Have an export of one version done by `work(folder)`."""

    class Made:
        def export(self, version: str, to: str, out: Path, progress: Any) -> Any:
            with new_folder(out) as draft:  # as the real one
                work(draft)
            return SimpleNamespace(files=("model.gguf",), command=None, parity=Gate())

    monkeypatch.setattr(Workspace, "project", Made())
    payload = {"version": "a" * 64, "to": "gguf"}
    queue.enqueue(workspace.store, workspace.name, EXPORT, payload, id=queue.new_id("export"))
    handlers = {EXPORT: partial(export.work, workspace)}
    assert work_on(workspace.store, [EXPORT], handlers).once() is not None


def test_an_earlier_export_stays_when_a_new_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(tmp_path)
    seen: list[int | None] = []

    def write(content: bytes) -> Any:
        def work(out: Path) -> None:
            seen.extend(one.bytes for one in export.exports(workspace)[1:])
            (out / "model.gguf").write_bytes(content)
            if not content:
                raise ModelError("the gate refuses it.")

        return work

    _exporting(workspace, monkeypatch, write(b"first"))
    _exporting(workspace, monkeypatch, write(b""))
    assert seen == [5]  # while the second was made
    refused, first = export.exports(workspace)
    assert (refused.job.status, refused.bytes) == ("failed", None)
    assert (first.job.status, first.bytes) == ("succeeded", 5)
    _exporting(workspace, monkeypatch, write(b"replaced"))
    newest = export.exports(workspace)[0]
    assert newest.bytes == 8
    assert [path.name for path in first.folder.parent.iterdir()] == [newest.folder.name]


def test_exports_whose_files_were_removed_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(tmp_path)
    _exporting(workspace, monkeypatch, lambda out: (out / "model.gguf").write_bytes(b"x"))
    folder = export.exports(workspace)[0].folder
    folder.rename(folder.with_suffix(".old"))
    assert export.exports(workspace)[0].bytes is None


def test_people_are_told_of_every_form() -> None:
    from assay.studio.pages.models.export import FORMS as TOLD

    assert tuple(TOLD) == FORMS
