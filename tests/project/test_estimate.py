"""What a comparison is said to take: near what was measured, fixed costs and all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from assay.candidates.shared.arms import _TIMED_ROUTE
from assay.candidates.spec import PASSAGE_TOKENS, TIMED_ANSWERS, Sizes
from assay.compare.performance import (
    LATENCY_PROMPTS,
    ROUTED_LATENCY_PROMPTS,
    THROUGHPUT_PROMPTS,
)
from assay.compare.planning import dump_settings
from assay.config import Config, Provider, Unlabelled
from assay.evaluate.graders.judge import CRITERIA, JudgedPair, request
from assay.evaluate.judging import INJECTIONS
from assay.models.products import Products
from assay.project import estimate as module
from assay.project.estimate import (
    PROBE_SECONDS,
    REFERENCE_FLOPS,
    REMOTE_SECONDS,
    START_SECONDS,
    Estimate,
    building_seconds,
    estimate,
)
from assay.project.provider_costs import describe_costs
from assay.project.sizes import token_limits

CANDIDATES = ["prompt", "few-shot", "few-shot-nearest", "fine-tune"]
CONFIG = Config.model_validate(
    {
        "name": "tickets",
        "task": "label",
        "labels": ["a", "b", "c", "d"],
        "data": {"file": "tickets.csv"},
        "graders": [{"name": "label-accuracy"}],
        "primary": "label-accuracy",
        "candidates": CANDIDATES,
        "fine_tune": {"system_prompt": "Label it.", "seeds": 1},
    }
)
SIZES = Sizes(
    train=109,
    validation=19,
    holdout=32,
    system_tokens=60,
    input_tokens=20,
    output_tokens=4,
    parameters=134.5e6,
    context=8192,
)


MACHINE_FLOPS = module.machine_flops  # as it is, before `known_machine`


def _of(sizes: Sizes = SIZES, names: list[str] = CANDIDATES) -> Estimate:
    return estimate(CONFIG, sizes, ["baseline-majority", "baseline-tfidf", *names], 0.3)


@pytest.fixture(autouse=True)
def known_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "machine_flops", lambda: REFERENCE_FLOPS)


def test_a_small_comparison_is_said_to_take_about_what_it_took() -> None:
    """144 short messages of four labels took 183 seconds on two cores, a step of training 0.5."""
    sizes = replace(
        SIZES,
        train=98,
        validation=17,
        holdout=29,
        system_tokens=42,
        input_tokens=7.4,
        output_tokens=2.5,
    )
    assert 183 / 1.5 < _of(sizes).seconds < 183 * 1.5


def test_a_free_answer_of_a_model_that_was_shown_none_is_told_as_long_as_it_may_be() -> None:
    """On the demo's handbook it wrote 24 tokens, where the rows have a few and 32 are the limit."""
    text = CONFIG.model_copy(
        update={
            "task": "text",
            "generate": CONFIG.generate.model_copy(update={"max_new_tokens": 32}),
        }
    )

    def told(config: Config) -> dict[str, float]:
        return dict(estimate(config, SIZES, CANDIDATES, 0.3).parts)

    free, held = told(text), told(CONFIG)
    assert free["prompt"] > 3 * held["prompt"]
    assert free["fine-tune"] <= held["fine-tune"]
    assert free["few-shot"] <= held["few-shot"]


