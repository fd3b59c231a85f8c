"""Each current family, pulled by name from a hub: it loads, renders, answers and learns."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.generate.llamacpp.server import SERVER
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
from assay.train.methods import train_by_method, units_of

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

    expected = greedy(loaded, ids, template.stop_ids)
    request = Request(QUESTION, max_new_tokens=LENGTH)
    [answer] = TransformersBatchEngine(loaded, template, device="cpu").answer([request])
    assert answer.text == loaded.tokenizer.decode(expected, skip_special_tokens=True) != ""

    pool = LocalPool(settings=SERVER)
    engine = pool.engine(name)
    try:
        *_, end = engine.chat(QUESTION, (), Sampling(max_new_tokens=LENGTH))
    finally:
        pool.close()
    assert f"assay.generate.{published.serves}" in type(engine).__module__
    assert isinstance(end, End)
    assert end.completion_tokens > 0

    rows = [
        Example(label, (*QUESTION, Message("assistant", label)))
        for label in ("card arrival", "lost", "stolen", "found")
    ]
    settings = FineTune(rank=2, alpha=4, epochs=1, rows_per_step=2, max_tokens=256)
    units = units_of("sft", rows, template, "")
    job = TrainingJob(loaded, units, units[:2], settings, tmp_path / "run", compute="float32")
    result = train_by_method(job)
    assert result.steps == 2
    tuned = load(name, adapter=result.adapter)
    [answer] = TransformersBatchEngine(tuned, template, device="cpu").answer([request])
    assert answer.finish in ("stop", "length")
