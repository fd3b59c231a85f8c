"""Who did something, in words."""

from __future__ import annotations

import pytest

from assay.accounts.authors import format_author


@pytest.mark.parametrize(
    ("who", "shown"),
    [
        ("user:ann", "ann"),
        ("user:root", "root"),
        ("cli:ann", "ann, on the command line"),
        ("cli:root", "the command line"),
        ("ann", "ann"),
        ("root", "the server"),
        ("key-1234", "key-1234"),
        ("mcp: stdio of ann", "a program (stdio of ann)"),
        ("mcp: key coder (key_1f2e3d4c)", "a program (key coder)"),
    ],
)
def test_who_did_something_is_a_person_or_a_place(who: str, shown: str) -> None:
    assert format_author(who) == shown
