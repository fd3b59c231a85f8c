"""Scores of a whole corpus: macro-F1, confusions, accuracy by class and by field, corpus chrF.

They are shown beside the verdict and never decide it, because they are no means of per-example
scores, which the paired statistics need. Pure functions over answers and examples.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from assay.config import TaskKind
from assay.evaluate.graders.calls import is_exact, read_calls
from assay.evaluate.graders.parse import parse_json, parse_label, spelling
from assay.evaluate.graders.text import chrf_metric, rouge_l_f1
from assay.example import Example

Counts = list[list[int]]  # [labels, labels + 1], see `confusion_counts`


def corpus_scores(
    task: TaskKind,
    answers: Sequence[str],
    examples: Sequence[Example],
    labels: Sequence[str] | None = None,
) -> dict[str, float]:
    """The corpus scores that suit a task, 0 to 1, by name; empty without examples.

    label: accuracy, macro-f1; text: corpus-chrf, rouge-l; tools: precision and recall of making no
    call; json: none.
    """
    if not examples:
        return {}
    if task == "label":
        counts = confusion_counts(answers, examples, labels or seen_labels(examples))
        return {"accuracy": accuracy(counts), "macro-f1": macro_f1(counts)}
    if task == "text":
        return {
            "corpus-chrf": corpus_chrf(answers, examples),
            "rouge-l": mean_rouge_l(answers, examples),
        }
    return silence(answers, examples) if task == "tools" else {}


def silence(answers: Sequence[str], examples: Sequence[Example]) -> dict[str, float]:
    """How well an agent knows when to call nothing.

    Precision: of the answers without a call, the share where none is right. Recall: of the examples
    where none is right, the share without a call. Left out where there is nothing to divide by.
    """
    silent = [
        read_calls(text, example.tools) == ()
        for text, example in zip(answers, examples, strict=True)
    ]
    wanted = [not example.target.tool_calls for example in examples]
    both = sum(a and b for a, b in zip(silent, wanted, strict=True))
    parts = {"no-call-precision": sum(silent), "no-call-recall": sum(wanted)}
    return {name: both / count for name, count in parts.items() if count}


def scores_by_class(
    task: TaskKind,
    answers: Sequence[str],
    examples: Sequence[Example],
    labels: Sequence[str] | None = None,
) -> dict[str, float]:
    """label: recall by label; json: accuracy by field; tools: right calls by function."""
    if task == "label":
        names = labels or seen_labels(examples)
        return recall_by_class(names, confusion_counts(answers, examples, names))
    if task == "tools":
        return exact_by_function(answers, examples)
    return field_accuracy(answers, examples) if task == "json" else {}


def exact_by_function(answers: Sequence[str], examples: Sequence[Example]) -> dict[str, float]:
    """By function that should be called: share of examples with exactly the right calls.

    An example that should call several functions counts for each. Most frequent functions first.
    """
    expected, right = Counter[str](), Counter[str]()
    for answer, example in zip(answers, examples, strict=True):
        names = {call.name for call in example.target.tool_calls}
        expected.update(names)
        if names and is_exact(answer, example):
            right.update(names)
    return {name: right[name] / count for name, count in expected.most_common()}


def seen_labels(examples: Sequence[Example]) -> list[str]:
    """The expected labels, sorted: the label set of a project that names none."""
    return sorted({example.output.strip() for example in examples})


def confusion_counts(
    answers: Sequence[str], examples: Sequence[Example], labels: Sequence[str]
) -> Counts:
    """counts[i][j] = examples of labels[i] answered as labels[j]; the last column is `other`.

    An answer that is one of several accepted labels counts as the target's own. Examples whose
    target is no label of the set are left out.

    Returns:
        A matrix of len(labels) rows and len(labels) + 1 columns.
    """
    place = {label: i for i, label in enumerate(labels)}
    counts = [[0] * (len(labels) + 1) for _ in labels]
    for answer, example in zip(answers, examples, strict=True):
        target = parse_label(example.output, labels)
        if target is None:
            continue
        given = parse_label(answer, labels)
        if given is not None and given in {parse_label(r, labels) for r in example.references}:
            given = target
        counts[place[target]][len(labels) if given is None else place[given]] += 1
    return counts


def accuracy(counts: Counts) -> float:
    """Share of examples on the diagonal; 0 without examples."""
    total = sum(map(sum, counts))
    return sum(row[i] for i, row in enumerate(counts)) / total if total else 0.0


def recall_by_class(labels: Sequence[str], counts: Counts) -> dict[str, float]:
    """Share of each label's examples that were answered right; labels without examples left out."""
    return {
        label: row[i] / sum(row)
        for i, (label, row) in enumerate(zip(labels, counts, strict=True))
        if sum(row)
    }


def macro_f1(counts: Counts) -> float:
    """Mean over the labels of 2·tp / (2·tp + fp + fn); 0 without examples.

    Labels that are neither expected nor answered are left out, as in scikit-learn.
    """
    scores = []
    for i, row in enumerate(counts):
        expected, answered = sum(row), sum(other[i] for other in counts)
        if expected + answered:
            scores.append(2 * row[i] / (expected + answered))
    return math.fsum(scores) / len(scores) if scores else 0.0


def field_accuracy(answers: Sequence[str], examples: Sequence[Example]) -> dict[str, float]:
    """By field of the expected records: share of right answers, where either side has the field.

    An answer that is no JSON object has no field right; a field that is never expected is not
    listed. Examples whose target is no object are left out. Most frequent fields first.
    """
    expected, right, counted = Counter[str](), Counter[str](), Counter[str]()
    for answer, example in zip(answers, examples, strict=True):
        wanted = _fields(example.output)
        if wanted is None:
            continue
        given = _fields(answer) or {}
        expected.update(wanted.keys())
        counted.update(wanted.keys() | given.keys())
        right.update(name for name, value in wanted.items() if given.get(name) == value)
    return {name: right[name] / counted[name] for name, _ in expected.most_common()}


def _fields(text: str) -> Mapping[str, str] | None:
    parsed = parse_json(text)
    if parsed is None or not isinstance(parsed.value, dict):
        return None
    return {name: spelling(value) for name, value in parsed.value.items()}


def corpus_chrf(answers: Sequence[str], examples: Sequence[Example]) -> float:
    """chrF2 of the whole corpus (sacrebleu), divided by 100; n-grams are pooled, not averaged."""
    if not examples:
        return 0.0
    most = max(len(example.accepted) for example in examples)
    references = [
        [example.accepted[i] if i < len(example.accepted) else None for example in examples]
        for i in range(most)
    ]
    return min(float(chrf_metric().corpus_score(list(answers), references).score) / 100, 1.0)


def mean_rouge_l(answers: Sequence[str], examples: Sequence[Example]) -> float:
    """Mean over the examples of the best ROUGE-L F1; 0 without examples."""
    best = [
        max(rouge_l_f1(answer, reference) for reference in example.accepted)
        for answer, example in zip(answers, examples, strict=True)
    ]
    return math.fsum(best) / len(best) if best else 0.0
