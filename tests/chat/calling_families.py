"""Templates with tools, shaped like those of Llama 3.1 and Mistral, see `families.py`."""

from __future__ import annotations

from functools import partial

from tests.chat.families import FAMILIES, Family

# One call a turn, as a bare object with `parameters`; results have a role of their own.
LLAMA31 = """\
{{- bos_token -}}
{%- if messages[0]['role'] == 'system' -%}
{%- set system = messages[0]['content'] | trim -%}{%- set messages = messages[1:] -%}
{%- else -%}{%- set system = '' -%}{%- endif -%}
{{- '<|start_header_id|>system<|end_header_id|>\n\n' + system + '<|eot_id|>' -}}
{%- for message in messages -%}
{%- if message.role == 'user' and loop.first and tools -%}
{{- '<|start_header_id|>user<|end_header_id|>\n\nRespond with a JSON for a function call.\n\n' -}}
{%- for tool in tools -%}{{- tool | tojson(indent=4) + '\n\n' -}}{%- endfor -%}
{{- message.content | trim + '<|eot_id|>' -}}
{%- elif message.tool_calls -%}
{%- if message.tool_calls | length != 1 -%}
{{- raise_exception('This model only supports single tool-calls at once!') -}}
{%- endif -%}
{%- set call = message.tool_calls[0].function -%}
{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' -}}
{{- '{"name": "' + call.name + '", ' -}}{{- '"parameters": ' -}}{{- call.arguments | tojson -}}
{{- '}' -}}{{- '<|eot_id|>' -}}
{%- elif message.role == 'tool' -%}
{{- '<|start_header_id|>ipython<|end_header_id|>\n\n' + (message.content | tojson) -}}
{{- '<|eot_id|>' -}}
{%- else -%}
{{- '<|start_header_id|>' + message.role + '<|end_header_id|>\n\n' -}}
{{- message.content | trim + '<|eot_id|>' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' -}}
{%- endif -%}
"""

_MISTRAL = """\
{{- bos_token -}}
{%- set asked = messages | selectattr('role', 'equalto', 'user') | list -%}
{%- for message in messages -%}
{%- if message.role == 'user' -%}
{%- if tools and message == asked[-1] -%}
{{- '[AVAILABLE_TOOLS] ' + (tools | tojson) + '[/AVAILABLE_TOOLS]' -}}
{%- endif -%}
{{- '[INST] ' + message.content + '[/INST]' -}}
{%- elif message.tool_calls -%}
CALLS
{%- elif message.role == 'tool' -%}
{{- '[TOOL_RESULTS] ' + message.content + '[/TOOL_RESULTS]' -}}
{%- else -%}{{- ' ' + message.content + eos_token -}}{%- endif -%}
{%- endfor -%}
"""
# A list, each call with the id that the result names.
MISTRAL3 = _MISTRAL.replace(
    "message.content + '[/TOOL_RESULTS]'",
    """'{"content": ' + message.content + ', "call_id": "' + message.tool_call_id + '"}'
+ '[/TOOL_RESULTS]'""",
).replace(
    "CALLS",
    """\
{{- '[TOOL_CALLS] [' -}}
{%- for call in message.tool_calls -%}
{%- if call.id | length != 9 -%}
{{- raise_exception('Tool call IDs should be alphanumeric strings with length 9!') -}}
{%- endif -%}
{%- set out = call.function | tojson -%}
{{- out[:-1] + ', "id": "' + call.id + '"}' -}}
{%- if not loop.last -%}{{- ', ' -}}{%- else -%}{{- ']' + eos_token -}}{%- endif -%}
{%- endfor -%}""",
)
# The name stands before the arguments, between marks of their own.
MISTRAL13 = _MISTRAL.replace(
    "CALLS",
    """\
{%- for call in message.tool_calls -%}
{{- '[TOOL_CALLS]' + call.function.name + '[ARGS]' + (call.function.arguments | tojson) -}}
{%- endfor -%}
{{- eos_token -}}""",
)
_MARKS = (
    *("[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]"),
    *("[INST]", "[/INST]", "[TOOL_CALLS]", "[ARGS]"),
)
_mistral = partial(
    Family, special=("<unk>", "<s>", "</s>", *_MARKS), stop="</s>", bos="<s>", eos="</s>"
)
CALLING_FAMILIES = {
    family.name: family
    for family in (
        Family(
            "llama31",
            LLAMA31,
            (*FAMILIES["llama3"].special, "<|python_tag|>", "<|eom_id|>"),
            stop="<|eot_id|>",
            bos="<|begin_of_text|>",
            eos="<|end_of_text|>",
            split=FAMILIES["llama3"].split,
        ),
        _mistral("mistral3", MISTRAL3, sentencepiece=True),
        _mistral("mistral13", MISTRAL13, split=FAMILIES["llama3"].split),
    )
}
