"""An account with a fine-tuned model for each of five public jobs, and the models that answer.

Each model is a stand-in: of an input it says what is right, or, by a seeded draw, something wrong
of the kind that a model gets wrong. Nothing of it depends on how hard an input is.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.rescue.server import Account, AccountServer, Body

from public_data import lines
from public_jobs import banking77, e2e, mts_header, snips

BASE = "gpt-4o-mini-2024-07-18"
PROVIDER, SUCCESSOR = "openai", "gpt-5-mini"
ENDS = "2027-01-14"
RATE = 0.88
"""Share of inputs to which a stand-in gives a right answer."""
CHARACTERS_PER_TOKEN = 4

Row = dict[str, Any]
"""A line of a file for fine-tuning, as OpenAI takes it."""


@dataclass(frozen=True)
class AccountJob:
    """One job of the account.

    Attributes:
        rows: of its training file and of its validation file; further right answers to the same
            input are further rows of it.
        settings: of assay.yaml, changed after `assay rescue plan`.
    """

    name: str
    rows: Callable[[], tuple[list[Row], list[Row]]]
    settings: Mapping[str, Any]

    @property
    def model(self) -> str:
        """As the account calls it."""
        digest = hashlib.sha256(self.name.encode()).hexdigest()[:8]
        return f"ft:{BASE}:acme:{self.name}:{digest}"


def _row(prompt: str, asked: str, answered: Any) -> Row:
    said = answered if isinstance(answered, str) else json.dumps(answered, ensure_ascii=False)
    turns = (("system", prompt), ("user", asked), ("assistant", said))
    return {"messages": [{"role": role, "content": text} for role, text in turns]}


def _shuffled(rows: list[Row], most: int | None = None) -> list[Row]:
    random.Random(0).shuffle(rows)  # some files are sorted by label
    return rows[:most]


def _banking77() -> tuple[list[Row], list[Row]]:
    prompt = "Name the intent of the customer's message."
    train, held = (
        [_row(prompt, one["input"], one["output"]) for one in banking77(part)]
        for part in ("train", "test")
    )
    return _shuffled(train, 2000), held


def _snips() -> tuple[list[Row], list[Row]]:
    prompt = "Write the intent and the slots of the sentence as JSON."
    train, held = (
        [_row(prompt, one["input"], one["output"]) for one in snips(part)]
        for part in ("train", "test")
    )
    return _shuffled(train, 1000), held


def _mts_header() -> tuple[list[Row], list[Row]]:
    prompt = "Name the section of the note that the dialogue belongs to."
    train = [_row(prompt, one["input"], one["output"]) for one in mts_header("train")]
    held = [
        _row(prompt, one["dialogue"], one["section_header"])
        for part in ("valid", "test1", "test2")
        for one in lines("mts_dialog", f"{part}.jsonl")
    ]
    return _shuffled(train, 600), held


def _e2e_style() -> tuple[list[Row], list[Row]]:
    prompt = "Describe the restaurant in one sentence."
    train, held = (
        [_row(prompt, one["mr"], one["ref"]) for one in e2e(part)] for part in ("train", "test")
    )
    return _shuffled(train), held


def _sgd_restaurants() -> tuple[list[Row], list[Row]]:
    """Three of five dialogues are the training file."""
    dialogues: dict[str, list[Row]] = defaultdict(list)
    for one in lines("sgd_restaurants", "calls.jsonl"):
        dialogues[one["group"]].append({name: one[name] for name in ("messages", "tools")})
    names = sorted(dialogues)
    random.Random(0).shuffle(names)
    parts = (names[: len(names) * 3 // 5], names[len(names) * 3 // 5 :])
    train, held = ([row for name in part for row in dialogues[name]] for part in parts)
    return train, held


def _other_sentences() -> Iterator[Row]:
    """What further people wrote of the restaurants: as right as what stands in the files."""
    for one in e2e("test", most=3):
        yield _row("", one["mr"], one["ref"])
    for one in e2e("train", most=3):
        yield _row("", one["mr"], one["ref"])


def _route(kind: str, cheap: str, *candidates: str) -> dict[str, Any]:
    """Candidates, and a route between the cheap one and the successor that keeps its quality.

    `remote-few-shot` is left out: a stand-in reads no examples."""
    return {
        "candidates": [*candidates, "remote", kind],
        "route": {"cheap": cheap, "strong": f"remote:{PROVIDER}/{SUCCESSOR}", "target": 1.0},
    }


LABELS = ("baseline-tfidf", "nearest-answer", "classifier", "encoder")
TUNED = {"fine_tune.seeds": 1}
"""Further ones would take hours of the five jobs."""
JOBS = (
    AccountJob("banking77", _banking77, _route("cascade", "classifier", *LABELS)),
    AccountJob(
        "snips",
        _snips,
        _route("router", "extract", "nearest-answer", "extract", "fine-tune", "distill") | TUNED,
    ),
    AccountJob("mts-header", _mts_header, _route("cascade", "classifier", *LABELS)),
    AccountJob(
        "e2e-style",
        _e2e_style,
        _route("cascade", "nearest-answer", "nearest-answer", "fine-tune", "distill") | TUNED,
    ),
    AccountJob(
        "sgd-restaurants",
        _sgd_restaurants,
        _route("router", "extract-call", "nearest-answer", "extract-call", "fine-tune", "distill")
        | TUNED,
    ),
)


class StandIn:
    """A model that is right on a stated share of its inputs, found by the conversation.

    Args:
        name: seeds what it gets wrong, and where.
        rows: with the right answers; the one of an input that comes last is given, so that of
            several right ones it is another one than the file's.
    """

    def __init__(self, name: str, rows: Sequence[Row]) -> None:
        self._name = name
        self._right: dict[str, Body] = {
            _key(row["messages"][:-1]): row["messages"][-1] for row in rows
        }
        self._answers = list(self._right.values())

    def answer(self, turns: Sequence[Body]) -> Body:
        """The message that it says to a conversation."""
        key = _key(turns)
        draw = random.Random(f"{self._name} {key}")
        right = self._right[key]
        if draw.random() < RATE:
            return right
        if draw.random() < 0.5:
            return _damaged(right, draw)
        while (other := draw.choice(self._answers)) == right:
            pass
        return other

    def knows(self, turns: Sequence[Body]) -> bool:
        """Whether the conversation is one of its own."""
        return _key(turns) in self._right


def _key(turns: Sequence[Body]) -> str:
    """A conversation without its system prompt and the ids of its calls."""
    kept = [
        (
            turn["role"],
            turn.get("content") or "",
            [
                (call["function"]["name"], json.loads(call["function"]["arguments"]))
                for call in turn.get("tool_calls") or ()
            ],
        )
        for turn in turns
        if turn["role"] != "system"
    ]
    return json.dumps(kept, sort_keys=True)


def _damaged(right: Body, draw: random.Random) -> Body:
    """A record or call that lacks a value, a text that ends in the middle."""
    if calls := right.get("tool_calls"):
        name, arguments = calls[0]["function"]["name"], calls[0]["function"]["arguments"]
        kept = json.dumps(_without_one(json.loads(arguments), draw))
        function = {"name": name, "arguments": kept}
        return {**right, "tool_calls": [{**calls[0], "function": function}]}
    text: str = right["content"]
    if text.startswith("{"):
        record = json.loads(text)
        if record["slots"]:
            record["slots"] = _without_one(record["slots"], draw)
        else:
            del record["intent"]
        return {**right, "content": json.dumps(record, ensure_ascii=False)}
    return {**right, "content": text[: len(text) // 2]}


def _without_one(values: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    gone = draw.choice(sorted(values))
    return {name: value for name, value in values.items() if name != gone}


def tokens_of(text: str) -> int:
    """As long as English is at most providers."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def build_account(files: Mapping[str, tuple[Sequence[Row], Sequence[Row]]]) -> Account:
    """An account with a job for each of the files: of training and of validation."""
    base = {"id": BASE, "object": "model", "created": 1, "owned_by": "system"}
    account = Account({"/models": [base], "/files": [], "/evals": [], "/fine_tuning/jobs": []})
    account.lists["/chat/completions"] = []
    for job in JOBS:
        if job.name not in files:
            continue
        model = {"id": job.model, "object": "model", "created": 1, "owned_by": "acme"}
        account.lists["/models"].append({**model, "shutdown_date": ENDS})
        ids = [f"file-{job.name}-{part}" for part in ("train", "valid")]
        for id, rows in zip(ids, files[job.name], strict=True):
            content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
            record = {"id": id, "object": "file", "bytes": len(content), "created_at": 1}
            record |= {"filename": f"{id}.jsonl", "purpose": "fine-tune", "status": "processed"}
            account.lists["/files"].append(record)
            account.objects[f"/files/{id}"] = record
            account.contents[f"/files/{id}/content"] = content
        tuned = {
            "object": "fine_tuning.job",
            "id": f"ftjob-{job.name}",
            "model": BASE,
            "fine_tuned_model": job.model,
            "status": "succeeded",
            "training_file": ids[0],
            "validation_file": ids[1],
            "result_files": [],
            "created_at": 1,
            "method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 3}}},
        }
        path = f"/fine_tuning/jobs/{tuned['id']}"
        account.lists["/fine_tuning/jobs"].append(tuned)
        account.objects[path] = tuned
        account.lists |= {f"{path}/events": [], f"{path}/checkpoints": []}
    return account


def build_server(files: Mapping[str, tuple[Sequence[Row], Sequence[Row]]]) -> AccountServer:
    """The account's server, whose models and whose successor answer."""
    known: dict[str, list[Row]] = {name: [*train, *held] for name, (train, held) in files.items()}
    if "e2e-style" in known:
        known["e2e-style"] += _other_sentences()
    names = {job.model: job.name for job in JOBS if job.name in known}
    tuned = {model: StandIn(model, known[name]) for model, name in names.items()}
    successors = [StandIn(f"{SUCCESSOR} {name}", rows) for name, rows in known.items()]

    def answer(body: Body) -> str | Body:
        turns = body["messages"]
        model = tuned.get(body["model"])
        if model is None:
            model = next(one for one in successors if one.knows(turns))
        return model.answer(turns)

    return AccountServer(build_account(files), answer=answer, tokens_of=tokens_of)
