"""A whole project that takes seconds: a tiny random model on disk, two hundred short rows."""

from __future__ import annotations

import csv
import random
from pathlib import Path
from typing import Any

from assay import project
from assay.project.start.init import Choices
from tests.generate.tiny import byte_tokenizer, tiny_model
from tests.models.tiny_embedder import write_embedder

ANIMALS = ("cat", "dog", "parrot")
VERBS = ["feeds", "likes", "walks", "brushes", "finds", "sees", "chases", "buys", "paints", "hears"]
NAMES = ("Anna", "Ben", "Cara", "Dov", "Eli", "Fay", "Gus", "Hana", "Ivo", "Jo", "Kim", "Lars")
PLACES = ["river", "house", "tree", "road", "barn", "shop"]
WORDS = [*ANIMALS, *VERBS, *NAMES, *PLACES, "the", "near", "at", *map(str, range(1, 13))]
"""All that the sentences are made of."""


def write_csv(path: Path, rows: int = 160, seed: int = 0) -> Path:
    """Sentences and the animal in each."""
    rng = random.Random(seed)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for _ in range(rows):
            animal = rng.choice(ANIMALS)
            hour = rng.randint(1, 12)
            text = (
                f"{rng.choice(NAMES)} {rng.choice(VERBS)} the {animal} near the "
                f"{rng.choice(PLACES)} at {hour}"
            )
            writer.writerow([text, animal])
    return path


def write_model(folder: Path) -> Path:
    """A tiny random Llama with a byte tokenizer, as a model folder."""
    folder.mkdir(parents=True, exist_ok=True)
    tiny_model().save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


def small_project(
    folder: Path,
    *,
    rows: int = 160,
    edit: dict[str, str] | None = None,
    tiny_embedder: bool = False,
    **choices: Any,
) -> project.Project:
    """A project in `folder/pets`.

    Args:
        edit: replaces texts of its assay.yaml.
        tiny_embedder: in place of the starter, which takes most of the time of a comparison.
    """
    model = write_model(folder / "model")
    data = write_csv(folder / "pets.csv", rows)
    drafted = project.draft("pets", Choices(data=data, model=str(model), **choices))
    made = project.create(drafted, folder=folder / "pets")
    changes = {
        "ks: [1, 3, 8]": "ks: [1]",
        "  max_tokens:": "  epochs: 1\n  rank: 2\n  seeds: 1\n  max_tokens:",
        "max_new_tokens: 16": "max_new_tokens: 8",
        **(edit or {}),
    }
    if tiny_embedder:
        embedder = write_embedder(folder / "embedder", text=" ".join(WORDS))
        changes["few_shot: {"] = f'classifier: {{embedder: "{embedder}"}}\nfew_shot: {{'
    path = made.root / "assay.yaml"
    text = path.read_text()
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    path.write_text(text)
    return project.open(made.root)
