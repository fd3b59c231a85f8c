"""Reinforcement side by side with TRL's GRPOTrainer, in one run, on the same prompts.

    pip install -e '.[bench]'
    python bench/reinforcement.py [--quick] [--length 500] [--json]

SmolLM2-135M-Instruct, LoRA of rank 16 on all linear maps, four prompts a step (`--quick`: one),
eight answers to each of at most 48 tokens (16) at temperature 1, one update, no KL term, advantages
without deviation, clips of 0.2 and 0.28, one divisor for all tokens. Prompts have 50 or 500
tokens and nothing in common but the chat template's beginning. A step draws the answers, grades
them by a function that takes no time, and updates the weights. A rate is over three steps (one)
after a first one that is not counted. Each side runs in a process of its own; the peer in float32
and in bfloat16, of which the better one counts; with 500 tokens it learns from eight answers at a
time, since all 32 take more than 20 GB. Figures need a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

GROUP = 8
LENGTHS = (50, 500)
WORDS = ("river", "stone", "seven", "green", "letter", "market", "window", "paper", "north", "salt")
SIDES = ("ours", "peer float32", "peer bfloat16")


@dataclass
class Work:
    """What one process does: steps of so many prompts, each about so many tokens long."""

    side: str
    length: int
    prompts: int
    answer: int
    steps: int


@dataclass
class Rate:
    """Of the counted steps: answers drawn and learned from, their tokens, and steps."""

    side: str
    length: int
    answers_per_s: float
    answer_tokens_per_s: float
    steps_per_s: float


def prompts_of(work: Work, template: Any) -> list[str]:
    """As many as all steps need, each as long as asked."""
    from assay.example import Message

    made = []
    for number in range(work.prompts * (work.steps + 2)):
        text = f"{number} {WORDS[number % 10]}"
        while len(template.prompt([Message("user", text)], ())) < work.length:
            text += f" {WORDS[(len(text) * 7 + number) % 10]}"
        made.append(text)
    return made


def small_letters(texts: Sequence[str]) -> list[float]:
    """Share of small letters: a reward that differs between answers."""
    return [sum("a" <= c <= "z" for c in text) / max(1, len(text)) for text in texts]


def rate_of(work: Work, marks: Sequence[float], tokens: Sequence[int]) -> Rate:
    """Of the time between the marks, each set behind a step, and the answer tokens of each."""
    seconds, counted = marks[-1] - marks[0], len(marks) - 1
    return Rate(
        work.side,
        work.length,
        counted * work.prompts * GROUP / seconds,
        sum(tokens[1:]) / seconds,
        counted / seconds,
    )


def ours(work: Work) -> Rate:
    """By `assay.train.reinforce`; the last step, which also measures, is not counted."""
    from assay.chat.template import Template
    from assay.config import FineTune
    from assay.config.reinforcement import Reinforcement
    from assay.example import Example
    from assay.generate.batch import Request
    from assay.models.load import load
    from assay.train.job import StepReport, TrainingJob
    from assay.train.reinforce.questions import Grading, Question
    from assay.train.session import train_by_method
    from assay.train.units import answered_rows
    from train_works import ALPHA, MODEL, RANK

    loaded = load(MODEL, dtype="float32")
    template = Template.of(loaded.tokenizer)
    examples = [
        Example.of(text, "a", id=str(i)) for i, text in enumerate(prompts_of(work, template))
    ]
    questions = [
        Question((row,), example=one, request=Request(one.prompt, max_new_tokens=work.answer))
        for row, one in zip(answered_rows(examples, template, ""), examples, strict=True)
    ]
    own = Reinforcement(
        steps=work.steps + 2,
        prompts_per_step=work.prompts,
        group=GROUP,
        updates=1,
        evaluate_every=100,
    )
    settings = FineTune(
        method="reinforcement",
        rank=RANK,
        alpha=ALPHA,
        learning_rate=1e-5,
        rows_per_step=work.prompts,
        reinforcement=own,
    )
    marks: list[float] = []
    drawn: list[int] = []

    def reward(_: Sequence[Example], texts: Sequence[str]) -> list[float]:
        drawn.append(sum(len(loaded.tokenizer(text).input_ids) for text in texts))
        return small_letters(texts)

    def note(report: StepReport) -> None:
        if not report.validation:
            marks.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        graded = Grading(template, reward, {}, "reward", {})
        job = TrainingJob(
            loaded,
            questions,
            questions[:1],
            settings,
            Path(folder) / "run",
            graded_by=graded,
            on_step=note,
            checkpoint_seconds=1e9,
        )
        train_by_method(job)
    return rate_of(work, marks[:-1], drawn[1:-2])  # the first and last of `drawn` are validation's


def peer(work: Work) -> Rate:
    """By TRL's trainer, in the number format that the side names."""
    import datasets
    import torch
    import trl
    from peft import LoraConfig
    from transformers import TrainerCallback

    from assay.chat.template import Template
    from assay.models.load import load
    from train_works import ALPHA, MODEL, RANK

    half = work.side.endswith("bfloat16")
    passes = work.prompts if work.length >= 500 else 1
    loaded = load(MODEL, dtype="bfloat16" if half else "float32")
    texts = prompts_of(work, Template.of(loaded.tokenizer))
    marks: list[float] = []
    drawn: list[int] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        """Notes when a step is over."""

        def on_step_end(self, *_: Any, **__: Any) -> None:
            marks.append(time.perf_counter())

    def reward(completions: Any, **_: Any) -> list[float]:
        said = [turns[0]["content"] for turns in completions]
        drawn.append(sum(len(loaded.tokenizer(text).input_ids) for text in said))
        return small_letters(said)

    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        arguments = trl.GRPOConfig(
            output_dir=folder,
            per_device_train_batch_size=work.prompts * GROUP // passes,
            gradient_accumulation_steps=passes,
            num_generations=GROUP,
            max_completion_length=work.answer,
            max_steps=work.steps + 1,
            temperature=1.0,
            beta=0.0,
            epsilon=0.2,
            epsilon_high=0.28,
            loss_type="dapo",
            scale_rewards="none",
            learning_rate=1e-5,
            gradient_checkpointing=False,
            bf16=half,
            use_cpu=True,
            dataloader_pin_memory=False,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
        )
        trainer = trl.GRPOTrainer(
            model=loaded.model,
            reward_funcs=reward,
            args=arguments,
            train_dataset=datasets.Dataset.from_list(
                [{"prompt": [{"role": "user", "content": text}]} for text in texts]
            ),
            processing_class=loaded.tokenizer,
            peft_config=LoraConfig(
                r=RANK, lora_alpha=ALPHA, target_modules="all-linear", task_type="CAUSAL_LM"
            ),
            callbacks=[Clock()],
        )
        trainer.train()
    return rate_of(work, marks, drawn)


