"""A version as a folder for a model hub: its card, and what its base's licence lets happen."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from tests.compare.sample import sample_result
from tests.models.local_hub import TOKEN, LocalHub, local_hub, use
from tests.small import write_model

from assay.errors import ModelError, UsageError
from assay.models.versions import Version, VersionRecord
from assay.project.hub_export import agreed_licence
from assay.release.model_card import model_card

BASE = "org/tiny"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    """A hub with one model, which takes two files."""
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))
    with local_hub() as running:
        use(running, monkeypatch, tmp_path / "nowhere")
        running.add(BASE, write_model(tmp_path / "model"))
        yield running


@pytest.mark.parametrize(
    ("licence", "gated", "why", "named"),
    [
        (None, False, "is not known", "mit"),
        ("other", False, "is not known", "acme-1"),
        ("cc-by-nc-4.0", False, "forbids commercial use", "cc-by-nc-4.0"),
        ("apache-2.0", True, "accepted its terms", "apache-2.0"),
        ("gpl-3.0", False, "has terms for what is made of it", "GPL-3.0"),
    ],
)
def test_terms_that_a_person_has_to_agree_to(
    hub: LocalHub,
    monkeypatch: pytest.MonkeyPatch,
    licence: str | None,
    gated: bool,
    why: str,
    named: str,
) -> None:
    base = hub.repositories[BASE]
    base.licence, base.gated = licence, "manual" if gated else False
    front = "" if licence is None else f"license: {licence}\n"
    base.files["README.md"] = f"---\n{front}---\n".encode()
    if gated:
        monkeypatch.setenv("HF_TOKEN", TOKEN)
    with pytest.raises(ModelError, match=why) as refused:
        agreed_licence(BASE, None)
    assert "--licence" in str(refused.value.fix)
    assert agreed_licence(BASE, named) == named.lower()


def test_what_the_base_is_under_cannot_be_replaced(hub: LocalHub) -> None:
    assert agreed_licence(BASE, None) == "apache-2.0"
    with pytest.raises(UsageError, match=r"the base org/tiny is under apache-2\.0"):
        agreed_licence(BASE, "mit")
    with pytest.raises(UsageError, match="no name of a licence"):
        agreed_licence(BASE, "mit\nbase_model: x")


@pytest.mark.parametrize("base", [BASE, "smollm2-135m-instruct", "folder"])
def test_a_card_says_what_was_measured(base: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    named = str(tmp_path / "folder") if base == "folder" else base
    record = VersionRecord(
        base=named,
        base_sha256="0" * 64,
        data={"train": "1" * 64},
        split="2" * 64,
        settings={},
        seed=3,
        code="0.1.0",
        template={},
        template_sha256="3" * 64,
    )
    version = Version(hashlib.sha256(base.encode()).hexdigest(), record, "2026-01-01", None)
    result = sample_result()
    mine = result.candidates[0].name
    none = dict.fromkeys(("score", "low", "high"))
    away = result.candidates[-1].model_copy(update=none)
    result = result.model_copy(update={"candidates": [*result.candidates[:-1], away]})
    card = ModelCard(
        model_card(
            version,
            project="support",
            licence="apache-2.0",
            is_adapter=base == BASE,
            measured=result,
            candidate=mine,
        )
    )
    assert card.data.license == "apache-2.0"
    known = {"folder": None, "smollm2-135m-instruct": "HuggingFaceTB/SmolLM2-135M-Instruct"}
    assert card.data.base_model == known.get(base, base)
    assert card.data.library_name == ("peft" if base == BASE else "transformers")
    assert card.text.count("| **") == 1
    assert card.text.count("| not complete |  |") == 1
    assert f"on {result.data.holdout} examples" in card.text
    assert str(tmp_path) not in str(card)
