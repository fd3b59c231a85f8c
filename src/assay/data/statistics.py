"""How many, how long, how balanced: the figures of a data set, counted while it streams by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from assay.example import Example

MAX_LABELS = 10_000
"""With more distinct outputs than this, outputs are no labels and are not counted."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of one rendered example."""

    input: int
    trained: int

    @property
    def total(self) -> int:
        """Tokens of the whole sequence, trained or not."""
        return self.input + self.trained


@dataclass(slots=True)
class Statistics:
    """Counts over examples.

    Attributes:
        rows: examples counted.
        input_characters, output_characters: histograms by `bin_of`.
        tokens: total input and trained tokens; None when no model said.
        sequence_tokens: histogram of whole sequences by `bin_of`.
        longest: tokens of the longest sequence.
        outputs: how often each output stands there; None when there are too many to be labels.
    """

    rows: int = 0
    input_characters: Counter[int] = field(default_factory=Counter)
    output_characters: Counter[int] = field(default_factory=Counter)
    tokens: Tokens | None = None
    sequence_tokens: Counter[int] = field(default_factory=Counter)
    longest: int = 0
    outputs: Counter[str] | None = field(default_factory=Counter)

    def add(self, example: Example, tokens: Tokens | None) -> None:
        """Count an example; `tokens` is None where there is no tokenizer."""
        self.rows += 1
        output = example.output
        self.input_characters[bin_of(len(example.input))] += 1
        self.output_characters[bin_of(len(output))] += 1
        if self.outputs is not None:
            self.outputs[output] += 1
            if len(self.outputs) > MAX_LABELS:
                self.outputs = None
        if tokens is not None:
            so_far = self.tokens or Tokens(0, 0)
            self.tokens = Tokens(so_far.input + tokens.input, so_far.trained + tokens.trained)
            self.sequence_tokens[bin_of(tokens.total)] += 1
            self.longest = max(self.longest, tokens.total)

    def balance(self) -> dict[str, int] | None:
        """Rows by output, most frequent first; None when the outputs do not look like labels.

        They do when there are at most 200 of them and five rows to each on average.
        """
        if self.outputs is None or not self.outputs or len(self.outputs) > 200:
            return None
        return dict(self.outputs.most_common()) if self.rows >= 5 * len(self.outputs) else None

    def token_counts(self) -> dict[str, int] | None:
        """Tokens of input, trained tokens, and those of the longest sequence."""
        if self.tokens is None:
            return None
        return {
            "input": self.tokens.input,
            "trained": self.tokens.trained,
            "longest": self.longest,
        }

    def to_dict(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "tokens": self.token_counts(),
            "input_characters": histogram(self.input_characters),
            "output_characters": histogram(self.output_characters),
            "sequence_tokens": histogram(self.sequence_tokens) if self.tokens else None,
            "labels": self.balance(),
        }


def count_labels(outputs: Mapping[str, int]) -> Counter[str]:
    """Rows of each label: white space around it, which no grader counts, makes a variant of its
    spelling and no other label.

    Args:
        outputs: rows of each as it is spelled.
    """
    counts: Counter[str] = Counter()
    for label, count in outputs.items():
        counts[label.strip()] += count
    return counts


def bin_of(length: int) -> int:
    """The upper end of the bin that a length falls into: 0, 1, 2, 4, 8, ..."""
    return 0 if length == 0 else 1 << (length - 1).bit_length()


def histogram(counts: Counter[int]) -> list[dict[str, int]]:
    """Bins in order; `up_to` is included, the bin before it is not."""
    return [{"up_to": end, "rows": counts[end]} for end in sorted(counts)]
