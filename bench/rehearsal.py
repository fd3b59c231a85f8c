"""What general rows among those of the job keep of the general model, and what they cost the job.

    python bench/rehearsal.py [0 0.2 0.4] [--rows 200] [--epochs 3]

The built-in messages and whole records, one seed: for each share of general rows a version is
trained, its score on the job's validation rows measured, and the probe of docs/training.md put to
base and version.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from assay.candidates.fine_tune import build
from assay.config import CONFIG_FILE
from assay.config.yaml_text import edit
from assay.evaluate.probe import forgetting_of
from assay.project import open as open_project
from assay.store.files import write_atomic
from ferry import open_ferry


def main() -> None:
    """Measure each share."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shares", nargs="*", type=float, default=[0.0, 0.2, 0.4])
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("rehearsal"))
    given = parser.parse_args()
    path = open_ferry(given.folder).root / CONFIG_FILE
    text = path.read_text("utf-8")
    text = edit(text, {"data.train_rows": given.rows, "data.holdout_rows": 120})
    for share in given.shares:
        changes = {"fine_tune.rehearsal": share, "fine_tune.epochs": given.epochs}
        write_atomic(path, edit(text, changes))
        context = open_project(given.folder).context()
        candidate = build(context)
        version = candidate.agent.model.removeprefix("version:")
        found = forgetting_of(version, context.bench.engines)
        line = {
            "rehearsal": share,
            "validation_rows": len(candidate.scores),
            "score": sum(candidate.scores) / len(candidate.scores),
            "seconds": candidate.setup_seconds,
            **found.model_dump(mode="json"),
        }
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
