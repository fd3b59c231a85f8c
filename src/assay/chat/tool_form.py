"""Tools in the form of Hermes and Qwen, for chat templates that have no place for them.

Definitions stand in the system turn, calls as JSON in `<tool_call>` marks in the assistant's turn,
results in `<tool_response>` marks in a user turn. The form is Jinja that stands in front of a
model's own template and rewrites the turns for it, so that it goes wherever the template goes: into
a version, an export, another program. A conversation without tools is left as it is.
"""

from __future__ import annotations

_BEFORE = (
    "# Tools\\n\\nYou may call one or more functions to assist with the user query.\\n\\n"
    "You are provided with function signatures within <tools></tools> XML tags:\\n<tools>"
)
_AFTER = (
    "\\n</tools>\\n\\nFor each function call, return a json object with function name and "
    "arguments within <tool_call></tool_call> XML tags:\\n<tool_call>\\n"
    '{"name": <function-name>, "arguments": <args-json-object>}\\n</tool_call>'
)
"""The words of Qwen 2.5, before and after the definitions."""
_IN_SYSTEM = r"""
{%- if messages and messages[0].role == 'system' -%}
{%- set form.words = messages[0].content + '\n\n' + form.words -%}
{%- set form.first = 1 -%}
{%- endif -%}
{%- set form.turns = [{'role': 'system', 'content': form.words}] -%}"""
_IN_USER = r"""
{%- if messages and messages[0].role == 'user' -%}
{%- set form.words = form.words + '\n\n' + messages[0].content -%}
{%- set form.first = 1 -%}
{%- endif -%}
{%- set form.turns = [{'role': 'user', 'content': form.words}] -%}"""
_FORM = r"""
{%- set form = namespace(wanted=false, words='', turns=[], first=0, text='') -%}
{%- if tools -%}{%- set form.wanted = true -%}{%- endif -%}
{%- for message in messages -%}
{%- if message.role == 'tool' or message.tool_calls -%}
{%- set form.wanted = true -%}
{%- endif -%}
{%- endfor -%}
{%- if form.wanted -%}
{%- if tools -%}
{%- set form.words = 'BEFORE' -%}
{%- for tool in tools -%}
{%- set form.words = form.words + '\n' + (tool | tojson) -%}
{%- endfor -%}
{%- set form.words = form.words + 'AFTER' -%}
OPENING
{%- endif -%}
{%- for message in messages -%}
{%- if loop.index0 >= form.first -%}
{%- if message.role == 'tool' -%}
{%- if form.text -%}{%- set form.text = form.text + '\n' -%}{%- endif -%}
{%- set form.text = form.text + '<tool_response>\n' + message.content -%}
{%- set form.text = form.text + '\n</tool_response>' -%}
{%- if loop.last or messages[loop.index0 + 1].role != 'tool' -%}
{%- set form.turns = form.turns + [{'role': 'user', 'content': form.text}] -%}
{%- set form.text = '' -%}
{%- endif -%}
{%- elif message.tool_calls -%}
{%- set form.text = message.content or '' -%}
{%- for call in message.tool_calls -%}
{%- if form.text -%}{%- set form.text = form.text + '\n' -%}{%- endif -%}
{%- if call.function.arguments is string -%}
{%- set arguments = call.function.arguments -%}
{%- else -%}
{%- set arguments = call.function.arguments | tojson -%}
{%- endif -%}
{%- set form.text = form.text + '<tool_call>\n{"name": ' + (call.function.name | tojson) -%}
{%- set form.text = form.text + ', "arguments": ' + arguments + '}\n</tool_call>' -%}
{%- endfor -%}
{%- set form.turns = form.turns + [{'role': 'assistant', 'content': form.text}] -%}
{%- set form.text = '' -%}
{%- else -%}
{%- set form.turns = form.turns + [message] -%}
{%- endif -%}
{%- endif -%}
{%- endfor -%}
{%- set messages = form.turns -%}
{%- set tools = none -%}
{%- endif -%}
"""


def tool_form(*, has_system: bool) -> str:
    """Jinja that stands in front of a template without a place for tools.

    Args:
        has_system: whether the template writes system turns; else definitions open the first user
            turn, as its system prompt does.
    """
    opening = (_IN_SYSTEM if has_system else _IN_USER).strip()
    form = _FORM.strip().replace("OPENING", opening)
    return form.replace("BEFORE", _BEFORE).replace("AFTER", _AFTER)


FIRST = frozenset({"", tool_form(has_system=True), tool_form(has_system=False)})
"""Forms of the first release that had one: templates frozen before are the same with them."""
