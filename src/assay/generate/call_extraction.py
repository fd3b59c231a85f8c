"""`calls:BLOB`: which function to call, and each argument as a field, without a language model.

A conversation is looked at twice. Which function is called, if any, is told by the words of its
last two turns and by who spoke. The arguments are found as the fields of a record are, see
`assay.generate.extraction`, in all turns, the newest first: what was said last counts.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from assay import json_reader
from assay.data.calls import functions_of
from assay.example import Message, ToolCall, call_text
from assay.generate.batch import Answer, BatchEngine, Request
from assay.generate.calibration import Calibration
from assay.generate.extraction import (
    WORD_PLACES,
    ExtractEngine,
    ExtractModel,
    dump_extract,
    load_extract,
    word_features,
)
from assay.generate.logistic import log_softmax
from assay.generate.nearest import round_likeness
from assay.generate.registry import EngineResources
from assay.models.embed import Embedder, get_embedder
from assay.models.tensor_blob import Array, check_arrays, dump_tensors, load_tensors, read_texts
from assay.progress import SILENT, Progress
from assay.store import blobs

FORMAT = "assay-calls-2"
LAST_TURNS = 2
"""Turns whose words tell which function is called."""
LAST_ROLES = 4
"""Turns of which it counts who spoke, or that a function was called."""
LONGEST_TURN = 20_000
"""Characters of a turn that are looked at for its words, the first ones."""
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class CallModel:
    """What has been learned of calls.

    Attributes:
        names: of the functions that are chosen from; None: no call.
        coefficients: [len(names), F] of the words of `decision_text`, see `word_features`.
        intercept: [len(names)].
        functions: what finds the arguments in the text of `newest_first`, by name; of None: what is
            said.
        calibrations: for each name, how probable it is that an answer is right, by the share that
            `decide` gives the name.
        rows: what `assay.models.lineage.rows_of` knows the rows by.
    """

    names: tuple[str | None, ...]
    coefficients: Array
    intercept: Array
    functions: Mapping[str | None, ExtractModel]
    calibrations: tuple[Calibration, ...]
    rows: str


def decision_text(messages: Sequence[Message]) -> str:
    """The words of the last turns, each with its turn's distance from the end, and who spoke.

    System turns are left out. They differ between jobs, and not between the rows of one.
    """
    turns = _turns(messages)
    words = [
        f"{distance}_{word}"
        for distance, turn in enumerate(turns[: -LAST_TURNS - 1 : -1])
        for word in _WORD.findall(turn.content[:LONGEST_TURN].lower())
    ]
    spoken = ["call" if turn.tool_calls else turn.role for turn in turns[-LAST_ROLES:]]
    return " ".join([*words, *(f"by_{one}" for one in spoken), "by_" + "_".join(spoken)])


def newest_first(messages: Sequence[Message]) -> str:
    """What all turns say, the last one first, system turns left out."""
    return "\n".join(turn.content for turn in reversed(_turns(messages)))


def _turns(messages: Sequence[Message]) -> list[Message]:
    return [one for one in messages if one.role not in ("system", "developer")]


def decide(model: CallModel, requests: Sequence[Request]) -> list[tuple[int, float]]:
    """The name that each request is answered with, by its place, and its share of all (0 to 1)."""
    features = word_features([decision_text(request.messages) for request in requests])
    scores = round_likeness(np.asarray(features @ model.coefficients.T) + model.intercept)
    shares = np.exp(log_softmax(scores))
    places = scores.argmax(axis=1).tolist()
    return [(place, float(row[place])) for place, row in zip(places, shares, strict=True)]


class CallEngine:
    """Answers with a call, or with words where none is right; tokens are not counted.

    Args:
        sha256: of the model's blob.

    Raises:
        ModelError: the embedder is not the one of the rows.
    """

    def __init__(self, model: CallModel, embedder: Embedder, sha256: str) -> None:
        self._model = model
        self._functions = {
            name: ExtractEngine(one, embedder, sha256) for name, one in model.functions.items()
        }
        self._embedder, self._sha256 = embedder, sha256

    @property
    def identity(self) -> dict[str, str]:
        """All that can change an answer and is not in the request."""
        return {"engine": "calls", "model": self._sha256, "embedder": self._embedder.identity}

    def prompt_length(self, request: Request) -> int:
        """0: nothing is counted in tokens."""
        return 0

    def answer(self, requests: Sequence[Request], progress: Progress = SILENT) -> list[Answer]:
        """A call of one of the functions that each request offers, or words.

        One whose arguments do not fit the function's `parameters` gives way to that of the most
        similar row which fits; where none of `extraction.MOST_TRIED` does, it is refused. Its
        `logprob` is that of its being right; None where the function that was chosen is not
        offered, or the call is refused.
        """
        if not requests:
            return []
        answers: list[Answer] = [Answer("")] * len(requests)
        decided = decide(self._model, requests)
        names = [
            self._offered(place, request)
            for (place, _), request in zip(decided, requests, strict=True)
        ]
        with progress.task("extracting", len(requests), "answers") as task:
            for name in dict.fromkeys(names):
                places = [place for place, one in enumerate(names) if one == name]
                given = self._answer(name, [requests[place] for place in places])
                for place, answer in zip(places, given, strict=True):
                    chosen, share = decided[place]
                    if answer.error is None and name == self._model.names[chosen]:
                        sure = self._model.calibrations[chosen].logprob(share)
                        answer = replace(answer, logprob=sure)
                    answers[place] = answer
                    task.advance()
        return answers

    def _offered(self, place: int, request: Request) -> str | None:
        """The name at a place; a function that is not offered is none."""
        name = self._model.names[place]
        return name if name in functions_of(request.tools) else None

    def _answer(self, name: str | None, requests: Sequence[Request]) -> list[Answer]:
        if name not in self._functions:  # every row makes a call
            return [Answer("")] * len(requests)
        asked = [
            Request(
                (Message("user", newest_first(request.messages)),),
                schema=functions_of(request.tools)[name].get("parameters") if name else None,
            )
            for request in requests
        ]
        given = self._functions[name].answer(asked)
        if name is None:
            said = [json_reader.read(answer.text) for answer in given]
            return [Answer(text if isinstance(text, str) else "") for text in said]
        return [
            Answer(call_text(ToolCall("", name, answer.text))) if answer.error is None else answer
            for answer in given
        ]


def dump_calls(model: CallModel) -> bytes:
    """A model as a blob, see `dump_tensors`."""
    tensors: dict[str, Array] = {
        str(place): np.frombuffer(dump_extract(model.functions[name]), dtype=np.int8)
        for place, name in enumerate(model.names)
    }
    curves = [(one.slope, one.intercept) for one in model.calibrations]
    tensors |= {
        "coefficients": model.coefficients,
        "intercept": model.intercept,
        "calibrations": np.array(curves, dtype=np.float64),
    }
    document = {"names": model.names, "rows": model.rows}
    return dump_tensors(FORMAT, document, tensors)


def load_calls(blob: bytes) -> CallModel:
    """The inverse of `dump_calls`.

    Raises:
        ModelError: the blob is none, or is damaged.
    """

    def parse(document: dict[str, Any], tensors: dict[str, Array]) -> CallModel:
        names = document["names"]
        if not read_texts([name or "" for name in names]):
            raise ValueError("there is nothing to choose from")
        parts = {str(place): (-1,) for place in range(len(names))}
        shapes = {
            "coefficients": (len(names), WORD_PLACES),
            "intercept": (len(names),),
            "calibrations": (len(names), 2),
        }
        check_arrays(tensors, parts | shapes)
        [rows] = read_texts([document["rows"]])
        return CallModel(
            names=tuple(names),
            coefficients=tensors["coefficients"],
            intercept=tensors["intercept"],
            functions={
                name: load_extract(tensors[place].tobytes())
                for name, place in zip(names, parts, strict=True)
            },
            calibrations=tuple(Calibration(*row) for row in tensors["calibrations"].tolist()),
            rows=rows,
        )

    return load_tensors(blob, FORMAT, "model that extracts calls", parse)


def open_batch(model: str, resources: EngineResources) -> BatchEngine:
    """The engine of what was learned of calls; see `assay.generate.registry`."""
    blob = blobs.get(resources.store, model.partition(":")[2])
    found = load_calls(blob)
    embedder = get_embedder(next(iter(found.functions.values())).embedder)
    return CallEngine(found, embedder, hashlib.sha256(blob).hexdigest())
