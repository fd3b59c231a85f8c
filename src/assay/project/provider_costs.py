"""What a comparison pays to providers, told before anything is sent."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from assay.agent.prices import PriceList
from assay.candidates.registry import is_route, specs
from assay.candidates.spec import (
    CHARACTERS_PER_TOKEN,
    ProviderRequests,
    Sizes,
    Workload,
    asked_rows,
    constraints,
    in_batches,
)
from assay.config import Config, is_remote, join_names, split_reference
from assay.config.training import SEEDS
from assay.evaluate.graders.judge import JudgedPair, JudgeSettings, request
from assay.evaluate.judging import INJECTIONS
from assay.generate.remote.batch_endpoint import PRICE_SHARE

ORDERS = 2
"""In which a judge sees each pair."""
_BATCHED = (
    "The provider's batches, which its settings ask for, make it about {usd:.2f} USD for {parts}; "
    "each step waits for its batch, up to a day."
)
_COULD_BE = (
    "The provider's batches would make it about {usd:.2f} USD for {parts}, with up to a day of "
    "waiting at each step: set batch: true of the provider."
)


@dataclass(frozen=True, slots=True)
class ProviderCost:
    """What a candidate's requests to one model cost.

    Attributes:
        part: the candidate, or what else is asked for.
        usd: at most, about: answers are taken to be as long as they may be. None where the price
            of the model is not known.
        batched_usd: the same with the provider's batches; None where it is known to have none, or
            nothing would be asked in them.
        batches: whether its settings ask for them.
    """

    part: str
    model: str
    usd: float | None
    batched_usd: float | None = None
    batches: bool = False


def judge_requests(
    workloads: Collection[Workload], config: Config, sizes: Sizes
) -> Iterator[tuple[str, tuple[ProviderRequests, ...]]]:
    """What judges at providers are asked, at most: of every answer whether it is better than the
    expected one, in both orders. By the judge's label.

    Answers of outside models and of saved agents are left out: how many there will be is not known.
    """
    for spec in config.graders:
        if spec.name != "judge":
            continue
        settings = JudgeSettings.model_validate(spec.settings)
        if not is_remote(settings.model):
            continue
        pairs = sizes.judged.get(spec.label, 0)
        compared = pairs + INJECTIONS if pairs else 0
        again = sizes.holdout + sizes.unlabelled if spec.label == config.primary else 0
        answers = sum(_graded(one, config, sizes) for one in workloads) + again * len(workloads)
        form = request(JudgedPair("", "", ""), settings.criteria, 0)
        words = sum(len(message.content) for message in form.messages) / CHARACTERS_PER_TOKEN
        length = max((sizes.output_tokens, *(one.answer_tokens for one in workloads)))
        tokens = words + sizes.input_tokens + sizes.output_tokens + length
        asked = ORDERS * (answers + compared)
        found = [ORDERS * n for one in workloads for n in _measured(one, config, sizes)]
        batched, most = in_batches(*found), form.max_new_tokens
        yield (
            spec.label,
            (ProviderRequests(settings.model, asked, tokens, most, batched=batched),),
        )


def dialogue_requests(
    workloads: Mapping[str, Workload], config: Config, sizes: Sizes
) -> Iterator[tuple[str, tuple[ProviderRequests, ...]]]:
    """What whole dialogues take of models at providers, by candidate, at most: a route may ask all
    of its arms, also those that take part. Turns that tools bring about are left out: how many is
    not known."""
    if not sizes.turns:
        return
    for name, one in workloads.items():
        arms = config.route.arms if is_route(name) and config.route is not None else []
        models = {each.model for each in one.requests if one.answered_by == "provider"}
        for arm in arms:
            spec = specs().get(arm)
            model = config.remote if spec is not None and spec.family == "provider" else arm
            models |= {model} if model is not None and is_remote(model) else set()
        asked = (asked_rows(model, sizes.turns, config, sizes) for model in sorted(models))
        yield f"{name} in whole dialogues", tuple(each for found in asked for each in found)


def _graded(one: Workload, config: Config, sizes: Sizes) -> float:
    """Answers of a candidate that graders score, those of every seed and of a search included."""
    return sum(_measured(one, config, sizes)) + one.searched


def _measured(one: Workload, config: Config, sizes: Sizes) -> list[int]:
    """The same by measurement, without those of a search."""
    runs = max(1, len(one.runs))
    if one.trained:
        runs += ((config.fine_tune.seeds or SEEDS) - 1) * constraints(config)
    return [*[sizes.validation] * runs, sizes.holdout]


def costs_of(
    part: str, requests: Iterable[ProviderRequests], prices: PriceList
) -> Iterator[ProviderCost]:
    """What each of some requests costs."""
    for one in requests:
        prompt, answer = round(one.prompt_tokens), round(one.answer_tokens)
        each = prices.cost_usd(one.model, prompt, answer)
        usd = None if each is None else one.count * each
        batches, batched = prices.batches(one.model), None
        if usd is not None and batches is not None and one.batched:
            batched = usd * (1 - (1 - PRICE_SHARE) * one.batched / one.count)
        if usd is not None and one.most_usd is not None:
            usd = min(usd, one.most_usd)
        yield ProviderCost(part, one.model, usd, batched, batches is True)


def total_usd(costs: Iterable[ProviderCost]) -> float | None:
    """USD of all; None where the price of one is not known."""
    total = 0.0
    for one in costs:
        if one.usd is None:
            return None
        total += one.usd
    return total


def describe_costs(costs: Sequence[ProviderCost]) -> list[str]:
    """Sentences: what is paid at most and for what, and which prices are not known."""
    said = []
    if known := [one for one in costs if one.usd is not None]:
        each = ", ".join(f"{one.part} {one.usd:.2f} ({one.model})" for one in known)
        said.append(f"Providers cost about {total_usd(known):.2f} USD more, at most: {each}.")
    for asked in (True, False):
        if found := [one for one in known if one.batches is asked and one.batched_usd is not None]:
            usd = sum(one.batched_usd or 0.0 for one in found)
            names = join_names(dict.fromkeys(one.part for one in found))
            said.append((_BATCHED if asked else _COULD_BE).format(parts=names, usd=usd))
    for model in dict.fromkeys(one.model for one in costs if one.usd is None):
        parts = ", ".join(one.part for one in costs if one.model == model)
        said.append(
            f"The price of {model} is not known, so neither is the cost of {parts}. Set it in "
            f"providers.{split_reference(model)[0]}.prices."
        )
    return said
