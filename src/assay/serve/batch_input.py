"""The file that a batch is made of: looked at as a whole first, then read line by line.

A line is `{"custom_id": ..., "method": "POST", "url": ENDPOINT, "body": {...}}`. One bad line fails
the batch before anything is answered; what is wrong with a body itself is told of its own request.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from threading import Lock
from typing import Any

from assay import json_reader
from assay.jobs.batch_answers import LINE_BYTES, read_lines
from assay.serve.body import check_shape
from assay.serve.errors import ApiError

MOST_LINES = 50_000
"""OpenAI's limit."""
MOST_PROBLEMS = 100
"""So many are told of one file."""
LONGEST_ID = 512
_LONGEST_MODEL = 300


@dataclass(slots=True)
class CheckedInput:
    """What is in a file.

    Attributes:
        problems: why it cannot be answered: `code`, `line`, `message` and `param`.
        models: that its requests name.
    """

    total: int = 0
    problems: list[dict[str, Any]] = field(default_factory=list)
    models: set[str] = field(default_factory=set)

    @property
    def model(self) -> str | None:
        """The model of all requests; None where there are several."""
        return next(iter(self.models)) if len(self.models) == 1 else None


@dataclass(frozen=True, slots=True)
class BatchLine:
    """A request of a file that was found good.

    Attributes:
        body: JSON.
        is_stored: it asks that its answer is kept.
    """

    number: int
    custom_id: str
    body: bytes
    is_stored: bool


class _LineError(Exception):
    """A line that cannot be answered."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.param = code, message, param


def check_input(path: Path, endpoint: str, is_known: Callable[[str], bool]) -> CheckedInput:
    """Look at all lines of a file.

    Args:
        is_known: whether a model of this name answers requests of the endpoint.
    """
    found, ids = CheckedInput(), set[str]()
    for number, line in read_lines(path):
        found.total += 1
        if found.total > MOST_LINES:
            what = f"The file has more than {MOST_LINES:,} requests."
            _tell(found, None, "too_many_tasks", what)
            break
        try:
            _check_line(line, endpoint, ids, found.models, is_known)
        except _LineError as error:
            _tell(found, number, error.code, error.message, error.param)
            if len(found.problems) == MOST_PROBLEMS:
                break
    if not found.total:
        _tell(found, None, "empty_file", "The file has no requests.")
    return found


def requests_of(path: Path, is_wanted: Callable[[int], bool]) -> Iterator[BatchLine]:
    """The requests of a file that was found good, of lines that are wanted."""
    for number, line in read_lines(path):
        if line is not None and is_wanted(number):
            yield _request_in(number, line)


class RequestIndex:
    """The requests of a file that was found good, by the numbers of their lines. May be read from
    several threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._places: list[int] | None = None
        self._placing = Lock()

    def read(self, number: int) -> BatchLine:
        """The request of a line; raises IndexError where there is no such line."""
        with self._path.open("rb") as file:
            with self._placing:
                if self._places is None:
                    self._places = [0, *accumulate(map(len, file))]
            file.seek(self._places[number - 1])
            return _request_in(number, file.readline())


def _request_in(number: int, line: bytes) -> BatchLine:
    value = json_reader.read(line)
    body = json.dumps(value["body"], ensure_ascii=False, separators=(",", ":"))
    encoded = body.encode("utf-8", "surrogatepass")
    return BatchLine(number, value["custom_id"], encoded, bool(value["body"].get("store")))


def _tell(
    found: CheckedInput, line: int | None, code: str, message: str, param: str | None = None
) -> None:
    found.problems.append({"code": code, "line": line, "message": message, "param": param})


def _check_line(
    line: bytes | None,
    endpoint: str,
    ids: set[str],
    models: set[str],
    is_known: Callable[[str], bool],
) -> None:
    value = _parse(line)
    custom_id = _text(value, "custom_id", LONGEST_ID)
    if custom_id in ids:
        raise _LineError(
            "duplicate_custom_id",
            f"The custom_id {custom_id[:100]!r} stands in an earlier line, too.",
            "custom_id",
        )
    ids.add(custom_id)
    if _required(value, "method") != "POST":
        raise _LineError("invalid_method", "The method must be 'POST'.", "method")
    if _required(value, "url") != endpoint:
        raise _LineError("url_mismatch", f"The url must be the batch's, {endpoint!r}.", "url")
    body = _required(value, "body")
    if not isinstance(body, dict):
        raise _LineError("invalid_value", "The body must be a JSON object.", "body")
    model = _text(body, "model", _LONGEST_MODEL, "body.")
    if body.get("stream"):
        raise _LineError("invalid_value", "Answers of a batch cannot be streamed.", "body.stream")
    if model not in models:
        if not is_known(model):
            raise _LineError(
                "model_not_found",
                f"The model {model!r} does not exist or does not answer {endpoint}.",
                "body.model",
            )
        models.add(model)


def _parse(line: bytes | None) -> dict[str, Any]:
    if line is None:
        what = f"This line is longer than {LINE_BYTES // 2**20} MB."
        raise _LineError("request_too_large", what)
    try:
        check_shape(line)
        value = json_reader.read(line, parse_constant=_refuse)
    except ApiError as error:
        code = error.code or "invalid_json_line"
        raise _LineError(code, error.message.replace("The body", "This line", 1)) from None
    except ValueError:
        what = "This line is not parseable as valid JSON."
        raise _LineError("invalid_json_line", what) from None
    if not isinstance(value, dict):
        raise _LineError("invalid_json_line", "This line is not a JSON object.")
    return value


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _required(value: dict[str, Any], name: str, within: str = "") -> Any:
    if value.get(name) is None:
        what = f"Missing required parameter: '{within}{name}'."
        raise _LineError("missing_required_parameter", what, f"{within}{name}")
    return value[name]


def _text(value: dict[str, Any], name: str, longest: int, within: str = "") -> str:
    text = _required(value, name, within)
    if not isinstance(text, str) or not 0 < len(text) <= longest:
        what = f"'{within}{name}' must be a text of 1 to {longest} characters."
        raise _LineError("invalid_value", what, f"{within}{name}")
    try:
        text.encode()
    except UnicodeEncodeError:
        what = f"'{within}{name}' has half characters."
        raise _LineError("invalid_value", what, f"{within}{name}") from None
    return text
