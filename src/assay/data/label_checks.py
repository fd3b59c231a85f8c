"""What is wrong with the labels of a file as a whole: one alone, rare ones, several spellings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from assay.data.contents import quote_label
from assay.data.spelling import plain
from assay.data.statistics import count_labels

RARE_ROWS = 5


def find_label_problems(outputs: Counter[str]) -> Iterator[tuple[str, str, str]]:
    """Code, message and fix of what is wrong with the labels of a file as a whole.

    Args:
        outputs: rows of each label.
    """
    rows = count_labels(outputs)
    if len(rows) == 1:
        yield (
            "one-class",
            f"every output is {quote_label(next(iter(rows)))}, so there is nothing to classify.",
            "Add rows with the other labels, or use another column as the output.",
        )
    rare = sorted(label for label, count in rows.items() if count < RARE_ROWS)
    if rare and len(rows) > 1:
        have = "has" if len(rare) == 1 else "have"
        yield (
            "rare-class",
            f"{len(rare)} of {len(rows)} labels {have} fewer than {RARE_ROWS} rows: "
            f"{_listed(rare)}.",
            "Collect more rows for them, or merge them into other labels.",
        )
    spellings: dict[str, list[str]] = {}
    for label in outputs:
        spellings.setdefault(plain(label), []).append(label)
    for variants in spellings.values():
        if len(variants) > 1:
            yield (
                "label-variants",
                f"these labels differ only in spelling: {_listed(sorted(variants))}.",
                "Use one spelling: a model learns each spelling as a label of its own.",
            )


def _listed(labels: list[str]) -> str:
    more = f" and {len(labels) - 10} more" if len(labels) > 10 else ""
    return ", ".join(map(quote_label, labels[:10])) + more
