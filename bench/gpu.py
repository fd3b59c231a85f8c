"""Training on a GPU beside TRL with Liger and Unsloth, by models of true shapes and random weights.

    pip install -e '.[bench]' liger-kernel unsloth      # what is not there is told, not measured
    python bench/gpu.py [qwen3-0.6b qwen3-1.7b llama-1b llama-7b] [--nf4] [--json FILE]
    python bench/gpu.py --quick                         # all of it on a tiny model, on a CPU too

LoRA of rank 16 on all linear maps, the same rows in the same order on all sides:

- `shared`: eight answers of 100 tokens to each prompt of 1,500
- `unique`: as many rows of as many tokens, no two alike

For each model the products of its matrices are timed, which is the limit; TRL's and Unsloth's
settings are tried on a few rows; then all sides train in turn, each time in a process of its own.
The first steps of a process are not counted (kernels are compiled). Tokens/s are those of the rows
as rendered; "computed" counts what rows begin with alike once, as ours computes it; the share of
the limit is that of the computed ones. Memory is what torch had allocated at most after loading.
A side whose first loss is another one than that of the first side measured is marked: it does not
compute the same. FILE is written after every process.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from train import ask, outcomes_in, rates, say
from train_works import Job, Row, Setting, as_shuffled

MODELS = ("qwen3-0.6b", "qwen3-1.7b", "llama-1b", "llama-7b")
SIDES = ("assay", "trl", "unsloth")
WORKS = ("shared", "unique")
LIBRARIES = ("assay", "torch", "transformers", "peft", "trl", "liger-kernel", "unsloth")
LIMIT_S = 480.0  # of one process; with loading and compilation
AGREED = 2e-2  # nats that first losses may be apart by rounding
IDS = range(100, 30_000)


@dataclass(frozen=True)
class Size:
    """What a step consists of, and how many are done.

    Attributes:
        prompts: of a step of `shared`, each with `answers`.
        prompt, answer: their tokens.
        warm: steps that are not counted.
        micro: rows at once that the peers are tried with.
    """

    prompts: int = 2
    answers: int = 8
    prompt: int = 1500
    answer: int = 100
    warm: int = 2
    steps: int = 5
    repeats: int = 2
    micro: tuple[int, ...] = (1, 4)

    @property
    def rows(self) -> int:
        """Of a step."""
        return self.prompts * self.answers


QUICK = Size(prompts=1, answers=4, prompt=60, answer=8, warm=1, steps=2, repeats=1, micro=(2,))


@dataclass(frozen=True)
class Line:
    """One side at one work; what was not measured is None, and `why` says why.

    Attributes:
        tokens_per_s: as rendered, the median of all counted steps.
        computed_per_s: of those, what is computed.
        share_of_limit: computed tokens / what the matrix products alone would allow.
        peak_mb: in 1e6 bytes, the most of all repeats.
        first_loss: of the first step, before any update: equal on all sides up to rounding.
        apart: by how much it differs from that of the first side measured.
        steps, asked: that were counted, and that should have been, of all repeats.
    """

    model: str
    work: str
    side: str
    how: str
    tokens_per_s: float | None = None
    computed_per_s: float | None = None
    share_of_limit: float | None = None
    peak_mb: float | None = None
    first_loss: float | None = None
    apart: float = 0.0
    steps: int = 0
    asked: int = 0
    why: str | None = None

    @property
    def comparable(self) -> bool:
        """Whether it computes what the others do."""
        return self.apart <= AGREED

    def __str__(self) -> str:
        name = f"{self.model} {self.work:6} {self.side:7}"
        if self.tokens_per_s is None:
            return f"{name} not measured: {self.why}"
        marks = f"; only {self.steps} of {self.asked} steps" * (self.steps < self.asked)
        if not self.comparable:
            marks += f"; NOT COMPARABLE, its first loss is {self.apart:.4f} apart"
        return (
            f"{name} {self.tokens_per_s:9.0f} tokens/s, {self.computed_per_s:9.0f} computed "
            f"({self.share_of_limit:4.0%} of the limit), {self.peak_mb:6.0f} MB, first loss "
            f"{self.first_loss:.4f} ({self.how}){marks}"
        )


def rows_of(work: str, size: Size, steps: int) -> list[Row]:
    """Random ids, so laid that every step has whole prompts."""
    draw = random.Random(work)

    def drawn(count: int) -> list[int]:
        return [draw.choice(IDS) for _ in range(count)]

    rows: list[Row] = []
    for _ in range(steps * size.prompts):
        shared = drawn(size.prompt)
        for _ in range(size.answers):
            prompt = shared if work == "shared" else drawn(size.prompt)
            rows.append({"ids": prompt + drawn(size.answer), "trained": size.answer})
    return as_shuffled(rows)


def run(side: str, job: Job) -> dict[str, Any]:
    """The outcome of a process; or {"error": why there is none}."""
    command = {"assay": ["train_ours.py"], "trl": ["train_peer.py"]}
    outcomes, failure = ask(command.get(side, ["train_peer.py", "--unsloth"]), job, LIMIT_S)
    if not outcomes:
        return {"error": (failure.strip().splitlines() or ["it printed no result"])[-1]}
    outcome = outcomes[0]
    if "error" not in outcome:
        told = [len(outcome[name]) for name in ("step_s", "tokens", "losses")]
        if not told[0] or len(set(told)) > 1:
            return {"error": "it told times of {}, tokens of {}, losses of {} steps".format(*told)}
    return outcome


def settings_of(side: str, size: Size, machine: dict[str, Any]) -> list[Setting]:
    """What a peer is tried with; nothing is left open on our side."""
    if side == "assay":
        return []
    form: Literal["float32", "bfloat16 weights"] = (
        "bfloat16 weights" if machine["cuda"] else "float32"
    )
    with_liger = side == "trl" and machine["liger"] and machine["cuda"]
    return [
        Setting(form, micro, checkpointing=again, liger=liger, unsloth=side == "unsloth")
        for liger in ((True, False) if with_liger else (False,))
        for again in ((False, True) if len(size.micro) > 1 else (False,))
        for micro in size.micro
    ]


def best_setting(side: str, size: Size, job: Job, machine: dict[str, Any]) -> Setting | str:
    """A peer's fastest one on a step of few rows, without Liger if it ran with none; or why."""
    why = ""
    found: dict[Setting, float] = {}
    few = job.rows[: 2 * max(size.micro)]  # rows of one length: which of them does not matter
    for setting in settings_of(side, size, machine):
        if any(other.liger and not setting.liger for other in found):
            break
        tried = replace(job, rows=few, rows_per_step=max(size.micro), settings=(setting,))
        outcome = run(side, tried)
        if "error" in outcome:
            why = outcome["error"]
            say(f"    {side}, {setting}: {why[:300]}")
            if "No module named" in why:
                break
        else:
            found[setting] = outcome["tokens"][-1] / outcome["step_s"][-1]
            say(f"    {side}, {setting}: {found[setting]:.0f} tokens/s")
    return max(found, key=lambda setting: found[setting]) if found else why


