"""Evals that `assay rescue openai` has fetched, run again by a server of one's own.

    export OPENAI_BASE_URL=http://127.0.0.1:8000/v1 OPENAI_API_KEY=assay-...
    python examples/rescued_evals.py rescued/account --model tickets --judge tickets

Each eval is created with its criteria, and the items of its last run that had any are answered by
`--model`, asked as in that run, and graded; where that run graded answers that were there, they are
graded again. Objects that were saved by hand, in files of these names, do as well (docs/rescue.md).
A criterion that asks a model is asked of `--judge`; without that it is left out, and
so is one of Python code without `--code`, and said so. This program knows nothing of Assay but the
folder.
"""

import argparse
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from openai import APIStatusError, OpenAI

SAMPLING = (
    "temperature",
    "top_p",
    "seed",
    "max_completion_tokens",
    "reasoning_effort",
    "tools",
)
"""Of a run's `sampling_params`, beside the form of the answer."""


def main() -> None:
    """Run one eval after the other; what is refused is said."""
    parser = argparse.ArgumentParser(description="Run evals again that were fetched.")
    parser.add_argument("account", type=Path, help="the folder of `assay rescue openai --to`")
    parser.add_argument("--model", required=True, help="who answers")
    parser.add_argument("--judge", help="who grades, where a model does")
    parser.add_argument(
        "--code", action="store_true", help="run its Python code, if the server does"
    )
    chosen = parser.parse_args()
    client = OpenAI()
    for old in lines(chosen.account / "evals.jsonl"):
        print(f"{old.get('name') or old['id']}:")
        try:
            run_again(client, chosen.account, old, chosen.model, chosen.judge, chosen.code)
        except APIStatusError as error:
            print(f"  refused: {error.message}")


def run_again(
    client: OpenAI, account: Path, old: dict[str, Any], model: str, judge: str | None, code: bool
) -> None:
    """Create an eval, run it, wait, tell."""
    found = (usable(one, judge, code) for one in old["testing_criteria"])
    criteria = [one for one in found if one is not None]
    run, items = last_run(account, old["id"])
    if not criteria or not items:
        print("  nothing to run: no criterion is left, or no run had items of its own")
        return
    evaluation = client.evals.create(
        name=old.get("name") or old["id"],
        data_source_config={"type": "custom", "item_schema": item_schema(old)},
        testing_criteria=criteria,
    )
    source = data_source(client, run["data_source"], items, model)
    again = client.evals.runs.create(evaluation.id, data_source=source)
    while again.status in ("queued", "in_progress"):
        time.sleep(0.5)
        again = client.evals.runs.retrieve(again.id, eval_id=evaluation.id)
    counts = again.result_counts
    print(f"  {again.status}: {counts.passed} of {counts.total} passed, {counts.errored} errors")
    for one in again.per_testing_criteria_results:
        print(f"  {one.testing_criteria}: {one.passed} passed, {one.failed} failed")


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file, one a line or as the API sends them: alone, or a page of a list. None
    where there is no file."""
    text = path.read_text(encoding="utf-8").strip() if path.exists() else ""
    decoder, spaces, at = json.JSONDecoder(), re.compile(r"\s*"), 0
    while at < len(text):  # `splitlines` also cuts within a text
        found, end = decoder.raw_decode(text, at)
        yield from found["data"] if found.get("object") == "list" else [found]
        at = spaces.match(text, end).end()


def usable(old: dict[str, Any], judge: str | None, code: bool) -> dict[str, Any] | None:
    """A criterion as it is created here: without its id, asked of `judge`; None: it is left out."""
    kind = old["type"]
    criterion = {key: value for key, value in old.items() if key != "id"}
    if kind in ("string_check", "text_similarity") or (kind == "python" and code):
        return criterion
    if kind in ("score_model", "label_model") and judge:
        if sampling := old.get("sampling_params"):
            criterion["sampling_params"] = followed(sampling, judge)
        return {**criterion, "model": judge}
    print(f"  left out: {old.get('name')} ({kind})")
    return None


def followed(sampling: dict[str, Any], model: str) -> dict[str, Any]:
    """What a model follows: only one at a provider is told how much to reason."""
    known = dict(sampling)
    if not model.startswith("remote:"):
        known.pop("reasoning_effort", None)
    return known


def item_schema(old: dict[str, Any]) -> dict[str, Any]:
    """What its items look like."""
    whole = old["data_source_config"].get("schema") or {}
    return whole.get("properties", {}).get("item") or {"type": "object"}


def last_run(account: Path, eval_id: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The newest run of an eval that came to an output item, and those; empty where none did."""
    folder = account / "evals" / eval_id
    runs = sorted(lines(folder / "runs.jsonl"), key=lambda run: run["created_at"], reverse=True)
    for run in runs:
        if items := list(lines(folder / f"{run['id']}.output-items.jsonl")):
            return run, items
    return {}, []


def data_source(
    client: OpenAI, old: dict[str, Any], items: list[dict[str, Any]], model: str
) -> Any:
    """What a run did with these output items, with another model that answers.

    Args:
        old: its data source.
    """
    is_there = old["type"] == "jsonl"
    rows = [
        {"item": one["datasource_item"], **(answer_of(one) if is_there else {})} for one in items
    ]
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    file = client.files.create(file=("items.jsonl", data), purpose="evals")
    source = {"type": "file_id", "id": file.id}
    if is_there:
        return {"type": "jsonl", "source": source}
    kind = old["type"] if old["type"] in ("completions", "responses") else "completions"
    asked = old.get("input_messages") or {"type": "item_reference", "item_reference": "item.input"}
    said = followed(old.get("sampling_params") or {}, model)
    names = (*SAMPLING, "text" if kind == "responses" else "response_format")
    sampling = {name: said[name] for name in names if said.get(name) is not None}
    return {
        "type": kind,
        "source": source,
        "input_messages": asked,
        "model": model,
        "sampling_params": {"temperature": 0, "max_completion_tokens": 500, **sampling},
    }


def answer_of(item: dict[str, Any]) -> dict[str, Any]:
    """The answer that an output item has; nothing where it needed none."""
    texts = [turn.get("content") for turn in item.get("sample", {}).get("output") or []]
    return {"sample": {"output_text": texts[-1]}} if texts and texts[-1] else {}


if __name__ == "__main__":
    main()
