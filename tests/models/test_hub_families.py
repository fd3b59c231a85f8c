"""Each current family, pulled by name from a hub: it loads, renders, answers and learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.generate.llamacpp.server import SERVER
from tests.generate.tiny import SIZES, byte_tokenizer
from tests.models.local_hub import local_hub, use
from tests.models.published import PUBLISHED

from assay.chat.template import Template
from assay.config import FineTune
from assay.example import Example, Message
from assay.generate.batch import Request
from assay.generate.local_pool import LocalPool
from assay.generate.stream import End, Sampling
from assay.generate.transformers.batch import TransformersBatchEngine
from assay.models.load import LoadedModel, load
from assay.models.pull import pull, read_record
from assay.train.job import TrainingJob
from assay.train.session import train_by_method
from assay.train.units import units_of

pytestmark = pytest.mark.slow

QUESTION = (Message("user", "Where is my card?"),)
LENGTH = 6


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache, in a slow test too."""
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def greedy(loaded: LoadedModel, ids: list[int], stops: frozenset[int]) -> list[int]:
    """What transformers answers alone, without the tokens that end an answer."""
    given = torch.tensor([ids])
    with torch.no_grad():
        made = loaded.model.generate(
            given,
            attention_mask=torch.ones_like(given),
            do_sample=False,
            max_new_tokens=LENGTH,
            eos_token_id=sorted(stops),
        )
    return [token for token in made[0, len(ids) :].tolist() if token not in stops]


def answers_and_learns(loaded: LoadedModel, folder: Path) -> None:
    """It answers as transformers does alone, two steps can be trained, and the adapter fits."""
    template = Template.of(loaded.tokenizer)
    expected = greedy(loaded, template.prompt(QUESTION), template.stop_ids)
    request = Request(QUESTION, max_new_tokens=LENGTH)
    [answer] = TransformersBatchEngine(loaded, template, device="cpu").answer([request])
    assert answer.text == loaded.tokenizer.decode(expected, skip_special_tokens=True) != ""

    rows = [
        Example(label, (*QUESTION, Message("assistant", label)))
        for label in ("card arrival", "lost", "stolen", "found")
    ]
    settings = FineTune(rank=2, alpha=4, epochs=1, rows_per_step=2, max_tokens=256)
    units = units_of("answers", rows, template, "")
    job = TrainingJob(loaded, units, units[:2], settings, folder / "run", compute="float32")
    result = train_by_method(job)
    assert result.steps == 2
    tuned = load(loaded.ref, adapter=result.adapter)
    [answer] = TransformersBatchEngine(tuned, template, device="cpu").answer([request])
    assert answer.finish in ("stop", "length")


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_family_is_pulled_answers_and_learns(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    published = PUBLISHED[name]
    published.write(tmp_path / "published")
    with local_hub() as hub:
        use(hub, monkeypatch, tmp_path / "no token")
        commit = hub.add(name, tmp_path / "published", published.licence).commit
        folder = pull(name)
    record = read_record(folder)
    assert (record["licence"], record["revision"]) == (published.licence, commit)
    assert not list(folder.glob("*.py"))
    assert not (folder / "consolidated.safetensors").exists()

    loaded = load(name)
    text = loaded.model.config.get_text_config()
    assert loaded.context_length == text.max_position_embeddings
    template = Template.of(loaded.tokenizer)
    ids = template.prompt(QUESTION)
    own = loaded.tokenizer.apply_chat_template(
        [{"role": "user", "content": QUESTION[0].content}],
        chat_template=template.text,  # with its clock pinned
        add_generation_prompt=True,
        return_dict=False,
    )
    assert ids == own
    stop = loaded.tokenizer.convert_tokens_to_ids(published.family.stop)
    assert stop in template.stop_ids
    rendered = template.render([*QUESTION, Message("assistant", "card arrival")])
    learned = [i for i, trained in zip(rendered.ids, rendered.trained, strict=True) if trained]
    assert loaded.tokenizer.decode(learned[:-1]).endswith("card arrival")
    assert learned[-1] == stop

    pool = LocalPool(settings=SERVER)
    engine = pool.engine(name)
    try:
        *_, end = engine.chat(QUESTION, (), Sampling(max_new_tokens=LENGTH))
    finally:
        pool.close()
    assert f"assay.generate.{published.serves}" in type(engine).__module__
    assert isinstance(end, End)
    assert end.completion_tokens > 0

    answers_and_learns(loaded, tmp_path)


# Layers of two widths; layers without attention.
NEWER: dict[str, dict[str, Any]] = {
    "Gemma4TextConfig": {
        "head_dim": 16,
        "hidden_size_per_layer_input": 8,
        "num_hidden_layers": 6,
        "sliding_window": 16,
        "vocab_size_per_layer_input": 264,
    },
    "Qwen3_5TextConfig": {
        "head_dim": 16,
        "linear_key_head_dim": 8,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
        "linear_value_head_dim": 8,
        "num_hidden_layers": 4,
    },
    "GraniteMoeHybridConfig": {
        "layer_types": ["mamba", "attention"],
        "mamba_d_head": 24,
        "mamba_d_state": 8,
        "mamba_n_heads": 4,
        "num_experts_per_tok": 0,
        "num_hidden_layers": 2,
        "num_local_experts": 0,
        "shared_intermediate_size": 64,
    },
}


@pytest.mark.parametrize("name", NEWER)
def test_an_architecture_of_unequal_layers_answers_and_learns(name: str, tmp_path: Path) -> None:
    import transformers

    # Not the mark that opens a turn: the row of the padding is zero, which has no gradient.
    config = getattr(transformers, name)(**{**SIZES, **NEWER[name], "pad_token_id": 263})
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config).float()
    model.save_pretrained(tmp_path / "model")
    byte_tokenizer().save_pretrained(tmp_path / "model")
    answers_and_learns(load(str(tmp_path / "model")), tmp_path)
