"""How a training's memory moves over thousands of steps of ragged rows.

    python bench/memory.py [--steps 2000] [--starter] [--out docs/memory.svg] [--json]

A random model of three million parameters is trained with LoRA on rows whose lengths are spread
widely (every second one begins like the others), two a step; `--starter` trains the starter,
SmolLM2-135M-Instruct, on dialogues and notes instead, which takes seconds a step. The longest rows
come early. Drawn is the most memory that the process held within each step (Linux; elsewhere: at
its end). The rise is that of the largest step after step 100 over the largest before; its bar is
3 %, and the exit code is 1 above it. 2,000 steps take a few minutes on two quiet cores.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from assay.config import FineTune
from assay.models.load import LoadedModel, load
from assay.train.job import StepReport, TrainingJob
from assay.train.sequences import TrainingSequence, alone, epoch_order
from assay.train.session import train_by_method
from line_chart import LEFT, TALL, TOP, Curve, chart, panel
from train_works import MODEL, works

WARM, BAR = 100, 0.03
VOCABULARY, LONGEST = 16_000, 300
WIDE = 760.0
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Memory:
    """What was measured.

    Attributes:
        mb: the most within each step, 1e6 bytes.
        rise: of the largest step after step 100 over the largest up to there, a share.
    """

    steps: int
    seconds: float
    mb: list[float]
    rise: float


def most_within_step() -> float:
    """1e6 bytes since the last call."""
    try:
        line = next(li for li in _STATUS.read_text().splitlines() if li.startswith("VmHWM"))
        _CLEAR.write_text("5")  # proc_pid_clear_refs(5): the peak begins anew
        return int(line.split()[1]) * 1024 / 1e6
    except OSError:
        return float(psutil.Process().memory_info().rss) / 1e6


def ragged_rows(count: int) -> list[TrainingSequence]:
    """Random ids, mostly short; every second row begins with the same 40."""
    draw = random.Random(0)

    def some(number: int) -> list[int]:
        return [draw.randrange(3, VOCABULARY) for _ in range(number)]

    start, rows = some(40), []
    for number in range(count):
        length = min(LONGEST, 5 + int(draw.expovariate(1 / 60)))
        prompt, answer = [*(start if number % 2 else []), *some(length)], some(draw.randint(2, 40))
        rows.append(TrainingSequence(prompt + answer, [False] * len(prompt) + [True] * len(answer)))
    return rows


def longest_early(rows: list[TrainingSequence], seed: int) -> list[TrainingSequence]:
    """So laid that the two longest make the trainer's tenth step: no later one needs more."""
    order = sorted(range(len(rows)), key=lambda i: len(rows[i].ids))
    early, rest = order[-2:], sorted(order[:-2])
    steps = [rows[i] for i in (*rest[:18], *early, *rest[18:])]
    laid = list(steps)
    for row, place in zip(steps, epoch_order(len(rows), seed, 0), strict=True):
        laid[place] = row
    return laid


def random_model() -> LoadedModel:
    """Small enough for a step in a tenth of a second; no tokenizer is needed."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config).eval()
    return LoadedModel(model, None, "random", "random", 1024, "float32")


def of_starter(steps: int) -> tuple[LoadedModel, list[TrainingSequence]]:
    """The starter and dialogues with their notes, two a step."""
    from assay.chat.template import Template
    from train_ours import rendered

    loaded = load(MODEL)
    rows = works(-(-2 * steps // 32))["sft-unique"].rows[: 2 * steps]
    units = rendered(loaded, Template.of(loaded.tokenizer), "sft", rows)
    return loaded, [unit.rows[0] for unit in units]


def measure(steps: int, *, starter: bool) -> Memory:
    """One epoch of so many steps."""
    loaded, rows = of_starter(steps) if starter else (random_model(), ragged_rows(2 * steps))
    settings = FineTune(rank=8, alpha=16, epochs=1, rows_per_step=2, max_tokens=2048)
    rows = longest_early(rows, settings.seed)
    held: list[float] = []

    def watch(report: StepReport) -> None:
        if not report.validation:
            held.append(most_within_step())

    began = time.monotonic()
    with TemporaryDirectory() as folder:
        job = TrainingJob(
            loaded,
            alone(rows),
            alone(rows[:2]),
            settings,
            Path(folder),
            on_step=watch,
            checkpoint_seconds=float("inf"),
        )
        train_by_method(job)
    warm = min(WARM, len(held) // 2)
    rise = max(held[warm:]) / max(held[1:warm]) - 1  # the first tells of the model's loading
    return Memory(len(held), time.monotonic() - began, held, rise)


def draw(found: Memory, what: str) -> str:
    """Memory by step, from 0."""
    curve = Curve("c2", "", list(enumerate(found.mb[1:], 1)))
    body = panel(LEFT, TOP, "step", f"MB at most within a step, {what}", [curve], WIDE)
    return chart(LEFT + WIDE + 20, TOP + TALL, "memory of a training by step", body)


def main() -> None:
    """Parse, measure, print, draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, help="default: 2000, of the starter 200")
    parser.add_argument("--starter", action="store_true")
    parser.add_argument("--out", type=Path, help="an SVG file")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found = measure(given.steps or (200 if given.starter else 2000), starter=given.starter)
    if given.out:
        what = "SmolLM2-135M" if given.starter else "a random model"
        given.out.write_text(draw(found, what), encoding="utf-8")
    if given.json:
        print(json.dumps(asdict(found)))
    print(
        f"{found.steps} steps in {found.seconds:.0f} s; at most {max(found.mb[1:]):.0f} MB, "
        f"{found.rise:+.1%} after step {min(WARM, found.steps // 2)} (bar {BAR:.0%})",
        file=sys.stderr if given.json else sys.stdout,
    )
    if found.rise >= BAR:
        sys.exit(1)


if __name__ == "__main__":
    main()
