"""Inspect: three samples, two epochs, a system prompt; as `.eval` and as `.json`, the latter
without the events of its samples, which are most of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from inspect_ai import Epochs, Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.model import (
    ChatMessageAssistant,
    ChatMessageUser,
    ModelOutput,
    ModelUsage,
    get_model,
)
from inspect_ai.scorer import match
from inspect_ai.solver import generate, system_message

from tests.compat.logs.provider import ANSWER, SYSTEM

TURNS = [
    ChatMessageUser(content="Is it lost?"),
    ChatMessageAssistant(content="Is what lost?"),
    ChatMessageUser(content="My card."),
]
SAMPLES = [
    Sample(input="Where is my card?", target="cards"),
    Sample(input="When is my loan paid out?", target="loans", id="row-2"),
    Sample(input=TURNS, target="cards"),
]


def _answer(asked: Any, *_: Any) -> ModelOutput:
    made = ModelOutput.from_content(
        "mockllm/model", "loans" if "loan" in asked[-1].text else ANSWER
    )
    # Counted here: Inspect would fetch a tokenizer to count what is not.
    made.usage = ModelUsage(input_tokens=30, output_tokens=1, total_tokens=31)
    return made


def write(folder: Path) -> None:
    """Both logs."""
    for format in ("eval", "json"):
        model = get_model("mockllm/model", memoize=False, custom_outputs=_answer)
        task = Task(
            dataset=SAMPLES,
            solver=[system_message(SYSTEM), generate()],
            scorer=match(),
            epochs=Epochs(2),
            name="desks",
        )
        [log] = eval(task, model=model, log_dir="logs", log_format=format, display="none")
        assert log.status == "success", log.error
        [written] = Path("logs").glob(f"*.{format}")
        written.rename(folder / f"inspect.{format}")
    whole = json.loads((folder / "inspect.json").read_text())
    for sample in whole["samples"]:
        sample["events"] = []
    (folder / "inspect.json").write_text(json.dumps(whole) + "\n")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
