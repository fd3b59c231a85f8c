"""What training embeddings and head beside an adapter brings where a base learns texts.

    python bench/embeddings.py [--passages 16] [--characters 400] [--seeds 1] [--rates 0 0.1 1]

The starter learns passages of xquad as they are, and the same in the letters of another script
(Georgian, letter for letter): words that it knows, and words that it has never seen. Shown is the
loss of four other passages, in nats per token, at the best epoch. A rate is `embedding_rate`; 0
leaves embeddings and head frozen.
"""

from __future__ import annotations

import argparse
import json
import string
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from assay.chat.template import Template
from assay.config import STARTER_MODEL, FineTune
from assay.models.load import load_to_train
from assay.train.documents import TextDocument, document_units
from assay.train.job import TrainingJob
from assay.train.session import train_by_method
from public_data import lines

CHECKED = 4
LETTERS = str.maketrans({one: chr(0x10D0 + at) for at, one in enumerate(string.ascii_lowercase)})
TEXTS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "other letters": lambda text: text.lower().translate(LETTERS),
}


def main() -> None:
    """Train each way with each seed; a line each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--passages", type=int, default=16)
    parser.add_argument("--characters", type=int, default=400, help="of each passage")
    parser.add_argument("--texts", nargs="+", choices=TEXTS, default=[*TEXTS])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--rates", type=float, nargs="+", default=[0, 0.1, 1])
    given = parser.parse_args()
    texts = [line["text"][: given.characters] for line in lines("xquad_en", "docs.jsonl")]
    passages = texts[:: len(texts) // (given.passages + CHECKED)]
    loaded = load_to_train(STARTER_MODEL)
    template = Template.of(loaded.tokenizer)
    for kind in given.texts:
        documents = [TextDocument(str(at), TEXTS[kind](one)) for at, one in enumerate(passages)]
        checked, learned = (
            document_units(part, template, 512)
            for part in (documents[:CHECKED], documents[CHECKED : CHECKED + given.passages])
        )
        for rate in given.rates:
            own = {"embeddings": "train", "embedding_rate": rate} if rate else {}
            for seed in range(given.seeds):
                settings = FineTune(
                    method="text", epochs=4, rows_per_step=4, learning_rate=1e-3, seed=seed, **own
                )
                began = time.process_time()
                with TemporaryDirectory() as folder:
                    job = TrainingJob(loaded, learned, checked, settings, Path(folder))
                    found = train_by_method(job)
                print(
                    json.dumps(
                        {
                            "text": kind,
                            "rate": rate,
                            "seed": seed,
                            "tokens": sum(len(unit.rows[0].ids) for unit in learned),
                            "loss": round(found.best_validation_loss, 4),
                            "curve": [
                                round(one.validation_loss, 3)
                                for one in found.points
                                if one.validation_loss is not None
                            ],
                            "cpu_seconds": round(time.process_time() - began, 1),
                        }
                    ),
                    flush=True,
                )


if __name__ == "__main__":
    main()
