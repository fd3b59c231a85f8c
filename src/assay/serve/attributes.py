"""Filters of a search by attributes of files, as OpenAI has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import ge, gt, le, lt
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from assay.serve.route import Strict

_MOST = 20

_Text = Annotated[str, Field(max_length=512)]
_Value = _Text | bool | float


class ComparisonFilter(Strict):
    """One attribute against a value; a file without the attribute only ever differs (`ne`)."""

    type: Literal["eq", "ne", "gt", "gte", "lt", "lte", "in", "nin"]
    key: Annotated[str, Field(max_length=64)]
    value: _Value | Annotated[list[_Text | float], Field(max_length=_MOST, fail_fast=True)]


class CompoundFilter(Strict):
    """Several filters together."""

    type: Literal["and", "or"]
    filters: Annotated[list[Filter], Field(min_length=1, max_length=_MOST, fail_fast=True)]


def _kind(value: Any) -> str:
    type_ = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return "compound" if type_ in ("and", "or") else "comparison"


Filter = Annotated[
    Annotated[CompoundFilter, Tag("compound")] | Annotated[ComparisonFilter, Tag("comparison")],
    Discriminator(_kind),
]
CompoundFilter.model_rebuild()


def make_matcher(filter: ComparisonFilter | CompoundFilter) -> Callable[[Mapping[str, Any]], bool]:
    """Whether attributes pass a filter."""
    return lambda attributes: _passes(filter, attributes)


def _passes(filter: ComparisonFilter | CompoundFilter, attributes: Mapping[str, Any]) -> bool:
    if isinstance(filter, CompoundFilter):
        each = (_passes(inner, attributes) for inner in filter.filters)
        return all(each) if filter.type == "and" else any(each)
    if filter.key not in attributes:
        return filter.type in ("ne", "nin")
    found, wanted = attributes[filter.key], filter.value
    if isinstance(wanted, list):
        inside = any(_same(found, value) for value in wanted)
        return {"in": inside, "nin": not inside}.get(filter.type, False)
    if filter.type in ("eq", "ne"):
        return _same(found, wanted) == (filter.type == "eq")
    if not _ordered(found, wanted):
        return False
    compare = {"gt": gt, "gte": ge, "lt": lt, "lte": le}.get(filter.type)
    return compare is not None and bool(compare(found, wanted))


def _same(a: Any, b: Any) -> bool:
    return isinstance(a, bool) == isinstance(b, bool) and bool(a == b)


def _ordered(a: Any, b: Any) -> bool:
    """Whether one can be more than the other: two numbers, or two texts."""
    numbers = all(isinstance(x, int | float) and not isinstance(x, bool) for x in (a, b))
    return numbers or (isinstance(a, str) and isinstance(b, str))
