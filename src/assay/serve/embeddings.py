"""`/v1/embeddings`: texts to vectors of length 1."""

from __future__ import annotations

import base64
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Depends, Request
from pydantic import Field, StringConstraints

from assay.project.served import embedders
from assay.project.workspace import Workspace
from assay.serve.auth import Caller, authenticated
from assay.serve.errors import ApiError
from assay.serve.route import JsonRoute, Strict

router = APIRouter(tags=["embeddings"], route_class=JsonRoute)

MOST_TEXTS = 2048


class EmbeddingRequest(Strict):
    """The body. Token ids are refused: they would be of another model's tokenizer."""

    model: Annotated[str, StringConstraints(min_length=1, max_length=300)]
    input: str | Annotated[list[str], Field(min_length=1, max_length=MOST_TEXTS)]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Field(ge=1)] | None = None
    user: str | None = None


@router.post("/v1/embeddings")
def create(
    request: Request,
    body: EmbeddingRequest,
    caller: Annotated[Caller, Depends(authenticated("chat"))],
) -> dict[str, Any]:
    """A vector for each text."""
    if body.model not in embedders():
        raise ApiError(
            404,
            f"The model '{body.model}' does not exist or makes no embeddings.",
            code="model_not_found",
            param="model",
        )
    workspace: Workspace = request.app.state.workspace
    embedder = workspace.embedder(body.model)
    if body.dimensions not in (None, embedder.dimension):
        raise _invalid(f"the vectors have {embedder.dimension} numbers", "dimensions")
    texts = [body.input] if isinstance(body.input, str) else body.input
    if not all(texts):
        raise _invalid("a text is empty", "input")
    lengths = embedder.lengths(texts)
    if max(lengths) > embedder.limit:
        raise ApiError(
            400,
            f"A text has {max(lengths)} tokens, the model looks at {embedder.limit}.",
            code="context_length_exceeded",
            param="input",
        )
    vectors = embedder.encode(texts)
    as_text = body.encoding_format == "base64"
    return {
        "object": "list",
        "data": [
            {
                "object": "embedding",
                "index": number,
                "embedding": _base64(vector) if as_text else [float(x) for x in vector],
            }
            for number, vector in enumerate(vectors)
        ],
        "model": body.model,
        "usage": {"prompt_tokens": sum(lengths), "total_tokens": sum(lengths)},
    }


def _base64(vector: Any) -> str:
    return base64.b64encode(np.asarray(vector, dtype="<f4").tobytes()).decode()


def _invalid(why: str, param: str) -> ApiError:
    return ApiError(400, f"Invalid value for '{param}': {why}.", code="invalid_value", param=param)
