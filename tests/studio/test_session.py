"""What an action's error says to whoever has no terminal."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from assay.errors import AssayError, HoldoutError
from assay.studio import session
from assay.studio.session import PageContext


def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: AssayError) -> AssayError:
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
        fix="Restore the file, or start afresh with `assay data renew-holdout FILE`.",
    )
    found = told(tmp_path, monkeypatch, error)
    assert found.fix == "Restore the file, or start afresh with new examples on the page Data."
    assert str(found).endswith("new examples on the page Data.")
    assert found.where == ".assay/split"


def test_every_command_that_is_replaced_is_still_named_somewhere() -> None:
    source = "".join(
        path.read_text(encoding="utf-8")
        for path in Path(session.__file__).parents[1].rglob("*.py")
        if path != Path(session.__file__)
    )
    for command in session.IN_STUDIO:
        assert command in source
