"""Which words of a text are the value of which field: a tag for each word, by a linear model.

Tags are B-field, I-field and O (Ramshaw and Marcus 1995). A word's tag depends on the words around
it and on the tag before (a maximum-entropy Markov model, McCallum, Freitag and Pereira 2000); the
best sequence is found by Viterbi's algorithm.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from assay.generate.logistic import fit_logistic

Floats = np.ndarray[Any, np.dtype[np.float32]]
Span = tuple[int, int]
MOST_WORDS = 60_000
"""Words of train that are learned from; texts beyond them are left out."""
LONGEST = 2_000
"""Words of a text that are tagged; those beyond it are in no span."""
MOST_STEPS = 60
"""Of the fit, which takes about as long for each."""
_WORD = re.compile(r"\w+|[^\w\s]")
_OUTSIDE = "O"


@dataclass(frozen=True)
class Tagger:
    """What has been learned.

    Attributes:
        tags: [T]; "O", and "B-n" and "I-n" of the field n.
        features: [F] names of what is seen of a word.
        weights: [F, T].
        transitions: [T + 1, T] of a tag after another; the last row is of the first word.
        intercept: [T].
    """

    tags: tuple[str, ...]
    features: tuple[str, ...]
    weights: Floats
    transitions: Floats
    intercept: Floats

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.features)}

    def spans(self, text: str) -> dict[int, list[Span]]:
        """Where in the text the values of a field are, in their order, by the field."""
        words = _words(text)
        found: dict[int, list[Span]] = defaultdict(list)
        tags = self._best(_seen(text, words))
        start = 0
        for place, tag in enumerate(tags):
            if tag == _OUTSIDE:
                continue
            if tag.startswith("B-"):
                start = place
            following = tags[place + 1] if place + 1 < len(tags) else _OUTSIDE
            if not following.startswith("I-"):
                found[int(tag[2:])].append((words[start][0], words[place][1]))
        return found

    def _best(self, seen: Sequence[Sequence[str]]) -> list[str]:
        if not seen:
            return []
        scores = np.stack([self._scores(names) for names in seen])
        best = _normal(scores[0] + self.transitions[-1])
        came = np.zeros((len(seen), len(self.tags)), dtype=np.int64)
        for place in range(1, len(seen)):
            paths = best[:, None] + _normal(scores[place] + self.transitions[:-1])
            paths[~self._may_follow] = -np.inf
            came[place] = paths.argmax(axis=0)
            best = paths.max(axis=0)
        last = int(best.argmax())
        tags = [last]
        for place in range(len(seen) - 1, 0, -1):
            last = int(came[place, last])
            tags.append(last)
        return [self.tags[tag] for tag in reversed(tags)]

    def _scores(self, names: Sequence[str]) -> Floats:
        places = [self._places[name] for name in names if name in self._places]
        scores: Floats = self.weights[places].sum(axis=0) + self.intercept
        return scores

    @cached_property
    def _may_follow(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """[T, T]; the inside of a field's value comes after its beginning or its inside."""
        return np.array(
            [
                [not tag.startswith("I-") or before[2:] == tag[2:] for tag in self.tags]
                for before in self.tags
            ]
        )


def _normal(scores: Floats) -> Floats:
    high = scores.max(axis=-1, keepdims=True)
    total = np.log(np.exp(scores - high).sum(axis=-1, keepdims=True))
    normal: Floats = scores - high - total
    return normal


def find(text: str, value: str) -> Span | None:
    """Where a value first stands in a text as whole words; None: nowhere."""
    if not value.strip():
        return None
    words = _words(text)
    starts, ends = {start for start, _ in words}, {end for _, end in words}
    start = text.find(value)
    while start >= 0:
        if start in starts and start + len(value) in ends:
            return start, start + len(value)
        start = text.find(value, start + 1)
    return None


