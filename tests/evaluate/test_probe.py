"""The probe: its rules on answers made by hand, and models that are the same, worse, or ruined."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.generate.tiny import tiny_loaded
from tests.small import write_model

from assay.agent.engines import BatchEngines
from assay.chat.template import Template
from assay.errors import ModelError
from assay.evaluate import probe
from assay.evaluate.forgetting import forgetting
from assay.evaluate.probe import forgetting_of, read_probe, take_account
from assay.generate.transformers.batch import TransformersBatchEngine
from assay.models.load import load, load_tokenizer
from assay.models.versions import VersionRecord, save_version
from assay.store.store import Store

ANSWERS = {  # id: (answers that follow it, answers that do not)
    "repeat-1": (["lantern", " Lantern."], ["The word is lantern", "lamp", ""]),
    "repeat-2": (["Banana!", 'The word is "banana".'], ["bananas are fruit", ""]),
    "repeat-3": (['"The cat sleeps on the red chair."'], ["the cat sleeps", ""]),
    "repeat-4": (["hello hello hello", "Hello, hello, hello!"], ["hello", "hello " * 4]),
    "repeat-5": (["I will water the plants today."], ["I will water the plants.", ""]),
    "yes-or-no-1": (["Yes", "yes."], ["No", "Yes, ice is cold."]),
    "yes-or-no-2": (["No."], ["yes", "no, it cannot"]),
    "yes-or-no-3": (["YES"], ["no"]),
    "yes-or-no-4": (["no"], ["Yes."]),
    "yes-or-no-5": (['"yes"'], ["It is."]),
    "fact-1": (["The capital of France is Paris."], ["Lyon", "Parisian"]),
    "fact-2": (["Earth", "the Earth."], ["Mars", "We live on Earth"]),
    "fact-3": (["You get green."], ["blue", "a greenish tone"]),
    "fact-4": (["Cold.", "cool"], ["hot", "It is cold"]),
    "fact-5": (["A cat.", "cats do"], ["a dog", "catch"]),
    "number-1": (["4", "2 + 2 is 4."], ["5", "four and 5"]),
    "number-2": (["There are 7 days."], ["6", "many"]),
    "number-3": (["7"], ["3"]),
    "number-4": (["42."], ["36"]),
    "number-5": (["8 legs"], ["6"]),
    "list-1": (["apple, banana and cherry", "1. Pears\n2. Plums\n3. Figs"], ["apple, banana"]),
    "list-2": (["- red\n- blue\n- green", "Here:\n* a\n* b\n* c"], ["red, blue, green", "- red"]),
    "list-3": (["1. cat\n2. dog\n3. cow"], ["cat, dog, cow", "1. cat\n2. dog"]),
    "list-4": (["1, 2, 3, 4, 5", "1,2,3,4,5."], ["1 2 3 4 5", "1, 2, 3, 4"]),
    "list-5": (["Monday and Friday", "Sunday\nMonday"], ["Monday", "Monday, Tuesday, Friday"]),
    "letters-1": (["RIVER"], ["river", "River"]),
    "letters-2": (["good morning"], ["GOOD MORNING", "Good morning"]),
    "letters-3": (["GREEN", "IT IS GREEN."], ["Green", "IT IS RED"]),
    "letters-4": (["h", '"H".', 'The first letter is "h".'], ["o", "It is a house."]),
    "letters-5": (["d-o-g"], ["dog", "d o g"]),
    "form-1": (["The sea is wide and blue."], ["Blue", "It is wide. It is blue."]),
    "form-2": (["Is it raining?"], ["It is raining.", "Is it? I do not know."]),
    "form-3": (["Certainly, I will help."], ["Sure, I will help.", ""]),
    "form-4": (["Horses run fast and eat grass."], ["A horse is an animal.", "word " * 21]),
    "form-5": (["Hello, Maria!"], ["Hello there!", "Maria " + "is kind " * 15]),
    "json-1": (['{"colour": "red"}', '{ "colour" : "Red" }'], ['{"colour": "blue"}', "red"]),
    "json-2": (['{"name": "Peter"}'], ['```json\n{"name": "Peter"}\n```', '{"name": "P"}']),
    "json-3": (["[1, 2, 3]"], ["1, 2, 3", '["1", "2", "3"]']),
    "json-4": (['{"country": "Italy", "city": "Rome"}'], ['{"city": "Rome"}']),
    "json-5": (['{"title": "Emma", "pages": 400}'], ['{"title": "Emma"}', '{"pages": 400}']),
}


def test_every_rule_accepts_what_follows_it_and_nothing_else() -> None:
    instructions = {instruction.id: instruction for instruction in read_probe().instructions}
    assert set(instructions) == set(ANSWERS)
    for id, (right, wrong) in ANSWERS.items():
        for answer in right:
            assert instructions[id].followed(answer), (id, answer)
        for answer in wrong:
            assert not instructions[id].followed(answer), (id, answer)


def test_no_single_answer_follows_many_instructions() -> None:
    for answer in ("", "yes", "card_arrival", '{"topic": "refund", "desk": "care"}', "I can help."):
        followed = [i.id for i in read_probe().instructions if i.followed(answer)]
        assert len(followed) <= 4, (answer, followed)


def test_the_probe_is_varied_and_without_repetition() -> None:
    texts, instructions = read_probe().paragraphs, read_probe().instructions
    assert (len(texts), len(instructions)) == (40, 40)
    assert len({t.text for t in texts} | {i.prompt for i in instructions}) == 80
    assert min(Counter(t.kind for t in texts).values()) >= 6
    assert set(Counter(i.kind for i in instructions).values()) == {5}


def test_paragraphs_are_short() -> None:
    tokenizer, _ = load_tokenizer("smollm2-135m-instruct")
    lengths = [len(tokenizer(paragraph.text)["input_ids"]) for paragraph in read_probe().paragraphs]
    assert min(lengths) >= 50
    assert max(lengths) <= 110


@pytest.fixture(scope="module")
def learned() -> Any:
    """A tiny model that has read the probe's texts for a while, so that noise can harm it."""
    loaded = tiny_loaded()
    rows = [loaded.tokenizer(p.text)["input_ids"] for p in read_probe().paragraphs]
    optimiser = torch.optim.AdamW(loaded.model.parameters(), lr=1e-2)
    loaded.model.train()
    for step in range(40):
        batch = [row[:128] for row in rows[step % 5 :: 5]]
        ids = torch.tensor([row + [256] * (128 - len(row)) for row in batch])
        labels = ids.masked_fill(ids == 256, -100)
        loaded.model(input_ids=ids, labels=labels).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    loaded.model.eval()
    return loaded


