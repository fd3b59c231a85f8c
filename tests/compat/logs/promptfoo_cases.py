"""Answers that promptfoo is asked to grade, each with one assertion, and assertions in short."""

from __future__ import annotations

from typing import Any

VARIABLE = "filled"
"""What the variable `word` is in every test."""
_CAT = "The cat sat. It's on the mat, isn't it? (Yes) 3.5% can't"
_CATS = (
    *("the cat sat on the mat", "The cat sat on the mat.", "the cat sat", "a dog"),
    *("the cat sat on the mat the cat", "mat the on sat cat the", "The cat, sat on a mat"),
    *(_CAT, "the cat sat it is on the mat is not it yes 3.5 % can not", "x"),
)
_SCHEMA = {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}
_WORDS = [{"type": "icontains", "value": word} for word in ("red", "blue", "green")]


def _any(kind: str) -> list[tuple[dict[str, Any], tuple[str, ...]]]:
    """Lists of texts, and texts that are lists."""
    values = (["Red", "blue"], "Red, blue", '"a, b", c', "a,,b", r'"a \"q\"",b', '"a ""q""" , b')
    answers = ("Red and blue", "BLUE red", "a, b c", 'a "q" b', "ab", "none")
    return [({"type": kind, "value": value}, answers) for value in values]


ANSWERS: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({"type": "equals", "value": "Paris"}, ("Paris", "paris", "Paris.", " Paris")),
    ({"type": "equals", "value": {"a": 1, "b": [2]}}, ('{"b": [2], "a": 1.0}', '{"a": 1}', "no")),
    ({"type": "equals", "value": {"a": "{{word}}"}}, ('{"a": "filled"}', '{"a": "{{word}}"}')),
    ({"type": "equals", "value": ["{{word}}", 1]}, ('["filled", 1]', '["{{word}}", 1]')),
    ({"type": "equals", "value": 7}, ("7", "7.0")),
    ({"type": "not-equals", "value": {"a": 1}}, ("no JSON", '{"a": 1}', '{"a": 2}')),
    ({"type": "contains", "value": "is {{word}}"}, ("It is filled.", "It is Filled.")),
    ({"type": "icontains", "value": "PARIS"}, ("in paris", "in Rome")),
    ({"type": "not-icontains", "value": "sorry"}, ("Here", "Sorry, no")),
    ({"type": "starts-with", "value": "Yes"}, ("Yes, it is", "It is, Yes")),
    ({"type": "ends-with", "value": "."}, ("It is.", "It is")),
    *_any("contains-any"),
    *_any("contains-all"),
    *_any("icontains-any"),
    *_any("icontains-all"),
    ({"type": "not-contains-all", "value": ["Red", "blue"]}, ("Red and blue", "red")),
    ({"type": "regex", "value": r"^\d{4}$"}, ("2024", "20244", "٢٠٢٤")),
    ({"type": "regex", "value": r"^\w+$"}, ("cafe", "café")),
    ({"type": "regex", "value": r"(?<y>\d+)"}, ("in 12", "none")),
    ({"type": "not-regex", "value": "sorry"}, ("fine", "sorry")),
    ({"type": "regex", "value": "(?i)paris"}, ("PARIS",)),
    ({"type": "is-json"}, ('{"a": 1}', "7", "null", "NaN", "[1,]", "```json\n{}\n```", "01")),
    ({"type": "is-json", "value": _SCHEMA}, ('{"a": 1}', '{"a": 1.0}', '{"a": "x"}', "{}", "no")),
    ({"type": "not-is-json", "value": _SCHEMA}, ('{"a": 1}', "{}", "no")),
    ({"type": "is-json", "value": {"type": "string", "format": "date"}}, ('"2024-13-01"',)),
    ({"type": "is-json", "value": {"type": "array", "prefixItems": [{}]}}, ("[1]",)),
    (
        {"type": "is-json", "value": {"$schema": "https://json-schema.org/draft/2020-12/schema"}},
        ("{}",),
    ),
    ({"type": "word-count", "value": 2}, (" two  words\n", "three words here")),
    ({"type": "word-count", "value": {"min": 1, "max": 2}}, ("a", "a b c")),
    ({"type": "levenshtein", "value": "kitten"}, ("kittenabcde", "kittenabcdef")),
    ({"type": "levenshtein", "value": "kitten", "threshold": 0}, ("kitten", "kittens")),
    ({"type": "levenshtein", "value": "kitten", "threshold": 2.5}, ("kittens", "kittensabc")),
    *(
        ({"type": f"{inverse}{kind}", "value": value, **limit}, _CATS)
        for kind in ("rouge-n", "bleu", "gleu")
        for inverse, value, limit in (
            ("", "the cat sat on the mat", {}),
            ("not-", "the cat sat on the mat", {"threshold": 0.3}),
            ("", _CAT, {}),
        )
    ),
    ({"type": "meteor", "value": "the cat sat on the mat"}, ("the cat sat on the mat",)),
    ({"type": "assert-set", "threshold": 0.6, "assert": _WORDS}, ("red and blue", "red")),
    ({"type": "assert-set", "assert": _WORDS}, ("red blue green", "red blue")),
    ({"type": "assert-set", "weight": 0, "assert": _WORDS}, ("red and blue",)),
    ({"type": "assert-set", "threshold": 0, "assert": _WORDS}, ("nothing",)),
    (
        {"type": "assert-set", "threshold": 0.6, "assert": [{**_WORDS[0], "weight": 8}, _WORDS[1]]},
        ("red", "blue"),
    ),
    (
        {
            "type": "assert-set",
            "threshold": 0.6,
            "assert": [{**one, "weight": 0} for one in _WORDS],
        },
        ("red blue green",),
    ),
    ({"type": "icontains", "value": "red", "weight": 0}, ("blue",)),
]
CELLS = (
    *("Paris", "note: this", "contains: Paris", "not-icontains:no", "is-json", "grade: be kind"),
    *("similar: hi", "similar(0.9): hi", "similar(0): hi", "levenshtein(2): hi", "rouge-n: a b"),
    *("contains-any: a, b", "fn: output == 1", "equals: x", "starts-with: y", "word-count: 3"),
)
