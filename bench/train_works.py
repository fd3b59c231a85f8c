"""What `bench/train.py` trains on: rows of public data, and the job that both sides are given.

A row is `{"messages": [...], "answers": [turn]}` (two turns for a pair, the better one first), or
plain text, `{"prompt": text, "completion": text}`, or `{"ids": [...], "trained": how many}`.
Nothing here imports torch: the process that starts the measured ones must stay small, since Linux
hands its peak memory on to them.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from assay.train.sequences import epoch_order

Row = dict[str, Any]
MODEL = "smollm2-135m-instruct"
RANK, ALPHA = 16, 32
STEP_ROWS = 32
AGREE_ROWS = 40  # 20 steps of two rows, or of one pair
LONGEST_PAIR = 3300


@dataclass(frozen=True)
class Setting:
    """How the peer is run.

    Attributes:
        format: "bfloat16" multiplies in bfloat16 (autocast); "bfloat16 weights" stores them so too.
        micro: rows at once (pairs for dpo); packed: a pack has room for so many of the longest row.
        layout: how rows lie beside each other.
        checkpointing: activations computed twice to hold fewer.
        reference_first: dpo's reference log-probabilities before the training, not in its steps.
        liger: norms, rotation and feed-forwards by Liger's kernels; on a GPU.
        unsloth: the model and the adapter are Unsloth's; on a GPU.
    """

    format: Literal["float32", "bfloat16", "bfloat16 weights"] = "bfloat16"
    micro: int = 2
    layout: Literal["padded", "padding-free", "packed"] = "padded"
    checkpointing: bool = False
    reference_first: bool = False
    liger: bool = False
    unsloth: bool = False

    def __str__(self) -> str:
        extras = ", checkpointing" * self.checkpointing + ", reference first" * self.reference_first
        extras += ", Liger" * self.liger
        return f"{self.format}, {self.layout}, micro-batch {self.micro}{extras}"


@dataclass(frozen=True)
class Job:
    """One training, for either side.

    Attributes:
        rows: a multiple of `rows_per_step`; both sides shuffle them with `seed` in the same way.
        validation: rows whose loss is measured after the training.
        compute: our number format; None: what the trainer picks.
        settings: the peer's, one training each.
        limit_s: after this many seconds of steps no further one is begun.
        peak: measure how fast the machine multiplies matrices (ours only).
        model: a starter, or a folder.
        quantization: of the base.
    """

    method: Literal["sft", "dpo"]
    rows: list[Row]
    rows_per_step: int = STEP_ROWS
    epochs: int = 1
    seed: int = 0
    learning_rate: float = 1e-3
    validation: list[Row] = field(default_factory=list)
    compute: Literal["float32", "bfloat16"] | None = None
    settings: tuple[Setting, ...] = ()
    limit_s: float = 400.0
    peak: bool = False
    model: str = MODEL
    quantization: Literal["none", "nf4"] = "none"

    @classmethod
    def read(cls) -> Job:
        """The job that the starting process wrote to standard input."""
        raw = json.load(sys.stdin)
        return cls(**{**raw, "settings": tuple(Setting(**one) for one in raw["settings"])})


@dataclass(frozen=True)
class Work:
    """One line of the benchmark.

    Attributes:
        rows: at least three steps of 32.
        small: short ones for 20 steps, on which the losses of both sides are compared.
        tried: rows (pairs) on which the peer's settings are tried, at least.
    """

    name: str
    method: Literal["sft", "dpo"]
    rows: list[Row]
    small: list[Row]
    tried: int
    learning_rate: float = 1e-3

    @property
    def layouts(self) -> tuple[dict[str, Any], ...]:
        """What the peer offers beside padded rows."""
        if self.method == "dpo":  # TRL has neither packing nor padding-free for pairs at present
            return ({"reference_first": True},)
        return ({"layout": "padding-free"}, {"layout": "packed"})


def works(steps: int) -> dict[str, Work]:
    """All works, with rows for that many steps."""
    return {work.name: work for work in (_shared(steps), _unique(steps), _dpo(steps))}


def quality_rows() -> tuple[list[Row], list[Row]]:
    """snips, text to JSON: 320 rows to train on, 128 to validate on."""
    system = "Write the intent and the slots of the sentence as JSON."

    def record(line: Row) -> Row:
        return {"intent": line["intent"], "slots": line["slots"]}

    lines = list(_lines("snips", "train.jsonl"))
    made = [
        _chat(system, line["text"], json.dumps(record(line), ensure_ascii=False))
        for line in lines[:: len(lines) // 448][:448]
    ]
    return [r for i, r in enumerate(made) if i % 7 < 5], [
        r for i, r in enumerate(made) if i % 7 > 4
    ]


def data_folder() -> Path:
    """Where the public data are."""
    named = os.environ.get("ASSAY_TEST_DATA")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared" / "data"
    if not (folder / "banking77" / "train.jsonl").exists():
        sys.exit(f"{folder} holds no banking77; set ASSAY_TEST_DATA to the folder of data sets.")
    return folder


def _shared(steps: int) -> Work:
    """banking77: the system prompt names all 77 labels, 571 of 599 tokens are the same."""
    labels = json.loads((data_folder() / "banking77" / "labels.json").read_text(encoding="utf-8"))
    lines = list(_lines("banking77", "train.jsonl"))
    few = labels[:8]
    count = steps * STEP_ROWS
    spread = [lines[i * len(lines) // count] for i in range(count)]
    short = [line for line in lines if line["label"] in few]
    return Work(
        "sft-shared",
        "sft",
        [_chat(_labels_prompt(labels), line["text"], line["label"]) for line in spread],
        [
            _chat(_labels_prompt(few), line["text"], line["label"])
            for line in short[:: len(short) // AGREE_ROWS][:AGREE_ROWS]
        ],
        tried=2,
    )


def _unique(steps: int) -> Work:
    """mts_dialog, dialogue to note, as plain text: no two rows of a step begin alike.

    A chat template would begin every row with the same tokens, and nearly every dialogue begins
    with "Doctor:"; a row begins with the first words spoken instead.
    """
    pool = [
        {
            "prompt": re.sub(r"^\w+:", "", line["dialogue"]).strip() + "\n\nNote:\n",
            "completion": line["section_text"].strip(),
        }
        for line in _lines("mts_dialog", "train.jsonl")
        if len(line["dialogue"]) < 1500 and 20 < len(line["section_text"]) < 600
    ]
    # Usual words first: each is a token of its own, where rare ones may begin with the same piece.
    counts = Counter(map(_first_word, pool))
    usual = sorted(pool, key=lambda row: -counts[_first_word(row)])
    return Work(
        "sft-unique",
        "sft",
        as_shuffled(_apart(usual, steps, STEP_ROWS)),
        _apart(sorted(pool, key=_length), AGREE_ROWS // 2, 2),
        tried=8,
    )


def _dpo(steps: int) -> Work:
    """The preference pairs of llamafactory_formats, the long ones left out for the time they take.

    The two rows of a pair have at most `LONGEST_PAIR` bytes of text together.
    """
    path = data_folder() / "llamafactory_formats" / "dpo_en_demo.json"
    roles = {"human": "user", "gpt": "assistant", "system": "system"}
    rows: list[Row] = [
        {
            "messages": [
                {"role": roles[turn["from"]], "content": turn["value"]}
                for turn in raw["conversations"]
            ],
            "answers": [
                {"role": "assistant", "content": raw[kind]["value"]}
                for kind in ("chosen", "rejected")
            ],
        }
        for raw in json.loads(path.read_text(encoding="utf-8"))
    ]
    short = [row for row in rows if _length(row) <= LONGEST_PAIR]
    return Work(
        "dpo",
        "dpo",
        short[: steps * STEP_ROWS],
        sorted(short, key=_length)[: AGREE_ROWS // 2],
        tried=4,
        learning_rate=1e-4,
    )


def _apart(pool: Sequence[Row], steps: int, each: int) -> list[Row]:
    """For each step the first rows of the pool, not used yet, that begin with different words."""
    left, chosen = list(pool), []
    for _ in range(steps):
        seen: set[str] = set()
        for row in list(left):
            word = _first_word(row)
            if word not in seen and len(seen) < each:
                seen.add(word)
                chosen.append(row)
                left.remove(row)
    return chosen


def _first_word(row: Row) -> str:
    word: str = re.split(r"\W", row["prompt"], maxsplit=1)[0]
    return word


def as_shuffled(rows: Sequence[Row]) -> list[Row]:
    """The rows so laid that the first epoch's shuffled order is the given one."""
    laid: list[Row] = [{}] * len(rows)
    for row, place in zip(rows, epoch_order(len(rows), 0, 0), strict=True):
        laid[place] = row
    return laid