def line_of(
    model: str, work: str, side: str, size: Size, outcomes: Sequence[dict[str, Any]], limit: float
) -> Line:
    """What the repeats of one side measured."""
    good = [outcome for outcome in outcomes if "error" not in outcome]
    if len(good) < len(outcomes) or not good:
        why = next((o["error"] for o in outcomes if "error" in o), "nothing was run")
        return Line(model, work, side, "", why=why)
    speeds = [rate for o in good for rate in rates({**o, "prepare_s": 0.0})[size.warm :]]
    if not speeds:
        done = max(len(outcome["step_s"]) for outcome in good)
        why = f"{done} steps filled its time, and the first {size.warm} are not counted"
        return Line(model, work, side, "", why=why)
    tokens = statistics.median(speeds)
    computed = tokens * (good[0]["computed"] or sum(good[0]["tokens"])) / sum(good[0]["tokens"])
    return Line(
        model,
        work,
        side,
        good[0]["what"],
        tokens_per_s=round(tokens, 1),
        computed_per_s=round(computed, 1),
        share_of_limit=round(computed / limit, 4),
        peak_mb=round(max(outcome["peak_mb"] for outcome in good), 1),
        first_loss=good[0]["losses"][0],
        steps=len(speeds),
        asked=size.steps * size.repeats,
    )


