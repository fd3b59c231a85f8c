"""What a request may hold is limited everywhere: no list, mapping or part of one is forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import pytest
from fastapi.routing import APIRoute
from pydantic import BaseModel, TypeAdapter
from tests.serve.scripted import ScriptedEngines

from assay import serve
from assay.config.strict import MOST_FIELDS, ClosedModel
from assay.project.workspace import Workspace
from assay.serve.app import create_app
from assay.serve.body import MOST_VALUES
from assay.serve.chat import ChatRequest
from assay.serve.route import JsonRoute

MODULES = [import_module(f"assay.serve.{found.name}") for found in iter_modules(serve.__path__)]
ROUTES = [
    route
    for module in MODULES
    if (router := getattr(module, "router", None)) is not None
    for route in router.routes
    if isinstance(route, APIRoute)
]
MANY = ("list", "dict", "set", "frozenset", "tuple", "generator")


def schemas(found: Any, seen: set[int] | None = None) -> Iterator[dict[str, Any]]:
    """Every part of a core schema that has a type."""
    seen = set() if seen is None else seen
    if id(found) in seen:
        return
    seen.add(id(found))
    if isinstance(found, dict):
        if isinstance(found.get("type"), str):
            yield found
        found = [
            value for name, value in found.items() if name not in ("metadata", "serialization")
        ]
    if isinstance(found, (list, tuple)):
        for inner in found:
            yield from schemas(inner, seen)


def problems(kind: Any) -> list[str]:
    """What in a type could make one request take gigabytes."""
    told = []
    for schema in schemas(TypeAdapter(kind).core_schema):
        if schema["type"] in MANY:
            if not schema.get("max_length", MOST_VALUES + 1) <= MOST_VALUES:
                told.append(f"a {schema['type']} without max_length")
            elements = [schema.get("items_schema"), schema.get("values_schema")]
            checked = any(one is not None and one["type"] != "any" for one in elements)
            if checked and not schema.get("fail_fast"):
                told.append(f"a {schema['type']} without fail_fast")
        if schema["type"] == "model":
            model = schema["cls"]
            # What is let in, or left out on purpose, is no problem to be told either.
            closed = issubclass(model, ClosedModel) or "extra" in model.model_config
            if issubclass(model, BaseModel) and not closed:
                told.append(f"{model.__name__} is no ClosedModel: it has any number of problems")
    return told


@pytest.mark.parametrize(
    "route", ROUTES, ids=lambda route: f"{route.endpoint.__module__}.{route.name}"
)
def test_bodies(route: APIRoute) -> None:
    if route.body_field is None:
        return
    assert isinstance(route, JsonRoute), "its body would be parsed on the event loop"
    assert problems(route.body_field.field_info.annotation) == []


def test_all_routes_are_looked_at(tmp_path: Path) -> None:
    app = create_app(Workspace(tmp_path), ScriptedEngines())
    paths = set(app.openapi()["paths"])
    assert paths <= {route.path_format for route in ROUTES}


def test_what_has_no_limit_is_found() -> None:
    class Open(BaseModel):
        inner: list[int]

    assert len(problems(Open)) == 3
    assert problems(dict[str, int])


def test_many_wrong_fields_are_one_problem() -> None:
    body = {"model": "a", "messages": [{"role": "user", "content": "b"}]}
    wrong = {f"f{n}": 1 for n in range(MOST_FIELDS + 1)}
    with pytest.raises(ValueError) as error:  # noqa: PT011
        ChatRequest.model_validate({**body, **wrong})
    assert str(error.value).count("fields") == 1
    assert error.value.error_count() == 1  # type: ignore[attr-defined]
