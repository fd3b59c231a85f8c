"""hit@k of a search before and after its embedder is trained, on documents that were held out.

    python bench/retriever.py xquad_en [medquad] --folder FOLDER --data DATA

Documents fall into three parts by their sha256, those of an article together: 40 % test, of the
rest a quarter validation. The embedder is trained on `--questions` questions about the others, by
the candidate's own code with seed 0; the test questions are asked of all documents. Intervals draw
whole documents.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path

from assay.agent.agent import Knowledge
from assay.agent.engines import BatchEngines
from assay.agent.passages import find_passages
from assay.candidates.building import Context
from assay.candidates.rag_tuned import epochs
from assay.candidates.shared.retriever import tune_retriever
from assay.cli.progress import Terminal
from assay.config import Config
from assay.evaluate.documents import scores_of_search
from assay.evaluate.measure import Bench
from assay.evaluate.retrieval import difference, summarise
from assay.example import Example
from assay.store.store import Store

TEST, VALIDATION = 0.4, 0.25
SHOWN = ("hit@1", "hit@5", "ndcg@10")


def share(name: str) -> float:
    """A number from 0 to 1 that a name always has."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64


def part_of(article: str) -> str:
    """Where an article's documents and their questions go."""
    at = share(article)
    if at < TEST:
        return "test"
    return "validation" if at < TEST + (1 - TEST) * VALIDATION else "train"


def read(path: Path) -> list[dict[str, str]]:
    """The records of a JSONL file."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def write(folder: Path, data: Path) -> dict[str, list[Example]]:
    """Write each document as a file; returns the questions of each part."""
    (folder / "docs").mkdir(parents=True, exist_ok=True)
    files = {}
    for number, row in enumerate(read(data / "docs.jsonl")):
        files[row["doc_id"]] = f"{number:04}.txt"
        (folder / "docs" / files[row["doc_id"]]).write_text(row["text"])
    parts: dict[str, list[Example]] = {"train": [], "validation": [], "test": []}
    for row in sorted(read(data / "qa.jsonl"), key=lambda row: share(row["id"])):
        answer = (row.get("answers") or [row.get("answer", "")])[0]
        one = Example.of(row["question"], answer, id=row["id"], document=files[row["doc_id"]])
        parts[part_of(row["doc_id"].partition("#")[0])].append(one)
    return parts


def context_of(folder: Path, train: Sequence[Example], validation: Sequence[Example]) -> Context:
    """A project whose knowledge is the folder's documents."""
    config = Config.model_validate(
        {
            "name": "retriever",
            "task": "text",
            "data": {"file": "none.jsonl"},
            "graders": [{"name": "exact"}],
            "primary": "exact",
            "candidates": ["rag-tuned"],
            "knowledge": {"paths": ["docs"]},
        }
    )
    store = Store(folder / ".assay")
    bench = Bench(config, folder, store, BatchEngines(store), Terminal())
    return Context(tuple(train), tuple(validation), bench)


def main() -> None:
    """Train and measure on each set."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sets", nargs="+", choices=["xquad_en", "medquad"])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--questions", type=int, default=300, help="to train on, at most")
    arguments = parser.parse_args()
    for name in arguments.sets:
        folder = arguments.folder / name
        parts = write(folder, arguments.data / name)
        train = parts["train"][: arguments.questions]
        context = context_of(folder, train, parts["validation"])
        started, start = time.monotonic(), time.process_time()
        made = tune_retriever(context, epochs(len(train)))
        seconds, wall = time.process_time() - start, time.monotonic() - started
        test = parts["test"]
        counts = {part: len(rows) for part, rows in parts.items()}
        print(
            f"{name}: {counts}, trained on {len(train)}; {wall:.0f} s, CPU {seconds:.0f} s, best "
            f"step {made.best_step} of {made.curve[-1].step}"
        )
        for trial in made.tried:
            print(f"    {trial.setting}: {trial.score:.3f}")
        documents = [example.document or "" for example in test]
        for mode in ("dense", "hybrid"):
            found = []
            for embedder in (None, made.search.embedder):
                knowledge = Knowledge(
                    name=made.search.base.name, embedder=embedder, k=50, mode=mode, characters=1
                )
                passages = find_passages(knowledge, test, context.store, context.bench.owner)
                scores = scores_of_search(documents, passages)
                found.append(scores)
                summary = summarise(scores, groups=documents)
                row = ", ".join(f"{m} {summary[m].mean:.3f}" for m in SHOWN)
                print(f"    test, {mode}, {'before' if embedder is None else 'after'}: {row}")
            gain = difference(found[1], found[0], groups=documents)
            print(
                f"    test, {mode}, gain: "
                + ", ".join(
                    f"{m} {gain[m].mean:+.3f} ({gain[m].low:+.3f} to {gain[m].high:+.3f})"
                    for m in SHOWN
                ),
                flush=True,
            )


if __name__ == "__main__":
    main()
