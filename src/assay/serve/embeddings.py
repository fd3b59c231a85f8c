"""`/v1/embeddings`: texts to vectors of length 1."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Depends, Response
from pydantic import Discriminator, Field, StringConstraints, Tag

from assay.accounts.keys import Caller
from assay.errors import ModelError
from assay.generate.prompts import CHARACTERS_PER_TOKEN
from assay.models import openai_tokens
from assay.models.embed import Embedder
from assay.project.answer.names import embedders
from assay.serve.auth import RequiredScope, ServedWorkspace
from assay.serve.errors import ApiError, invalid
from assay.serve.route import JsonRoute, Strict

MOST_TEXTS = 2048
MOST_TOKENS = 2**17
"""Ids of one text."""
MOST_IDS = 300_000
"""Of a request: OpenAI's limit, up to which its clients fill theirs."""
_COUNTED_AT_ONCE = 32
"""Texts whose tokens are in memory at the same time."""
TokenIds = Annotated[
    list[Annotated[int, Field(strict=True, ge=0, lt=openai_tokens.IDS)]],
    Field(min_length=1, max_length=MOST_TOKENS, fail_fast=True),
]


class _IdsRoute(JsonRoute):
    """Lets in as many ids, with their lists and what stands beside them."""

    most_values = MOST_IDS + MOST_TEXTS + 1000


router = APIRouter(tags=["embeddings"], route_class=_IdsRoute)
_Several = Field(min_length=1, max_length=MOST_TEXTS, fail_fast=True)


def _form(given: Any) -> str:
    """Which form of input is meant, so that what is wrong is told of that one alone."""
    if not isinstance(given, list):
        return "a-text"
    first = given[0] if given else None
    return {int: "its-ids", list: "several-ids"}.get(type(first), "several-texts")


Input = Annotated[
    Annotated[str, Tag("a-text")]
    | Annotated[TokenIds, Tag("its-ids")]
    | Annotated[list[str], _Several, Tag("several-texts")]
    | Annotated[list[TokenIds], _Several, Tag("several-ids")],
    Discriminator(_form),
]


class EmbeddingRequest(Strict):
    """The body. Token ids are those of OpenAI's embedders, as its clients make them."""

    model: Annotated[str, StringConstraints(min_length=1, max_length=300)]
    input: Input
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Field(ge=1)] | None = None
    user: str | None = None


@router.post("/v1/embeddings")
def create(
    workspace: ServedWorkspace,
    body: EmbeddingRequest,
    caller: Annotated[Caller, Depends(RequiredScope("chat"))],
) -> Response:
    """Compute an embedding for each text."""
    if body.model not in embedders():
        raise ApiError(
            404,
            f"The model '{body.model}' does not exist or does not create embeddings.",
            code="model_not_found",
            param="model",
        )
    embedder = workspace.embedder(body.model)
    if body.dimensions not in (None, embedder.dimension):
        raise _invalid(f"the vectors have {embedder.dimension} numbers", "dimensions")
    texts = _read_texts(body.input, embedder)
    if not all(texts):
        raise _invalid("a text is empty", "input")
    tokens = _count_tokens(embedder, texts)
    as_text = body.encoding_format == "base64"
    spelled = [
        _format_vector(number, vector, as_text)
        for number, vector in enumerate(embedder.encode(texts))
    ]
    rest = {
        "model": body.model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
    # Put together here, in a thread: a million numbers would keep the event loop for a second.
    whole = f'{{"object":"list","data":[{",".join(spelled)}],{json.dumps(rest)[1:]}'
    return Response(whole, media_type="application/json")


def _read_texts(given: str | Sequence[Any], embedder: Embedder) -> list[str]:
    """The texts of a request.

    Raises:
        ApiError: token ids are more than the model can look at, or cannot be read here.
    """
    if isinstance(given, str):
        return [given]
    if isinstance(given[0], str):
        return list(given)
    several: list[Any] = [given] if isinstance(given[0], int) else list(given)
    if (most := max(map(len, several))) > CHARACTERS_PER_TOKEN * embedder.limit:
        raise _too_long(f"{most} token ids", embedder)
    try:
        return [openai_tokens.decode(ids) for ids in several]
    except ModelError as error:
        raise invalid(
            f"{error} Or send texts (langchain-openai: `check_embedding_ctx_length=False`).",
            "input",
            "unsupported_value",
        ) from None


def _count_tokens(embedder: Embedder, texts: Sequence[str]) -> int:
    """Tokens of all texts together.

    Raises:
        ApiError: one has more than the model looks at.
    """
    tokens = 0
    for start in range(0, len(texts), _COUNTED_AT_ONCE):
        some = texts[start : start + _COUNTED_AT_ONCE]
        longest = max(map(len, some))
        if longest > CHARACTERS_PER_TOKEN * embedder.limit:
            raise _too_long(f"{longest} characters", embedder)
        lengths = embedder.lengths(some)
        if max(lengths) > embedder.limit:
            raise _too_long(f"{max(lengths)} tokens", embedder)
        tokens += sum(lengths)
    return tokens


def _format_vector(number: int, vector: Any, as_text: bool) -> str:
    numbers = np.asarray(vector, dtype="<f4")
    embedding = base64.b64encode(numbers.tobytes()).decode() if as_text else numbers.tolist()
    return json.dumps({"object": "embedding", "index": number, "embedding": embedding})


def _too_long(what: str, embedder: Embedder) -> ApiError:
    return invalid(
        f"A text has {what}, but the model reads at most {embedder.limit} tokens.",
        "input",
        "context_length_exceeded",
    )


def _invalid(why: str, param: str) -> ApiError:
    return ApiError(400, f"Invalid value for '{param}': {why}.", code="invalid_value", param=param)
