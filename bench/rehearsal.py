"""What keeps the general model in a tuned one, and what that costs the job.

    python bench/rehearsal.py [rehearsal=0 rehearsal=0.2 learning_rate=1e-4 epochs=1 ...]

The built-in messages and whole records, one seed: for each setting of `fine_tune` (several at
once with commas) a version is trained, its score and loss on the job's validation rows measured,
and the probe of docs/training.md put to base and version. A setting that a line does not name is
as in `--base`.
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

SETTINGS = ("rehearsal=0", "rehearsal=0.2", "rehearsal=0.4", "learning_rate=0.0001", "epochs=1")


def _read(setting: str) -> dict[str, float]:
    pairs = (one.partition("=") for one in setting.split(","))
    numbers = {name: float(value) for name, _, value in pairs}
    return {name: int(one) if name == "epochs" else one for name, one in numbers.items()}


def main() -> None:
    """Measure each setting."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("settings", nargs="*", default=SETTINGS)
    parser.add_argument("--base", default="rehearsal=0,epochs=3,seeds=1")
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--holdout", type=int, default=120)
    parser.add_argument("--folder", type=Path, default=Path("rehearsal"))
    given = parser.parse_args()
    path = open_ferry(given.folder).root / CONFIG_FILE
    text = path.read_text("utf-8")
    text = edit(text, {"data.train_rows": given.rows, "data.holdout_rows": given.holdout})
    for setting in given.settings:
        stated = {**_read(given.base), **_read(setting)}
        stated["seeds"] = int(stated["seeds"])
        write_atomic(path, edit(text, {f"fine_tune.{name}": one for name, one in stated.items()}))
        context = open_project(given.folder).context()
        candidate = build(context)
        version = candidate.agent.model.removeprefix("version:")
        found = forgetting_of(version, context.bench.engines)
        line = {
            "setting": setting,
            "validation_rows": len(candidate.scores),
            "score": sum(candidate.scores) / len(candidate.scores),
            "validation_loss": min(p.validation_loss for p in candidate.curve if p.validation_loss),
            "seconds": candidate.setup_seconds,
            **found.model_dump(mode="json"),
        }
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
