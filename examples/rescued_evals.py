"""Evals that `assay rescue openai` has fetched, run again by a server of one's own.

    export OPENAI_BASE_URL=http://127.0.0.1:8000/v1 OPENAI_API_KEY=assay-...
    python examples/rescued_evals.py rescued/account --model tickets --judge tickets

Each eval is created with its criteria, and the items of its last run are answered by `--model` and
graded. A criterion that asks a model is asked of `--judge`; without that, and where it is Python
code, it is left out, and said so. This program knows nothing of Assay but the folder.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from openai import OpenAI


def main() -> None:
    """Create, run, wait, tell."""
    parser = argparse.ArgumentParser(description="Run evals again that were fetched.")
    parser.add_argument("account", type=Path, help="the folder of `assay rescue openai --to`")
    parser.add_argument("--model", required=True, help="who answers")
    parser.add_argument("--judge", help="who grades, where a model does")
    chosen = parser.parse_args()
    client = OpenAI()
    for old in lines(chosen.account / "evals.jsonl"):
        print(f"{old.get('name') or old['id']}:")
        criteria = [one for one in map(bare, old["testing_criteria"]) if kept(one, chosen.judge)]
        items = items_of(chosen.account, old["id"])
        if not criteria or not items:
            print("  nothing to run: no criterion is left, or no run had items of its own")
            continue
        made = client.evals.create(
            name=old.get("name") or old["id"],
            data_source_config={"type": "custom", "item_schema": item_schema(old)},
            testing_criteria=criteria,
        )
        source = data_source(chosen.account, old["id"], items, chosen.model)
        run = client.evals.runs.create(made.id, data_source=source)
        while run.status in ("queued", "in_progress"):
            time.sleep(0.5)
            run = client.evals.runs.retrieve(run.id, eval_id=made.id)
        counts = run.result_counts
        print(f"  {run.status}: {counts.passed} of {counts.total} passed, {counts.errored} errors")
        for one in run.per_testing_criteria_results:
            print(f"  {one.testing_criteria}: {one.passed} passed, {one.failed} failed")


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file; none where there is no file."""
    if path.exists():
        yield from map(json.loads, path.read_text("utf-8").splitlines())


def bare(criterion: dict[str, Any]) -> dict[str, Any]:
    """A criterion as it is created: without the id that it was given."""
    return {key: value for key, value in criterion.items() if key != "id"}


def kept(criterion: dict[str, Any], judge: str | None) -> bool:
    """Whether a criterion can be run here; a judge takes its place in it."""
    kind = criterion["type"]
    if kind in ("score_model", "label_model") and judge:
        criterion["model"] = judge
        return True
    if kind in ("string_check", "text_similarity"):
        return True
    print(f"  left out: {criterion.get('name')} ({kind})")
    return False


def item_schema(old: dict[str, Any]) -> dict[str, Any]:
    """What its items look like."""
    whole = old["data_source_config"].get("schema") or {}
    return whole.get("properties", {}).get("item") or {"type": "object"}


def last_run(account: Path, eval_id: str) -> dict[str, Any]:
    """The newest run of an eval; empty where there is none."""
    runs = list(lines(account / "evals" / eval_id / "runs.jsonl"))
    return max(runs, key=lambda run: run["created_at"], default={})


def items_of(account: Path, eval_id: str) -> list[dict[str, Any]]:
    """The items of its last run, as its output items have them."""
    run = last_run(account, eval_id)
    path = account / "evals" / eval_id / f"{run.get('id')}.output-items.jsonl"
    return [{"item": one["datasource_item"]} for one in lines(path)]


def data_source(
    account: Path, eval_id: str, items: list[dict[str, Any]], model: str
) -> dict[str, Any]:
    """What is asked about the items: as in the last run, of another model."""
    old = last_run(account, eval_id)["data_source"]
    source = {"type": "file_content", "content": items}
    asked = old.get("input_messages") or {"type": "item_reference", "item_reference": "item.input"}
    kind = old["type"] if old["type"] in ("completions", "responses") else "completions"
    sampling = {"temperature": 0, "max_completion_tokens": 500}
    made = {"type": kind, "source": source, "input_messages": asked, "model": model}
    return {**made, "sampling_params": sampling}


if __name__ == "__main__":
    main()
