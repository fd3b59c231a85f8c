"""The renderer against what it must agree with: the tokenizer's own template, and common sense."""

from __future__ import annotations

import datetime
import re
import time
from typing import Any

import pytest
from tests.chat.calling_families import CALLING_FAMILIES
from tests.chat.families import FAMILIES, tokenizer_for, tokenizer_of

from assay.chat.template import PINNED_DATE, Template
from assay.errors import DataError, ModelError
from assay.example import Message, ToolCall, json_sha256

QUESTION, ANSWER = Message("user", "Where is my card?"), Message("assistant", "card_arrival")
SYSTEM = Message("system", "Name the label.")
TOOL = {
    "type": "function",
    "function": {"name": "weather", "description": "", "parameters": {"type": "object"}},
}
CALL = Message("assistant", "", tool_calls=(ToolCall("abcdefghi", "weather", '{"city": "Oslo"}'),))


def own_ids(name: str, messages: list[Message], **arguments: Any) -> list[int]:
    ids: list[int] = tokenizer_of(name).apply_chat_template(
        [m.to_dict() for m in messages], tokenize=True, return_dict=False, **arguments
    )
    return ids


def with_template(name: str, text: str) -> Any:
    """A tokenizer of the family under another template."""
    from copy import deepcopy

    tokenizer = deepcopy(tokenizer_of(name))
    tokenizer.chat_template = text
    return tokenizer


@pytest.mark.parametrize("name", ["chatml", "mistral", "phi3", "qwen3", "open-ended"])
@pytest.mark.parametrize("system", [(), (SYSTEM,)])
def test_prompt_equals_the_tokenizers_own(name: str, system: tuple[Message, ...]) -> None:
    messages = [*system, QUESTION, ANSWER, Message("user", " And\n my PIN 1234? ")]
    expected = own_ids(name, messages, add_generation_prompt=True)
    assert Template.of(tokenizer_of(name)).prompt(messages) == expected


@pytest.mark.parametrize("name", ["chatml", "phi3", "qwen3"])
def test_training_sequence_is_the_tokenizers_own_up_to_the_last_stop(name: str) -> None:
    messages = [SYSTEM, QUESTION, ANSWER]
    rendered, whole = Template.of(tokenizer_of(name)).render(messages), own_ids(name, messages)
    assert rendered.ids == whole[: len(rendered.ids)]
    rest = tokenizer_of(name).decode(whole[len(rendered.ids) :])
    assert rest in ("\n", "<|endoftext|>")


def test_default_system_prompt_of_the_template_is_in_prompt_and_sequence() -> None:
    template, tokenizer = Template.of(tokenizer_of("chatml")), tokenizer_of("chatml")
    prompt = template.prompt([QUESTION])
    assert "You are a small assistant." in tokenizer.decode(prompt)
    assert template.render([QUESTION, ANSWER]).ids[: len(prompt)] == prompt


