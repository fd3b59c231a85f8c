"""Every text can be read again from the lines that are written of it."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from assay.project.start.yaml_lines import block, flow

ODD = ["1e5", "1E5", "1e-5", "0x1F", "0o17", "0b1", "12e03", "1_0", "007", "2024-01-02", "no", "~"]
ODD += ["2024-13-45", "2024-02-30", "0000-00-00", "0x_", "0b_", "0o_", "0b", "_", "1_"]


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=12))
@example("a\x7fb")
@example("a\x85b")
@example("a\u2028b")
@example("\ufeff")
def test_every_text_on_a_line_is_read_as_it_was(text: str) -> None:
    assert YAML(typ="safe", pure=True).load(f"- {flow(text)}\n") == [text]


@given(st.text(st.characters(exclude_categories=("Cs",)) | st.sampled_from(" \n\t#:"), max_size=20))
@example(" a\nb")
@example("a\n\n")
@example("a\x85b\n# c")
def test_every_text_of_many_lines_too(text: str) -> None:
    written = "\n".join(["first: 1", *block("prompt", text), "last: 2"]) + "\n"
    read = YAML(typ="safe", pure=True).load(written)
    assert read == {"first": 1, "prompt": text, "last": 2}


@pytest.mark.parametrize("text", ODD)
def test_words_that_look_like_something_else(text: str) -> None:
    assert YAML(typ="safe", pure=True).load(f"- {flow(text)}\n") == [text]


@pytest.mark.parametrize("plain", ["card_arrival", "a-b", "Refund2"])
def test_plain_words_stay_plain(plain: str) -> None:
    assert flow(plain) == plain
