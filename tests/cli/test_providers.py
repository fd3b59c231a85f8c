"""`assay providers` and the budgets of `assay keys`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.generate.remote.provider import KEY, said, serving
from typer.testing import CliRunner, Result

from assay.cli.main import app
from assay.errors import UsageError
from assay.project.workspace import Workspace
from assay.store import secrets


@pytest.fixture(autouse=True)
def _master(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(secrets.VARIABLE, raising=False)
    monkeypatch.setenv(secrets.FILE_VARIABLE, str(tmp_path / "master"))


def call(folder: Path, *args: str, given: str | None = None) -> Result:
    return CliRunner().invoke(app, [*args, "--folder", str(folder)], input=given)


def listed(folder: Path) -> dict[str, str]:
    rows = json.loads(call(folder, "providers", "list", "--json").stdout)
    return {row["name"]: row["key"] for row in rows}


def test_from_adding_to_removing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "served"
    folder.mkdir()
    with serving(lambda *_: said("ready", usage={"prompt_tokens": 2})) as far:
        where = ("--url", f"http://127.0.0.1:{far.port}/v1", "--private-network", "127.0.0.0/8")
        added = call(folder, "providers", "add", "far", *where, "--no-batch", given=KEY)
        assert added.exit_code == 0, added.output
        assert Workspace(folder).providers["far"].batch is False
        assert listed(folder) == {"far": "kept"}
        tried = call(folder, "providers", "test", "far", "--model", "m", "--json")
        told = json.loads(tried.stdout)
        assert (told["text"], told["prompt_tokens"], told["completion_tokens"]) == (
            "ready",
            2,
            None,
        )
        assert far.keys == [f"Bearer {KEY}"]
        # Another address asks for the key again; the old one is not sent there.
        moved = ("--url", f"http://localhost:{far.port}/v1", *where[2:])
        assert isinstance(
            call(folder, "providers", "add", "far", *moved, given="").exception, UsageError
        )
        assert listed(folder)["far"] == "kept"
        assert call(folder, "providers", "list").output.count("127.0.0.1") == 1  # as it was
        monkeypatch.setenv("FRESH", "another-key")
        fresh = ("--key-env", "FRESH")
        assert call(folder, "providers", "add", "far", *moved, *fresh).exit_code == 0
        assert (
            call(folder, "providers", "rotate", "--master").output
            == "1 key encrypted with the new master key.\n"
        )
        call(folder, "providers", "test", "far", "--model", "m")
        assert far.keys[1:] == ["Bearer another-key"]
        assert call(folder, "providers", "rotate", "far", given="third").exit_code == 0
    assert call(folder, "providers", "remove", "far").output == "Removed: far.\n"
    assert listed(folder) == {}
    again = call(folder, "providers", "remove", "far")
    assert isinstance(again.exception, UsageError)


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("add", "far"), "no provider 'far' yet"),
        (
            ("add", "Far!", "--url", "https://x.example/v1", "--no-key"),
            "is not a valid name for a provider",
        ),
        (("add", "far", "--url", "http://10.0.0.1/v1", "--no-key"), "https is required"),
        (("add", "far", "--url", "https://x.example/v1", "--query", "x", "--no-key"), "NAME=VALUE"),
        (
            ("add", "far", "--url", "https://x.example", "--protocol", "soap", "--no-key"),
            "protocol",
        ),
        (("rotate",), "either a provider or --master"),
        (("rotate", "far"), "no key of 'far'"),
        (("rotate", "--master"), "no master key"),
        (("test", "far", "--model", "m"), "there is no provider 'far'"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(
    tmp_path: Path, args: tuple[str, ...], told: str
) -> None:
    assert told in str(call(tmp_path, "providers", *args, given="k").exception)


def test_budgets(tmp_path: Path) -> None:
    made = json.loads(call(tmp_path, "keys", "create", "k", "--budget", "5", "--json").stdout)
    assert made["budgeted"] is True
    assert call(tmp_path, "keys", "budget", made["id"], "7.5").output.endswith("7.5 USD.\n")
    told = json.loads(call(tmp_path, "keys", "usage", "--json").stdout)
    assert told["budgets"][made["id"]] == {"most": 7.5, "spent": 0.0, "reserved": 0.0}
    assert call(tmp_path, "keys", "usage").exit_code == 0
    for args in (("create", "x", "--budget", "nan"), ("budget", "key_none", "1")):
        assert isinstance(call(tmp_path, "keys", *args).exception, UsageError)
    assert len(json.loads(call(tmp_path, "keys", "list", "--json").stdout)) == 1


def test_keys_that_see_some_documents_only(tmp_path: Path) -> None:
    made = json.loads(call(tmp_path, "keys", "create", "k", "--label", "public", "--json").stdout)
    assert (made["scopes"], made["labels"]) == (["chat"], ["public"])
    shown = call(tmp_path, "keys", "list").output
    assert made["id"] in shown, "an id is never cut short"
    assert "only" in shown
    wrong = call(tmp_path, "keys", "create", "k", "--label", "public", "--scope", "admin")
    assert "sees more than" in str(wrong.exception)
