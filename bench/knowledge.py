"""Retrieval side by side with a plain loop of bm25s and sentence-transformers, in one run.

    python bench/knowledge.py --data FOLDER [--sets xquad_en,medquad] [--json]

FOLDER holds the sets, each with docs.jsonl ({doc_id, title, text}) and qa.jsonl ({question,
doc_id}): questions that name the document they are about. Both sides get the same files, one a
document with its title as heading, and the same embedder.

Quality is of documents: hit@3, MRR and nDCG@10 over half of the documents, with intervals that draw
whole documents. On the other half the way to search is chosen, by the mean of hit@3 and nDCG@10;
shown is how far it then is from the better of BM25 and vectors. "whole" is BM25 over whole
documents instead of passages. Speed: seconds from files to a searchable index (on disk for Assay,
in memory for the loop), and milliseconds a query, asked one at a time in alternating rounds.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from assay.evaluate.retrieval import Mean, difference, first_places, retrieval_scores, summarise
from assay.knowledge.base import KnowledgeBase
from assay.knowledge.search import Mode
from assay.knowledge.settings import KnowledgeSettings
from assay.models.embed import AT_ONCE, STARTER, Embedder, Vectors, load_embedder
from assay.models.pull import pull
from assay.store.store import Store

DEPTH = 50
WHOLE = 100_000
"""Tokens of a passage that is as long as its document."""
WORDS = 150
"""Of a passage of the loop, about the 200 tokens of ours."""
SHOWN = ("hit@1", "hit@3", "mrr", "ndcg@10")
WAYS: dict[str, tuple[Mode, float | None]] = {
    "bm25": ("bm25", None),
    "dense": ("dense", None),
    "hybrid": ("hybrid", None),
    "hybrid .3": ("hybrid", 0.3),
    "hybrid .5": ("hybrid", 0.5),
    "hybrid .7": ("hybrid", 0.7),
}
Ask = Callable[[Sequence[str]], list[list[str]]]
"""Questions in; for each the names of documents, best first, each once."""


@dataclass(frozen=True, slots=True)
class Questions:
    """Questions, and the document each is about."""

    texts: list[str]
    documents: list[str]

    def half(self, second: bool) -> Questions:
        """Those about one half of the documents, drawn by the hash of their names."""
        kept = [
            (text, name)
            for text, name in zip(self.texts, self.documents, strict=True)
            if (hashlib.sha256(name.encode()).digest()[0] % 2 == 1) == second
        ]
        return Questions([text for text, _ in kept], [name for _, name in kept])


class Unembedded:
    """One vector for everything: where only BM25 is asked, nothing has to be embedded."""

    identity, dimension, at_once = "unembedded", 8, AT_ONCE

    def __init__(self, real: Embedder) -> None:
        self._real = real

    def encode(self, texts: Sequence[str]) -> Vectors:
        """[len(texts), 8]"""
        return np.tile(np.eye(1, 8, dtype=np.float32), (len(texts), 1))

    def tokenizer_json(self) -> str:
        """The embedder's."""
        return self._real.tokenizer_json()


class Remembering:
    """An encoder that computes the vector of a text once: quality is asked often."""

    def __init__(self, encode: Callable[[list[str]], Vectors], real: Embedder) -> None:
        self._encode, self._real, self._known = encode, real, dict[str, Any]()
        self.identity, self.dimension = real.identity, real.dimension
        self.at_once = real.at_once

    def encode(self, texts: Sequence[str]) -> Vectors:
        """[len(texts), dimension]"""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        self._known.update(zip(new, self._encode(new), strict=True) if new else ())
        return np.stack([self._known[text] for text in texts])

    def tokenizer_json(self) -> str:
        """The embedder's."""
        return self._real.tokenizer_json()