def noised(loaded: Any, share: float) -> Any:
    """The same model with noise of so many standard deviations on every matrix."""
    other = tiny_loaded()
    other.model.load_state_dict(loaded.model.state_dict())
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in other.model.parameters():
            if weight.dim() == 2:
                weight += share * weight.std() * torch.randn_like(weight)
    return dataclasses.replace(loaded, model=other.model)


def engine(loaded: Any) -> TransformersBatchEngine:
    return TransformersBatchEngine(loaded, Template.of(loaded.tokenizer), device="cpu")


def test_the_same_weights_lost_exactly_nothing(learned: Any) -> None:
    found = forgetting(take_account(engine(learned)), take_account(engine(noised(learned, 0.0))))
    assert (found.text.lost, found.text.low, found.text.high) == (0.0, 0.0, 0.0)
    assert found.instructions.lost == 0.0
    assert not found.worse


def test_noised_weights_are_worse_and_more_noise_is_worse_still(learned: Any) -> None:
    base = take_account(engine(learned))
    little = forgetting(base, take_account(engine(noised(learned, 0.2))))
    much = forgetting(base, take_account(engine(noised(learned, 0.6))))
    assert 0 < little.text.low <= little.text.lost <= little.text.high
    assert little.worse
    assert much.text.lost > little.text.high


def test_the_loss_is_that_of_plain_transformers(learned: Any) -> None:
    account = take_account(engine(learned))
    for paragraph, row in zip(read_probe().paragraphs[::9], account.paragraphs[::9], strict=True):
        ids = torch.tensor([learned.tokenizer(paragraph.text)["input_ids"]])
        with torch.no_grad():
            loss = learned.model(input_ids=ids, labels=ids).loss
        assert row.tokens == ids.shape[1] - 1
        assert row.nats == pytest.approx(float(loss) * row.tokens, rel=1e-4)


def test_a_ruined_model_is_refused(learned: Any) -> None:
    with pytest.raises(ModelError, match="not a number"):
        take_account(engine(noised(learned, float("nan"))))


def version_of(base: Path, store: Store, folder: Path, *, strength: float) -> str:
    """A version whose adapter adds `strength` times noise; 0 leaves the base as it is."""
    from peft import LoraConfig, get_peft_model

    loaded = load(str(base))
    template = Template.of(loaded.tokenizer)
    torch.manual_seed(3)
    adapted = get_peft_model(loaded.model, LoraConfig(r=2, target_modules="all-linear"))
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight.copy_(strength * torch.randn_like(weight))
    adapted.save_pretrained(folder)
    record = VersionRecord(
        base=str(base),
        base_sha256=loaded.weights_sha256,
        data={},
        settings={},
        seed=0,
        code="test",
        template=template.to_dict(),
        template_sha256=template.sha256,
    )
    return save_version(store, folder, record)


def test_a_version_is_compared_with_its_base_which_is_probed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, store = write_model(tmp_path / "model"), Store(tmp_path / ".assay")
    same = version_of(base, store, tmp_path / "same", strength=0.0)
    other = version_of(base, store, tmp_path / "other", strength=0.5)
    probed = []

    def counting(engine: TransformersBatchEngine, *rest: Any) -> Any:
        probed.append(engine.loaded.ref)
        return take_account(engine, *rest)

    monkeypatch.setattr(probe, "take_account", counting)
    unchanged = forgetting_of(same, BatchEngines(store, dtype="float32"))
    assert unchanged.text.lost == unchanged.instructions.lost == 0.0
    assert len(probed) == 2
    changed = forgetting_of(other, BatchEngines(store, dtype="float32"))
    assert changed.text.base == unchanged.text.base
    assert changed.text.lost != 0.0
    assert len(probed) == 3
    assert forgetting_of(other, BatchEngines(store, dtype="float32")) == changed
    assert len(probed) == 3


def test_a_damaged_account_is_taken_again(tmp_path: Path) -> None:
    base, store = write_model(tmp_path / "model"), Store(tmp_path / ".assay")
    version = version_of(base, store, tmp_path / "v", strength=0.5)
    first = forgetting_of(version, BatchEngines(store, dtype="float32"))
    for file in (store.folder / "cache" / "general").iterdir():
        file.write_text("{")
    assert forgetting_of(version, BatchEngines(store, dtype="float32")) == first