def measured(work: Work, limit_s: float) -> Rate | None:
    """The rate of one side, from a process of its own; None: it has failed, or took too long."""
    command = [sys.executable, __file__, "--work", json.dumps(asdict(work))]
    known = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=limit_s, env=known, check=False
        )
    except subprocess.TimeoutExpired:
        print(f"  {work.side}: more than {limit_s:g} s", file=sys.stderr)
        return None
    if done.returncode:
        print(f"  {work.side} failed:\n{done.stderr[-2000:]}", file=sys.stderr)
        return None
    return Rate(**json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Every length, every side."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one prompt a step, short answers")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--length", type=int, choices=LENGTHS, help="prompts of this alone")
    parser.add_argument("--limit", type=float, default=1800.0, help="seconds for one process")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        work = Work(**json.loads(given.work))
        print(json.dumps(asdict(ours(work) if work.side == "ours" else peer(work))))
        return
    prompts, answer, steps = (1, 16, 1) if given.quick else (4, 48, 3)
    found: list[dict[str, Any]] = []
    for length in (given.length,) if given.length else LENGTHS:
        rates = {}
        for side in SIDES:
            rate = measured(Work(side, length, prompts, answer, steps), given.limit)
            if rate is not None:
                rates[side] = rate
                print(f"{length} tokens, {side}: {rate.answers_per_s:.2f} answers/s", flush=True)
        best = max((r.answers_per_s for s, r in rates.items() if s != "ours"), default=None)
        if "ours" in rates and best:
            ratio = rates["ours"].answers_per_s / best
            print(f"{length} tokens: {ratio:.2f} times the peer's answers a second", flush=True)
        found += [asdict(rate) for rate in rates.values()]
    if given.json:
        print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
