"""An index whose embedder was replaced by another of the same name, often of the same length."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tests.figures import Figure
from tests.knowledge.wordy import Wordy

from assay.errors import StateError
from assay.knowledge import table as tables
from assay.knowledge.base import KnowledgeBase
from assay.models.embed import STARTER, load_embedder
from assay.models.pull import pull
from assay.store.store import Store


def knowledge(folder: Path, encoder: Any) -> KnowledgeBase:
    return KnowledgeBase(Store(folder / ".assay"), "shop", "manuals", embedders=lambda _: encoder)


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    for number, word in enumerate(("refunds", "hours", "tea")):
        (folder / f"{number}.txt").write_text(f"A long document that tells everything of {word}.")
    return folder


@pytest.fixture(params=["named", "before it was kept"])
def kept(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Whether the index says whose vectors it holds; those of earlier versions do not."""
    if request.param != "named":
        plain = tables.schema
        monkeypatch.setattr(tables, "schema", lambda dimension, embedder=None: plain(dimension))
    return str(request.param)


@pytest.mark.parametrize("other", [Wordy(letters=2), Wordy(300)], ids=["same length", "longer"])
def test_another_model_under_the_name_is_refused_everywhere(
    tmp_path: Path, docs: Path, kept: str, other: Wordy
) -> None:
    knowledge(tmp_path, Wordy()).add([docs])
    changed = knowledge(tmp_path, other)
    for mode in ("hybrid", "dense"):
        with pytest.raises(StateError, match="rebuild"):
            changed.search(["tea"], k=1, mode=mode)  # type: ignore[arg-type]
    (docs / "new.txt").write_text("Something new about coffee.")
    with pytest.raises(StateError, match="rebuild"):
        changed.add([docs])
    assert changed.search(["tea"], k=1, mode="bm25")[0]
    changed.remove([str(docs / "0.txt")])  # what needs no vectors goes on
    changed.rebuild()
    changed.add([docs])
    assert changed.search(["coffee"], k=1)[0][0].document.endswith("new.txt")
    with pytest.raises(StateError, match="rebuild"):
        knowledge(tmp_path, Wordy()).search(["tea"], k=1)


def test_the_same_model_goes_on_with_an_index_that_names_none(
    tmp_path: Path, docs: Path, kept: str
) -> None:
    knowledge(tmp_path, Wordy()).add([docs])
    (docs / "new.txt").write_text("Something new about coffee.")
    again = knowledge(tmp_path, Wordy())
    again.add([docs])
    assert again.search(["coffee"], k=1)[0][0].document.endswith("new.txt")


def test_vectors_of_two_models_are_never_in_one_table(tmp_path: Path, docs: Path) -> None:
    """An earlier state is still there, made by another model of the name."""
    first = knowledge(tmp_path, Wordy())
    first.add([docs])
    gone = docs / "0.txt"
    second = knowledge(tmp_path, Wordy(letters=2))
    gone_text = gone.read_text()
    gone.unlink()
    first.remove([str(gone)])
    second.rebuild()
    gone.write_text(gone_text)
    second.add([docs])
    for query in ("refunds", "tea", "hours"):
        [[best]] = second.search([f"A long document that tells everything of {query}."], k=1)
        assert query in best.text


@pytest.mark.slow
@pytest.mark.parametrize("part", ["weights", "tokenizer", "pooling"])
def test_each_part_of_a_model_counts(tmp_path: Path, figure: Figure, part: str) -> None:
    folder = tmp_path / "embedder"
    shutil.copytree(pull(STARTER), folder)
    before = load_embedder(str(folder))
    assert load_embedder(str(folder)).identity == before.identity
    if part == "weights":
        [file] = folder.glob("*.safetensors")
        tensors = load_file(file)
        name = sorted(tensors)[0]
        tensors[name] = tensors[name] + np.float32(1e-3)
        save_file(tensors, file, metadata={"format": "pt"})
    elif part == "tokenizer":
        text = json.loads((folder / "tokenizer.json").read_text())
        text["truncation"] = None
        (folder / "tokenizer.json").write_text(json.dumps(text))
    else:
        config = next(folder.glob("*Pooling/config.json"))
        settings = json.loads(config.read_text())
        settings["pooling_mode_mean_tokens"] = False
        settings["pooling_mode_cls_token"] = True
        config.write_text(json.dumps(settings))
    assert load_embedder(str(folder)).identity != before.identity
    figure(f"an embedder whose {part} were changed in place", "noticed")
