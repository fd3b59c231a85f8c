"""What a comparison will take, before it is started: time, memory, money.

An estimate from counts, from speeds seen with the starter model on one machine, scaled by the
model's size and by how fast this machine multiplies matrices, and from what every comparison pays
whatever its size: libraries and models to load, latency to measure, forgetting to probe.
It is meant to be right within a factor of two; what was measured here (`Pace`) makes it better, and
`assay.project.forecast` corrects it while the work runs.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from assay.agent.prices import PriceList
from assay.candidates.registry import check_learns, specs
from assay.candidates.spec import (
    CHARACTERS_PER_TOKEN,
    ProviderRequests,
    Sizes,
    Workload,
    asked_rows,
    constraints,
    in_batches,
    unshown_answer_tokens,
)
from assay.compare.curve import REPEATS, curve_sizes
from assay.compare.performance import LATENCY_PROMPTS, LATENCY_SECONDS, THROUGHPUT_PROMPTS
from assay.config import Config, Provider, is_remote
from assay.evaluate.run import FEWEST_TIMED
from assay.models.device import native_bfloat16
from assay.models.products import Products, products
from assay.project.embedding import (
    embedding_flops,
    embedding_operations,
    encoders_of,
    tuned_bytes,
)
from assay.project.provider_costs import ProviderCost, costs_of, dialogue_requests, judge_requests
from assay.project.sizes import embedding_copies
from assay.train import auto
from assay.train.methods import sft

REFERENCE_PARAMETERS = 134.5e6
REFERENCE_FLOPS = 385e9
"""Operations a second of a large matrix product where the speeds below were seen (an EPYC with
AVX-512 and bfloat16 instructions, two cores)."""
FLOAT32_WORTH = 1.2
"""What one of them is worth in float32, where less of the time goes to all that is no product:
training without a shared prefix reached 416 tokens a second at 413e9 in bfloat16 and 215 at 169e9
in float32 (docs/benchmarks.md, machines D and B)."""
PREFILL_TOKENS_PER_S = 800.0
DECODE_TOKENS_PER_S = 240.0
TRAIN_TOKENS_PER_S = 400.0
"""That are computed: what the rows of a step share counts once."""
TRAIN_STEP_SECONDS = 0.35
"""Of a step, however short its rows: what 30 layers take to be called, and the optimiser."""
CLASSICAL_SECONDS = 5.0
REMOTE_SECONDS = 0.5  # of an answer of a provider, a few at once
STEP_SECONDS = 0.05
"""Of a token, however few answers are in the making: one alone, or a set that fills no batch."""
START_SECONDS = 6.0
"""Of a comparison: the base to load, rows to check, result and report to write. Whoever estimates
has loaded the libraries."""
LOAD_SECONDS = 2.0
"""Of a model, from disk to its first answer: again for the training, then for the version."""
PROBE_SECONDS = 7.0
"""Of the probe of forgetting on one model (docs/training.md); base and version are probed."""
BYTES_PER_PARAMETER = 4
STARTING, ANNOTATING = "start and report", "labels of unlabelled inputs"
"""What time goes to that no candidate takes."""

Work = Literal["training", "answers", "other"]
"""What a processor is kept busy by: each kind is slowed in its own way by other programs."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How many times as long work takes, here and now, as the speeds below would have it."""

    training: float = 1.0
    answers: float = 1.0
    other: float = 1.0

    def of(self, work: Work) -> float:
        """The factor of one kind of work."""
        return {"training": self.training, "answers": self.answers, "other": self.other}[work]


@dataclass(frozen=True, slots=True)
class Stage:
    """What a comparison does without a break for one candidate, in the order of its doing.

    Attributes:
        doing: as `assay.progress.begin_stage` is told.
        candidate: or what else the time is for.
        training_seconds: of one training of the model, of which there may be several (seeds).
    """

    doing: str
    candidate: str
    work: Work
    seconds: float
    training_seconds: float = 0.0

    def slow(self, factor: float) -> Stage:
        """The stage where everything takes so many times as long."""
        return replace(
            self, seconds=factor * self.seconds, training_seconds=factor * self.training_seconds
        )


