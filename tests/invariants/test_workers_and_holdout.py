"""What a comparison hands to its workers: inputs of the holdout, and none of its answers."""

from __future__ import annotations

import csv
import pickle
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from string import ascii_lowercase

import pytest
from tests.generate.tiny import byte_tokenizer
from tests.place.killing import WORKERS
from tests.place.test_workers import Workplace
from tests.small import write_model

from assay import project
from assay.config.yaml_text import edit
from assay.evaluate.run import run as run_batches
from assay.example import Example, read_examples
from assay.place.ray import workers as ray_workers
from assay.place.workers import Workers
from assay.progress import Progress
from assay.project.start.init import Choices

SETTINGS = {
    "candidates": ["prompt", "few-shot", "fine-tune"],
    "baselines": False,
    "few_shot": {"ks": [1]},
    "generate": {"max_new_tokens": 4},
    "fine_tune": {"epochs": 1, "rank": 2, "seeds": 2},
}


def words_project(folder: Path) -> project.Project:
    """Each answer is a word that stands nowhere else."""
    rng = random.Random(0)
    words = ["".join(rng.choices(ascii_lowercase, k=10)) for _ in range(160)]
    rows = zip(words[::2], words[1::2], strict=True)
    with (folder / "words.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["question", "answer"])
        writer.writerows((f"What follows {one}?", other) for one, other in rows)
    choices = Choices(data=folder / "words.csv", model=str(write_model(folder / "model")))
    made = project.create(project.draft("words", choices), folder=folder / "words")
    path = made.root / "assay.yaml"
    path.write_text(edit(path.read_text(), SETTINGS))
    opened = project.open(made.root)
    opened.config = opened.config.model_copy(update={"place": WORKERS})
    return opened


def forms(text: str) -> set[bytes]:
    """How a text may stand in a pickle: as it is, or as tokens."""
    ids = byte_tokenizer()(text, add_special_tokens=False)["input_ids"]
    return {text.encode(), b"".join(pickle.dumps(id)[2:-1] for id in ids)}


@pytest.mark.slow
def test_no_expected_answer_of_the_holdout_is_in_what_workers_are_handed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On another machine, which is sent the files of versions, too."""
    workplace = Workplace(away=["10.0.0.3"])

    @contextmanager
    def workers(count: int, threads: int, gpus: int, progress: Progress) -> Iterator[Workers]:
        yield Workers(workplace, count, progress)

    monkeypatch.setattr(ray_workers, "workers", workers)
    monkeypatch.setitem(run_batches.__kwdefaults__, "batch_size", 8)
    opened = words_project(tmp_path)
    opened.compare()
    sent = b"".join(map(pickle.dumps, workplace.begun))
    assert {type(work).__name__ for work in workplace.begun} == {"AnsweringWork", "TrainingWork"}

    def part(name: str) -> list[Example]:
        (file,) = opened.root.glob(f".assay/**/{name}.jsonl")
        return [*read_examples(file)]

    def stands(text: str) -> bool:
        return any(form in sent for form in forms(text))

    holdout = part("holdout")
    assert len(holdout) > 20
    assert all(stands(one.messages[-2].content) for one in holdout)
    assert all(stands(one.target.content) for one in part("train"))
    assert not [one for one in holdout if stands(one.target.content)]
