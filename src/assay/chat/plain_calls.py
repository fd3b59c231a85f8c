"""Calls of functions as people read them, wherever one is shown: `find_ferry(to: "Kiel", cars: 2)`.

A turn is what it says, then its calls, a line each. Texts stay in quotes: "5" is not 5.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress

from assay import json_reader
from assay.chat.tool_text import ARGS, find_calls
from assay.example import Example, Message, ToolCall

_NAMES = re.compile(
    rf'"name"\s*:\s*"([^"\\]{{1,200}})"|(?<![\w.-])([\w.-]{{1,200}})(?:{re.escape(ARGS)})?{{'
)
"""Names in a text that may be a function's: in JSON, and before arguments."""
_ARGUMENTS = re.compile(r'"(?:arguments|parameters)"\s*:')
"""A text of JSON without them is a record, which may have a name, too."""


def say_call(call: ToolCall) -> str:
    """A call in a line; arguments that cannot be read, as a provider's model may write them, stand
    there as they are."""
    with suppress(ValueError):
        read = json_reader.read(call.arguments or "{}")
        if isinstance(read, dict):
            values = {name: json.dumps(one, ensure_ascii=False) for name, one in read.items()}
            said = f"{call.name}({', '.join(f'{name}: {one}' for name, one in values.items())})"
            said.encode()  # half a pair of code units, which JSON may spell, can stand nowhere
            return said
    return f"{call.name}({call.arguments})"


def say_turn(message: Message) -> str:
    """What a turn says, then the functions that it calls."""
    return "\n".join(
        [*([message.content] if message.content else []), *map(say_call, message.tool_calls)]
    )


def say_input(example: Example) -> str:
    """`Example.input` with the calls of earlier turns."""
    kept = [m for m in example.prompt if m.role not in ("system", "developer")]
    return "\n".join(map(say_turn, kept))


def read_answer(text: str, task: str) -> Message:
    """The turn that an answer's text is, where it is not known any more which functions were
    offered: of `task: tools`, what is written as a call counts, whatever it names. JSON of another
    task may look like a call and is none."""
    if task != "tools":
        return Message("assistant", text)
    has_arguments = _ARGUMENTS.search(text) is not None
    found = ((has_arguments and one[1]) or one[2] for one in _NAMES.finditer(text))
    names = [name for name in dict.fromkeys(found) if name]
    said, calls = find_calls(text, [{"function": {"name": name}} for name in names])
    return Message("assistant", said, calls)


def say_answer(text: str, task: str) -> str:
    """An answer's text, its calls as people read them; see `read_answer`."""
    return say_turn(read_answer(text, task))
