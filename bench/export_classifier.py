"""`classifier` and `encoder` as ONNX, asked test rows of a public set beside Assay's own engine.

    python bench/export_classifier.py --folder FOLDER [--candidates classifier encoder] [--rows 500]

The job is banking77 of `bench/verdicts.py`, built by the candidates' own `build`; the export passes
its gate on the validation rows first. Differences are over all rows and labels. Time is that of the
whole process (CPU, all threads), one request at a time, both in turn.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np

from assay.candidates.registry import build
from assay.cli.progress import Terminal
from assay.example import Message
from assay.generate.batch import Request
from assay.generate.embedding_classifier import EmbeddingEngine
from assay.models.embed import get_embedder, remember
from assay.release.classifier_export import MODEL, export_classifier
from assay.release.classify import Classifier
from public_jobs import JOBS
from verdicts import make

JOB = "banking77"
NAMES = ("classifier", "encoder")
SINGLE = 200
"""Requests that are answered one by one, to time them."""


def main() -> None:
    """Build, export and ask both."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--candidates", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--rows", type=int, default=500, help="of the test set, evenly spread")
    arguments = parser.parse_args()
    context = make(JOB, arguments.folder, Terminal()).context()
    get_embedder(context.config.classifier.embedder)
    test = list(JOBS[JOB].rows("test"))
    places = np.linspace(0, len(test) - 1, min(arguments.rows, len(test))).astype(int)
    rows = [test[place] for place in places]
    texts = [row["input"] for row in rows]
    requests = [Request((Message("user", text),)) for text in texts]
    print(
        "| candidate | settings | rows | right | equal labels | largest difference | allowed | "
        "CPU of an answer, ms | as ONNX, ms | MB | the gate's rows, largest |\n"
        "|---|---|---|---|---|---|---|---|---|---|---|"
    )
    for name in arguments.candidates:
        with remember():
            made = build(name, context)
        engine = context.bench.engines.for_agent(made.agent)
        assert isinstance(engine, EmbeddingEngine)
        with TemporaryDirectory() as temporary:
            folder = Path(temporary) / "onnx"
            done = export_classifier(
                f"{name}@1", made.agent, folder, bench=context.bench, validation=context.validation
            )
            megabytes = (folder / MODEL).stat().st_size / 1e6
            written = Classifier(folder)
        ours = [answer.text for answer in engine.answer(requests)]
        vectors = engine.model.settings.embed(engine.embedder, texts)
        gaps = np.abs(
            np.exp(engine.model.log_probabilities(texts, vectors)) - written.probabilities(texts)
        )
        theirs = [label for label, _ in written.answers(texts)]
        right = [label == row["output"] for label, row in zip(ours, rows, strict=True)]
        times: tuple[list[float], list[float]] = ([], [])
        for request, text in zip(requests[:SINGLE], texts[:SINGLE], strict=True):
            start = time.process_time()
            engine.answer([request])
            between = time.process_time()
            written.answers([text])
            times[0].append(between - start)
            times[1].append(time.process_time() - between)
        chosen = ", ".join(trial.setting for trial in made.tried if trial.chosen)
        print(
            f"| {name} | {chosen} | {len(rows)} | {sum(right)} | "
            f"{sum(a == b for a, b in zip(ours, theirs, strict=True))} | {gaps.max():.1e} | "
            f"{done.parity.allowed:.1e} | {1e3 * median(times[0]):.1f} | "
            f"{1e3 * median(times[1]):.1f} | {megabytes:.0f} | {done.parity.rows}, "
            f"{done.parity.largest:.1e} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
