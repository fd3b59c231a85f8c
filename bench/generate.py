"""Generation side by side with a loop of `model.generate`, in one run, on the same prompts.

    python bench/generate.py [--rows 200] [--peer-rows 200] [--json]

The prompts are test rows of banking77 under a system prompt that names all 77 labels, so that
about 571 of about 590 tokens are shared. Both sides run the same float32 weights, decode greedily
and stop at the same tokens. The peer is timed on `--peer-rows` prompts, evenly spread, one half
before Assay's turn and one half after it, so that other work on the machine weighs on both; its
time per answer is compared, in seconds of the clock and of the processor.

The data are looked for in ASSAY_TEST_DATA, else in ../shared/data.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import torch

from assay.chat.template import Template
from assay.example import Message
from assay.generate.batch import Answer, Request
from assay.generate.transformers.batch import TransformersBatchEngine
from assay.models.load import LoadedModel, load

T = TypeVar("T")
MODEL = "smollm2-135m-instruct"
MAX_NEW_TOKENS = 18  # the longest label, its stop token included


@dataclass
class Figures:
    """What one run measured; times in seconds, rates in answers a second."""

    rows: int
    peer_rows: int
    prompt_tokens: float
    shared_tokens: int
    completion_tokens: float
    stopped: int
    assay_seconds: float
    peer_seconds: float
    assay_rate: float
    peer_rate: float
    ratio: float
    cpu_ratio: float
    equal: int
    first_difference_margin: float | None
    largest_logprob_difference: float
    machine: str
    threads: int
    versions: dict[str, str]


def data_folder() -> Path:
    """Where banking77 is."""
    named = os.environ.get("ASSAY_TEST_DATA")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared" / "data"
    if not (folder / "banking77" / "test.jsonl").exists():
        sys.exit(f"{folder} holds no banking77; set ASSAY_TEST_DATA to the folder of data sets.")
    return folder / "banking77"


def requests(rows: int) -> list[Request]:
    """Test rows, evenly spread over the labels, under the prompt with all labels."""
    folder = data_folder()
    labels = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    system = (
        "Classify the customer's message into exactly one of these intents and answer with the "
        f"intent alone: {', '.join(labels)}"
    )
    lines = (folder / "test.jsonl").read_text(encoding="utf-8").splitlines()
    chosen = [json.loads(lines[i * len(lines) // rows])["text"] for i in range(rows)]
    return [
        Request((Message("system", system), Message("user", text)), max_new_tokens=MAX_NEW_TOKENS)
        for text in chosen
    ]


def peer(loaded: LoadedModel, prompts: list[list[int]], stops: frozenset[int]) -> list[list[int]]:
    """New tokens of each prompt by `model.generate`, one prompt after the other."""
    answers = []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        out = loaded.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=MAX_NEW_TOKENS,
            eos_token_id=sorted(stops),
            pad_token_id=loaded.tokenizer.pad_token_id or loaded.tokenizer.eos_token_id,
        )
        answers.append(out[0, len(prompt) :].tolist())
    return answers


def timed(work: Callable[[], T]) -> tuple[T, tuple[float, float]]:
    """What `work` returns, and its seconds of the clock and of the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    result = work()
    return result, (time.perf_counter() - clock, time.process_time() - processor)


def judge(loaded: LoadedModel, prompt: list[int], tokens: list[int]) -> tuple[float, list[float]]:
    """The log-probability of an answer by the model alone, and at each step the lead of the best
    token over the second."""
    with torch.inference_mode():
        ids = torch.tensor([prompt + tokens[:-1]])
        logs = loaded.model(ids).logits[0, len(prompt) - 1 :].log_softmax(-1)
    best = logs.topk(2, dim=-1).values
    total = float(logs.gather(1, torch.tensor(tokens)[:, None]).sum())
    return total, (best[:, 0] - best[:, 1]).tolist()


