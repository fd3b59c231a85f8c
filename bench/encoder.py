"""`encoder` beside `classifier`: built from the same rows, scored on a whole official test set.

    python bench/encoder.py banking77 [snips-intent mts-header] --folder FOLDER

Jobs and folders are those of `bench/verdicts.py`. Both are built by the candidates' own `build`;
building again what was built is not measured: take a new folder.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import median

from assay.candidates.registry import build
from assay.cli.progress import Terminal
from assay.example import Message
from assay.generate.batch import Request
from assay.models.embed import get_embedder, remember
from public_jobs import JOBS
from verdicts import make

NAMES = ("classifier", "encoder")
SINGLE = 100
"""Requests that are answered one by one, to time them."""


def main() -> None:
    """Build, score and time both on each job."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("jobs", nargs="+", choices=[*JOBS])
    parser.add_argument("--folder", type=Path, required=True)
    arguments = parser.parse_args()
    print(
        "| job | candidate | validation | test | rows | CPU to build, s | answer, ms | settings |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for job in arguments.jobs:
        context = make(job, arguments.folder, Terminal()).context()
        get_embedder(context.config.classifier.embedder)
        test = list(JOBS[job].rows("test"))
        requests = [Request((Message("user", row["input"]),)) for row in test]
        for name in NAMES:
            start = time.process_time()
            with remember():
                made = build(name, context)
            seconds = time.process_time() - start
            engine = context.bench.engines.for_agent(made.agent)
            answers = engine.answer(requests)
            right = [a.text == row["output"] for a, row in zip(answers, test, strict=True)]
            times = []
            for request in requests[:SINGLE]:
                before = time.thread_time()
                engine.answer([request])
                times.append(time.thread_time() - before)
            on_validation = sum(made.scores) / len(made.scores)
            print(
                f"| {job} | {name} | {on_validation:.3f} | {sum(right) / len(right):.4f} | "
                f"{len(right)} | {seconds:.0f} | {1e3 * median(times):.1f} | "
                f"{', '.join(t.setting for t in made.tried if t.chosen)} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
