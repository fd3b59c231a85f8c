"""What pydantic finds, in words of people."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import Field, TypeAdapter, ValidationError

from assay.config import Costs
from assay.config.providers import RemoteModel
from assay.config.sentences import sentence
from assay.config.training import TrainingSettings


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        (int, "many", "it should be a whole number, not 'many'."),
        (int, 2.5, "it should be a whole number."),
        (str, 5, "it should be text."),
        (Annotated[int, Field(ge=1)], 0, "it should be at least 1."),
        (Annotated[float, Field(gt=0)], 0, "it should be more than 0."),
        (Annotated[float, Field(lt=0.5)], 0.5, "it should be less than 0.5."),
        (Annotated[int, Field(lt=2**63)], 2**63, "it should be less than 9223372036854775808."),
        (Annotated[list[str], Field(min_length=1)], [], "it needs at least one entry."),
        (Annotated[str, Field(max_length=2)], "abc", "it should have at most 2 characters."),
        (RemoteModel, "gpt", "it should be of the form remote:PROVIDER/MODEL."),
    ],
)
def test_a_problem_is_told_plainly(kind: Any, value: object, said: str) -> None:
    with pytest.raises(ValidationError) as found:
        TypeAdapter(kind).validate_python(value)
    assert sentence(found.value.errors()[0]) == said


def test_what_may_be_auto_is_told_once() -> None:
    with pytest.raises(ValidationError) as found:
        TrainingSettings.model_validate({"epochs": 10**9})
    assert [sentence(one) for one in found.value.errors()] == [
        "it should be at most 10000, or auto."
    ]


@pytest.mark.parametrize("name", Costs.model_fields)
def test_no_cost_is_boundless(name: str) -> None:
    with pytest.raises(ValidationError) as found:
        Costs.model_validate({name: 1e300})
    assert sentence(found.value.errors()[0]).startswith("it should be at most ")
