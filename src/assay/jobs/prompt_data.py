"""A training file for reinforcement: prompts without answers, and what graders compare with.

    {"messages": [{"role": "user", "content": "2 + 2?"}], "reference_answer": "4"}

All of a row is its item: `{{item.reference_answer}}`. It is rendered with an answer of one sign,
which nothing looks at: what is trained is what the model answers.
https://platform.openai.com/docs/api-reference/fine-tuning/reinforcement-input
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from assay import json_reader
from assay.chat.template import Template
from assay.data.formats import openai_chat
from assay.data.formats.record import RecordProblems
from assay.errors import AssayError
from assay.evaluate.rewards import check_item, missing_of_item
from assay.evaluate.templates import TooLongError
from assay.example import Example
from assay.generate.batch import Request
from assay.jobs.training_data import CheckedFile, note_warnings, sentence
from assay.jobs.tuning_request import ReinforcementMethod
from assay.train.reinforce.questions import Question
from assay.train.sequences import check_sequences
from assay.train.units import answered_rows

_UNSEEN = {"role": "assistant", "content": "."}
_ASKS = ("user", "tool")


def check_prompts(
    path: Path, method: ReinforcementMethod, template: Template, limit: int
) -> CheckedFile:
    """Read and render every row; its example has the item beside it.

    Args:
        path: JSONL as above.
        limit: tokens that prompt and answer may have.
    """
    checked, found = CheckedFile(), RecordProblems(path.name)
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            found.start(number)
            try:
                example, item = _read(line, f"{path.stem}-{number}", method, found)
                row = _question(example, method, template, limit)
            except _BadRowError as error:
                checked.errors.append((number, str(error)))
                continue
            note_warnings(checked, found.problems, number)
            checked.examples.append(example)
            checked.units.append([row])
            checked.items[example.id] = item
    return checked


class _BadRowError(Exception):
    """A row of no use, and why."""


def _read(
    line: bytes, id: str, method: ReinforcementMethod, found: RecordProblems
) -> tuple[Example, dict[str, Any]]:
    """A row as an example, and all of it as an item."""
    try:
        item = json_reader.read(line.removeprefix(b"\xef\xbb\xbf"))
    except ValueError as error:
        raise _BadRowError(f"this is not JSON: {json_reader.describe(error)}") from None
    if not isinstance(item, dict):
        raise _BadRowError('each line must be an object: {"messages": [...], ...}.')
    try:
        json.dumps(item, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise _BadRowError(
            "a text has half of a character (an unpaired \\ud800 to \\udfff escape)."
        ) from None
    turns = item.get("messages")
    last = turns[-1] if isinstance(turns, list) and turns else None
    if isinstance(last, dict) and last.get("role") not in _ASKS:
        raise _BadRowError(
            f"the last message has the role {str(last.get('role'))[:20]}; reinforcement lets the "
            "model answer, so it must be user. Move an answer to compare with into a field of its "
            "own, such as reference_answer."
        )
    kept = {name: item[name] for name in ("messages", "tools", "functions") if name in item}
    if isinstance(turns, list) and turns:
        kept["messages"] = [*turns, _UNSEEN]
    example = openai_chat.example(kept, id, found)
    if example is None:
        raise _BadRowError(sentence(next(one for one in found.problems if one.severity == "error")))
    if (missing := missing_of_item(method.grader, item)) is not None:
        raise _BadRowError(
            f"the grader compares with {missing[:80]}, which this row does not have."
        )
    try:
        check_item(method.grader, item)
    except TooLongError as error:
        raise _BadRowError(error.what) from None
    return example, item


def _question(
    example: Example, method: ReinforcementMethod, template: Template, limit: int
) -> Question:
    request = Request(example.prompt, example.tools, max_new_tokens=method.max_completion_tokens)
    try:
        (row,) = answered_rows([example], template, "")
        check_sequences([row], "training", limit)
    except AssayError as error:
        raise _BadRowError(error.what) from None
    return Question((row,), example=example, request=request)