class Loop:
    """What one would write in an afternoon: windows of words, two indexes in memory, RRF."""

    def __init__(self, files: Sequence[Path], model: Any, *, whole: bool = False) -> None:
        import bm25s

        self._bm25s, self._model = bm25s, model
        self._owners: list[str] = []
        texts: list[str] = []
        for file in files:
            words = file.read_text().split()
            size = len(words) if whole else WORDS
            for start in range(0, len(words), size):
                texts.append(" ".join(words[start : start + size]))
                self._owners.append(str(file))
        tokens = bm25s.tokenize(texts, stopwords="en", show_progress=False)
        self._index = bm25s.BM25()
        self._index.index(tokens, show_progress=False)
        if not whole:
            self._vectors = model.encode(
                texts, batch_size=64, normalize_embeddings=True, show_progress_bar=False
            )

    def bm25(self, query: str, vector: Any) -> list[int]:
        """Passages by words."""
        tokens = self._bm25s.tokenize(query, stopwords="en", show_progress=False)
        k = min(DEPTH, len(self._owners))
        found, _ = self._index.retrieve(tokens, k=k, show_progress=False)
        return [int(place) for place in found[0]]

    def dense(self, query: str, vector: Any) -> list[int]:
        """Passages by meaning."""
        return [int(place) for place in np.argsort(-(self._vectors @ vector))[:DEPTH]]

    def hybrid(self, query: str, vector: Any) -> list[int]:
        """Both, by reciprocal ranks."""
        fused: dict[int, float] = {}
        for ranked in (self.bm25(query, vector), self.dense(query, vector)):
            for place, number in enumerate(ranked, 1):
                fused[number] = fused.get(number, 0.0) + 1 / (60 + place)
        return sorted(fused, key=lambda number: -fused[number])

    def asking(self, way: str, encode: Callable[[list[str]], Any]) -> Ask:
        """One of the three as a function of questions."""
        found = getattr(self, way)

        def ask(queries: Sequence[str]) -> list[list[str]]:
            vectors = encode(list(queries)) if way != "bm25" else [None] * len(queries)
            return [
                first_places(self._owners[number] for number in found(query, vector))
                for query, vector in zip(queries, vectors, strict=True)
            ]

        return ask


def asking(base: KnowledgeBase, way: str) -> Ask:
    """A way to search Assay's knowledge base as a function of questions."""
    mode, weight = WAYS[way]

    def ask(queries: Sequence[str]) -> list[list[str]]:
        found = base.search(queries, k=DEPTH, mode=mode, weight=weight)
        return [first_places(p.document for p in passages) for passages in found]

    return ask


def write(folder: Path, data: Path) -> tuple[list[Path], Questions]:
    """The documents as files, and the questions."""
    folder.mkdir()
    paths: dict[str, Path] = {}
    for line in (data / "docs.jsonl").read_text().splitlines():
        row = json.loads(line)
        path = folder / (row["doc_id"].replace("/", "_") + ".md")
        path.write_text(f"# {row['title']}\n\n{row['text']}")
        paths[row["doc_id"]] = path
    rows = [json.loads(line) for line in (data / "qa.jsonl").read_text().splitlines()]
    asked = Questions([r["question"] for r in rows], [str(paths[r["doc_id"]]) for r in rows])
    return list(paths.values()), asked


def scores(ask: Ask, questions: Questions) -> dict[str, list[float]]:
    """Every metric of every question."""
    return retrieval_scores(ask(questions.texts), [{name} for name in questions.documents])


def worth(found: dict[str, list[float]]) -> float:
    """What a way to search is chosen by."""
    return float(np.mean(found["hit@3"]) + np.mean(found["ndcg@10"])) / 2


def milliseconds(asks: dict[str, Ask], questions: Questions, rounds: int = 5) -> dict[str, float]:
    """Median time of one query, in alternating rounds of twenty."""
    taken: dict[str, list[float]] = {name: [] for name in asks}
    for number in range(rounds):
        order = list(asks) if number % 2 == 0 else list(asks)[::-1]
        for name in order:
            for text in questions.texts[20 * number : 20 * number + 20]:
                start = time.perf_counter()
                asks[name]([text])
                taken[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(times) for name, times in taken.items()}


