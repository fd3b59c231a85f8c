"""How a route of the API reads its body."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict
from pydantic_core import from_json


class Strict(BaseModel):
    """A part of a request: a field that is not named is refused, so that none is ignored."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class _JsonRequest(Request):
    async def json(self) -> Any:
        """The body, if it is JSON as the standard has it: no NaN, no half characters."""
        try:
            return from_json(await self.body(), allow_inf_nan=False)
        except ValueError as error:
            raise json.JSONDecodeError(str(error), "", 0) from None  # the one FastAPI expects


class JsonRoute(APIRoute):
    """A route whose body is standard JSON: `APIRouter(route_class=JsonRoute)`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, given requests that read JSON strictly."""
        handle = super().get_route_handler()

        async def strictly(request: Request) -> Response:
            return await handle(_JsonRequest(request.scope, request.receive))

        return strictly