@pytest.mark.parametrize(
    ("bfloat16", "flops", "tokens_per_s"), [(True, 413e9, 416.0), (False, 169e9, 215.0)]
)
def test_training_is_told_as_it_was_measured_on_two_machines(
    bfloat16: bool, flops: float, tokens_per_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`sft-unique` of docs/benchmarks.md: steps of 32 rows of 142 tokens, nothing shared."""
    monkeypatch.setattr(module, "native_bfloat16", lambda kind: bfloat16)
    monkeypatch.setattr(module, "products", lambda: Products(flops, flops if bfloat16 else None))
    scale = REFERENCE_FLOPS / MACHINE_FLOPS()
    tune = CONFIG.fine_tune.model_copy(
        update={"system_prompt": "", "rows_per_step": 32, "epochs": 1}
    )
    config = CONFIG.model_copy(update={"fine_tune": tune})
    sizes = replace(SIZES, validation=0, system_tokens=0, input_tokens=100, output_tokens=42)
    told = 320 * 142 / module.training_seconds(config, sizes, 320, scale)
    assert told == pytest.approx(tokens_per_s, rel=0.15)


def test_a_machine_half_as_fast_takes_longer_and_no_more_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fast = _of()
    monkeypatch.setattr(module, "machine_flops", lambda: REFERENCE_FLOPS / 2)
    slow = _of()
    assert 1.5 * fast.seconds < slow.seconds < 2 * fast.seconds
    assert slow.memory_bytes == fast.memory_bytes


def test_embeddings_that_are_trained_take_their_moments() -> None:
    def told(optimizer: str, embeddings: int) -> float:
        tune = CONFIG.fine_tune.model_copy(update={"optimizer": optimizer})
        config = CONFIG.model_copy(update={"fine_tune": tune})
        return estimate(config, replace(SIZES, embeddings=embeddings), CANDIDATES, 0.3).memory_bytes

    for optimizer, copies in (("adamw", 4), ("sgd", 3), ("adafactor", 2)):
        assert told(optimizer, 10**6) == told(optimizer, 0) + 4e6 * copies


def test_what_is_paid_whatever_the_size_stands_apart() -> None:
    parts = dict(_of().parts)
    assert next(iter(parts)) == "start and report"
    assert parts["start and report"] == START_SECONDS
    none = replace(SIZES, train=1, validation=1, holdout=1)
    assert dict(_of(none).parts)["fine-tune"] > 20  # loading, trying, probing


def test_a_learning_curve_pays_for_no_holdout_and_no_probe() -> None:
    whole = dict(_of().parts)
    for name in CANDIDATES:
        building = building_seconds(name, CONFIG, SIZES)
        assert building < whole[name]
        assert building_seconds(name, CONFIG, replace(SIZES, holdout=3200)) == building
    assert whole["fine-tune"] - building_seconds("fine-tune", CONFIG, SIZES) > 2 * PROBE_SECONDS


def test_more_rows_and_a_larger_model_take_longer() -> None:
    small = _of().seconds
    assert _of(replace(SIZES, holdout=3200, validation=1900)).seconds > 2 * small
    assert _of(replace(SIZES, parameters=1.3e9)).seconds > 5 * small


def test_a_version_in_fewer_bits_is_trained_for_it_where_fine_tune_takes_no_part() -> None:
    def told(*names: str) -> float:
        config = CONFIG.model_copy(update={"candidates": list(names)})
        return dict(estimate(config, SIZES, list(names), 0.3).parts)["fine-tune-8bit"]

    assert told("fine-tune-8bit") > 2 * told("fine-tune", "fine-tune-8bit")


def test_further_seeds_are_told_where_the_time_allows_them() -> None:
    def told(**fields: float | None) -> float:
        tune = CONFIG.fine_tune.model_copy(update={"seeds": None, **fields})
        config = CONFIG.model_copy(update={"fine_tune": tune})
        return dict(estimate(config, SIZES, CANDIDATES, 0.3).parts)["fine-tune"]

    assert told(seeds_minutes=0) == told(seeds=1) < told(seeds=2) < told(seeds=3)
    assert told(seeds_minutes=1e6) == told(seeds=3)


def test_learning_from_graders_counts_the_training_before_it_and_what_every_seed_draws() -> None:
    def told(names: list[str], name: str, start: str = "supervised", **fields: Any) -> float:
        raw = CONFIG.model_dump(exclude_unset=True)
        tune = raw["fine_tune"] | fields | {"reinforcement": {"start": start}}
        config = Config.model_validate(raw | {"candidates": names, "fine_tune": tune})
        return dict(estimate(config, SIZES, names, 0.3).parts)[name]

    reinforced = "fine-tune-reinforced"
    alone = told([reinforced], reinforced)
    assert told(["fine-tune"], "fine-tune", method="reinforcement") == alone
    from_base = told([reinforced], reinforced, start="base")
    before = module.training_seconds(CONFIG, SIZES, SIZES.train, 1.0)
    assert alone - from_base == pytest.approx(before)
    drawing = 60 * 8 * 8 * module.answer_seconds(SIZES, 0.0, SIZES.output_tokens + 1, 1.0)
    assert told([reinforced], reinforced, seeds=2) - alone > before + drawing
    both = ["fine-tune", reinforced]
    assert told(both, reinforced) == pytest.approx(from_base), "the version is there already"
    assert told(both, reinforced, method="dpo") == pytest.approx(alone)
    assert told([*reversed(both)], "fine-tune") < told(["fine-tune"], "fine-tune") - 0.9 * before


@pytest.mark.parametrize("name", ["extract", "extract-call"])
def test_what_finds_fields_embeds_every_row_once_and_generates_nothing(name: str) -> None:
    def told(train: int, *before: str, output_tokens: float = 4) -> float:
        sizes = replace(SIZES, train=train, output_tokens=output_tokens)
        return dict(estimate(CONFIG, sizes, [*before, name], 0.3).parts)[name]

    few, more, most = (told(train) for train in (100, 10100, 20100))
    assert most - more == pytest.approx(more - few)
    assert more - few > 1
    assert few == told(100, output_tokens=400)
    assert told(20100, "nearest-answer") == module.CLASSICAL_SECONDS, "the vectors are there"


def test_documents_that_are_learned_take_time_with_their_number_and_the_rows_too() -> None:
    def told(name: str, passages: int, method: str = "sft") -> float:
        raw = CONFIG.model_dump(exclude_unset=True)
        tune = {"method": method, "epochs": 2, "seeds": 1}
        own = {"candidates": [name], "fine_tune": tune, "knowledge": {"paths": ["docs"]}}
        config = Config.model_validate(raw | own)
        sizes = replace(SIZES, passages=passages)
        return dict(estimate(config, sizes, [name], 0.3).parts)[name]

    rows = told("fine-tune", 0)
    assert told("fine-tune-documents", 0) == pytest.approx(rows)
    once, twice = (told("fine-tune-documents", n) - rows for n in (1000, 2000))
    assert twice == pytest.approx(2 * once)
    alone = told("fine-tune", 2000, "text") - told("fine-tune", 1000, "text")
    assert alone == pytest.approx(once)
    tokens = 1000 * PASSAGE_TOKENS * 2 / module.TRAIN_TOKENS_PER_S  # of two epochs
    assert 0.5 * tokens < once < 2 * tokens


def test_unlabelled_inputs_are_answered_by_every_candidate_and_labelled_with_the_holdout() -> None:
    def parts(model: str) -> dict[str, float]:
        unlabelled = Unlabelled(file="more.csv", model=model)
        config = CONFIG.model_copy(update={"unlabelled": unlabelled})
        return dict(estimate(config, replace(SIZES, unlabelled=2000), ["prompt"], 0.3).parts)

    labels, rows = "labels of unlabelled inputs", 2000 + SIZES.holdout
    without = dict(estimate(CONFIG, SIZES, ["prompt"], 0.3).parts)
    answers = parts("base")["prompt"] - without["prompt"]
    assert parts("base")[labels] == pytest.approx(answers * rows / 2000)
    assert parts("remote:far/large")[labels] == pytest.approx(rows * REMOTE_SECONDS)


def test_rows_may_be_as_long_as_they_are_with_the_passages_beside_them() -> None:
    lengths = [(40, 9), (100, 10)]
    assert token_limits(lengths, 2048) == (32, 128)
    assert token_limits(lengths, 2048, passages=5) == (32, 1152)
    assert token_limits(lengths, 1024, passages=5) == (32, 1024)


def priced(**fields: Any) -> Config:
    """A project with a provider whose model takes 1 USD for a million tokens in, 10 for one out."""
    providers = {
        "far": {"base_url": "https://far.example/v1", "prices": {"big": {"input": 1, "output": 10}}}
    }
    raw = CONFIG.model_dump(exclude_unset=True) | {"providers": providers}
    return Config.model_validate(raw | fields)


BIG, UNPRICED = "remote:far/big", "remote:far/new"
HOSTS = ("openai", "anthropic", "example")
ASKED_USD = (60 + 20 + 10 * 128) / 1e6
"""Of a row with its system prompt, and an answer as long as it may be."""
JUDGING = {
    "type": "score_model",
    "name": "kind",
    "model": BIG,
    "input": [{"role": "user", "content": "{?}"}],
}
PAID = {
    "a row twice for validation and once for the holdout": (
        {"remote": BIG, "task": "json", "candidates": ["remote"]},
        {"remote": (2 * 19 + TIMED_ANSWERS + 32) * ASKED_USD},
    ),
    "the rows that a teacher is asked, once for all who learn from it": (
        {"fine_tune": {"teacher": BIG}, "candidates": ["fine-tune", "fine-tune-8bit"]},
        {"fine-tune": 109 * ASKED_USD},
    ),
    "its rows once where the version is held in fewer bits alone": (
        {"fine_tune": {"teacher": BIG}, "candidates": ["fine-tune-8bit", "fine-tune-4bit"]},
        {"fine-tune-8bit": 109 * ASKED_USD},
    ),
    "a teacher's answers, which the training by graders starts from": (
        {"fine_tune": {"teacher": BIG}, "candidates": ["fine-tune-reinforced"]},
        {"fine-tune-reinforced": 109 * ASKED_USD},
    ),
    "these once where fine-tune asks for them, too": (
        {"fine_tune": {"teacher": BIG}, "candidates": ["fine-tune", "fine-tune-reinforced"]},
        {"fine-tune": 109 * ASKED_USD},
    ),
    "a reward's judge, of every answer of three seeds, on validation too": (
        {
            "fine_tune": {"reinforcement": {"reward": JUDGING, "judge_usd": None}},
            "candidates": ["fine-tune", "fine-tune-reinforced"],
        },
        {"fine-tune-reinforced": 3 * (60 * 64 + 7 * 19) * (3 / 3 + 20 + 2 * 4 + 10 * 256) / 1e6},
    ),
    "its replies as long as they may be, and the measurement after the last step": (
        {
            "fine_tune": {
                "seeds": 1,
                "reinforcement": {
                    "reward": JUDGING | {"sampling_params": {"max_completions_tokens": 4096}},
                    "steps": 25,
                    "judge_usd": None,
                },
            },
            "candidates": ["fine-tune-reinforced"],
        },
        {"fine-tune-reinforced": (25 * 64 + 4 * 19) * (3 / 3 + 20 + 2 * 4 + 10 * 4096) / 1e6},
    ),
    "no more than a judge may cost": (
        {
            "fine_tune": {"reinforcement": {"reward": JUDGING, "judge_usd": 1.5}},
            "candidates": ["fine-tune-reinforced"],
        },
        {"fine-tune-reinforced": 1.5},
    ),
    "the proposals of a search": (
        {"prompt_search": {"proposer": BIG}, "candidates": ["prompt-reflected"]},
        {"prompt-reflected": 8 * (500 + 1500 + 4 * (20 + 3 * 4) + 10 * 1500) / 1e6},
    ),
    "no more than the search may cost": (
        {
            "prompt_search": {"proposer": BIG, "budget_usd": 0.05},
            "candidates": ["prompt-reflected", "prompt-optimised"],
        },
        {
            "prompt-reflected": 0.05,
            "prompt-optimised": 8 * (500 + 1500 + 5 * (20 + 3 * 4) + 10 * 1500) / 1e6,
        },
    ),
    "a proposer of this machine is paid nothing": (
        {"prompt_search": {"proposer": "larger"}, "candidates": ["prompt-reflected"]},
        {},
    ),
    "an arm that takes part itself has answered; its confidence is asked for anew": (
        {
            "remote": BIG,
            "route": {"cheap": "remote", "strong": "prompt"},
            "candidates": ["remote", "prompt", "cascade"],
        },
        {
            "remote": (19 + TIMED_ANSWERS + 32) * ASKED_USD,
            "cascade": (19 + 32 + TIMED_ANSWERS + 21) * ASKED_USD,
        },
    ),
    "an arm of a router that learns from train": (
        {"route": {"cheap": "prompt", "strong": BIG}, "candidates": ["prompt", "router"]},
        {"router": (109 + 19 + 32 + TIMED_ANSWERS + 21) * ASKED_USD},
    ),
    "an arm of a router beside one that searches, which learns nothing from train": (
        {
            "route": {"cheap": "rag", "strong": BIG},
            "candidates": ["rag", "router"],
            "knowledge": {"paths": ["docs"]},
        },
        {"router": (109 + 19 + 32 + TIMED_ANSWERS + 21) * ASKED_USD},
    ),
    "an arm of a router beside one that is shown training rows": (
        {
            "route": {"cheap": "rag-few-shot", "strong": BIG},
            "candidates": ["rag-few-shot", "router"],
            "knowledge": {"paths": ["docs"]},
        },
        {"router": (19 + 32 + TIMED_ANSWERS + 21) * ASKED_USD},
    ),
    "an annotator": (
        {"unlabelled": {"file": "more.csv", "model": BIG}, "candidates": ["prompt"]},
        {"labels of unlabelled inputs": 32 * ASKED_USD},
    ),
    "a price that nobody knows": ({"remote": UNPRICED, "candidates": ["remote"]}, {"remote": None}),
}


@pytest.mark.parametrize("what", PAID)
def test_what_providers_are_paid_is_told(what: str) -> None:
    fields, paid = PAID[what]
    config = priced(**fields)
    found = estimate(config, SIZES, config.candidates, 0.3)
    assert {one.part: one.usd for one in found.provider_costs} == pytest.approx(paid)
    said = " ".join(describe_costs(found.provider_costs))
    if None in paid.values():
        assert "The price of remote:far/new is not known" in said
        assert "providers.far.prices" in said
    elif paid:
        assert f"about {sum(usd or 0 for usd in paid.values()):.2f} USD more, at most" in said
    else:
        assert said == ""


@pytest.mark.parametrize("asked", [True, False])
def test_what_batches_would_make_of_it_is_told_beside_it(asked: bool) -> None:
    """The holdout is long enough for a batch; validation and what is timed are not."""
    address = "https://far.example/v1" if asked else "https://api.openai.com/v1"
    far = {"base_url": address, "batch": asked, "prices": {"big": {"input": 1, "output": 10}}}
    config = priced(providers={"far": far}, remote=BIG, candidates=["remote"])
    [cost] = estimate(config, replace(SIZES, holdout=320), ["remote"], 0.3).provider_costs
    single = 19 + TIMED_ANSWERS
    assert cost.usd == pytest.approx((single + 320) * ASKED_USD)
    assert cost.batched_usd == pytest.approx((single + 320 / 2) * ASKED_USD)
    said = " ".join(describe_costs([cost]))
    assert f"{cost.batched_usd:.2f} USD for remote" in said
    assert ("which its settings ask for" in said, "set batch: true" in said) == (asked, not asked)
    [short] = estimate(config, SIZES, ["remote"], 0.3).provider_costs
    assert short.batched_usd is None


@pytest.mark.parametrize(
    ("batch", "can_wait", "asked"),
    [
        (None, True, [("openai", "openai"), ("anthropic", "anthropic")]),
        (None, False, []),
        (False, True, []),
        (True, False, [(host, form) for host in HOSTS for form in ("openai", "anthropic")]),
    ],
)
def test_batches_are_known_of_a_provider_by_its_own_protocol(
    batch: bool | None, can_wait: bool, asked: list[tuple[str, str]]
) -> None:
    """Anthropic's OpenAI-compatible address has none."""
    found = []
    for host in HOSTS:
        for protocol in ("openai", "anthropic"):
            settings = {"base_url": f"https://api.{host}.com/v1", "protocol": protocol}
            one = Provider.model_validate({**settings, "batch": batch})
            if one.asks_batches(can_wait=can_wait):
                found.append((host, protocol))
    assert found == asked
    if batch is None:  # a comparison's result keeps what it asked, as before there was null
        assert dump_settings(priced(providers={"far": one}))["providers"]["far"]["batch"] is False


def test_a_judge_at_a_provider_is_paid_for_every_answer_in_both_orders() -> None:
    """A judge of this machine is not; pairs of people and unlabelled inputs are counted, too."""
    judge = {"name": "judge", "settings": {"model": BIG}}
    graders = [{"name": "label-accuracy"}, judge, {"name": "judge", "settings": {"model": "m"}}]
    candidates = ["baseline-majority", "prompt", "fine-tune"]
    config = priced(graders=graders, candidates=candidates)
    empty = request(JudgedPair("", "", ""), CRITERIA, 0)
    prompt = round(len(empty.messages[0].content) / 4 + 20 + 4 + 5)
    each = 2 * (prompt + 10 * empty.max_new_tokens) / 1e6
    prompted = 2 * 19 + 32  # two settings on validation, then the holdout
    known = estimate(config, SIZES, candidates, 0.3).provider_costs
    assert {one.part: one.usd for one in known} == {"judge": pytest.approx((3 * prompted) * each)}
    decides = config.model_copy(update={"primary": "judge"})
    more = replace(SIZES, unlabelled=100, judged={"judge": 30})
    found = estimate(decides, more, candidates, 0.3).provider_costs
    powered, people = 3 * (32 + 100), 30 + INJECTIONS
    assert found[0].usd == pytest.approx((3 * prompted + powered + people) * each)


def test_a_route_takes_no_time_of_a_model_that_none_of_its_arms_is() -> None:
    """It was told as if the project's model answered every request."""
    arms = {"cheap": "baseline-tfidf", "strong": BIG}
    config = priced(route=arms, candidates=["baseline-tfidf", "cascade"])

    def told(sizes: Sizes) -> float:
        return dict(estimate(config, sizes, config.candidates, 0.3).parts)["cascade"]

    assert told(replace(SIZES, parameters=7e9)) == told(SIZES)
    assert told(SIZES) == pytest.approx(REMOTE_SECONDS * (19 + 32), rel=0.7)


@pytest.mark.parametrize("strong", ["prompt", BIG])
def test_an_arm_that_takes_no_part_itself_is_trained_for_its_route(strong: str) -> None:
    arms = {"cheap": "fine-tune", "strong": strong}

    def told(*others: str) -> dict[str, float]:
        config = priced(route=arms, candidates=["prompt", *others, "cascade"])
        return dict(estimate(config, SIZES, config.candidates, 0.3).parts)

    trained = told("fine-tune")["fine-tune"]
    assert told()["cascade"] > 0.5 * trained > 0
    # It holds the version that another candidate trains.
    assert told("fine-tune-8bit")["cascade"] < 0.5 * trained


def test_as_many_answers_are_timed_as_are_told() -> None:
    assert TIMED_ANSWERS == LATENCY_PROMPTS + 1 + THROUGHPUT_PROMPTS
    assert _TIMED_ROUTE - TIMED_ANSWERS == ROUTED_LATENCY_PROMPTS + 1
