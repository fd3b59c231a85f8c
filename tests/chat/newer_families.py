"""Templates shaped like those of SmolLM 3, Granite, OLMo 2 and Phi 4, see `families.py`."""

from __future__ import annotations

from tests.chat.families import FAMILIES, Family

# Marks what is trained, for other trainers, and says whether it thinks.
SMOLLM3 = """\
{%- if enable_thinking is not defined -%}{%- set enable_thinking = true -%}{%- endif -%}
{%- if messages[0].role == 'system' -%}
{%- set given = messages[0].content -%}{%- set turns = messages[1:] -%}
{%- else -%}{%- set given = 'You are small.' -%}{%- set turns = messages -%}{%- endif -%}
{%- if '/no_think' in given -%}{%- set enable_thinking = false -%}{%- endif -%}
{{- '<|im_start|>system\n## Metadata\n\nToday Date: ' + strftime_now('%d %B %Y') + '\n' -}}
{{- 'Reasoning Mode: ' + ('/think' if enable_thinking else '/no_think') + '\n\n' -}}
{{- given.replace('/no_think', '').rstrip() + '<|im_end|>\n' -}}
{%- for message in turns -%}
{%- if message.role == 'assistant' -%}
{%- generation -%}
{{- '<|im_start|>assistant\n' + ('' if enable_thinking else '<think>\n\n</think>\n') -}}
{{- message.content.lstrip('\n') + '<|im_end|>\n' -}}
{%- endgeneration -%}
{%- else -%}{{- '<|im_start|>user\n' + message.content + '<|im_end|>\n' -}}{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\n' + ('' if enable_thinking else '<think>\n\n</think>\n') -}}
{%- endif -%}
"""

# Writes the whole clock into a default system prompt, and the answer's header in two parts.
GRANITE = """\
{%- if messages[0]['role'] == 'system' -%}
{%- set system = messages[0]['content'] -%}{%- set turns = messages[1:] -%}
{%- else -%}
{%- set system = "Today's Date: " + strftime_now('%B %d, %Y') + '. You are small.' -%}
{%- set turns = messages -%}
{%- endif -%}
{{- '<|start_of_role|>system<|end_of_role|>' + system + '<|end_of_text|>\n' -}}
{%- for message in turns -%}
{{- '<|start_of_role|>' + message['role'] + '<|end_of_role|>' + message['content'] -}}
{{- '<|end_of_text|>\n' -}}
{%- if loop.last and add_generation_prompt -%}
{{- '<|start_of_role|>assistant' -}}
{%- if controls -%}{{- ' ' + controls | tojson -}}{%- endif -%}
{{- '<|end_of_role|>' -}}
{%- endif -%}
{%- endfor -%}
"""

# No mark is a token of its own but the end, and only the last answer is followed by none.
OLMO2 = """\
{{- bos_token -}}
{%- for message in messages -%}
{%- if message['role'] == 'assistant' -%}
{{- '<|assistant|>\n' + message['content'] + eos_token -}}
{%- if not loop.last -%}{{- '\n' -}}{%- endif -%}
{%- else -%}{{- '<|' + message['role'] + '|>\n' + message['content'] + '\n' -}}{%- endif -%}
{%- if loop.last and add_generation_prompt -%}{{- '<|assistant|>\n' -}}{%- endif -%}
{%- endfor -%}
"""

# Nothing between a mark and its text; another token follows the whole conversation.
PHI4 = """\
{%- for message in messages -%}
{{- '<|' + message['role'] + '|>' + message['content'] + '<|end|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- else -%}{{- eos_token -}}{%- endif -%}
"""

_IM = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_ROLE = ("<|end_of_text|>", "<|start_of_role|>", "<|end_of_role|>")
SMOLLM3_FAMILY = Family(
    "smollm3",
    SMOLLM3,
    _IM,
    stop="<|im_end|>",
    bos="<|endoftext|>",
    eos="<|im_end|>",
    written=("<think>", "</think>"),
    split=FAMILIES["llama3"].split,
)
GRANITE_FAMILY = Family(
    "granite", GRANITE, _ROLE, stop="<|end_of_text|>", bos="<|end_of_text|>", eos="<|end_of_text|>"
)
OLMO2_FAMILY = Family(
    "olmo2",
    OLMO2,
    ("<|endoftext|>",),
    stop="<|endoftext|>",
    bos="<|endoftext|>",
    eos="<|endoftext|>",
    split=FAMILIES["llama3"].split,
)
PHI4_FAMILY = Family(
    "phi4",
    PHI4,
    ("<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
    stop="<|end|>",
    bos="<|endoftext|>",
    eos="<|endoftext|>",
)