@dataclass(frozen=True, slots=True)
class Estimate:
    """Seconds by stage, bytes at the peak, USD where the price of a machine hour is known.

    Attributes:
        pace: that the seconds were reckoned with.
        usd: of this machine's time; `kept_on_usd`: a month, of the machine that then serves a
            candidate that no provider answers for, as long as it is kept on.
        provider_costs: what providers are paid beside it.
    """

    stages: tuple[Stage, ...]
    pace: Pace
    memory_bytes: float
    usd: float | None
    kept_on_usd: float | None
    holdout: int
    minimum_detectable_effect: float
    provider_costs: tuple[ProviderCost, ...] = ()

    @property
    def parts(self) -> tuple[tuple[str, float], ...]:
        """Seconds by candidate, and of what belongs to none."""
        sums: dict[str, float] = {}
        for stage in self.stages:
            sums[stage.candidate] = sums.get(stage.candidate, 0.0) + stage.seconds
        return tuple(sums.items())

    @property
    def seconds(self) -> float:
        """Seconds of all stages together."""
        return sum(stage.seconds for stage in self.stages)


def estimate(
    config: Config,
    sizes: Sizes,
    names: list[str],
    effect: float,
    pace: Pace | None = None,
    providers: Mapping[str, Provider] | None = None,
) -> Estimate:
    """Time of each candidate (building on validation, then the holdout), memory, money.

    Args:
        providers: with the prices of their models; None: as assay.yaml describes them.
    """
    scale = _scale(sizes)
    prices = PriceList(config.providers if providers is None else providers)
    workloads = _trained_once({name: specs()[name].estimate(config, sizes) for name in names})
    pace = pace or Pace()
    stages = tuple(
        stage.slow(pace.of(stage.work))
        for stage in _stages(workloads, config, sizes, scale)
        if stage.seconds
    )
    hours = sum(stage.seconds for stage in stages) / 3600
    price = config.costs.machine_hour_usd
    return Estimate(
        stages=stages,
        pace=pace,
        memory_bytes=_memory(workloads.values(), sizes, config.fine_tune.optimizer),
        usd=None if price is None else hours * price,
        kept_on_usd=None if price is None else config.costs.machine_hours_per_month * price,
        holdout=sizes.holdout,
        minimum_detectable_effect=effect,
        provider_costs=tuple(
            cost
            for part, requests in _requests(workloads, config, sizes)
            for cost in costs_of(part, requests, prices)
        ),
    )


def _trained_once(workloads: Mapping[str, Workload]) -> dict[str, Workload]:
    """The same, each version that several hold or start from trained for the first alone."""
    found, trained = dict[str, Workload](), set[str]()
    for name, one in workloads.items():
        version = specs()[name].version
        if version in trained:
            found[name] = one.trained_before()
        else:
            found[name] = one.started_before() if one.start in trained else one
        trained |= {version, one.start} - {""}
    return found


def _requests(
    workloads: Mapping[str, Workload], config: Config, sizes: Sizes
) -> Iterator[tuple[str, tuple[ProviderRequests, ...]]]:
    """What is sent to providers, by candidate and what else it is for."""
    for name, one in workloads.items():
        yield name, one.requests
    if config.unlabelled is not None:
        rows = sizes.holdout + sizes.unlabelled
        batched = in_batches(sizes.holdout, sizes.unlabelled)
        yield ANNOTATING, asked_rows(config.unlabelled.model, rows, config, sizes, batched)
    yield from dialogue_requests(workloads, config, sizes)
    yield from judge_requests(workloads.values(), config, sizes)


def building_seconds(name: str, config: Config, sizes: Sizes) -> float:
    """Seconds of building a candidate and choosing on validation, as at a point of a curve: trained
    with one seed."""
    once = config.fine_tune.model_copy(update={"seeds": 1})
    config = config.model_copy(update={"fine_tune": once})
    return _building(specs()[name].estimate(config, sizes), config, sizes, _scale(sizes))


