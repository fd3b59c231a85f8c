"""The planned, resumable run: requests in, answers out, and nothing is generated twice.

The batches are fixed before the start. Each finished batch is one file, written atomically under
`folder/<key>/`, and the key is made of all that can change an answer: agent, engine (with model,
dtype and versions), the plan and the requests themselves. A run that was killed starts again and
ends with the answers that it would have given undisturbed.
"""

from __future__ import annotations

import hashlib
import json
import math
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from assay import json_reader
from assay.errors import AssayError
from assay.generate.batch import Answer, BatchEngine, Request
from assay.progress import SILENT, Progress, say_quoting
from assay.store.files import one_at_a_time, write_atomic
from assay.store.shared_files import bring_missing, replacing
from assay.store.store import Store

FORMAT = 2
BATCH_SIZE = 64
SILENT_BATCHES = 2  # after so many without one answer the engine is taken to be down
RETRIES, BACKOFF_S = 2, 1.0  # of an outage; the pause doubles
OUTAGES = (ConnectionError, TimeoutError)
OnBatch = Callable[[int, list[Answer]], None]
AnswerBatches = Callable[[Sequence[Sequence[Request]], OnBatch, Path], bool]
"""Answers several batches at once, and hands over each by its place as it is done, once more where
it has asked again for what failed; False: it has done nothing, for so few the engine alone is as
good. It is told the folder of the run, which no other process works on meanwhile."""
FEWEST_TIMED = 3
"""Requests whose latency is measured, however long they take."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds for one answer, as timed requests had them.

    Attributes:
        p50_s: the median.
        p95_s: at least 95 in 100 of the timed ones took no longer: of fewer than 20 the slowest.
        requests: that were timed.
    """

    p50_s: float
    p95_s: float
    requests: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Which requests are answered together, fixed before the start.

    Attributes:
        batches: positions in the list of requests, batch by batch.
    """

    batches: tuple[tuple[int, ...], ...]


def plan(requests: Sequence[Request], engine: BatchEngine, *, batch_size: int = BATCH_SIZE) -> Plan:
    """Batches of requests of like length, so that little is padded; the longest come first.

    Longest first: memory that does not suffice is found out at once, and the time that is left
    is over- rather than underestimated. Equal lengths keep their order.
    """
    if batch_size < 1:
        raise ValueError("a batch holds at least one request")
    lengths = [engine.prompt_length(request) for request in requests]
    order = sorted(range(len(requests)), key=lambda position: -lengths[position])
    return Plan(
        tuple(
            tuple(order[start : start + batch_size]) for start in range(0, len(order), batch_size)
        )
    )


def run_key(requests: Sequence[Request], engine: BatchEngine, plan: Plan, agent_id: str) -> str:
    """Sha256 (hex) of all that can change an answer of the run."""
    return _sha256(
        {
            "format": FORMAT,
            "agent": agent_id,
            "engine": dict(sorted(engine.identity.items())),
            "plan": plan.batches,
            "requests": [_request_dict(request) for request in requests],
        }
    )


def run(
    requests: Sequence[Request],
    engine: BatchEngine,
    *,
    agent_id: str,
    folder: Path,
    store: Store | None = None,
    batch_size: int = BATCH_SIZE,
    retries: int = RETRIES,
    backoff_s: float = BACKOFF_S,
    sleep: Callable[[float], None] = time.sleep,
    together: AnswerBatches | None = None,
    progress: Progress = SILENT,
) -> list[Answer]:
    """Answer all requests, going on where an earlier call with the same inputs ended.

    An answer with finish `error` (an outage) is asked for again `retries` times, after
    `backoff_s`, twice that, and so on; it is never kept, so the next call asks again. After two
    batches in a row without one answer the rest is not tried. `incomplete` counts what is missing
    at the end. What is `refused` is kept like an answer, unless nothing but that is in its batch:
    then the fault may lie in how the model is asked, which can be mended.

    Args:
        agent_id: content hash of the agent whose requests these are.
        folder: where finished batches are kept; several processes may use it at once, a second
            one on the same run waits for the first.
        store: the state that the folder is in: where that is in a bucket, the run goes on at any
            server.
        together: answers in the place of `engine`, where it will.

    Returns:
        One answer per request, in their order.
    """
    batches = plan(requests, engine, batch_size=batch_size)
    key = run_key(requests, engine, batches, agent_id)
    place = folder / key
    place.mkdir(parents=True, exist_ok=True)
    answers: dict[int, Answer] = {}
    shared = _SharedRun(store, place) if store is not None and store.bucket is not None else None
    said = "Another process is working on this run; waiting for it to finish."
    alone = one_at_a_time if shared is None else shared.one_at_a_time
    with (
        alone(place / "lock", lambda: progress.say(said)),
        progress.task("answering", len(requests), "requests") as bar,
    ):
        if shared is not None:
            shared.bring()
        kept: list[dict[int, Answer]] = []
        todo: list[tuple[int, list[int]]] = []
        for number, batch in enumerate(batches.batches):
            file = place / f"{number:05d}.json"
            kept.append(_read_batch(file, key, number, progress))
            missing = [position for position in batch if position not in kept[number]]
            if missing:
                todo.append((number, missing))
            bar.advance(len(batch) - len(missing))

        def end(step: int, given: list[Answer]) -> None:
            """Keep what was answered of a batch."""
            number, missing = todo[step]
            fresh = dict(zip(missing, given, strict=True))
            bar.advance(len(fresh.keys() - answers.keys()))
            answers.update(fresh)
            good = {at: answer for at, answer in fresh.items() if answer.finish != "error"}
            kept[number] |= good
            if good and any(answer.has_answered for answer in kept[number].values()):
                text, file = _batch_text(key, number, kept[number]), place / f"{number:05d}.json"
                if shared is None:
                    write_atomic(file, text)
                else:
                    shared.write(file, text)

        asked = [[requests[position] for position in missing] for _, missing in todo]
        if together is None or not together(asked, end, place):
            silent_batches, reason = 0, ""
            for step, (number, missing) in enumerate(todo):
                if silent_batches >= SILENT_BATCHES:
                    end(step, [not_tried(reason) for _ in missing])
                    continue
                given = _ask(engine, asked[step], retries, backoff_s, sleep, progress)
                end(step, given)
                if any(answer.finish != "error" for answer in given):
                    silent_batches = 0
                elif len(missing) == len(batches.batches[number]):
                    silent_batches += 1
                    reason = given[0].error or "no reason given"
        for found in kept:
            answers |= found
    ordered = [answers[position] for position in range(len(requests))]
    if failed := incomplete(ordered):
        were, these = ("was", "this") if failed == 1 else ("were", "these")
        progress.say(
            f"{failed} of {len(requests)} requests {were} not answered (outage). Run the same "
            f"command again to request only {these}."
        )
    if turned_down := [answer for answer in ordered if answer.finish == "refused"]:
        refused = "was refused and scores" if len(turned_down) == 1 else "were refused and score"
        plain = f"{len(turned_down)} of {len(requests)} requests {refused} 0"
        say_quoting(progress, f"{plain} ({turned_down[0].error}).", f"{plain}.")
    return ordered


class _SharedRun:
    """A run whose finished batches every server has."""

    def __init__(self, store: Store, place: Path) -> None:
        self._store, self._folder = store, place.relative_to(store.folder).as_posix()

    def one_at_a_time(
        self, lock: Path, waiting: Callable[[], None]
    ) -> AbstractContextManager[None]:
        return self._store.lock(f"{self._folder}/{lock.name}", waiting)

    def bring(self) -> None:
        bring_missing(self._store, self._folder, "a part of the answers of this run")

    def write(self, file: Path, text: str) -> None:
        with replacing(self._store, f"{self._folder}/{file.name}"):
            write_atomic(file, text)


def incomplete(answers: Sequence[Answer]) -> int:
    """How many answers are missing because of an outage; 0 for a run that is complete."""
    return sum(answer.finish == "error" for answer in answers)


def measure_latency(
    requests: Sequence[Request],
    engine: BatchEngine,
    n: int = 20,
    *,
    seconds: float = math.inf,
    clock: Callable[[], float] = time.perf_counter,
    progress: Progress = SILENT,
) -> Latency | None:
    """Times answers, one request at a time.

    `n` requests spread evenly over the list are timed, after one that is not (it loads what is
    loaded lazily). Once they have taken `seconds`, no further one is asked, if `FEWEST_TIMED` were.
    Failed requests are left out; None when nothing was answered.
    """
    if not requests:
        return None
    n = min(n, len(requests))
    chosen = [requests[i * len(requests) // n] for i in range(n)]
    engine.answer([requests[-1]])
    each: list[float] = []
    spent = 0.0
    with progress.task("measuring latency", n, "requests") as bar:
        for place, request in enumerate(chosen):
            if place >= FEWEST_TIMED and spent >= seconds:
                break
            start = clock()
            (answer,) = engine.answer([request])
            took = clock() - start
            spent += took
            if answer.has_answered:
                each.append(took)
            bar.advance()
    if not each:
        return None
    within = math.ceil(0.95 * len(each))
    return Latency(statistics.median(each), sorted(each)[within - 1], len(each))


def _ask(
    engine: BatchEngine,
    requests: Sequence[Request],
    retries: int,
    backoff_s: float,
    sleep: Callable[[float], None],
    progress: Progress,
) -> list[Answer]:
    """Answers of one batch; what failed is asked again a bounded number of times."""
    answers = _try(engine, requests)
    for attempt in range(retries):
        failed = [i for i, answer in enumerate(answers) if answer.finish == "error"]
        if not failed:
            break
        pause = backoff_s * 2**attempt
        plain = f"{len(failed)} of {len(requests)} requests failed"
        again_in = f"trying again in {pause:g} s."
        line = f"{plain} ({answers[failed[0]].error}); {again_in}"
        say_quoting(progress, line, f"{plain}; {again_in}")
        sleep(pause)
        again = _try(engine, [requests[i] for i in failed])
        for i, answer in zip(failed, again, strict=True):
            answers[i] = answer
    return answers


def _try(engine: BatchEngine, requests: Sequence[Request]) -> list[Answer]:
    try:
        answers = list(engine.answer(requests))
    except OUTAGES as error:
        return [_failed(f"{type(error).__name__}: {error}") for _ in requests]
    if len(answers) != len(requests):
        raise RuntimeError(f"the engine gave {len(answers)} answers to {len(requests)} requests")
    return answers


def _failed(reason: str) -> Answer:
    return Answer(text="", finish="error", error=reason)


def not_tried(reason: str) -> Answer:
    """What stands for an answer that was not asked for, since others did not come."""
    return _failed(f"not tried after an outage: {reason}")


def _batch_text(key: str, number: int, kept: dict[int, Answer]) -> str:
    """One file: {sha256, body: {key, batch, answers: {position: answer}}}, ASCII only."""
    body = {
        "key": key,
        "batch": number,
        "answers": {str(position): asdict(kept[position]) for position in sorted(kept)},
    }
    return json.dumps({"sha256": _sha256(body), "body": body}) + "\n"


def _read_batch(file: Path, key: str, number: int, progress: Progress) -> dict[int, Answer]:
    """The answers that are kept of a batch, by position; nothing of a damaged file is used."""
    try:
        raw = file.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise AssayError(
            f"finished answers cannot be read ({error.strerror}).",
            where=str(file),
            fix="Make the file readable, or remove it to generate them again.",
        ) from None
    try:
        document = json_reader.read(raw)
        body = document["body"]
        if document["sha256"] != _sha256(body):
            raise ValueError("its content does not match its hash")
        if body["key"] != key or body["batch"] != number:
            raise ValueError("it belongs to another batch")
        return {
            int(position): Answer.from_dict(answer) for position, answer in body["answers"].items()
        }
    except (ValueError, KeyError, TypeError) as error:
        progress.say(f"{file} is damaged ({error}); its requests are sent again.")
        return {}


def _request_dict(request: Request) -> dict[str, Any]:
    return {
        "messages": [message.to_dict() for message in request.messages],
        "tools": list(request.tools),
        "max_new_tokens": request.max_new_tokens,
        "schema": request.schema,
        "choices": request.choices,
        "temperature": request.temperature,
        "seed": request.seed,
        **({"calls": True} if request.calls else {}),
        **({} if request.logprobs is None else {"logprobs": request.logprobs}),
    }


def _sha256(value: Any) -> str:
    """Hash of a JSON value as written: the order of keys counts, for the order of a schema's
    properties is the order in which constrained decoding writes them."""
    return hashlib.sha256(json.dumps(value).encode("ascii")).hexdigest()