def measure(name: str, data: Path, embedder: Embedder, model: Any) -> dict[str, Any]:
    """Everything about one set."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        files, questions = write(root / "docs", data / name)
        store = Store(root / ".assay")
        base = KnowledgeBase(store, "bench", "passages", embedders=lambda _: embedder)
        start = time.perf_counter()
        added = base.add([root / "docs"])
        ours_s = time.perf_counter() - start
        assert added.documents == len(files), added.failed
        start = time.perf_counter()
        loop = Loop(files, model)
        loop_s = time.perf_counter() - start
        note(f"{name}: ingested in {ours_s:.1f} and {loop_s:.1f} s")
        unembedded = Unembedded(embedder)
        whole = KnowledgeBase(store, "bench", "whole", embedders=lambda _: unembedded)
        whole.add([root / "docs"], settings=KnowledgeSettings(chunk_tokens=WHOLE))
        plain = partial(model.encode, normalize_embeddings=True, show_progress_bar=False)
        arms = ("bm25", "dense", "hybrid")
        timed = {f"assay {way}": asking(base, way) for way in arms}
        timed |= {f"loop {way}": loop.asking(way, plain) for way in arms}
        test, validation = questions.half(second=True), questions.half(second=False)
        speed = milliseconds(timed, validation)
        note(f"{name}: timed")
        remembering = Remembering(embedder.encode, embedder)
        base = KnowledgeBase(store, "bench", "passages", embedders=lambda _: remembering)
        asks = {f"assay {way}": asking(base, way) for way in WAYS}
        loops = Remembering(plain, embedder)
        asks |= {f"loop {way}": loop.asking(way, loops.encode) for way in arms}
        wholes = {
            "assay bm25 whole": asking(whole, "bm25"),
            "loop bm25 whole": Loop(files, model, whole=True).asking("bm25", plain),
        }
        everything = {n: scores(ask, questions) for n, ask in wholes.items()}
        tested = {n: scores(ask, test) for n, ask in asks.items()}
        chosen = max(WAYS, key=lambda way: worth(scores(asks[f"assay {way}"], validation)))
        better = max(("bm25", "dense"), key=lambda arm: worth(tested[f"assay {arm}"]))
        gap = difference(
            tested[f"assay {chosen}"], tested[f"assay {better}"], groups=test.documents
        )
        return {
            "documents": len(files),
            "questions": {
                "all": len(questions.texts),
                "validation": len(validation.texts),
                "test": len(test.texts),
            },
            "passages": added.passages,
            "ingestion_s": {"assay": ours_s, "loop": loop_s, "ratio": loop_s / ours_s},
            "query_ms": speed,
            "whole_documents": {
                n: figures(summarise(s, groups=questions.documents)) for n, s in everything.items()
            },
            "test": {n: figures(summarise(s, groups=test.documents)) for n, s in tested.items()},
            "chosen_on_validation": chosen,
            "better_arm_on_test": better,
            "chosen_minus_better_arm": figures(gap),
        }


def figures(found: dict[str, Mean]) -> dict[str, Any]:
    """Those that are shown."""
    return {name: asdict(found[name]) for name in SHOWN}


def note(line: str) -> None:
    """Where it stands."""
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", default="xquad_en,medquad")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    from sentence_transformers import SentenceTransformer

    embedder = load_embedder(STARTER)
    model = SentenceTransformer(str(pull(STARTER)), local_files_only=True)
    report: dict[str, Any] = {
        name: measure(name, given.data, embedder, model) for name in given.sets.split(",")
    }
    report["machine"] = f"{platform.machine()}, {os.cpu_count()} CPUs, {platform.system()}"
    report["threads"] = os.environ.get("OMP_NUM_THREADS", "all")
    packages = ("assay", "lancedb", "bm25s", "sentence-transformers", "torch")
    report["versions"] = {package: version(package) for package in packages}
    if given.json:
        print(json.dumps(report, indent=2))
        return
    for name in given.sets.split(","):
        found = report[name]
        print(f"\n{name}: {found['documents']} documents, {found['questions']['test']} questions")
        for way, figure in {**found["whole_documents"], **found["test"]}.items():
            shown = "  ".join(
                f"{metric} {one['mean']:.3f} ({one['low']:.3f} to {one['high']:.3f})"
                for metric, one in figure.items()
            )
            print(f"  {way:18} {shown}")
        print(f"  chosen on validation: {found['chosen_on_validation']}; minus the better arm, ")
        for metric, one in found["chosen_minus_better_arm"].items():
            print(f"    {metric}: {one['mean']:+.4f} ({one['low']:+.4f} to {one['high']:+.4f})")
        print(f"  ingestion: {found['ingestion_s']}")
        print(f"  ms a query: {found['query_ms']}")


if __name__ == "__main__":
    main()