def _memory(workloads: Collection[Workload], sizes: Sizes, optimizer: str) -> float:
    """Bytes at the peak: the models that answer, and the larger of what a training takes beside."""
    encoders = {size for one in workloads for _, size in encoders_of(one, sizes)}
    answering = sizes.parameters + sum(size.parameters for size in encoders)
    work = [0.5e9, *(tuned_bytes(one, sizes) for one in workloads)]
    if any(one.trained for one in workloads):
        kept = sizes.parameters + embedding_copies(sizes, optimizer)
        work.append(BYTES_PER_PARAMETER * kept + 1.5e9 * sizes.parameters / REFERENCE_PARAMETERS)
    return BYTES_PER_PARAMETER * answering + 0.7e9 + max(work)


def _scale(sizes: Sizes) -> float:
    return sizes.parameters / REFERENCE_PARAMETERS * REFERENCE_FLOPS / machine_flops()


def machine_flops() -> float:
    """Of large products in bfloat16 where it is native, else what float32's are worth."""
    return flops_of(products())


def flops_of(found: Products) -> float:
    """Of measured products: bfloat16's where it is native, else what float32's are worth."""
    if found.bfloat16 is not None and native_bfloat16("cpu"):
        return found.bfloat16
    return FLOAT32_WORTH * found.float32


def answer_seconds(sizes: Sizes, shown: float, tokens: float, scale: float) -> float:
    """Of one answer of so many tokens in a full batch; `shown` examples differ from request to
    request."""
    prefill = sizes.input_tokens + shown * (sizes.input_tokens + sizes.output_tokens)
    return scale * (prefill / PREFILL_TOKENS_PER_S + tokens / DECODE_TOKENS_PER_S)


def training_seconds(config: Config, sizes: Sizes, rows: int, scale: float) -> float:
    """Of all epochs, validation loss included (a forward pass, a third of a step).

    They are those of supervised training: learning from graders has steps of its own, which its
    `Workload` counts in rows.
    """
    system = _trained_system(config, sizes)
    chosen = auto.choose(config.fine_tune, parameters=sizes.parameters, rows=rows, method=sft.SPEC)
    steps = math.ceil(rows / chosen.rows_per_step)
    own = (rows + sizes.validation / 3) * (sizes.input_tokens + sizes.output_tokens)
    epoch = steps * TRAIN_STEP_SECONDS + (steps * system + own) / TRAIN_TOKENS_PER_S
    return scale * chosen.epochs * epoch


def training_step_seconds(config: Config, sizes: Sizes, rows: int) -> float:
    """Of one step over so many rows, as `training_seconds` counts it, at pace 1."""
    own = rows * (sizes.input_tokens + sizes.output_tokens)
    return _scale(sizes) * (
        TRAIN_STEP_SECONDS + (_trained_system(config, sizes) + own) / TRAIN_TOKENS_PER_S
    )


def _trained_system(config: Config, sizes: Sizes) -> float:
    """Tokens that all rows begin with where a version is trained: its own system prompt in place of
    the project's, and the definitions of functions."""
    prompt = config.fine_tune.system_prompt
    if prompt is None:
        return sizes.system_tokens
    longer = (len(prompt) - len(config.system_prompt)) / CHARACTERS_PER_TOKEN
    return max(0.0, sizes.system_tokens + longer)


def _stages(
    workloads: Mapping[str, Workload], config: Config, sizes: Sizes, scale: float
) -> Iterator[Stage]:
    """As `assay.compare.comparison` goes through them; some take no time."""
    yield Stage("start", STARTING, "other", START_SECONDS)
    embedded: set[float] = set()
    for name, one in workloads.items():
        if one.embedded in embedded:  # the same rows, whose vectors are kept
            one = replace(one, embedded=0.0)
        embedded.add(one.embedded)
        work: Work = "training" if one.trained else _answering(one)
        seconds = _building(one, config, sizes, scale)
        yield Stage("build", name, work, seconds, _training(one, config, sizes, scale))
    for name, one in workloads.items():
        yield Stage("speed", name, _answering(one), _speed(one, sizes, scale))
    for name, one in workloads.items():
        probed = 2 * PROBE_SECONDS * scale if one.trained else 0.0
        yield Stage("probe", name, "answers", probed)
    if config.unlabelled is not None:
        remote = is_remote(config.unlabelled.model)
        seconds = _annotating(config.unlabelled.model, config, sizes, scale)
        yield Stage("inputs", ANNOTATING, "other" if remote else "answers", seconds)
    for name, one in workloads.items():
        yield Stage("inputs", name, _answering(one), _asked(one, sizes, scale, sizes.unlabelled))
    for name, one in workloads.items():
        yield Stage("holdout", name, _answering(one), _asked(one, sizes, scale, sizes.holdout))
    for name, one in workloads.items():
        yield Stage("rollout", name, _answering(one), _asked(one, sizes, scale, sizes.turns))


