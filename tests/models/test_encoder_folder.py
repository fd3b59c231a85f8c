"""Encoders of the hub and of folders: which are loaded, whole, and which are refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.models.local_hub import LocalHub, local_hub, use
from tests.models.test_hub import Listener
from tests.models.tiny_embedder import write_embedder
from tests.models.tiny_encoders import (
    write_distil_embedder,
    write_modern_bert,
    write_modern_cross_encoder,
)

from assay.errors import ModelError
from assay.models import encoder_folder
from assay.models.embed import load_embedder, load_reranker
from assay.models.pull import pull
from assay.models.show import describe, fetch, list_models

TEXTS = ["my bank card is lost", "why this big fee", "the cash machine ate it now"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The original folders; not to be changed."""
    root = tmp_path_factory.mktemp("encoders")
    return {
        "org/modern": write_modern_bert(root / "modern"),
        "org/distil": write_distil_embedder(root / "distil"),
        "org/reader": write_modern_cross_encoder(root / "reader"),
        "org/bert": write_embedder(root / "bert"),
    }


@pytest.fixture
def hub(
    monkeypatch: pytest.MonkeyPatch, folders: dict[str, Path], tmp_path: Path
) -> Iterator[LocalHub]:
    with local_hub() as running:
        use(running, monkeypatch, tmp_path / "no token")
        for name, folder in folders.items():
            running.add(name, folder)
        yield running


@pytest.mark.parametrize("name", ["org/modern", "org/distil"])
def test_an_embedder_of_the_hub_gives_the_vectors_of_its_original_folder(
    hub: LocalHub, folders: dict[str, Path], name: str
) -> None:
    """Its modules are fetched with it; nothing else of a subfolder is."""
    from sentence_transformers import SentenceTransformer

    files = hub.repositories[name].files
    others = {"onnx/model.safetensors", "1_Pooling/pytorch_model.bin", "2_Dense/deep/config.json"}
    files |= dict.fromkeys(others, b"{}")
    own = SentenceTransformer(str(folders[name])).encode(TEXTS, normalize_embeddings=True)
    np.testing.assert_array_equal(load_embedder(name).encode(TEXTS), own)
    folder = pull(name, wanted="encoder")
    there = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    assert there == set(files) - others - {".gitattributes"} | {"assay.json"}
    with pytest.raises(ModelError, match=r"not a causal language model.*classifier\.embedder"):
        pull(name)


def test_a_cross_encoder_of_the_hub_gives_the_scores_of_its_original_folder(
    hub: LocalHub, folders: dict[str, Path]
) -> None:
    from sentence_transformers import CrossEncoder

    pairs = [(TEXTS[0], text) for text in TEXTS]
    own = CrossEncoder(str(folders["org/reader"])).predict(pairs)
    assert load_reranker("org/reader").scores(TEXTS[0], TEXTS) == [float(score) for score in own]
    with pytest.raises(ModelError, match="this is an embedder"):
        load_reranker("org/modern")


def test_what_was_fetched_as_a_generator_is_completed(
    hub: LocalHub, folders: dict[str, Path]
) -> None:
    """BERT is an architecture that continues text, too."""
    folder = pull("org/bert")
    assert not (folder / "1_Pooling").exists()
    own = load_embedder(str(folders["org/bert"])).encode(TEXTS)
    np.testing.assert_array_equal(load_embedder("org/bert").encode(TEXTS), own)
    assert (folder / "1_Pooling" / "config.json").is_file()


def test_pull_takes_any_of_them_and_says_what_it_is(hub: LocalHub, model_folder: Path) -> None:
    hub.add("org/chat", model_folder)
    kinds = {
        "org/modern": "embedder",
        "org/distil": "embedder",
        "org/bert": "embedder",
        "org/reader": "cross-encoder",
        "org/chat": "chat",
    }
    for name, kind in kinds.items():
        listener = Listener()
        fetch(name, listener)
        said = "language model" if kind == "chat" else kind
        assert f"{name} is a" in listener.lines[-1]
        assert said in listener.lines[-1]
        assert describe(name).kind == kind
    assert {one.ref: one.kind for one in list_models() if one.ref in kinds} == kinds


