"""Serving side by side with xllamacpp's own HTTP server, in one run, on the same GGUF file.

    python bench/serve.py [--tokens 64] [--rounds 5] [--threads N] [--json]

Both sides are llama.cpp with the same weights (16-bit floats), slots, context and threads, decode
greedily and stream. Measured at the client, in alternating rounds so that other work on the
machine weighs on both: time to first token and tokens a second of one stream; tokens a second of
eight streams together; time to first token after a prefix of 600 tokens that was computed before,
and after one of the same length that was not.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any

import httpx

from assay.chat.template import Template
from assay.example import Message
from assay.generate.base import describe_base
from assay.generate.llamacpp.files import base_file
from assay.generate.llamacpp.server import LlamaCppServer, ServerSettings
from assay.generate.stream import Piece, Sampling

MODEL = "smollm2-135m-instruct"
PREFIX = 600
STREAMS = 8
Ask = Callable[[Sequence[int], int], Iterator[Any]]
"""Token ids and how many new ones in; something for every new token out."""


@dataclass
class Side:
    """Medians over rounds; times in seconds, rates in tokens a second."""

    first_token: list[float] = field(default_factory=list)
    one_stream: list[float] = field(default_factory=list)
    eight_streams: list[float] = field(default_factory=list)
    first_token_known_prefix: list[float] = field(default_factory=list)
    first_token_new_prefix: list[float] = field(default_factory=list)

    def medians(self) -> dict[str, float]:
        """One number for each list."""
        return {name: statistics.median(values) for name, values in asdict(self).items()}


def ours(server: LlamaCppServer) -> Ask:
    """Assay's engine, as the gateway calls it."""

    def ask(ids: Sequence[int], count: int) -> Iterator[Any]:
        sampling = Sampling(max_new_tokens=count, logit_bias=NEVER_ENDS)
        for piece in server.answer(ids, sampling):
            if isinstance(piece, Piece):
                yield piece

    return ask


NEVER_ENDS = {0: -100.0, 2: -100.0}
"""The starter model's two tokens that end an answer, so that all answers are equally long."""


def theirs(address: str) -> Ask:
    """xllamacpp's own server over HTTP."""

    def ask(ids: Sequence[int], count: int) -> Iterator[Any]:
        body = {
            "prompt": list(ids),
            "n_predict": count,
            "temperature": 0,
            "stream": True,
            "logit_bias": [[token, bias] for token, bias in NEVER_ENDS.items()],
        }
        with (
            httpx.Client(timeout=600, trust_env=False) as client,
            client.stream("POST", f"{address}/completion", json=body) as reply,
        ):
            for line in reply.iter_lines():
                if line.startswith("data: ") and line != "data: [DONE]":
                    chunk = json.loads(line[6:])
                    if chunk.get("content"):
                        yield chunk

    return ask


def peer(path: str, settings: ServerSettings) -> Any:
    """Its server as it comes, with our slots, context and threads."""
    import xllamacpp  # after ours, so that the threads of both wait in the same way

    given = xllamacpp.CommonParams()
    given.model.path = path
    given.n_parallel = settings.slots
    given.n_ctx = settings.slots * settings.context
    given.kv_unified = False
    if settings.threads:
        given.cpuparams.n_threads = given.cpuparams_batch.n_threads = settings.threads
    given.verbosity = -1
    return xllamacpp.Server(given)


def stream(ask: Ask, ids: Sequence[int], count: int) -> tuple[float, float]:
    """(seconds to the first token, seconds from the first to the last)."""
    start = time.perf_counter()
    pieces = ask(ids, count)
    next(pieces)
    first = time.perf_counter()
    for _ in pieces:
        pass
    return first - start, time.perf_counter() - first


def one_round(ask: Ask, side: Side, prompts: Prompts, number: int, tokens: int) -> None:
    """Every figure once."""
    first, rest = stream(ask, prompts.short(number, 0), tokens)
    side.first_token.append(first)
    side.one_stream.append((tokens - 1) / rest)
    start = time.perf_counter()
    with ThreadPoolExecutor(STREAMS) as pool:
        jobs = [
            pool.submit(stream, ask, prompts.short(number, place), tokens)
            for place in range(1, STREAMS + 1)
        ]
        for job in jobs:
            job.result()
    side.eight_streams.append(STREAMS * tokens / (time.perf_counter() - start))
    stream(ask, prompts.long(0, number), 1)
    side.first_token_known_prefix.append(stream(ask, prompts.long(0, number + 1000), 1)[0])
    side.first_token_new_prefix.append(stream(ask, prompts.long(number + 1, 0), 1)[0])


class Prompts:
    """Token ids of questions, short or after a prefix of 600 tokens."""

    def __init__(self, template: Template) -> None:
        self._template = template

    def short(self, number: int, place: int) -> list[int]:
        """A question that was not asked before."""
        return self._template.prompt([Message("user", f"Tell story {place} of day {number}.")])

    def long(self, prefix: int, question: int) -> list[int]:
        """A question after the prefix of a number; prefixes share nothing but their first words."""
        rules = " ".join(f"{prefix} rule {n}: be brief." for n in range(200))
        system = self._template.prompt([Message("system", rules), Message("user", "a")])[:PREFIX]
        asked = self._template.prompt([Message("user", f"Question {question}?")])
        return [*system, *asked]


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    base = describe_base(MODEL)
    path = base_file(base)
    settings = ServerSettings(slots=STREAMS, context=2048, threads=given.threads)
    server, other = LlamaCppServer(path, {}, settings), peer(str(path), settings)
    prompts = Prompts(base.template)
    sides = {"assay": Side(), "xllamacpp": Side()}
    asks = {"assay": ours(server), "xllamacpp": theirs(other.listening_address)}
    for ask in asks.values():  # warm
        stream(ask, prompts.short(-1, 0), 4)
    for number in range(given.rounds):
        order = list(asks) if number % 2 == 0 else list(asks)[::-1]
        for name in order:
            one_round(asks[name], sides[name], prompts, number, given.tokens)
        print(f"round {number + 1} of {given.rounds}", file=sys.stderr, flush=True)
    medians = {name: side.medians() for name, side in sides.items()}
    ratios = {k: medians["assay"][k] / medians["xllamacpp"][k] for k in medians["assay"]}
    report = {
        **medians,
        "ratio": ratios,
        "tokens": given.tokens,
        "rounds": given.rounds,
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, {platform.system()}",
        "versions": {name: version(name) for name in ("assay", "xllamacpp")},
    }
    if given.json:
        print(json.dumps(report, indent=2))
        return
    for name in ratios:
        mine, other_side = medians["assay"][name], medians["xllamacpp"][name]
        print(f"{name:26} {mine:9.3f} {other_side:9.3f}  ratio {ratios[name]:.2f}")
    known, new = (medians["assay"][f"first_token_{k}_prefix"] for k in ("known", "new"))
    print(
        f"a known prefix of {PREFIX} tokens brings the first token {new / known:.1f} times sooner"
    )


if __name__ == "__main__":
    main()