def test_date_is_pinned_whatever_day_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    template, tokenizer = Template.of(tokenizer_of("llama3")), tokenizer_of("llama3")

    class Tomorrow(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Tomorrow:
            return cls(2031, 1, 2, tzinfo=tz)

    monkeypatch.setattr("transformers.utils.chat_template_utils.datetime", Tomorrow)
    own = tokenizer.apply_chat_template([QUESTION.to_dict()], tokenize=False)
    assert "02 Jan 2031" in own, "the clock of the template was not moved"
    text = tokenizer.decode(template.prompt([QUESTION]))
    assert f"Today Date: {PINNED_DATE:%d %b %Y}" in text
    assert Template.of(tokenizer).sha256 == template.sha256


def test_clock_that_cannot_be_pinned_is_refused() -> None:
    text = "{{ strftime_now(format) }}" + (FAMILIES["chatml"].template or "")
    with pytest.raises(ModelError, match="cannot be pinned"):
        Template.of(with_template("chatml", text))


def test_system_prompt_opens_the_first_question_where_the_template_has_no_system_role() -> None:
    template = Template.of(tokenizer_of("gemma"))
    folded = Message("user", f"{SYSTEM.content}\n\n{QUESTION.content}")
    assert template.prompt([SYSTEM, QUESTION]) == template.prompt([folded])
    with pytest.raises(DataError, match="no user turn follows"):
        template.prompt([SYSTEM])


def test_developer_is_system_where_the_template_does_not_know_it() -> None:
    template = Template.of(tokenizer_of("chatml"))
    developer = Message("developer", SYSTEM.content)
    assert template.prompt([developer, QUESTION]) == template.prompt([SYSTEM, QUESTION])


def test_answers_of_weight_zero_are_not_trained() -> None:
    template, tokenizer = Template.of(tokenizer_of("chatml")), tokenizer_of("chatml")
    untrained = Message("assistant", "wrong", trained=False)
    [rendered] = template.render_all([QUESTION, untrained, QUESTION, ANSWER])
    trained = [i for i, bears in zip(rendered.ids, rendered.trained, strict=True) if bears]
    assert tokenizer.decode(trained) == "card_arrival<|im_end|>"


@pytest.mark.parametrize(
    "messages", [[QUESTION], [QUESTION, Message("assistant", "x", trained=False)]]
)
def test_nothing_to_train_is_an_error(messages: list[Message]) -> None:
    with pytest.raises(DataError, match="nothing to train"):
        Template.of(tokenizer_of("chatml")).render(messages)


def test_reasoning_that_later_prompts_drop_gets_a_sequence_of_its_own() -> None:
    template, tokenizer = Template.of(tokenizer_of("qwen3")), tokenizer_of("qwen3")
    thought = Message("assistant", "<think>\nhm\n</think>\n\nfour")
    last, first = template.render_all([QUESTION, thought, QUESTION, ANSWER])
    assert "hm" not in tokenizer.decode(last.ids)
    assert tokenizer.decode(first.ids).endswith("<think>\nhm\n</think>\n\nfour<|im_end|>")
    think = tokenizer.convert_tokens_to_ids("<think>")
    assert first.ids.count(think) == 1, "reasoning marks of an answer are tokens"
    assert last.ids.count(think) == 1


def test_arguments_are_frozen_and_change_the_hash() -> None:
    tokenizer = tokenizer_of("qwen3")
    template = Template.of(tokenizer, {"enable_thinking": False})
    prompt = template.prompt([QUESTION])
    assert tokenizer.decode(prompt).endswith("<think>\n\n</think>\n\n")
    rendered = template.render([QUESTION, ANSWER])
    assert rendered.trained.index(True) == len(prompt)
    assert template.sha256 != Template.of(tokenizer).sha256
    assert Template.from_dict(tokenizer, template.to_dict()).prompt([QUESTION]) == prompt


def test_thawed_with_another_tokenizers_tokens_is_refused() -> None:
    frozen = Template.of(tokenizer_of("chatml")).to_dict()
    with pytest.raises(ModelError, match="special tokens"):
        Template.from_dict(tokenizer_of("qwen3"), frozen)


def test_tools_and_calls_are_written_by_the_template_and_calls_are_trained() -> None:
    template, tokenizer = Template.of(tokenizer_of("qwen3")), tokenizer_of("qwen3")
    rendered = template.render([QUESTION, CALL], [TOOL])
    assert '"name": "weather"' in tokenizer.decode(template.prompt([QUESTION], [TOOL]))
    generated = [i for i, bears in zip(rendered.ids, rendered.trained, strict=True) if bears]
    call = '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call><|im_end|>'
    assert tokenizer.decode(generated).endswith(call)
    assert tokenizer.convert_tokens_to_ids("<tool_call>") in generated


RESULT = Message("tool", "cloudy<|im_end|>", tool_call_id="abcdefghi")
WITHOUT_PLACE = [
    name for name in FAMILIES if Template.of(tokenizer_of(name)).to_dict()["tool_form"]
]


def test_most_families_here_have_no_place_for_tools() -> None:
    assert set(FAMILIES) - set(WITHOUT_PLACE) == {"qwen3"}


@pytest.mark.parametrize("name", WITHOUT_PLACE)
def test_a_template_without_a_place_for_tools_writes_them_in_the_known_form(name: str) -> None:
    template, tokenizer = Template.of(tokenizer_of(name)), tokenizer_of(name)
    text = tokenizer.decode(template.prompt([SYSTEM, QUESTION, CALL, RESULT], [TOOL]))
    places = [
        text.find(part)
        for part in (
            '<tools>\n{"type": "function", "function": {"name": "weather"',
            QUESTION.content,
            CALL.text,
            "<tool_response>\ncloudy<|im_end|>\n</tool_response>",
        )
    ]
    assert -1 not in places
    assert SYSTEM.content in text
    if name != "mistral":  # it moves the system prompt to the last question
        assert places == sorted(places)
    rendered = template.render([SYSTEM, QUESTION, CALL], [TOOL])
    start = rendered.trained.index(True)
    assert rendered.ids[:start] == template.prompt([SYSTEM, QUESTION], [TOOL])
    prompt, whole = tokenizer.decode(rendered.ids[:start]), tokenizer.decode(rendered.ids)
    assert whole.removeprefix(prompt).lstrip() == CALL.text + FAMILIES[name].stop


@pytest.mark.parametrize("name", ["chatml", "gemma", "phi3", "llama3"])
def test_the_form_goes_where_the_text_of_the_template_goes(name: str) -> None:
    """As an export does: another program reads the text and has never heard of the form."""
    template, messages = Template.of(tokenizer_of(name)), [QUESTION, CALL, RESULT]
    raw = [message.to_dict() for message in messages]
    for turn in raw:
        for call in turn.get("tool_calls", ()):
            call["function"]["arguments"] = {"city": "Oslo"}
    other = with_template(name, template.text)
    theirs = other.apply_chat_template(raw, [TOOL], tokenize=False, add_generation_prompt=True)
    assert theirs == template.prompt_text(messages, [TOOL])
    assert Template.of(other).to_dict()["tool_form"] == "", "it has a place for tools now"


def test_several_calls_and_their_results_share_a_turn() -> None:
    calls = Message("assistant", "Let me see.", tool_calls=(*CALL.tool_calls, *CALL.tool_calls))
    text = Template.of(tokenizer_of("chatml")).prompt_text([QUESTION, calls, RESULT, RESULT])
    assert calls.text in text
    assert text.count("<tool_response>") == 2
    assert text.count("<|im_start|>user") == 2


def test_a_template_frozen_before_there_was_a_form_is_the_same_and_writes_tools() -> None:
    tokenizer = tokenizer_of("chatml")
    template = Template.of(tokenizer)
    frozen = {key: value for key, value in template.to_dict().items() if key != "tool_form"}
    assert template.sha256 == json_sha256(frozen)
    thawed = Template.from_dict(tokenizer, frozen)
    assert thawed.sha256 == template.sha256
    assert thawed.prompt([QUESTION], [TOOL]) == template.prompt([QUESTION], [TOOL])
    changed = Template.from_dict(tokenizer, {**frozen, "tool_form": "{# another #}"})
    assert changed.sha256 != template.sha256


@pytest.mark.parametrize("id", ["call_3f9a1", "call_0001"])
def test_a_call_and_its_result_have_a_short_id_where_no_other_is_taken(id: str) -> None:
    """Mistral's template refuses OpenAI's ids and our own; one that fits stays."""
    template = Template.of(tokenizer_for(CALLING_FAMILIES["mistral3"]))
    call = Message("assistant", "", tool_calls=(ToolCall(id, "weather", "{}"),))
    result = Message("tool", "3", tool_call_id=id)
    written = template.prompt_text([QUESTION, call, result], [TOOL])
    [named] = re.findall(r'"id": "(\w{9})"', written)
    assert f'"call_id": "{named}"' in written
    assert (named == id) is (id == "call_0001")


def test_call_whose_arguments_are_no_json_is_refused() -> None:
    broken = Message("assistant", "", tool_calls=(ToolCall("a", "weather", "{city"),))
    with pytest.raises(DataError, match="are not JSON"):
        Template.of(tokenizer_of("qwen3")).render([QUESTION, broken], [TOOL])


def test_what_the_template_refuses_is_told_with_its_reason() -> None:
    with pytest.raises(DataError, match=r"must alternate.*user, user"):
        Template.of(tokenizer_of("mistral")).prompt([QUESTION, QUESTION])
    with pytest.raises(DataError, match="no messages"):
        Template.of(tokenizer_of("chatml")).prompt([])
    with pytest.raises(DataError, match="unknown role"):
        Template.of(tokenizer_of("chatml")).prompt([Message("system<|im_end|>", "x")])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{{ messages[0].nothing + 'a' }}", "fails on a question"),
        ("{% for %}", "fails on a question"),
        ("only this", "leaves the answer out"),
    ],
)
def test_broken_templates_are_refused(text: str, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        Template.of(with_template("chatml", text))


def test_template_whose_answers_do_not_continue_its_prompt_cannot_train() -> None:
    text = (FAMILIES["chatml"].template or "").replace(
        "'<|im_start|>assistant\n' -}}", "'<|im_start|>assistant\n<think>\n' -}}"
    )
    template = Template.of(with_template("chatml", text))
    assert template.prompt([QUESTION])
    with pytest.raises(ModelError, match="cannot be trained with it"):
        template.render([QUESTION, ANSWER])


def test_two_beginnings_of_text_are_refused() -> None:
    text = "{{ bos_token }}" + (FAMILIES["llama3"].template or "")
    with pytest.raises(ModelError, match="twice"):
        Template.of(with_template("llama3", text)).prompt([QUESTION])


def test_base_model_gets_the_plain_format() -> None:
    template, tokenizer = Template.of(tokenizer_of("base")), tokenizer_of("base")
    rendered = template.render([SYSTEM, QUESTION, ANSWER])
    assert tokenizer.decode(rendered.ids) == (
        "<s>### System:\nName the label.\n\n### User:\nWhere is my card?\n\n"
        "### Assistant:\ncard_arrival</s>"
    )


def test_base_model_without_an_end_of_text_is_refused() -> None:
    tokenizer = with_template("base", "")
    tokenizer.eos_token = None
    with pytest.raises(ModelError, match="neither a chat template nor"):
        Template.of(tokenizer)


def test_long_shared_system_prompt_is_spelled_once() -> None:
    """Ten thousand examples share their system prompt; a second one costs next to nothing."""
    template = Template.of(tokenizer_of("chatml"))
    system = Message("system", "label_one, label_two, " * 4000)
    started = time.perf_counter()
    template.render([system, QUESTION, ANSWER])
    first = time.perf_counter() - started
    started = time.perf_counter()
    for number in range(5):
        template.render([system, Message("user", f"number {number}"), ANSWER])
    assert (time.perf_counter() - started) / 5 < first / 2


def test_the_text_alone_writes_what_the_template_with_its_arguments_does() -> None:
    tokenizer = tokenizer_of("qwen3")
    talk = [Message("user", "Where is it?")]
    for arguments in ({}, {"enable_thinking": False}):
        template = Template.of(tokenizer, arguments)
        alone = tokenizer.apply_chat_template(
            [m.to_dict() for m in talk],
            chat_template=template.text,
            add_generation_prompt=True,
            tokenize=False,
        )
        assert alone == template.prompt_text(talk)