def rewrite(file: Path, **fields: Any) -> None:
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, **fields}))


def modules(folder: Path, place: int, **fields: str) -> None:
    """Change an entry of modules.json."""
    found = json.loads((folder / "modules.json").read_text())
    found[place] |= fields
    (folder / "modules.json").write_text(json.dumps(found))


ELSEWHERE = "places the module"
REFUSED: dict[str, tuple[Any, str]] = {
    "a folder above": (lambda f: modules(f, 1, path="../x"), ELSEWHERE),
    "an absolute folder": (lambda f: modules(f, 1, path="/tmp"), ELSEWHERE),
    "a folder of a folder": (lambda f: modules(f, 1, path="a/b"), ELSEWHERE),
    "a hidden folder": (lambda f: modules(f, 1, path=".."), ELSEWHERE),
    "a transformer elsewhere": (lambda f: modules(f, 0, path="0_Body"), ELSEWHERE),
    "code of its own": (lambda f: modules(f, 1, type="evil.Pooling"), "'evil.Pooling', which"),
    "a class of another package": (lambda f: modules(f, 1, type="os.system"), "'os.system'"),
    "an unknown module": (lambda f: modules(f, 1, type="sentence_transformers.models.BoW"), "BoW"),
    "no list": (lambda f: (f / "modules.json").write_text("{}"), "cannot be read"),
    "too many": (lambda f: (f / "modules.json").write_text(json.dumps([{}] * 17)), "17 modules"),
    "too large": (
        lambda f: (f / "modules.json").write_text(" " * 100_001),
        "too large|more than 100000",
    ),
    "no pooling": (lambda f: (f / "1_Pooling/config.json").unlink(), "1_Pooling/config.json"),
    "a pickle as a module": (
        lambda f: (f / "2_Dense/model.safetensors").rename(f / "2_Dense/pytorch_model.bin"),
        "2_Dense/model.safetensors",
    ),
    "a pickle": (
        lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"),
        r"pickles \(pytorch_model.bin\)",
    ),
}
FOUND_WHEN_FETCHED: dict[str, tuple[Any, str]] = {
    "weights cut short": (
        lambda f: (f / "2_Dense/model.safetensors").write_bytes(b"short"),
        "incomplete or damaged",
    ),
    "any function of torch": (
        lambda f: rewrite(f / "2_Dense/config.json", activation_function="torch.seed"),
        "'torch.seed' is not one of torch.nn",
    ),
    "code by auto_map": (
        lambda f: rewrite(f / "config.json", auto_map={"AutoModel": "evil.Model"}),
        "its own code",
    ),
    "no encoder": (lambda f: rewrite(f / "config.json", model_type="vit"), "no text encoder"),
    "an adapter": (lambda f: (f / "adapter_config.json").write_text("{}"), "an adapter"),
    "settings of loading": (
        lambda f: rewrite(f / "sentence_bert_config.json", model_args={"gguf_file": "x"}),
        "changes how transformers loads it",
    ),
}


@pytest.mark.parametrize("case", [*REFUSED, *FOUND_WHEN_FETCHED])
def test_what_must_not_be_loaded_is_refused(
    hub: LocalHub, folders: dict[str, Path], tmp_path: Path, cache: Path, case: str
) -> None:
    """From a folder and from the hub, where the files alone do not tell before they are fetched."""
    change, reason = (REFUSED | FOUND_WHEN_FETCHED)[case]
    broken = Path(shutil.copytree(folders["org/distil"], tmp_path / "broken"))
    encoder_folder.check_encoder(broken)
    change(broken)
    with pytest.raises(ModelError, match=reason):
        load_embedder(str(broken))
    hub.add("org/broken", broken)
    with pytest.raises(ModelError, match=reason):
        load_embedder("org/broken")
    if case in REFUSED:
        assert {asked.name for asked in hub.asked} <= {"modules.json"}
    assert not (cache / "models" / "org--broken").exists()
