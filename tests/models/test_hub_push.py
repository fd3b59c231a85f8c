"""The hub's own client against a hub on loopback: what is sent, refused, and gone on with."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.models.hub_uploads import WRITER
from tests.models.local_hub import TOKEN, LocalHub, local_hub, use

from assay.errors import AssayError, ModelError, UsageError
from assay.models.hub import state
from assay.models.hub_push import address_of, check_push, push
from assay.store.files import sha256_file

NAME = "acme/support"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LocalHub]:
    """A hub without models, and a token that may write for acme."""
    with local_hub() as running:
        use(running, monkeypatch, tmp_path / "no token")
        monkeypatch.setenv("HF_TOKEN", WRITER)
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "made"
    made.mkdir()
    (made / "adapter_model.safetensors").write_bytes(b"weights" * 1000)
    (made / "tokenizer.json").write_text("{}")
    (made / "README.md").write_text("---\nlicense: mit\n---\n")
    return made


def sent(folder: Path, name: str = NAME, **more: Any) -> str:
    files = {file.name: sha256_file(file) for file in folder.iterdir()}
    return push(folder, name, files, **more)


def bodies(hub: LocalHub, start: str) -> list[str]:
    return [line for line in hub.requests if line.startswith(start)]


def test_a_folder_is_sent_in_one_commit_and_once(hub: LocalHub, folder: Path) -> None:
    check_push(NAME)
    assert sent(folder) == f"{hub.endpoint}/{NAME}"
    there = hub.repositories[NAME]
    assert there.private
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == {
        name: content for name, content in there.files.items() if name != ".gitattributes"
    }
    assert len(bodies(hub, "POST /api/models/acme/support/commit")) == 1
    sent(folder)  # as after an answer that got lost
    assert len(bodies(hub, "POST /api/models/acme/support/commit")) == 1
    check_push(NAME, is_begun=True)
    with pytest.raises(UsageError, match=r"holds other files \(README.md, adapter_model"):
        check_push(NAME)
    (folder / "README.md").write_text("another")
    with pytest.raises(UsageError, match="nothing of it was changed"):
        sent(folder)
    there.private = False
    for ask in (partial(check_push, NAME, is_begun=True), partial(sent, folder)):
        with pytest.raises(UsageError, match="everybody can read it"):
            ask()
    there.private = True
    for ask in (partial(check_push, is_begun=True), partial(sent, folder)):
        with pytest.raises(UsageError, match="private: --public does not change that"):
            ask(NAME, public=True)
    sent(folder, "acme/open", public=True)
    assert not hub.repositories["acme/open"].private


def test_a_push_that_broke_goes_on_with_the_files_that_are_missing(
    hub: LocalHub, folder: Path
) -> None:
    hub.failing_stores = 1
    with pytest.raises(ModelError, match="EntityTooSmall") as broken:
        sent(folder)
    assert "Repeat the command" in str(broken.value.fix)
    assert len(hub.stored) == 1
    assert hub.repositories[NAME].files.keys() == {".gitattributes"}
    hub.requests.clear()
    check_push(NAME)
    sent(folder)
    assert len(bodies(hub, "PUT /store")) == 1
    assert hub.repositories[NAME].files.keys() > {file.name for file in folder.iterdir()}


@pytest.mark.parametrize(
    ("token", "name", "says"),
    [
        (None, NAME, "there is no token"),
        ("hf_nobody", NAME, "does not accept your token"),
        (TOKEN, NAME, "may not write to acme/support .*a reader's token"),
        (WRITER, "other/support", "may not write to other/support"),
        (WRITER, "support", "no name of a repository"),
    ],
)
def test_who_may_not_write_is_told_so(
    hub: LocalHub,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    token: str | None,
    name: str,
    says: str,
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    if token is not None:
        monkeypatch.setenv("HF_TOKEN", token)

    def attempt() -> None:
        check_push(name)
        sent(folder, name)

    with pytest.raises(AssayError) as refused:
        attempt()
    assert re.search(says, str(refused.value))
    assert refused.value.fix
    assert not token or token not in str(refused.value)
    assert not hub.repositories


def test_a_hub_that_is_full_or_away_is_a_sentence(
    hub: LocalHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.is_full = True
    with pytest.raises(ModelError, match=r"no room for it .*Private storage limit reached"):
        sent(folder)
    for status, says in ((429, "asked too often"), (503, "has failed"), (400, "refuses it")):
        hub.status = status
        with pytest.raises(ModelError, match=says):
            check_push(NAME)
    hub.status = None
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://hub.example")
    with pytest.raises(UsageError, match="others could read your token"):
        check_push(NAME)


def test_user_and_password_of_the_address_are_not_told(
    hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.status = 400
    for address in (hub.endpoint, "http://hub.example", "http://127.0.0.1:9"):
        named = address.replace("//", "//anna:secret@")
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", named)
        assert address_of(NAME) == f"{address}/{NAME}"
        with pytest.raises(AssayError) as refused:
            check_push(NAME)
        told = (refused.value, refused.value.where, refused.value.fix, state())
        assert "secret" not in " ".join(map(str, told))
