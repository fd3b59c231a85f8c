"""What an action's error says to whoever has no terminal."""

from __future__ import annotations

import ast
import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from assay.errors import AssayError, HoldoutError, Step, on_page
from assay.studio import session
from assay.studio.session import PageContext


def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> AssayError:
    """What is raised where a page does something that ends in an error."""
    workspace = type("Workspace", (), {"root": tmp_path})()
    context = PageContext(cast("Any", workspace), cast("Any", None), cast("Any", None), "", "")
    monkeypatch.setattr(session, "check_role", lambda *_: None)

    def fail(_: PageContext) -> None:
        raise error

    with pytest.raises(AssayError) as raised:
        asyncio.run(context.do(fail))
    return raised.value


def test_a_command_is_told_as_the_page_that_does_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = HoldoutError(
        "the holdout was changed.",
        where=f"{tmp_path}/.assay/split",
        fix=f"Restore the file, or start afresh with {Step.RENEW_HOLDOUT}.",
    )
    assert str(error).endswith("start afresh with `assay data renew-holdout FILE`.")
    found = told(tmp_path, monkeypatch, error)
    assert (
        found.fix
        == "Restore the file, or start afresh with “Replace the holdout” on the page Data."
    )
    assert str(found).endswith("“Replace the holdout” on the page Data.")
    assert found.where == ".assay/split"


def test_a_bug_ends_a_step_in_a_sentence_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    found = told(tmp_path, monkeypatch, KeyError("a secret"))
    assert "an error in Assay (KeyError)" in str(found)
    assert "secret" not in str(found)
    assert "a secret" in caplog.text  # whoever runs the server finds out where


def test_every_step_is_advised() -> None:
    advised = set()
    for path in Path(session.__file__).parents[1].rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "Step":
                advised.add(node.attr)
    assert advised == {step.name for step in Step}


@pytest.mark.parametrize("step", Step)
@pytest.mark.parametrize("name", [None, "files/my rows, all.jsonl"])
def test_what_a_job_has_kept_is_told_as_the_page_tells_it(step: Step, name: str | None) -> None:
    command = str(step) if name is None else step.of(name)
    for fix in (f"{command} helps.", f"First, {command}. {command} and {command} help."):
        error = AssayError("`this` failed.", fix=fix)
        kept = str(error)
        assert command.lower() in kept.lower()
        error.advise_page()
        assert on_page(kept) == str(error)
        assert step.page.lower() in str(error).lower()
        assert "`assay" not in str(error)
        assert "--" not in str(error)
    assert on_page(f"It stays. {step.command}").startswith(f"It stays. {step.page[0].upper()}")
    assert on_page("said before: `other`.") == "said before: `other`."
    assert "the page Releases" not in on_page(f"It stays. {step.command}", "Releases")
    assert Step.GIVE_KEY.of("far") == "with `assay providers add far`"
