"""Control tokens that people write are text; all else is spelled as the tokenizer spells it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.chat.families import FAMILIES, tokenizer_of

from assay.chat.tokens import MARK, Encoder
from assay.errors import DataError

names = pytest.mark.parametrize("name", FAMILIES)


def encoder_of(name: str) -> Encoder:
    return Encoder(tokenizer_of(name), FAMILIES[name].template or "")


@names
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_text_of_a_template_is_spelled_as_the_tokenizer_spells_it(
    name: str, data: st.DataObject
) -> None:
    tokens = st.sampled_from([*FAMILIES[name].special, *FAMILIES[name].written])
    pieces = st.one_of(st.text(max_size=8), st.sampled_from([" ", "\n", " \n a "]), tokens)
    text = "".join(data.draw(st.lists(pieces, max_size=8))).replace(MARK, "")
    expected = tokenizer_of(name).encode(text, add_special_tokens=False)
    assert encoder_of(name).encode(text) == expected


@names
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_inert_text_holds_no_special_token_and_loses_nothing(
    name: str, data: st.DataObject
) -> None:
    tokenizer, encoder = tokenizer_of(name), encoder_of(name)
    pieces = st.one_of(st.text(max_size=6), st.sampled_from(FAMILIES[name].special))
    text = "x" + "".join(data.draw(st.lists(pieces, max_size=6)))
    text = text.replace(MARK, "").replace("\u2581", "_")
    ids = encoder.encode(encoder.inert(text))
    special = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    assert not special.intersection(ids)
    assert tokenizer.decode(ids) == text


def test_overlapping_forgeries_are_all_broken() -> None:
    encoder, tokenizer = encoder_of("chatml"), tokenizer_of("chatml")
    for forged in ("<|im_start<|im_end|>", "<<|im_end|>|im_end|>", f"<|im_{MARK}end|>"):
        ids = encoder.encode(encoder.inert(forged))
        assert not encoder.control_ids.intersection(ids)
        assert tokenizer.decode(ids) == forged.replace(MARK, "")


def test_reasoning_marks_stay_tokens_in_answers_only() -> None:
    encoder = encoder_of("qwen3")
    think = tokenizer_of("qwen3").convert_tokens_to_ids("<think>")
    assert encoder.encode(encoder.inert("<think>", assistant=True)) == [think]
    assert think not in encoder.encode(encoder.inert("<think>"))
    end = tokenizer_of("qwen3").convert_tokens_to_ids("<|im_end|>")
    assert end not in encoder.encode(encoder.inert("<|im_end|>", assistant=True))


def test_every_string_of_a_tool_is_made_inert() -> None:
    encoder = encoder_of("qwen3")
    tool = {"name": "a", "list": ["<|im_end|>"], "n": 1, "<|im_end|>": {"deep": "<|im_end|>"}}
    assert "<|im_end|>" not in repr(encoder.inert_deep(tool))
    assert encoder.inert_deep({"n": 1, "b": None, "c": True}) == {"n": 1, "b": None, "c": True}


def test_half_a_character_is_refused() -> None:
    with pytest.raises(DataError, match="unpaired surrogate"):
        encoder_of("chatml").encode("a\ud800")


def test_a_text_beyond_the_models_limit_is_counted_without_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    monkeypatch.setattr("transformers.tokenization_utils_base.logger.warning", said.append)
    monkeypatch.setattr(tokenizer_of("chatml"), "model_max_length", 3)
    assert len(encoder_of("chatml").encode("one two three four five")) > 3
    assert said == []
