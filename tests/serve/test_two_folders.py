"""Two servers with folders of their own on one PostgreSQL and one bucket: what was trained on one
is served, compared, exported, promoted and rolled back on the other."""

from __future__ import annotations

import os
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from assay.accounts.keys import create_key
from assay.agent.agent import Agent
from assay.agent.versions import find_version, save_agent
from assay.config.yaml_text import edit
from assay.generate.classical import TfidfSettings, dump_classical, fit_tfidf
from assay.models.bucket_versions import KIND
from assay.models.versions import list_versions, save_version
from assay.project.project import Project
from assay.release import changes
from assay.store import blobs, local_copies
from tests.s3 import S3Server
from tests.serve.process import ASSAY, Server, server
from tests.small import small_project

pytestmark = pytest.mark.slow
BUCKET = "s3://bkt/pets"
STATE = ("versions", "blobs")


@dataclass
class Pair:
    """Two folders of one project: examples and settings are copies, the state is shared.

    Attributes:
        version: that `one` has trained.
        key: of an admin, good at both.
    """

    one: Project
    two: Project
    version: str
    key: str

    def ask(self, at: Server, model: str) -> httpx.Response:
        body = {
            "model": model,
            "messages": [{"role": "user", "content": "Anna feeds the cat near the river at 3"}],
            "max_tokens": 8,
            "temperature": 0,
        }
        head = {"Authorization": f"Bearer {self.key}"}
        return httpx.post(f"{at.url}/v1/chat/completions", json=body, headers=head, timeout=180)

    def text(self, at: Server, model: str) -> str:
        answer = self.ask(at, model)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["choices"][0]["message"]["content"])


@pytest.fixture
def pair(
    tmp_path: Path, s3: S3Server, empty_postgres: str, monkeypatch: pytest.MonkeyPatch
) -> Pair:
    for variable in ("ASSAY_OBJECTS", "ASSAY_DATABASE"):
        monkeypatch.delenv(variable, raising=False)
    made = small_project(tmp_path, rows=60)
    file = made.root / "assay.yaml"
    made.store.engine.dispose()
    shutil.rmtree(made.root / ".assay")
    state = {"database": empty_postgres, "objects": BUCKET}
    own = {"candidates": ["baseline-tfidf"], "baselines": False}  # beside the two saved ones
    file.write_text(edit(file.read_text(), {"state": state, **own}))
    one = Project(made.root)
    version = one.train().version
    sorter = blobs.put(one.store, dump_classical(fit_tfidf(one.context().train, TfidfSettings())))
    classical = Agent(model=f"classical:{sorter}", kind="classical")
    save_agent(one.store, "sorter", classical, message="test")
    save_agent(one.store, "tuned", Agent(model=f"version:{version}"), message="test")
    key = create_key(one.store, one.owner, "test", ["admin"])[1]

    root = tmp_path / "other" / "pets"
    shutil.copytree(one.root, root, ignore=shutil.ignore_patterns(".assay"))
    (root / ".assay").mkdir(mode=0o700)
    shutil.copy(one.root / ".assay" / "database.json", root / ".assay")
    assert not any((one.root / ".assay" / name).exists() for name in STATE)
    return Pair(one, Project(root), version, key)


def test_what_one_has_trained_the_other_serves_and_goes_on_alone(pair: Pair, s3: S3Server) -> None:
    with (
        server(pair.one.root) as first,
        # A fresh interpreter: what forks share, such as the order of sets, these two do not.
        server(pair.two.root, command=ASSAY) as second,
    ):
        told = {name: pair.text(first, name) for name in ("tuned@1", "sorter@1")}
        assert {name: pair.text(second, name) for name in told} == told
        assert told["sorter@1"] in ("cat", "dog", "parrot")
        assert pair.text(second, f"version:{pair.version[:12]}")

        # A release is promoted at one server and rolled back at the other.
        store, owner = pair.two.store, pair.two.owner
        for label in ("sorter@1", "tuned@1"):
            changes.promote(store, owner, "pets", label, who="test", force="a test")
        assert [pair.text(at, "pets") for at in (first, second)] == [told["tuned@1"]] * 2
        changes.rollback(pair.one.store, owner, "pets", who="test")
        assert [pair.text(at, "pets") for at in (first, second)] == [told["sorter@1"]] * 2

        # Without the bucket and without the other server, what was copied is served.
        held = local_copies.folder_of(pair.one.store, KIND)
        weights = held / f"{pair.version}.adapter_model.safetensors"
        made = pair.one.root.parent / "made"
        made.mkdir()
        for name in ("adapter_model.safetensors", "adapter_config.json"):
            shutil.copy(held / f"{pair.version}.{name}", made / name)
        assert weights.exists()
        record = list_versions(pair.one.store)[0].record.model_copy(update={"seed": 99})
        newer = save_version(pair.one.store, made, record)
        first.process.send_signal(signal.SIGKILL)
        first.process.wait(60)
        s3.before = lambda method, path: 400
        assert {name: pair.text(second, name) for name in told} == told
        away = pair.ask(second, f"version:{newer}")
        assert (away.status_code, away.json()["error"]["code"]) == (503, "files_unavailable")
        assert second.stop() == 0
    with server(pair.two.root) as again:
        assert {name: pair.text(again, name) for name in told} == told
        s3.before = lambda method, path: None
        assert pair.text(again, f"version:{newer}")


def test_it_is_compared_and_exported_on_the_other(pair: Pair, tmp_path: Path) -> None:
    two = pair.two
    for name in STATE:
        assert not (two.root / ".assay" / name).exists()
    made = two.export(pair.version, "adapter", tmp_path / "exported")
    assert (made.folder / "adapter_model.safetensors").is_file()
    assert two.split() == pair.one.split()
    found = two.compare(agents=["tuned@1", "sorter@1"])
    scores = {one.agent: one.score for one in found.result.candidates}
    for label in ("tuned@1", "sorter@1"):
        assert scores[find_version(pair.one.store, label).agent] is not None
    assert os.listdir(two.root / ".assay" / "cache" / "held") == []
