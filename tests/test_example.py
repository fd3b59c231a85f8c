"""Examples as lines, and back."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from assay.example import Example, Message, ToolCall, dump_examples, load_examples, read_examples

_texts = st.text(
    st.characters(exclude_categories=("Cs",)) | st.sampled_from("\u2028\u2029\x85\v\f\r")
)


@given(st.lists(st.tuples(_texts, _texts), max_size=4))
def test_lines_are_what_they_were(pairs: list[tuple[str, str]]) -> None:
    examples = [Example.of(question, answer) for question, answer in pairs]
    assert list(load_examples("".join(dump_examples(examples)).encode())) == examples


def test_a_file_is_read_as_its_bytes_are(tmp_path: Path) -> None:
    """Some texts hold what Python takes for the end of a line: \u2028, \u2029, \x85."""
    examples = [Example.of("a\u2028b\x85c\u2029d\re", "f")]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(dump_examples(examples)), encoding="utf-8", newline="\n")
    assert list(read_examples(path)) == list(load_examples(path.read_bytes())) == examples


def test_what_a_turn_says_holds_its_calls() -> None:
    calls = (ToolCall("1", "find", '{"a":"ä"}'), ToolCall("2", "now", "{broken"))
    turn = Message("assistant", "Let me see.", calls)
    assert turn.text == (
        'Let me see.\n<tool_call>\n{"name": "find", "arguments": {"a": "ä"}}\n</tool_call>\n'
        '<tool_call>\n{"name": "now", "arguments": {broken}\n</tool_call>'
    )
    assert Example("1", (Message("user", "q"), turn)).output == turn.text
    assert Message("user", "q").text == "q"
