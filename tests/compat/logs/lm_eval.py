"""lm-eval with `--log_samples`: text that is generated, chats with examples, and a choice."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml
from lm_eval.__main__ import cli_evaluate

from tests.compat.logs.provider import SYSTEM, provider

ROWS = [
    {"id": "row-1", "question": "Where is my card?", "answer": "cards"},
    {"id": "row-2", "question": "When is my loan paid out?", "answer": "loans"},
]
EXAMPLES = [{"id": "shown", "question": "Is my card lost?", "answer": "cards"}]
FILES = {"test": "rows.jsonl", "train": "examples.jsonl"}
TASK = {
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": FILES},
    "test_split": "test",
    "fewshot_split": "train",
    "doc_to_text": "Question: {{question}}\nAnswer:",
}
GENERATED = {
    **TASK,
    "task": "generated",
    "output_type": "generate_until",
    "doc_to_target": "{{answer}}",
    "generation_kwargs": {"until": ["\n"]},
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
}
CHOSEN = {
    **TASK,
    "task": "chosen",
    "output_type": "multiple_choice",
    "doc_to_choice": ["cards", "loans"],
    "doc_to_target": "{{['cards', 'loans'].index(answer)}}",
    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
}


def write(folder: Path) -> None:
    """A file for each way."""
    for name, rows in (("rows.jsonl", ROWS), ("examples.jsonl", EXAMPLES)):
        Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    Path("tasks").mkdir()
    for task in (GENERATED, CHOSEN):
        Path("tasks", f"{task['task']}.yaml").write_text(yaml.safe_dump(task))
    with provider() as url:
        chat = f"model=stand-in,base_url={url}/v1/chat/completions,num_concurrent=1"
        asked = ["--model", "local-chat-completions", "--model_args", chat]
        shown = ["--apply_chat_template", "--fewshot_as_multiturn", "--num_fewshot", "1"]
        _run("generated", "--model", "dummy").rename(folder / "lm-eval-generated.jsonl")
        _run("chosen", "--model", "dummy").rename(folder / "lm-eval-chosen.jsonl")
        chatted = _run("generated", *asked, *shown, "--system_instruction", SYSTEM)
        chatted.rename(folder / "lm-eval-chat.jsonl")


def _run(task: str, *settings: Any) -> Path:
    common = ["--tasks", task, "--include_path", "tasks", "--output_path", "out", "--log_samples"]
    sys.argv = ["lm_eval", "run", *common, *settings]
    cli_evaluate()
    [written] = Path("out").glob(f"**/samples_{task}_*.jsonl")
    return written


if __name__ == "__main__":
    write(Path(sys.argv[1]))
