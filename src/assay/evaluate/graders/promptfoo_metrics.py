"""`rouge-n`, `bleu` and `gleu` as promptfoo computes them (0.121.20): likeness to one text.

Its figures are others than those of sacrebleu and NLTK, and its thresholds are set by them.
"""

from __future__ import annotations

import math
import re
from collections import Counter

from assay.evaluate.graders.text import gleu_of, ngrams

_NO_MATCH = 1e-7
"""What stands for the precision of n-grams of which none is in the other text."""
_TREEBANK = [
    (re.compile(pattern), by)
    for pattern, by in (
        (r"\s+", " "),
        (r"``|''|\"", ' " '),
        (r"\.{3}", " ... "),
        (r"[:,](?!\d)|[;@#$%&]", r" \g<0> "),
        (r"([^.])(?<!\b[a-z]\.[a-z])(\.)([\])}>'\s]*)\Z", r"\1 \2\3 "),
        (r"[?!\][(){}<>]|--", r" \g<0> "),
        (r"\A|\Z", " "),
        (r"([^'])' ", r"\1 ' "),
        (r"'([smd]) ", r" '\1 "),
        (r"('ll|'re|'ve|n't) ", r" \1 "),
        (r"\b(can)(not)\b|\b(gim|lem)(me)\b|\b(gon)(na)\b|\b(got)(ta)\b", r" \1\3\5\7 \2\4\6\8 "),
        (r"\b(wan)(na)\b(?= )|\b(d)('ye)\b|\b(more)('n)\b", r" \1\3\5 \2\4\6 "),
        (r"(?<!\w)('t)(is|was)\b", r" \1 \2 "),
    )
]
"""The Penn Treebank's rules for a sentence in lower case, as js-rouge has them; it tells opening
from closing quotation marks besides."""


def rouge_1(answer: str, reference: str) -> float:
    """F1 of the shared tokens, those of punctuation included (ROUGE-1 of Lin 2004)."""
    got, wanted = _treebank(answer), _treebank(reference)
    shared = (Counter(got) & Counter(wanted)).total()
    return 2 * shared / (len(got) + len(wanted)) if shared else 0.0


def bleu(answer: str, reference: str) -> float:
    """BLEU of one sentence by words in lower case, as they stand between white space, over the 1-
    to 4-grams that the answer has (Papineni et al. 2002)."""
    got, wanted = answer.lower().split(), reference.lower().split()
    if not got:
        return 0.0
    logs = []
    for size in range(1, min(4, len(got)) + 1):
        ours = ngrams(got, size)
        logs.append(math.log((ours & ngrams(wanted, size)).total() / ours.total() or _NO_MATCH))
    return math.exp(min(0.0, 1 - len(wanted) / len(got)) + sum(logs) / len(logs))


def gleu(answer: str, reference: str) -> float:
    """GLEU of the words between white space, in lower case without full stops behind them, see
    `gleu_of`."""
    got, wanted = ([w.rstrip(".") for w in one.lower().split()] for one in (answer, reference))
    return gleu_of(got, wanted)


def _treebank(text: str) -> list[str]:
    text = text.lower().strip()
    for pattern, by in _TREEBANK:
        text = pattern.sub(by, text)
    return text.split()