def _length(row: Row) -> int:
    """Bytes of all its sequences together, which tell tokens better than characters do."""
    if "prompt" in row:
        return len((row["prompt"] + row["completion"]).encode())
    own = sum(len(turn["content"].encode()) for turn in row["messages"])
    return sum(own + len(turn["content"].encode()) for turn in row["answers"])


def _labels_prompt(labels: Sequence[str]) -> str:
    return (
        "Classify the customer's message into exactly one of these intents and answer with the "
        f"intent alone: {', '.join(labels)}"
    )


def _chat(system: str, user: str, answer: str) -> Row:
    prompt = [{"role": "system", "content": system}, {"role": "user", "content": user}]
    return {"messages": prompt, "answers": [{"role": "assistant", "content": answer}]}


def _lines(*parts: str) -> Iterator[dict[str, Any]]:
    with data_folder().joinpath(*parts).open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def counted_once(sequences: Sequence[Sequence[int]]) -> int:
    """Tokens of all sequences, those of a common beginning counted once."""
    total = 0
    previous: Sequence[int] = ()
    for sequence in sorted(map(list, sequences)):
        total += len(sequence) - common(previous, sequence)
        previous = sequence
    return total


def common(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens two sequences begin with alike."""
    for place, (a, b) in enumerate(zip(first, second, strict=False)):
        if a != b:
            return place
    return min(len(first), len(second))