def fit_tagger(
    texts: Sequence[str], values: Sequence[Mapping[int, Sequence[str]]]
) -> Tagger | None:
    """Learn from texts and the values that stand in them, by the number of their field.

    None where no value stands in its text. The same input gives the same tagger.
    """
    from scipy.sparse import csr_matrix

    rows: list[list[str]] = []
    tags: list[str] = []
    for text, wanted in zip(texts, values, strict=True):
        if len(rows) > MOST_WORDS:
            break
        words = _words(text)
        marked = _marked(text, words, wanted)
        before = [None, *marked[:-1]]
        seen = _seen(text, words)
        rows += [[*names, f"after {tag}"] for names, tag in zip(seen, before, strict=True)]
        tags += marked
    known = tuple(sorted(set(tags)))
    if len(known) < 2:
        return None
    counts = Counter(name for names in rows for name in names)
    after = [f"after {tag}" for tag in (*known, None)]
    features = [*after, *sorted(n for n, c in counts.items() if c > 1 and n not in set(after))]
    place = {name: i for i, name in enumerate(features)}
    columns = [[place[name] for name in names if name in place] for names in rows]
    matrix = csr_matrix(
        (
            np.ones(sum(map(len, columns)), dtype=np.float32),
            np.concatenate([np.array(c, dtype=np.int64) for c in columns]),
            np.cumsum([0, *map(len, columns)]),
        ),
        shape=(len(rows), len(features)),
    )
    number = {tag: i for i, tag in enumerate(known)}
    fitted, intercept = fit_logistic(matrix, [number[tag] for tag in tags], 1.0, steps=MOST_STEPS)
    weights = fitted.T.astype(np.float32)
    return Tagger(
        known,
        tuple(features[len(after) :]),
        weights[len(after) :],
        weights[: len(after)],
        intercept.astype(np.float32),
    )


def _words(text: str) -> list[Span]:
    found: list[Span] = []
    for match in _WORD.finditer(text):
        found.append(match.span())
        if len(found) == LONGEST:
            break
    return found


def _marked(text: str, words: Sequence[Span], wanted: Mapping[int, Sequence[str]]) -> list[str]:
    marked = [_OUTSIDE] * len(words)
    for field, value in ((field, value) for field, values in wanted.items() for value in values):
        where = find(text, value)
        if where is None:
            continue
        first, last = where
        inside = [i for i, (start, end) in enumerate(words) if first <= start and end <= last]
        if any(marked[i] != _OUTSIDE for i in inside):
            continue
        for i in inside:
            marked[i] = f"{'B' if i == inside[0] else 'I'}-{field}"
    return marked


def _seen(text: str, words: Sequence[Span]) -> list[list[str]]:
    """Names of what is seen of each word."""
    plain = [text[start:end] for start, end in words]
    lower = ["", "", *(word.lower() for word in plain), "", ""]
    return [list(_features(word, lower, i + 2)) for i, word in enumerate(plain)]


def _features(word: str, lower: Sequence[str], i: int) -> Iterator[str]:
    own = lower[i]
    yield f"w {own}"
    for step in (-2, -1, 1, 2):
        yield f"{step:+d} {lower[i + step]}"
    yield f"-1,0 {lower[i - 1]} {own}"
    yield f"0,+1 {own} {lower[i + 1]}"
    yield f"-2,-1 {lower[i - 2]} {lower[i - 1]}"
    yield f"+1,+2 {lower[i + 1]} {lower[i + 2]}"
    yield f"starts {own[:3]}"
    yield f"ends {own[-3:]}"
    yield f"shape {_shape(word)}"


def _shape(word: str) -> str:
    kinds = (("X", str.isupper), ("9", str.isdigit), ("x", str.isalpha))
    signs = [next((kind for kind, holds in kinds if holds(sign)), sign) for sign in word]
    return "".join(s for i, s in enumerate(signs) if i == 0 or s != signs[i - 1])[:8]
