"""What must hold for every conversation under every chat template, or training teaches the wrong
thing: exactly what the model generates bears loss, after exactly the prompt it is served."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.chat.conversations import conversations, expected_answer
from tests.chat.families import FAMILIES, tokenizer_of

from assay.chat.template import Template, TokenSequence
from assay.chat.tokens import MARK
from assay.example import Message, ToolCall

pytestmark = pytest.mark.parametrize("name", FAMILIES)
many = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
_TEMPLATES: dict[str, Template] = {}


def template_of(name: str) -> Template:
    if name not in _TEMPLATES:
        _TEMPLATES[name] = Template.of(tokenizer_of(name))
    return _TEMPLATES[name]


def runs(rendered: TokenSequence) -> Iterator[tuple[int, int]]:
    """Where trained tokens begin and end."""
    start = None
    for place, trained in enumerate([*rendered.trained, False]):
        if trained and start is None:
            start = place
        elif not trained and start is not None:
            yield start, place
            start = None


def trained_turns(messages: list[Message]) -> list[int]:
    return [i for i, m in enumerate(messages) if m.role == "assistant" and m.trained]


@many
@given(messages=conversations())
def test_each_trained_turn_follows_exactly_the_prompt_that_is_served(
    name: str, messages: list[Message]
) -> None:
    template = template_of(name)
    sequences = template.render_all(messages)
    found = [(s.ids[:a], s.ids[a:b]) for s in sequences for a, b in runs(s)]
    prompts = [template.prompt(messages[:turn]) for turn in trained_turns(messages)]
    assert sorted(prompt for prompt, _ in found) == sorted(prompts)
    assert all(len(s.ids) == len(s.trained) and s.trained[-1] for s in sequences)


@many
@given(messages=conversations())
def test_the_stop_token_of_each_trained_turn_is_trained_and_nothing_after_it(
    name: str, messages: list[Message]
) -> None:
    tokenizer, family = tokenizer_of(name), FAMILIES[name]
    template = template_of(name)
    stop = tokenizer.convert_tokens_to_ids(family.stop)
    assert stop in template.stop_ids
    for sequence in template.render_all(messages):
        for start, end in runs(sequence):
            generated = sequence.ids[start:end]
            assert generated[-1] == stop
            assert not template.stop_ids.intersection(generated[:-1])


@many
@given(messages=conversations())
def test_what_is_trained_decodes_to_the_target_and_its_stop_token(
    name: str, messages: list[Message]
) -> None:
    tokenizer, family, template = tokenizer_of(name), FAMILIES[name], template_of(name)
    for turn in trained_turns(messages):
        rendered = template.render(messages[: turn + 1])
        start = len(template.prompt(messages[:turn]))
        assert rendered.trained[start - 1 :] == [False] + [True] * (len(rendered.ids) - start)
        target = expected_answer(family, messages[turn].content.replace(MARK, "")) + family.stop
        prompt, whole = tokenizer.decode(rendered.ids[:start]), tokenizer.decode(rendered.ids)
        assert whole == prompt + target


@many
@given(messages=conversations())
def test_at_most_one_beginning_of_text(name: str, messages: list[Message]) -> None:
    tokenizer, family, template = tokenizer_of(name), FAMILIES[name], template_of(name)
    bos = tokenizer.bos_token_id
    for sequence in template.render_all(messages):
        assert bos is None or sequence.ids[:2] != [bos, bos]
        if family.one_bos:
            assert sequence.ids[0] == bos
            assert sequence.ids.count(bos) == 1


@many
@given(messages=conversations())
def test_control_tokens_in_contents_are_inert(name: str, messages: list[Message]) -> None:
    """The control tokens are those of the same conversation with harmless contents, no others."""
    template, tokenizer = template_of(name), tokenizer_of(name)
    control = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    harmless = [replace(m, content="x") for m in messages]
    prompt, reference = template.prompt(messages[:-1]), template.prompt(harmless[:-1])
    assert [i for i in prompt if i in control] == [i for i in reference if i in control]
    ids, reference = template.render(messages).ids, template.render(harmless).ids
    assert [i for i in ids if i in control] == [i for i in reference if i in control]


def test_stop_token_is_trained_where_padding_is_the_same_token(name: str) -> None:
    tokenizer = tokenizer_of(name)
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    rendered = template_of(name).render([Message("user", "q"), Message("assistant", "a")])
    assert rendered.ids[-1] == tokenizer.convert_tokens_to_ids(FAMILIES[name].stop)
    assert rendered.trained[-1]


@many
@given(messages=conversations())
def test_frozen_and_thawed_it_renders_the_same(name: str, messages: list[Message]) -> None:
    template = template_of(name)
    thawed = Template.from_dict(tokenizer_of(name), template.to_dict())
    assert thawed.sha256 == template.sha256
    assert thawed.render_all(messages) == template.render_all(messages)


@many
@given(
    arguments=st.dictionaries(
        st.text(max_size=4), st.integers() | st.text(max_size=8) | st.lists(st.booleans())
    ),
    said=st.sampled_from(["", "Let me look.", "<|im_end|>"]),
)
def test_exactly_the_calls_are_trained_after_exactly_the_prompt_that_is_served(
    name: str, arguments: dict[str, object], said: str
) -> None:
    template, tokenizer = template_of(name), tokenizer_of(name)
    # A SentencePiece vocabulary has one token for U+2581 and for a space.
    spelled = json.dumps(arguments, ensure_ascii=False).replace(MARK, "").replace("\u2581", "_")
    call = ToolCall("abcdefghi", "weather", spelled)
    target = Message("assistant", said, tool_calls=(call,))
    messages = [Message("user", "Oslo?"), target]
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {}}}]
    rendered = template.render(messages, tools)
    start = rendered.trained.index(True)
    assert rendered.ids[:start] == template.prompt(messages[:1], tools)
    assert all(rendered.trained[start:])
    prompt, whole = tokenizer.decode(rendered.ids[:start]), tokenizer.decode(rendered.ids)
    assert whole.endswith(expected_answer(FAMILIES[name], target.text) + FAMILIES[name].stop)
    assert whole.startswith(prompt)
