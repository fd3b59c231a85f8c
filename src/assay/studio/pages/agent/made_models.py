"""Models that nobody chooses by name, since each is a blob: what they are, in plain words."""

from __future__ import annotations

from assay.candidates.registry import title_of

MADE_HERE: dict[str, tuple[tuple[str, ...], str]] = {
    "classical": (
        ("baseline-tfidf", "baseline-majority"),
        "The first chooses the label whose examples have the words of the input; the second always "
        "gives the answer that most examples have.",
    ),
    "embedded": (
        ("classifier", "encoder"),
        "It chooses the label whose examples mean nearly the same as the input, in whatever words.",
    ),
    "nearest": (
        ("nearest-answer",),
        "It gives the answer of the example that is most like the input.",
    ),
    "quote": (
        ("quote",),
        "It gives the sentences of the documents that fit the input best, word for word.",
    ),
    "extract": (
        ("extract",),
        "It finds each field of the record in the input, as it was found in the examples.",
    ),
    "outside": ((), "They were brought in a file."),
    "calls": (
        ("extract-call",),
        "It chooses a function and finds its arguments, as they were found in the examples.",
    ),
}
"""By the scheme of a model: the candidates that make it, and how it comes to an answer."""


def describe_made(model: str) -> str | None:
    """What such a model is, called as its candidates are on other pages; None of other models."""
    made = MADE_HERE.get(model.partition(":")[0])
    if made is None:
        return None
    kinds, what = made
    names = " or ".join(filter(None, map(title_of, kinds))) or "outside answers"
    return f"Model: {names}. {what}"