def measure(rows: int, peer_rows: int, say: Any) -> Figures:
    """Both sides once, after a warm-up that neither is timed on."""
    loaded = load(MODEL)
    template = Template.of(loaded.tokenizer)
    asked = requests(rows)
    prompts = [template.prompt(request.messages) for request in asked]
    shared = next(
        i for i in range(len(prompts[0])) if len({tuple(p[: i + 1]) for p in prompts}) > 1
    )
    say(f"{rows} prompts of {sum(map(len, prompts)) / rows:.0f} tokens, {shared} of them shared")
    places = [i * rows // peer_rows for i in range(peer_rows)]
    halves = places[: peer_rows // 2], places[peer_rows // 2 :]
    hello = [Request((Message("user", "Hello"),), max_new_tokens=2)]
    TransformersBatchEngine(loaded, template, device="cpu").answer(hello)
    peer(loaded, [template.prompt(hello[0].messages)], template.stop_ids)
    engine = TransformersBatchEngine(loaded, template, device="cpu")

    theirs, before = timed(lambda: peer(loaded, [prompts[i] for i in halves[0]], template.stop_ids))
    answers, (ours, our_cpu) = timed(lambda: engine.answer(asked))
    say(f"assay: {ours:.1f} s, {rows / ours:.2f} answers/s")
    rest, after = timed(lambda: peer(loaded, [prompts[i] for i in halves[1]], template.stop_ids))
    theirs += rest
    seconds, peer_cpu = before[0] + after[0], before[1] + after[1]
    say(f"loop of model.generate: {seconds:.1f} s, {peer_rows / seconds:.2f} answers/s")
    equal, margin, difference = compare(loaded, template, prompts, answers, places, theirs)
    return Figures(
        rows=rows,
        peer_rows=peer_rows,
        prompt_tokens=sum(map(len, prompts)) / rows,
        shared_tokens=shared,
        completion_tokens=sum(a.completion_tokens or 0 for a in answers) / rows,
        stopped=sum(a.finish == "stop" for a in answers),
        assay_seconds=ours,
        peer_seconds=seconds,
        assay_rate=rows / ours,
        peer_rate=peer_rows / seconds,
        ratio=(rows / ours) / (peer_rows / seconds),
        cpu_ratio=(rows / our_cpu) / (peer_rows / peer_cpu),
        equal=equal,
        first_difference_margin=margin,
        largest_logprob_difference=difference,
        machine=f"{platform.machine()}, {os.cpu_count()} CPUs, {platform.system()}",
        threads=torch.get_num_threads(),
        versions={name: version(name) for name in ("assay", "torch", "transformers")},
    )


def compare(
    loaded: LoadedModel,
    template: Template,
    prompts: list[list[int]],
    answers: list[Answer],
    places: list[int],
    theirs: list[list[int]],
) -> tuple[int, float | None, float]:
    """How many answers have the peer's tokens; where one has not, by how little the model
    preferred its token there; the largest difference of log-probabilities on equal ones."""
    equal, margin, difference = 0, None, 0.0
    for place, tokens in zip(places, theirs, strict=True):
        answer = answers[place]
        kept = [t for t in tokens if t not in template.stop_ids]
        text = loaded.tokenizer.decode(
            kept, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        total, leads = judge(loaded, prompts[place], tokens)
        if (text, len(tokens)) == (answer.text, answer.completion_tokens):
            equal += 1
            difference = max(difference, abs(total - (answer.logprob or 0.0)))
        else:
            margin = max(margin or 0.0, min(leads))
    return equal, margin, difference


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--peer-rows", type=int, help="prompts for the peer; default: all")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    peer_rows = min(given.peer_rows or given.rows, given.rows)

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    figures = measure(given.rows, peer_rows, say)
    if given.json:
        print(json.dumps(asdict(figures), indent=2))
        return
    print(
        f"ratio {figures.ratio:.1f} ({figures.assay_rate:.2f} against {figures.peer_rate:.2f} "
        f"answers/s), {figures.cpu_ratio:.1f} by processor time\n"
        f"equal tokens {figures.equal} of {figures.peer_rows}, log-probabilities within "
        f"{figures.largest_logprob_difference:.1e}\n"
        f"{figures.completion_tokens:.1f} tokens an answer, {figures.stopped} of {figures.rows} "
        f"ended by the model\n"
        f"{figures.machine}, {figures.threads} threads, "
        + ", ".join(f"{k} {v}" for k, v in figures.versions.items())
    )
    if figures.first_difference_margin is not None:
        print(
            "where tokens differ, the model's two best lay within "
            f"{figures.first_difference_margin:.1e} of each other"
        )


if __name__ == "__main__":
    main()