def _answering(workload: Workload) -> Work:
    return "answers" if workload.answered_by == "model" else "other"


def _asked(workload: Workload, sizes: Sizes, scale: float, rows: int) -> float:
    """Seconds of so many answers; without a language model they are a part of the building."""
    if workload.answered_by in ("classifier", "rows") or not rows:
        return 0.0
    if workload.answered_by == "provider":
        return rows * REMOTE_SECONDS
    return _answers(sizes, workload.runs[-1], workload.answer_tokens, scale, rows)


def _speed(workload: Workload, sizes: Sizes, scale: float) -> float:
    """Seconds of `compare.performance`: some answers together, then one to warm up and a few one by
    one, fewer where they are slow."""
    alone = _asked(workload, sizes, scale, 1)
    timed = max(FEWEST_TIMED * alone, min(LATENCY_PROMPTS * alone, LATENCY_SECONDS + alone))
    together = min(THROUGHPUT_PROMPTS, sizes.validation)
    return _asked(workload, sizes, scale, together) + alone + timed


def _annotating(model: str, config: Config, sizes: Sizes, scale: float) -> float:
    """What the labels of unlabelled inputs take, those of the holdout included."""
    rows = sizes.holdout + sizes.unlabelled
    if is_remote(model):
        return rows * REMOTE_SECONDS
    return _answers(sizes, 0.0, unshown_answer_tokens(config, sizes), scale, rows)


def _training(workload: Workload, config: Config, sizes: Sizes, scale: float) -> float:
    """Seconds of one training of the model with the answers it draws, 0 where none is trained."""
    if not workload.trained:
        return 0.0
    seconds = workload.trained * training_seconds(config, sizes, sizes.train, scale)
    if workload.drawn:
        seconds += _answers(sizes, 0.0, workload.answer_tokens, scale, workload.drawn)
    return seconds


def _building(workload: Workload, config: Config, sizes: Sizes, scale: float) -> float:
    operations = embedding_operations(workload, sizes)
    seconds = operations / embedding_flops() if operations else 0.0
    if workload.answered_by == "rows":
        return seconds
    if workload.answered_by == "classifier":
        return seconds + CLASSICAL_SECONDS
    if workload.answered_by == "provider":
        seconds += sizes.validation * REMOTE_SECONDS
        return seconds + _training(workload, config, sizes, scale)
    seeds = 1
    if workload.trained:
        each = _training(workload, config, sizes, scale) + 2 * LOAD_SECONDS * scale
        seeds = config.fine_tune.seed_count(each)
        seconds += seeds * each
    if workload.searched:
        seconds += _answers(sizes, 0.0, workload.answer_tokens, scale, workload.searched)
    runs = (*workload.runs, *workload.runs[-1:] * ((seeds - 1) * constraints(config)))
    return seconds + sum(
        _answers(sizes, shown, workload.answer_tokens, scale, sizes.validation) for shown in runs
    )


def _answers(sizes: Sizes, shown: float, tokens: float, scale: float, rows: int) -> float:
    """Seconds of so many answers, asked for together."""
    together = rows * answer_seconds(sizes, shown, tokens, scale)
    return max(together, scale * STEP_SECONDS * tokens)


def curve_seconds(candidate: str, config: Config, sizes: Sizes) -> float:
    """About how long a learning curve takes, in seconds.

    Raises:
        UsageError: there is no such candidate, or it does not learn from examples.
    """
    check_learns(candidate, config)
    whole = building_seconds(candidate, config, sizes)
    # The time of a point is taken to be in proportion to its rows, with a tenth that is fixed.
    shares = [0.1 + 0.9 * rows / sizes.train for rows in curve_sizes(sizes.train)]
    return REPEATS * sum(shares) * whole
