"""Texts with variables, `{{item...}}` and `{{sample...}}`, as OpenAI's graders write them.

check_templates("Is {{sample.output_text}} polite?")
fill("{{item.city}}", {"item": {"city": "Oslo"}})      # "Oslo"
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Annotated, Any

from pydantic import StringConstraints

from assay import json_reader
from assay.chat.tool_text import find_calls
from assay.data.problems import escape_surrogates
from assay.errors import UsageError
from assay.example import Message

LONGEST = 100_000
"""Characters of a template, and of a text that is compared."""
_TEMPLATE = re.compile(r"\{\{\s*(item|sample)((?:\.[\w-]+|\[\d+\])+)\s*\}\}")
_ANY_TEMPLATE = re.compile(r"\{\{(?:(?!\{\{|\}\}).)*\}\}", re.DOTALL)
_FORMS = {
    "item": ["{{item.FIELD}}"],
    "sample": [
        "{{sample.output_text}}",
        "{{sample.output_json.FIELD}}",
        "{{sample.output_tools[0].function.name}}",
    ],
}
_OF_ANSWER = (".output_json", ".output_tools")
"""Parts of a sample that a model may fail to give."""
_STEP = re.compile(r"\.([\w-]+)|\[(\d+)\]")

Template = Annotated[str, StringConstraints(max_length=LONGEST)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class VariableError(Exception):
    """A template names what is not there; OpenAI's name of that error."""


class TooLongError(UsageError):
    """Texts to compare are too long, each of them or all together."""


def check_templates(*texts: str, names: Collection[str] = ("item", "sample")) -> None:
    """Refuse variables that cannot be put in.

    Args:
        names: that variables may begin with.

    Raises:
        UsageError: there is one.
    """
    for text in texts:
        for found in _ANY_TEMPLATE.findall(text):
            variable = _TEMPLATE.fullmatch(found)
            if variable is None or variable[1] not in names:
                known = [form for name in names for form in _FORMS[name]]
                raise UsageError(
                    f"{found[:80]} is not a variable here.", fix=f"Write {' or '.join(known)}."
                )


def missing_variable(names: Mapping[str, Any], *texts: str) -> str | None:
    """The first variable of some templates that stands for nothing; only those that begin with one
    of `names` are looked at."""
    for text in texts:
        for found in _TEMPLATE.finditer(text):
            if found[1] in names:
                try:
                    _value(found, names)
                except VariableError:
                    return found[0]
    return None


def describe_sample(
    text: str, tools: Sequence[dict[str, Any]] = (), fits: Callable[[Any], bool] | None = None
) -> dict[str, Any]:
    """What `{{sample...}}` stands for where the answer is a text.

    Args:
        tools: that it may call; its calls are `output_tools`, and what it says beside them is
            `output_text`.
        fits: whether what it says as JSON is `output_json`; None: any JSON is.
    """
    said, calls = find_calls(text, tools) if tools else (text, ())
    sample: dict[str, Any] = {"output_text": said}
    if calls:
        sample["output_tools"] = Message("assistant", "", calls).to_dict()["tool_calls"]
    with contextlib.suppress(ValueError):
        value = json_reader.read(text)
        if fits is None or fits(value):
            sample["output_json"] = value
    return sample


def fill(template: str, names: Mapping[str, Any]) -> str:
    """The template with its variables put in; texts as they are, all else as JSON. Halves of
    characters, which JSON can spell and UTF-8 cannot, are written as `\\ud83d`.

    Raises:
        VariableError: a variable names what is not there.
        TooLongError: the text is too long.
    """

    room = LONGEST

    def put(match: re.Match[str]) -> str:
        nonlocal room
        value = _value(match, names)
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        room -= len(text)
        if room < 0:
            raise too_long
        return text

    too_long = TooLongError(f"a text to compare is longer than {LONGEST} characters.")
    filled = _TEMPLATE.sub(put, template)
    if len(filled) > LONGEST:
        raise too_long
    return escape_surrogates(filled)


def check_item_texts(item: Mapping[str, Any], *texts: str) -> None:
    """Refuse an item whose values alone make a template's text too long, whatever the answer is.

    Raises:
        VariableError: a variable names what the item does not have.
        TooLongError: a text is too long.
    """
    for text in texts:
        of_item = _TEMPLATE.sub(lambda found: found[0] if found[1] == "item" else "", text)
        fill(of_item, {"item": item})


def _value(variable: re.Match[str], names: Mapping[str, Any]) -> Any:
    """What a variable stands for.

    Raises:
        VariableError: nothing.
    """
    value: Any = names
    for key, index in ((variable[1], ""), *_STEP.findall(variable[2])):
        try:
            value = value[key] if key else value[int(index)]
        except (KeyError, IndexError, TypeError, ValueError):  # a number of 5000 digits
            of_answer = variable[1] == "sample" and variable[2].startswith(_OF_ANSWER)
            kind = "sample_parse_error" if of_answer else "invalid_variable_error"
            raise VariableError(kind) from None
    return value
