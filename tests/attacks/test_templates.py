"""Chat templates that come with a model and have no end."""

from __future__ import annotations

import time

import pytest
from tests.generate.tiny import byte_tokenizer

from assay.chat import message_writer
from assay.chat.message_writer import timed_template
from assay.chat.template import Template
from assay.errors import ModelError

LOOPS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
TWICE = "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}"
WITHIN = "{% macro f() %}{{ caller() }}{% endmacro %}" + (
    "{% call f() %}{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    "{% endcall %}"
)
FILTERED = "{% for a in range(99999) if a < 0 %}{% endfor %}" * 3 + LOOPS
RENAMED = "".join(
    f"{{% set {name} = dict %}}" for name in ("look_at_the_clock", "_look_at_the_clock")
)
ENDLESS = "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"


@pytest.mark.parametrize(
    "text", [LOOPS, TWICE, WITHIN, FILTERED, RENAMED + LOOPS, ENDLESS, "a" * 2_000_000]
)
def test_a_template_comes_to_an_end(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message_writer, "RENDER_S", 0.3)
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = text
    began = time.thread_time()
    with pytest.raises(ModelError):
        Template.of(tokenizer)
    assert time.thread_time() - began < 3


def test_a_template_with_a_clock_writes_what_it_writes_without() -> None:
    text = (
        "{% macro line(m) %}{{ m.role }}{% endmacro %}{{ bos }}{% for m in messages -%}\n"
        "{{ loop.index }} {{ line(m) }}: {{ m.content }}{% if loop.last %}!{% endif %}\n"
        "{%- for part in m.content %}{% if part == 'b' %}{% break %}{% endif %}{{ part }}"
        "{% endfor %}"
        "{% else %}none{% endfor %}{% generation %}{{ tools | tojson }}{% endgeneration %}"
    )
    tokenizer = byte_tokenizer()
    turns = [{"role": "user", "content": "abc"}, {"role": "assistant", "content": "<b>"}]
    written = tokenizer.apply_chat_template(
        turns, chat_template=text, tokenize=False, tools=[{"a": 1}], bos="x"
    )
    given = {**tokenizer.special_tokens_map, "bos": "x"}
    assert (
        timed_template(text)(
            messages=turns, tools=[{"a": 1}], documents=None, add_generation_prompt=False, **given
        )
        == written
    )
