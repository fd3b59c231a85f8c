"""Shared against unshared: the same logits and the same greedy tokens, family by family."""

from __future__ import annotations

import random

import pytest
import torch
from tests.generate.tiny import FAMILIES, tiny_model
from tests.rounding import near

from assay.prefix import decode, packed
from assay.prefix.decode import SharedDecoder, can_share

STEPS = 6


def prompts() -> list[tuple[int, ...]]:
    """Two levels of shared tokens, one shared and longer than a window, two that share nothing."""
    draw = random.Random(0)

    def some(count: int) -> tuple[int, ...]:
        return tuple(draw.randrange(256) for _ in range(count))

    system, first, second = some(50), some(25), some(30)
    return [
        *((*system, *first, *some(draw.randrange(1, 12))) for _ in range(5)),
        *((*system, *second, *some(draw.randrange(1, 12))) for _ in range(4)),
        some(3),
        some(40),
    ]


@pytest.mark.parametrize("chunk", [packed.CHUNK, 16])
@pytest.mark.parametrize("family", FAMILIES)
def test_shared_logits_and_tokens_equal_those_of_the_model_alone(
    family: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed, "CHUNK", chunk)
    model = tiny_model(family)
    assert can_share(model)
    decoder = SharedDecoder(model)
    asked = prompts()
    seen = []
    with decoder.running():
        for batch in decoder.batches(asked, [STEPS] * len(asked), slots=300):
            seen += batch.members
            logits = decoder.begin(batch)
            answers: list[list[int]] = [[] for _ in batch.members]
            for step in range(STEPS):
                for answer, token in zip(answers, logits.argmax(-1).tolist(), strict=True):
                    answer.append(token)
                last = logits
                if step < STEPS - 1:
                    logits = decoder.step(range(len(answers)), logits.argmax(-1))
            nodes = [len(node.path()) if node else 0 for node in batch.nodes]
            for prompt, answer, ours, depth in zip(
                batch.prompts, answers, last, nodes, strict=True
            ):
                assert depth == (2 if len(prompt) > 50 else 0)
                model.set_attn_implementation("eager")
                theirs = model(torch.tensor([prompt + tuple(answer[:-1])])).logits[0]
                model.set_attn_implementation("assay_tree")
                assert theirs[len(prompt) - 1 :].argmax(-1).tolist() == answer
                torch.testing.assert_close(ours, theirs[-1], **near(theirs, model))
    assert sorted(seen) == list(range(len(asked)))


def test_finished_rows_are_skipped_and_dropped_without_a_trace() -> None:
    model = tiny_model()
    asked = prompts()

    def rest(drop: bool) -> torch.Tensor:
        decoder = SharedDecoder(model)
        with decoder.running():
            (batch,) = decoder.batches(asked, [9] * len(asked), slots=10_000)
            decoder.begin(batch)
            kept = [1, 4, 8]
            decoder.step(kept, torch.tensor([7, 7, 7]))
            if drop:
                decoder.keep(kept)
            return decoder.step([0, 1, 2] if drop else kept, torch.tensor([8, 9, 10]))

    whole = rest(False)
    torch.testing.assert_close(rest(True), whole, **near(whole, model))


def test_requests_one_by_one_share_a_prefix_from_the_second_on() -> None:
    decoder = SharedDecoder(tiny_model())
    asked = prompts()[:4]
    ends = []
    for prompt in asked:
        with decoder.running():
            (batch,) = decoder.batches([prompt], [4], slots=1000)
            decoder.begin(batch)
        ends.append(batch.nodes[0].end if batch.nodes[0] else 0)
    assert ends == [0, 75, 75, 75]
    assert len(decoder.kept) == 1


def test_prefixes_are_forgotten_when_their_limit_is_passed() -> None:
    decoder = SharedDecoder(tiny_model(), prefix_bytes=1)
    draw = random.Random(1)
    for _ in range(3):
        shared = tuple(draw.randrange(256) for _ in range(70))
        with decoder.running():
            for batch in decoder.batches([(*shared, 1), (*shared, 2)], [1, 1], slots=1000):
                decoder.begin(batch)
    assert len(decoder.kept) == 1


def test_the_model_gets_its_own_attention_back_even_when_interrupted() -> None:
    decoder = SharedDecoder(tiny_model())
    with pytest.raises(KeyboardInterrupt), decoder.running():
        raise KeyboardInterrupt
    assert decoder.model.config._attn_implementation == "eager"


def test_every_family_named_as_sharable_is_tested_here() -> None:
    configs = [tiny_model(family).config.get_text_config() for family in FAMILIES]
    assert {config.model_type for config in configs} == decode.FAMILIES
