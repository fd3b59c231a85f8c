"""How a route of the API reads its body."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from typing import Annotated, Any

from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import ConfigDict, Field, TypeAdapter

from assay.config.strict import ClosedModel
from assay.serve.auth import RequiredScope
from assay.serve.body import MOST_VALUES, read

JsonObject = Annotated[dict[str, Any], Field(max_length=1000)]
"""What a client's own program has written, such as a schema; its values are looked at later."""


class Strict(ClosedModel):
    """A part of a request."""

    model_config = ConfigDict(allow_inf_nan=False)


class _JsonRequest(Request):
    """A request whose body is parsed."""

    parsed: Any = None

    async def json(self) -> Any:
        """The body as what its route takes."""
        return self.parsed


class JsonRoute(APIRoute):
    """A route whose body is standard JSON: `APIRouter(route_class=JsonRoute)`.

    Who may not ask is told so before the body is read.

    Attributes:
        most_values: of a body, see `assay.serve.body`.
    """

    most_values = MOST_VALUES

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, given requests that are parsed by `assay.serve.body`."""
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle
        annotation: Any = self.body_field.field_info.annotation
        kind: TypeAdapter[Any] = TypeAdapter(annotation)
        scopes = list(_scopes(self.dependant))

        async def strictly(request: Request) -> Response:
            for scope in scopes:
                await scope(request)
            parsed = _JsonRequest(request.scope, request.receive)
            parsed.parsed = await read(parsed, kind, self.most_values)
            return await handle(parsed)

        return strictly


def _scopes(dependant: Dependant) -> Iterator[RequiredScope]:
    for found in dependant.dependencies:
        if isinstance(found.call, RequiredScope):
            yield found.call
        yield from _scopes(found)
