"""Files and texts whose form is the attack: depth, counts that lie, what stands for much more."""

from __future__ import annotations

import contextlib
import json
import struct
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.generate.tiny import byte_tokenizer, tiny_model

from assay import json_reader
from assay.agent.learned import load_router
from assay.agent.texts import parse
from assay.config.project import parsed_config
from assay.config.yaml_text import LONGEST, tree_of
from assay.data.read import read
from assay.errors import ModelError
from assay.generate.call_extraction import load_calls
from assay.generate.classical import load_classical
from assay.generate.extraction import load_extract
from assay.generate.nearest import load_nearest
from assay.generate.quoting import load_quote
from assay.models import gguf_file, trust
from assay.models.gguf_export import model_tensors, write_model

DEEP = 100_000
YAML = {
    "lists": "[" * DEEP,
    "mappings": "{" * DEEP,
    "pairs": "{a: " * DEEP,
    "dashes": "- " * DEEP,
    "questions": "? " * DEEP,
    "after a key": "graders: " + "[" * DEEP,
    "long": "a: b\n" * LONGEST,
    "references": "a: &a [x, x, x, x, x, x, x, x]\n"
    + "".join(
        f"{n}: &{n} [{', '.join([f'*{before}'] * 8)}]\n"
        for before, n in zip("abcdefghi", "bcdefghij", strict=True)
    ),
}


@pytest.mark.parametrize("name", YAML)
@pytest.mark.parametrize("look", [lambda t: tree_of(t, None)[1], lambda t: parsed_config(t)[1],
                                  lambda t: parse(t)[1]])  # fmt: skip
def test_yaml_has_limits(look: Callable[[str], Any], name: str) -> None:
    began = time.thread_time()
    assert look(YAML[name])
    assert time.thread_time() - began < 2


def test_yaml_within_the_limits_is_read() -> None:
    text = "a: " + "[" * 50 + "]" * 50 + "\nb: |\n  " + "[" * 10_000
    tree, problems = tree_of(text, "nothing")
    assert not problems
    assert tree["b"] == "[" * 10_000


def gguf(*fields: bytes, count: int | None = None, tensors: int = 0) -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", 3, tensors, len(fields) if count is None else count)
    return head + b"".join(fields)


def field(name: str, kind: int, value: bytes) -> bytes:
    return struct.pack("<Q", len(name)) + name.encode() + struct.pack("<I", kind) + value


GGUF = {
    "numbers": gguf(field("general.tags", 9, struct.pack("<IQ", 4, 1 << 40) + b"a" * 60)),
    "texts": gguf(field("general.tags", 9, struct.pack("<IQ", 8, 1 << 40) + b"\0" * 60)),
    "lists": gguf(field("general.tags", 9, struct.pack("<IQ", 9, 1 << 40) + b"\0" * 60)),
    "a text": gguf(field("general.name", 8, struct.pack("<Q", 1 << 50))),
    "fields": gguf(count=1 << 60),
    "tensors": gguf(tensors=1 << 60),
    "alignment": gguf(field("general.alignment", 4, struct.pack("<I", 0)), tensors=1),
    "a kind": gguf(field("general.name", 77, b"\0" * 60)),
    "nothing": b"",
    "version": b"GGUF" + struct.pack(">IQQ", 3, 0, 0),
}  # fmt: skip


@pytest.mark.parametrize("name", GGUF)
def test_a_gguf_header_is_held_against_the_files_size(tmp_path: Path, name: str) -> None:
    file = tmp_path / "a.gguf"
    file.write_bytes(GGUF[name])
    tracemalloc.start()
    with pytest.raises(ModelError):
        gguf_file.fields(file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    file = tmp_path_factory.mktemp("tiny") / "tiny.gguf"
    model = tiny_model()
    write_model(file, model.config, model_tensors(model), byte_tokenizer(), name="tiny",
                chat_template=None, stop_ids={258})  # fmt: skip
    return file.read_bytes()


@given(place=st.integers(0, 6000), sign=st.binary(min_size=1, max_size=8))
def test_a_gguf_file_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, whole: bytes, place: int, sign: bytes
) -> None:
    file = tmp_path_factory.mktemp("changed") / "a.gguf"
    file.write_bytes(whole[:place] + sign + whole[place + len(sign) :])
    with contextlib.suppress(ModelError):
        gguf_file.fields(file)
    file.write_bytes(whole[:place])
    with pytest.raises(ModelError):
        gguf_file.fields(file)


def safetensors(header: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header


NESTED = b'{"a":' * DEEP + b"1" + b"}" * DEEP
LISTS = b'{"a":' + b"[" * DEEP + b"]" * DEEP + b"}"


@pytest.mark.parametrize("header", [NESTED, LISTS, b"[" * DEEP, b"{}" + b" " * 40_000_000])
def test_a_safetensors_header_has_limits(tmp_path: Path, header: bytes) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(safetensors(header))
    with pytest.raises(ModelError):
        trust.header(file)


@pytest.mark.parametrize(
    "load", [load_classical, load_router, load_nearest, load_quote, load_extract, load_calls]
)
def test_what_a_learned_models_metadata_says_has_limits(load: Callable[[bytes], Any]) -> None:
    from safetensors.numpy import save

    blob = save({"a": np.zeros(1, np.float32)}, metadata={"assay": "[" * DEEP + "]" * DEEP})
    for text in (blob, safetensors(NESTED)):
        with pytest.raises(ModelError):
            load(text)


def test_json_that_is_nested_deep_is_no_json() -> None:
    for text in ("[" * 101 + "]" * 101, '{"a":' * DEEP + "1" + "}" * DEEP, "[" * DEEP):
        with pytest.raises(json.JSONDecodeError):
            json_reader.read(text)
        with pytest.raises(json.JSONDecodeError):
            json_reader.read(text.encode())
    for fine in (
        "[" * 100 + "]" * 100,
        json.dumps(["[{" * 1000, "\\", '"[' * 300]),
        "[[]," * 99 + "1" + "]" * 99,
    ):
        assert json_reader.read(fine) == json.loads(fine)


def test_json_of_other_encodings_is_no_json() -> None:
    """In UTF-16 a letter has the byte of a quote, behind which brackets would not be counted."""
    for encoding in ("utf-16", "utf-16-le", "utf-32"):
        with pytest.raises((json.JSONDecodeError, UnicodeDecodeError)):
            json_reader.read(f'["\u2201",{"[" * DEEP}{"]" * DEEP}]'.encode(encoding))
    assert json_reader.read('["\u2201"]'.encode("utf-8-sig")) == ["\u2201"]


@given(
    st.recursive(
        st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_json_that_is_not_deep_is_read_as_it_is(value: Any) -> None:
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
        assert json_reader.read(text) == value


@pytest.mark.parametrize("levels", [500, DEEP])
def test_records_of_a_data_file_that_are_nested_deep(tmp_path: Path, levels: int) -> None:
    deep = '{"input": ' + "[" * levels + "]" * levels + ', "output": "b"}'
    good = '{"input": "a", "output": "b"}'
    lines, array = tmp_path / "a.jsonl", tmp_path / "a.json"
    lines.write_text(f"{good}\n{deep}\n{good}\n")
    array.write_text(f"[{good},{deep},{good}]")
    for file in (lines, array):
        codes = [[problem.code for problem in row.problems] for row in read(file)]
        after = [[]] if levels == 500 or file is lines else []  # json itself gives up on the array
        assert codes == [[], ["invalid-json"], *after], file
