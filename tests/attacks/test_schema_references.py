"""A project's JSON Schema that names an address, a file or itself, or a pattern without end."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from assay.candidates.shared.teacher_answers import _follows
from assay.data.contents import Rules
from assay.data.json_schema import mismatches, schema_validator
from assay.errors import ConfigError

ASKED: list[str] = []


class Inside(BaseHTTPRequestHandler):
    """A server of the private network."""

    def do_GET(self) -> None:
        """Counts."""
        ASKED.append(self.path)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"type": "string"}')

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Inside)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/latest/meta-data"
    server.shutdown()
    thread.join()
    server.server_close()


def test_no_address_is_asked_and_no_file_is_read(address: str, tmp_path: Path) -> None:
    file = tmp_path / "secret.json"
    file.write_text('{"const": "a secret"}')
    for reference in (address, file.as_uri()):
        schema = {"properties": {"a": {"$ref": reference}}}
        judge = Rules(task="json", schema=schema)._mismatch
        assert judge is not None
        with pytest.raises(ConfigError, match="cannot be resolved") as raised:
            judge({"a": 1})
        assert "a secret" not in str(raised.value)
        with pytest.raises(ConfigError):
            _follows('{"a": 1}', schema)
    assert not ASKED


def test_references_within_a_schema_are_followed() -> None:
    of = schema_validator({"$defs": {"n": {"type": "integer"}}, "items": {"$ref": "#/$defs/n"}}, "")
    assert not list(mismatches(of, [1, 2], ""))
    assert len(list(mismatches(of, [1, "2"], ""))) == 1


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"pattern": "^(a|aa)+$"}, "a" * 60 + "!"),
        ({"$ref": "#"}, 1),
    ],
)
def test_what_has_no_end_does_not_fit(schema: dict[str, Any], value: Any) -> None:
    began = time.thread_time()
    assert list(mismatches(schema_validator(schema, ""), value, ""))
    assert not _follows(json.dumps(value), schema)
    assert time.thread_time() - began < 10


def test_a_pattern_that_comes_to_too_much_is_an_error_of_the_schema() -> None:
    with pytest.raises(ConfigError, match="parts"):
        list(mismatches(schema_validator({"pattern": "a{9999999}"}, ""), "a", ""))


@pytest.mark.parametrize("within", [{}, {"additionalProperties": False}])
def test_patterns_of_names_have_a_clock(within: dict[str, Any]) -> None:
    """`^(a|aa)+$` takes 2^30 steps of what would go back for each."""
    schema = {"type": "object", "patternProperties": {"^(a|aa)+$": {"type": "string"}}, **within}
    began = time.thread_time()
    with pytest.raises(ConfigError, match="too long"):
        list(mismatches(schema_validator(schema, ""), {"a" * 60 + "!": 1}, ""))
    assert time.thread_time() - began < 10
    of = schema_validator(schema, "")
    assert not list(mismatches(of, {"aa": "x"}, ""))
    assert len(list(mismatches(of, {"aa": 1}, ""))) == 1
    assert len(list(mismatches(of, {"b": 1}, ""))) == len(within)
    with pytest.raises(ConfigError, match="additionalProperties"):
        schema_validator({"allOf": [schema], "unevaluatedProperties": False}, "")
