"""No single request, of any size or shape, takes the server's memory or its time.

    pytest -m "not soak" -s tests/attacks/test_one_request.py

A real server process is watched while hostile requests come: its memory may rise by 64 MB above
the body's own bytes, and `/healthz` may wait for a quarter of a second.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence

import pytest
from tests.attacks.victim import MB, Victim, post, victim
from tests.figures import Figure
from tests.serve.running import STARTER

from assay.serve import auth

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

RISE_MB = 64
FREEZE_S = 0.25
BUSY = 4
"""Times slower on a machine that does other work at the same time; the bar itself is measured by
`pytest -m soak` on a quiet one."""
FULL = auth.BODY_BYTES - 2000
"""Bytes of a body that is just let in."""

CHAT, COMPLETIONS, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/responses"
EMBEDDINGS, KEYS, STORES = "/v1/embeddings", "/v1/keys", "/v1/vector_stores"
TUNING, VALIDATE = "/v1/fine_tuning/jobs", "/v1/fine_tuning/alpha/graders/validate"
RUN, UPLOADS, FILES = "/v1/fine_tuning/alpha/graders/run", "/v1/uploads", "/v1/files"
EVALS, EVAL_RUNS = "/v1/evals", "/v1/evals/eval_1/runs"
ASKED = [{"role": "user", "content": "hello"}]
JSON_PATHS = (
    CHAT, COMPLETIONS, RESPONSES, EMBEDDINGS, KEYS, STORES, TUNING, VALIDATE, RUN, UPLOADS,
    "/v1/vector_stores/vs_1/search", "/v1/vector_stores/vs_1/files", "/v1/uploads/up_1/complete",
    "/v1/releases/a/promote", "/v1/releases/a/canary", "/v1/traces/t/feedback",
    EVALS, "/v1/evals/eval_1", EVAL_RUNS,
    "/v1/conversations", "/v1/conversations/conv_1", "/v1/conversations/conv_1/items",
)  # fmt: skip


def filled(head: str, part: str, tail: str, size: int) -> bytes:
    """`head`, `part` as often as it fits with commas between, `tail`."""
    count = max(1, (size - len(head) - len(tail)) // (len(part.encode()) + 1))
    return (head + ",".join([part] * count) + tail).encode()


def keys(head: str, value: str, tail: str, size: int) -> bytes:
    """An object of as many different keys as fit."""
    count = (size - len(head) - len(tail)) // (len(value) + 12)
    return (head + ",".join(f'"k{n:07d}":{value}' for n in range(count)) + tail).encode()


def shapes(size: int) -> Iterator[tuple[str, str, bytes]]:
    """Many values, in all the places where there may be some: what it is called, where it is sent,
    and a body of about `size` bytes."""
    base = f'{{"model":"{STARTER}","max_tokens":1,'
    items = f'{{"model":"{STARTER}","max_output_tokens":1,'
    chat = base + '"messages":[{"role":"user","content":"hi"}],'
    turn = '{"role":"user","content":"a"}'
    done = base + '"prompt":'
    yield "wrong token ids", COMPLETIONS, filled(done + "[", "-1", "]}", size)
    yield "right token ids", COMPLETIONS, filled(done + "[", "1", "]}", size)
    yield "prompts of ids", COMPLETIONS, filled(done + "[", "[1,-1]", "]}", size)
    yield "prompts", COMPLETIONS, filled(done + "[", '"a"', "]}", size)
    yield "empty items", RESPONSES, filled(items + '"input":[', "{}", "]}", size)
    yield "valid messages", CHAT, filled(base + '"messages":[', turn, "]}", size)
    yield "valid items", RESPONSES, filled(items + '"input":[', turn, "]}", size)
    yield "parts", CHAT, filled(
        base + '"messages":[{"role":"user","content":[', '{"type":"text","text":"a"}', "]}]}", size
    )  # fmt: skip
    yield (
        "wrong parts",
        RESPONSES,
        filled(items + '"input":[{"role":"user","content":[', '{"type":1}', "]}]}", size),
    )
    yield "wrong fields", CHAT, keys(chat, "1", "}", size)
    yield (
        "wrong fields of a part",
        CHAT,
        keys(base + '"messages":[{"role":"user","content":"a",', "1", "}]}", size),
    )
    yield "biases", CHAT, keys(chat + '"logit_bias":{', '"a"', "}}", size)
    yield "metadata", CHAT, keys(chat + '"metadata":{', "1", "}}", size)
    yield "stops", CHAT, filled(chat + '"stop":[', "1", "]}", size)
    yield "tools", CHAT, filled(chat + '"tools":[', "{}", "]}", size)
    parameters = '{"type":"function","function":{"name":"f","parameters":{"type":"object",'
    yield "a tool of many keys", CHAT, keys(chat + '"tools":[' + parameters, "1", "}}}]}", size)
    yield (
        "notes",
        CHAT,
        filled(
            base + '"messages":[{"role":"user","content":"a","annotations":[', "{}", "]}]}", size
        ),
    )
    yield "lists in lists", CHAT, b"[" * size
    yield "objects in objects", CHAT, b'{"a":' * (size // 5)
    deep = (size - len(chat) - 30) // 12
    yield (
        "a deep extra",
        CHAT,
        (chat + '"metadata":' + '{"a":[' * deep + "]}" * deep + "}").encode(),
    )
    yield (
        "many texts",
        EMBEDDINGS,
        filled('{"model":"all-minilm-l6-v2","input":[', '"' + "\u4e00" * 600 + '"', "]}", size),
    )
    yield (
        "empty texts",
        EMBEDDINGS,
        filled('{"model":"all-minilm-l6-v2","input":[', '""', "]}", size),
    )
    yield (
        "texts of ids",
        EMBEDDINGS,
        filled('{"model":"all-minilm-l6-v2","input":[', "[1,-1]", "]}", size),
    )
    yield "scopes", KEYS, filled('{"name":"a","scopes":[', '"x"', "]}", size)
    yield "files", STORES, filled('{"file_ids":[', "1", "]}", size)
    yield (
        "attributes",
        "/v1/vector_stores/vs_1/files",
        keys('{"file_id":"a","attributes":{', "[]", "}}", size),
    )
    depth = size // 30
    yield (
        "filters",
        "/v1/vector_stores/vs_1/search",
        (
            '{"query":"a","filters":' + '{"type":"and","filters":[' * depth + "]}" * depth + "}"
        ).encode(),
    )
    yield (
        "parts of an upload",
        "/v1/uploads/up_1/complete",
        filled('{"part_ids":[', "1", "]}", size),
    )
    grader = '{"type":"string_check","name":"a","operation":"eq","reference":"a","input":1}'
    count = size // (len(grader) + 14)
    graders = ",".join(f'"k{n:07d}":{grader}' for n in range(count))
    yield (
        "graders",
        VALIDATE,
        (
            '{"grader":{"type":"multi","name":"m","calculate_output":"1","graders":{'
            + graders
            + "}}}"
        ).encode(),
    )
    yield "an item", RUN, keys(
        '{"grader":{"type":"string_check","name":"a","operation":"eq","reference":"a","input":"b"},'
        '"model_sample":"a","item":{', "[[]]", "}}", size,
    )  # fmt: skip
    yield (
        "integrations",
        TUNING,
        filled(f'{{"model":"{STARTER}","training_file":"f","integrations":[', "1", "]}", size),
    )
    for path in JSON_PATHS:
        yield f"wrong fields to {path}", path, keys("{", "1", "}", size)
        yield f"a list to {path}", path, filled("[", "{}", "]", size)


def texts(size: int) -> Iterator[tuple[str, str, bytes]]:
    """One value that is long."""
    base = f'{{"model":"{STARTER}","max_tokens":1,'
    items = f'{{"model":"{STARTER}","max_output_tokens":1,'
    chat = base + '"messages":[{"role":"user","content":"hi"}],'
    for name, letter in (("letters", "a"), ("pictures", "\U0001f600"), ("digits", "1 ")):
        text = letter * ((size - 200) // len(letter.encode()))
        yield (
            f"a message of {name}",
            CHAT,
            (base + f'"messages":[{{"role":"user","content":"{text}"}}]}}').encode(),
        )
        yield f"a prompt of {name}", COMPLETIONS, f'{base}"prompt":"{text}"}}'.encode()
        yield f"an input of {name}", RESPONSES, f'{items}"input":"{text}"}}'.encode()
        yield (
            f"an embedding of {name}",
            EMBEDDINGS,
            (f'{{"model":"all-minilm-l6-v2","input":"{text}"}}'.encode()),
        )
        yield (
            f"a grader of {name}",
            VALIDATE,
            (
                '{"grader":{"type":"string_check","name":"a","operation":"eq","reference":"",'
                f'"input":"{text}"}}}}'
            ).encode(),
        )
    one_picture = "a" * (size - 200) + "\U0001f600"
    yield (
        "one picture among letters",
        CHAT,
        (base + f'"messages":[{{"role":"user","content":"{one_picture}"}}]}}').encode(),
    )
    yield "a name", CHAT, f'{chat}"user":"{"b" * (size - 200)}","x":1}}'.encode()
    yield "a key", CHAT, f'{chat}"{"b" * (size - 200)}":1}}'.encode()
    yield "a model", CHAT, f'{{"model":"{"b" * (size - 200)}","messages":[]}}'.encode()
    yield (
        "escapes",
        CHAT,
        (
            base + '"messages":[{"role":"user","content":"' + "\\u0041" * (size // 6 - 40) + '"}]}'
        ).encode(),
    )
    yield "a long number", CHAT, chat.encode() + b'"seed":' + b"1" * (size - 300) + b"}"
    yield "a long fraction", CHAT, chat.encode() + b'"seed":1.' + b"1" * (size - 300) + b"}"


def forms(size: int) -> Iterator[tuple[str, str, bytes]]:
    """The same for uploads: their name, content type and body."""
    kind = "multipart/form-data; boundary=b"
    part = b'--b\r\ncontent-disposition: form-data; name="%s"\r\n\r\n'
    yield "headers of a part", kind, b"--b\r\n" + b"a: b\r\n" * (size // 6)
    yield "a header of a part", kind, b"--b\r\na: " + b"b" * size
    yield "fields", kind, (part % b"a" + b"x\r\n") * (size // 60)
    yield "a field", kind, part % b"a" + b"x" * size
    yield "a form without a file", "application/x-www-form-urlencoded", b"a&" * (size // 2)
    yield "a form of one field", "application/x-www-form-urlencoded", b"a=" + b"b" * size
    yield (
        "almost boundaries",
        kind,
        (
            b'--b\r\ncontent-disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'
            + b"\r\n--" * (size // 4)
        ),
    )
    yield "before the first", kind, b"\r\n" * (size // 2)
    yield "another kind", "text/plain", b"a" * size


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    with victim(tmp_path_factory.mktemp("attacked")) as one, one.http() as http:
        asked = {"model": STARTER, "max_tokens": 1, "prompt": "hi"}
        assert post(http, COMPLETIONS, asked).status_code == 200
        text = {"model": "all-minilm-l6-v2", "input": ["word " * 200] * 8}
        assert post(http, EMBEDDINGS, text).status_code == 200
        http.post(FILES, files={"file": ("a.txt", b"x")}, data={"purpose": "user_data"})
        yield one


def attack(one: Victim, sizes: Sequence[int], slack: float) -> dict[str, tuple[float, float]]:
    """What each request costs: MB above its body, and seconds that others wait."""
    found: dict[str, tuple[float, float]] = {}
    sent = [
        (name, path, body, "application/json")
        for size in sizes
        for name, path, body in shapes(size)
        if len(body) <= size  # else there is no room for its frame
    ]
    sent += [(name, path, body, "application/json") for name, path, body in texts(FULL)]
    sent += [(name, FILES, body, kind) for name, kind, body in forms(FULL)]
    with one.http() as http:
        for name, path, body, kind in sent:
            with one.watched() as seen:
                answer = http.post(path, content=body, headers={"Content-Type": kind})
            assert one.alive(), name
            assert answer.status_code < 500, (name, answer.text)
            if answer.status_code >= 400:
                assert len(answer.content) < 20_000, name
                assert json.loads(answer.content)["error"]["message"], name
            cost = (seen.rise_mb - len(body) / MB, seen.freeze_s)
            found[f"{name}, {len(body)} bytes: {answer.status_code}"] = cost
    worst = sorted(found, key=lambda name: found[name][0])[-5:]
    worst += sorted(found, key=lambda name: found[name][1])[-5:]
    print(
        *(f"{found[name][0]:6.1f} MB {found[name][1]:6.3f} s  {name}" for name in worst), sep="\n"
    )
    assert not {name: cost for name, cost in found.items() if cost[0] > RISE_MB}
    assert not {name: cost for name, cost in found.items() if cost[1] > FREEZE_S * slack}
    return found


def test_no_request_takes_memory_or_time(attacked: Victim) -> None:
    attack(attacked, (900_000, 57_000), BUSY)


@pytest.mark.soak
def test_no_request_of_any_size_takes_memory_or_time(attacked: Victim, figure: Figure) -> None:
    sizes = [FULL, *(int(58_000 * 1.3**step) for step in range(16))]
    found = attack(attacked, sizes, 1)
    figure("hostile requests, all refused or answered within the bounds", len(found))
    figure(
        "largest memory of one request above its body",
        f"{max(c[0] for c in found.values()):.0f} MB",
    )
    figure("longest freeze by one request", f"{max(c[1] for c in found.values()):.2f} s")
