"""Passages fit, keep their headings and pages, and lose no text."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.knowledge.wordy import Wordy
from tokenizers import Tokenizer

from assay.knowledge.chunk import Chunker, Page

TOKENIZER = Wordy().tokenizer_json()


def test_headings_and_pages_go_with_each_passage() -> None:
    text = "# Shop\n\n## Refunds\n\n" + "Money comes back. " * 6 + "\n\n## Hours\n\nAlways open."
    chunks = Chunker(TOKENIZER, 12).chunks(
        "docs/house_rules.md", [Page(1, text), Page(2, "More of it, on the next page.")]
    )
    assert [chunk.page for chunk in chunks] == [1] * (len(chunks) - 1) + [2]
    refund = next(chunk for chunk in chunks if chunk.text.startswith("Money"))
    assert refund.heading == "Shop > Refunds"
    assert refund.context == "house rules > Shop > Refunds\n"
    assert chunks[-1].heading == "Shop > Hours"


def test_a_number_sign_in_code_or_plain_text_is_no_heading() -> None:
    code = "# Real\n\nSay:\n\n```\n# not a heading\n```\n\nand go on."
    assert {c.heading for c in Chunker(TOKENIZER, 8).chunks("a.md", [Page(None, code)])} == {"Real"}
    plain = Chunker(TOKENIZER, 8).chunks("a.txt", [Page(None, "# 1 apple")], markdown=False)
    assert [c.heading for c in plain] == [None]


@settings(max_examples=50, deadline=None)
@given(st.text(st.sampled_from("ab #\n.-`|é>"), max_size=300), st.integers(4, 20), st.booleans())
def test_no_word_is_lost_and_none_is_too_long(text: str, tokens: int, markdown: bool) -> None:
    chunks = Chunker(TOKENIZER, tokens).chunks("a.md", [Page(None, text)], markdown=markdown)
    assert "".join("".join(c.text for c in chunks).split()) == "".join(text.split())
    count = Tokenizer.from_str(TOKENIZER)
    assert all(len(count.encode(c.text).ids) <= tokens for c in chunks)