def compared(lines: Sequence[Line]) -> list[Line]:
    """All sides at one work, and how far their first losses are from that of the first measured."""
    losses = [line.first_loss for line in lines if line.first_loss is not None]
    return [
        line if line.first_loss is None else replace(line, apart=abs(line.first_loss - losses[0]))
        for line in lines
    ]


def measure(
    model: str,
    size: Size,
    quantization: Literal["none", "nf4"],
    note: Callable[[dict[str, Any], list[Line]], None] = lambda machine, lines: None,
) -> tuple[dict[str, Any], list[Line]]:
    """The machine, and all sides at both works; `note` is called with them after each process."""
    lines: list[Line] = []
    with tempfile.TemporaryDirectory(prefix="assay-bench-") as folder:
        say(f"{model}: writing it, and timing its products")
        script = Path(__file__).with_name("gpu_models.py")
        made = subprocess.run(
            [sys.executable, str(script), model, folder], stdout=subprocess.PIPE, text=True
        )
        told = outcomes_in(made.stdout)
        if made.returncode or not told:
            why = f"{script.name} failed, and said why above"
            return {}, [Line(model, work, side, "", why=why) for work in WORKS for side in SIDES]
        machine = told[-1]
        say(
            f"  {machine['device']}, {machine['parameters'] / 1e6:.0f} million parameters; "
            f"{machine['tflops']:.2f} TFLOP/s of its products allow "
            f"{machine['limit_tokens_per_s']:.0f} tokens/s"
        )
        if not (machine["cuda"] and machine["liger"]):
            lacks = "Liger needs a GPU" if machine["liger"] else "liger-kernel is not installed"
            say(f"  TRL runs without Liger: {lacks}")
        steps = size.warm + size.steps
        jobs = {
            work: Job(
                "sft",
                rows_of(work, size, steps),
                rows_per_step=size.rows,
                learning_rate=1e-4,
                model=folder,
                quantization=quantization,
            )
            for work in WORKS
        }
        chosen: dict[str, Setting | str] = {
            side: best_setting(side, size, jobs["unique"], machine) for side in SIDES[1:]
        }
        for work, job in jobs.items():
            outcomes: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
            for _ in range(size.repeats):
                for side, found in outcomes.items():
                    setting = chosen.get(side)
                    if isinstance(setting, str):
                        found.append({"error": setting})
                    elif not any("error" in outcome for outcome in found):
                        own = () if setting is None else (setting,)
                        found.append(run(side, replace(job, settings=own)))
                    so_far = compared(
                        [
                            line_of(model, work, one, size, its, machine["limit_tokens_per_s"])
                            for one, its in outcomes.items()
                        ]
                    )
                    note(machine, lines + so_far)
            lines += so_far
            for line in so_far:
                say(f"  {line}")
    return machine, lines


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"of: {', '.join(MODELS)}")
    parser.add_argument("--nf4", action="store_true", help="the base in 4 bits, on all sides")
    parser.add_argument("--quick", action="store_true", help="a tiny model and short rows")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the same as JSON, into FILE")
    given = parser.parse_args()
    if unknown := set(given.models) - set(MODELS):
        parser.error(f"unknown model: {', '.join(sorted(unknown))}")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")  # TRL refuses a process that sees several
    versions: dict[str, str | None] = {}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    say(", ".join(f"{name} {found or '(not installed)'}" for name, found in versions.items()))
    names = ("tiny",) if given.quick else given.models or MODELS[:1]
    size = QUICK if given.quick else Size()
    result: dict[str, Any] = {"versions": versions, "size": asdict(size), "nf4": given.nf4}
    result |= {"machines": {}, "lines": []}
    before: list[dict[str, Any]] = []

    def note(machine: dict[str, Any], lines: list[Line]) -> None:
        result["machines"][name] = machine
        result["lines"] = before + [asdict(line) for line in lines]
        if given.json:
            given.json.write_text(json.dumps(result, indent=2), encoding="utf-8")

    for name in names:
        machine, lines = measure(name, size, "nf4" if given.nf4 else "none", note)
        note(machine, lines)
        before = result["lines"]
        print("\n".join(map(str, lines)), flush=True)


if __name__ == "__main__":
    main()
