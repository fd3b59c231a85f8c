"""What API keys spend at providers: prices, budgets, and sums of the usage log.

Before a request leaves, the most that it can cost is set aside (`usage_log`); when its answer has
ended, what it did cost takes the place of that. What nobody can tell (a missing count, an answer
that broke off, what a killed process had under way) counts as spent in full: unknown is never
nothing. Keys without a budget set nothing aside.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from assay.accounts.keys import STUDIO, local_user, studio_key
from assay.accounts.leases import reclaim
from assay.agent.answering import EngineCall
from assay.agent.prices import PriceList
from assay.config import is_remote
from assay.errors import AssayError, Step, UsageError
from assay.generate.stream import End
from assay.store.audit import record
from assay.store.store import Store
from assay.store.tables import ApiKeyRow, BudgetRow, UsageRow

MAX_TOKENS = 4096
"""Of an answer for a key with a budget, where the request says nothing."""
MOST_USD = 1_000_000_000
"""Of a budget."""
_UNIT = 1_000_000_000  # billionths of a USD: sums are exact
_OVERHEAD = 1000  # tokens that a provider may put around a request


class BudgetError(AssayError):
    """A key's budget does not allow a request.

    Attributes:
        is_passing: it may, once what is set aside for other requests has come back.
    """

    is_passing = False


@dataclass(frozen=True, slots=True)
class Budget:
    """USD. `reserved`: held by servers for requests under way and the next ones."""

    most: float
    spent: float
    reserved: float


def check_budget(usd: float | None) -> None:
    """Raises UsageError where this is no amount; None is no budget."""
    if usd is not None and not 0 <= usd <= MOST_USD:
        raise UsageError(
            f"{usd:.15g} USD is not a valid budget: it is from 0 to {MOST_USD:,} USD.",
            fix="Give an amount such as 5.",
        )


def set_budget(
    store: Store, key: str, usd: float, who: str | None = None, project: str | None = None
) -> None:
    """Give a key a budget, or another one, within two seconds; what was spent stays spent.

    Args:
        key: its id, or `STUDIO`: what people in the studio spend together.
        project: of the studio.

    Raises:
        UsageError: no such key, or no such amount.
    """
    check_budget(usd)
    with store.session() as session:
        if key == STUDIO and project is not None:
            owner: ApiKeyRow | None = studio_key(session, project)
        else:
            owner = session.get(ApiKeyRow, key)
        if owner is None:
            raise UsageError(f"there is no key {key!r}.", fix=f"{Step.LIST_KEYS} shows all keys.")
        row = session.get(BudgetRow, key)
        if row is None:
            session.add(BudgetRow(key=key, most=units(usd), spent=0, reserved=0))
        else:
            row.most = units(usd)
        record(session, owner.project, who or local_user(), "key.budget", key, {"usd": usd})


def has_budget(store: Store, key: str) -> bool:
    """Whether what a key may spend is limited."""
    with store.session() as session:
        return session.get(BudgetRow, key) is not None


def budgets(store: Store) -> dict[str, Budget]:
    """By key; what servers held that are gone comes back first."""
    reclaim(store)
    with store.session() as session:
        rows = session.scalars(select(BudgetRow))
        return {
            row.key: Budget(row.most / _UNIT, row.spent / _UNIT, row.reserved / _UNIT)
            for row in rows
        }


def most_usd(
    prices: PriceList, chains: Sequence[Sequence[str]], path: Sequence[EngineCall], count: int
) -> float:
    """The most that `count` answers can cost.

    A route may ask all that are on its path.

    Args:
        chains: for each call of the path the models of which one will answer.

    Raises:
        BudgetError: a price is not known.
    """
    each = [_most_of_call(prices, *one) for one in zip(chains, path, strict=True)]
    known = [usd for usd in each if usd is not None]
    if len(known) < len(each):
        raise BudgetError(
            "this key has a budget, but the price of this model is not known.",
            fix="Set it in the provider's `prices` in assay.yaml.",
        )
    return count * sum(known)


def _most_of_call(prices: PriceList, models: Sequence[str], call: EngineCall) -> float | None:
    """Of one answer. A token is at least a byte of the request as it is sent; models of this
    machine cost a key nothing."""
    turns = [message.to_dict() for message in call.messages]
    sent = json.dumps([turns, list(call.tools), call.sampling.schema]).encode()
    limit = call.sampling.max_new_tokens or MAX_TOKENS
    most = 0.0
    for model in filter(is_remote, models):
        one = prices.cost_usd(model, len(sent) + _OVERHEAD, limit)
        if one is None:
            return None
        most = max(most, one)
    return most


def costs(prices: PriceList, ends: Sequence[End | None]) -> float | None:
    """USD of a request's answers; None where one of them broke off or cannot be priced."""
    sum = 0.0
    for end in ends:
        usd = None if end is None else cost_of(prices, end)
        if usd is None:
            return None
        sum += usd
    return sum


def cost_of(prices: PriceList, end: End) -> float | None:
    """USD of one answer; nothing where no provider's model gave it."""
    if end.model is None:
        return 0.0
    return prices.cost_usd(end.model, end.prompt_tokens, end.completion_tokens, end.cached_tokens)


def price_request(
    prices: PriceList, machine_hour_usd: float | None, ends: Sequence[End], seconds: float
) -> float | None:
    """What a request has cost: tokens at providers, and the time of the machine that answers here.

    Where both were asked, all of the time counts as the machine's, which is never too little. At
    full load a machine's answer costs less: a comparison measures that. None where unknown.
    """
    elsewhere = costs(prices, ends)
    if all(end.model is not None for end in ends):
        return elsewhere
    if elsewhere is None or machine_hour_usd is None:
        return None
    return elsewhere + machine_hour_usd * seconds / 3600


def calls_of(end: End) -> tuple[End, ...]:
    """The ends of all calls that an answer took: more than one where a route chose."""
    return end.arm_ends or (end,)


def usage(store: Store, project: str) -> list[dict[str, Any]]:
    """Sums by key and model; `unpriced` and `uncounted` are answers that a sum leaves out."""
    kinds = {
        "prompt_tokens": UsageRow.prompt,
        "cached_tokens": UsageRow.cached,
        "completion_tokens": UsageRow.completion,
        "reasoning_tokens": UsageRow.reasoning,
    }
    query = (
        select(
            UsageRow.key,
            UsageRow.model,
            func.count().label("answers"),
            *(func.sum(column).label(name) for name, column in kinds.items()),
            func.sum(UsageRow.cost).label("cost"),
            (func.count() - func.count(UsageRow.cost)).label("unpriced"),
            (func.count() - func.count(UsageRow.prompt)).label("uncounted"),
        )
        .where(UsageRow.project == project)
        .group_by(UsageRow.key, UsageRow.model)
        .order_by(UsageRow.key, UsageRow.model)
    )
    with store.session() as session:
        rows = [dict(row) for row in session.execute(query).mappings()]
    for row in rows:
        cost = row.pop("cost")
        row["usd"] = None if cost is None else float(cost) / _UNIT
    return rows


def units(usd: float) -> int:
    """Billionths of a USD, rounded up: a fraction of one is not nothing."""
    return -int(-usd * _UNIT // 1)
