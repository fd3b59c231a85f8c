"""Graders of free text against expected text: token-f1, rouge-l, chrf."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

from rapidfuzz.distance import LCSseq

from assay.evaluate.graders.registry import (
    GraderSettings,
    GradingContext,
    Score,
    against_reference,
    of_answer,
)
from assay.example import Example


class TextSettings(GraderSettings):
    """Settings of the text metrics: none of their own."""


_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_WORDS = re.compile(r"[^\W_]+")


def squad_tokens(text: str) -> list[str]:
    """Tokens as SQuAD's evaluation makes them: lower case, no punctuation, no English articles."""
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def overlap_f1(answer: str, reference: str) -> float:
    """F1 of the shared tokens (Rajpurkar et al. 2016; empty sides as in SQuAD 2.0)."""
    got, wanted = squad_tokens(answer), squad_tokens(reference)
    if not got or not wanted:
        return float(got == wanted)
    shared = (Counter(got) & Counter(wanted)).total()
    return 2 * shared / (len(got) + len(wanted))


@against_reference(
    "token-f1",
    "Share of words the answer has in common with the expected text (F1, as in SQuAD).",
    settings=TextSettings,
    points="for likeness to the expected answer",
)
def token_f1(answer: str, reference: str, settings: TextSettings, context: GradingContext) -> Score:
    """F1 of the words that answer and reference share, see `overlap_f1`."""
    return Score(overlap_f1(answer, reference))


def words(text: str) -> list[str]:
    """Words of any script in lower case, as the ROUGE metrics count them."""
    return _WORDS.findall(text.lower())


def rouge_l_f1(answer: str, reference: str) -> float:
    """F1 of the longest common subsequence of words, unstemmed (Lin 2004).

    On ASCII text the same figure as the package rouge-score, which a test holds it to; letters of
    other scripts, which rouge-score drops, are kept, and rapidfuzz finds the subsequence in C++.
    """
    got, wanted = words(answer), words(reference)
    if not wanted:
        return float(answer.strip() == reference.strip())
    shared = LCSseq.similarity(got, wanted)
    if not shared:
        return 0.0
    precision, recall = shared / len(got), shared / len(wanted)
    return 2 * precision * recall / (precision + recall)


@against_reference(
    "rouge-l",
    "Words in common with the expected text, in the same order (ROUGE-L, F1): all score 1, none 0.",
    settings=TextSettings,
    points="for likeness to the expected answer",
)
def rouge_l(answer: str, reference: str, settings: TextSettings, context: GradingContext) -> Score:
    """F1 of the longest common subsequence of words, see `rouge_l_f1`."""
    return Score(rouge_l_f1(answer, reference))


def rouge_n_f1(answer: str, reference: str, size: int) -> float:
    """F1 of the shared n-grams (Lin 2004)."""
    got, wanted = words(answer), words(reference)
    ours, theirs = ngrams(got, size), ngrams(wanted, size)
    if not ours or not theirs:
        return float(got == wanted)
    return 2 * (ours & theirs).total() / (ours.total() + theirs.total())


def gleu(answer: str, reference: str) -> float:
    """GLEU of the words, see `gleu_of`."""
    return gleu_of(words(answer), words(reference))


def gleu_of(got: Sequence[str], wanted: Sequence[str]) -> float:
    """The smaller of precision and recall over all 1- to 4-grams (Wu et al. 2016, sec. 3.6)."""
    ours, theirs = (sum((ngrams(one, n) for n in range(1, 5)), Counter()) for one in (got, wanted))
    if not ours or not theirs:
        return float(got == wanted)
    return (ours & theirs).total() / max(ours.total(), theirs.total())


def bleu(answer: str, reference: str) -> float:
    """BLEU of one sentence, by the orders that it has (sacrebleu, divided by 100)."""
    from sacrebleu import sentence_bleu

    percent = sentence_bleu(answer, [reference], use_effective_order=True).score
    return min(1.0, float(percent) / 100)


def ngrams(words: Sequence[str], size: int) -> Counter[tuple[str, ...]]:
    """Runs of so many words, with how often each is there."""
    return Counter(tuple(words[i : i + size]) for i in range(len(words) - size + 1))


@cache
def chrf_metric() -> Any:
    """sacrebleu's chrF2 with its default settings (character 6-grams, no words)."""
    from sacrebleu.metrics import CHRF

    return CHRF()


@of_answer(
    "chrf",
    "Character n-grams shared with the expected text (chrF2 of sacrebleu, divided by 100).",
    settings=TextSettings,
    points="for likeness to the expected answer",
)
def chrf(answer: str, example: Example, settings: TextSettings, context: GradingContext) -> Score:
    """Popović 2015; several expected texts are handed over together, sacrebleu takes the best."""
    if not answer.strip():
        return Score(float(any(not text.strip() for text in example.accepted)))
    percent = chrf_metric().sentence_score(answer, list(example.accepted)).score
    return Score(min(percent / 100, 1.0))
