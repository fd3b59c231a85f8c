"""What a comparison pays to providers, told before anything is sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from assay.agent.prices import PriceList
from assay.candidates.spec import ProviderRequests
from assay.config import split_reference


@dataclass(frozen=True, slots=True)
class ProviderCost:
    """What a candidate's requests to one model cost.

    Attributes:
        part: the candidate, or what else is asked for.
        usd: at most, about: answers are taken to be as long as they may be. None where the price
            of the model is not known.
    """

    part: str
    model: str
    usd: float | None


def costs_of(
    part: str, requests: Iterable[ProviderRequests], prices: PriceList
) -> Iterator[ProviderCost]:
    """What each of some requests costs."""
    for one in requests:
        prompt, answer = round(one.prompt_tokens), round(one.answer_tokens)
        each = prices.cost_usd(one.model, prompt, answer)
        usd = None if each is None else one.count * each
        if usd is not None and one.most_usd is not None:
            usd = min(usd, one.most_usd)
        yield ProviderCost(part, one.model, usd)


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
    for model in dict.fromkeys(one.model for one in costs if one.usd is None):
        parts = ", ".join(one.part for one in costs if one.model == model)
        said.append(
            f"The price of {model} is not known, so neither is the cost of {parts}. Set it in "
            f"providers.{split_reference(model)[0]}.prices."
        )
    return said
