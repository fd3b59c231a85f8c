"""`terms`: is the domain's terminology used, and are the words avoided that it forbids?"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from pydantic import Field, ValidationError, model_validator

from assay import json_reader
from assay.config.names import FileName, file_of
from assay.errors import ConfigError
from assay.evaluate.graders.files import check_file
from assay.evaluate.graders.registry import (
    GraderSettings,
    GradingContext,
    Phrase,
    Score,
    against_reference,
)
from assay.example import Example

Glossary = dict[Phrase, list[Phrase]]  # a preferred term -> variants that must not stand for it


class TermsSettings(GraderSettings):
    """Settings of `terms`; a glossary, a file or forbidden terms have to be there."""

    glossary: list[Phrase] | Glossary = Field(
        default_factory=list,
        description="terms, or {preferred term: [variants to avoid]}",
    )
    file: FileName | None = Field(
        None,
        min_length=1,
        description="a glossary in a file: one term a line, or JSON as under `glossary`",
    )
    forbidden: list[Phrase] = Field(default_factory=list, description="terms that must not occur")
    penalty: float = Field(
        1.0, gt=0, le=1, description="taken off for every forbidden term or variant that occurs"
    )
    case_sensitive: bool = False

    @model_validator(mode="after")
    def _has_terms(self) -> TermsSettings:
        if not (self.glossary or self.file or self.forbidden):
            raise ValueError("terms needs a glossary, a file or forbidden terms")
        return self

    def check(self, context: GradingContext) -> None:
        """The glossary file has to be there and to be one."""
        self.entries(context.root)

    def entries(self, root: Path) -> Glossary:
        """All terms of the glossary and of the file, with their variants."""
        read = _read_glossary(file_of(self.file, root)) if self.file else {}
        return read | _as_mapping(self.glossary)


def _as_mapping(glossary: list[str] | Glossary) -> Glossary:
    return glossary if isinstance(glossary, dict) else {term: [] for term in glossary}


def _read_glossary(path: Path) -> Glossary:
    """A glossary file: JSON (list or mapping), else one term a line, `#` opening a comment."""
    try:
        check_file(path)
        return _parsed_glossary(path, path.stat().st_mtime_ns)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"this glossary cannot be read ({error}).",
            where=str(path),
            fix="`file` in the settings of terms is relative to the project's folder.",
        ) from None


@cache
def _parsed_glossary(path: Path, changed: int) -> Glossary:
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix == ".json":
        try:
            read = TermsSettings.model_validate({"glossary": json_reader.read(text)})
        except (ValueError, ValidationError):
            raise ConfigError(
                "this file is not a glossary.",
                where=str(path),
                fix='Write ["term", ...] or {"preferred term": ["variant to avoid", ...]}.',
            ) from None
        return _as_mapping(read.glossary)
    lines = (line.split("#", 1)[0].strip() for line in text.splitlines())
    terms = [line for line in lines if line]
    if not terms:
        raise ConfigError("there are no terms in this file.", where=str(path))
    return {term: [] for term in terms}


@against_reference(
    "terms",
    "Share of the glossary's terms in the expected text that the answer uses too; forbidden terms "
    "cost points.",
    settings=TermsSettings,
    points="for the right terms",
)
def terms(answer: str, reference: str, settings: TermsSettings, context: GradingContext) -> Score:
    """(terms in both / terms in the expected text) - penalty * forbidden terms, not below 0.

    A term is found as whole words. An expected text without any glossary term asks for none
    (share 1), and is not counted when nothing is forbidden either.
    """
    glossary = settings.entries(context.root)
    fold = not settings.case_sensitive
    wanted = [term for term in glossary if _pattern(term, fold).search(_tidy(reference))]
    said = _tidy(answer)
    missed = [term for term in wanted if not _pattern(term, fold).search(said)]
    for term in glossary:  # "e-mail address" does not hold the avoided variant "e-mail"
        said = _pattern(term, fold).sub("\n", said)
    avoided = [variant for variants in glossary.values() for variant in variants]
    broken = [
        term
        for term in dict.fromkeys([*settings.forbidden, *avoided])
        if _pattern(term, fold).search(said)
    ]
    if not wanted and not settings.forbidden and not avoided:
        return Score(1.0, note="no glossary term in the expected text", counted=False)
    share = 1 - len(missed) / len(wanted) if wanted else 1.0
    notes = [f"missing: {', '.join(missed)}"] if missed else []
    notes += [f"forbidden: {', '.join(broken)}"] if broken else []
    return Score(max(share - settings.penalty * len(broken), 0.0), note="; ".join(notes) or None)


def _tidy(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).split())


@cache
def _pattern(term: str, fold: bool) -> re.Pattern[str]:
    """The term as whole words; one that begins or ends with a sign (C++) needs no word edge."""
    tidy = _tidy(term)
    return re.compile(rf"(?<!\w){re.escape(tidy)}(?!\w)", re.IGNORECASE if fold else 0)


_WORD = re.compile(r"[^\W\d_][\w'’-]*[^\W_]")


def mine_terms(examples: Sequence[Example], count: int = 50) -> list[str]:
    """A first glossary: words that are typical of the outputs as against the inputs.

    Ranked by keyness, Dunning's log-likelihood ratio G² (Dunning 1993), of the outputs' words
    against the inputs'; only words in at least two outputs, without English function words. Meant
    to be read and shortened by a person, and to be made from training examples.
    """
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    outputs, inputs, spread = Counter[str](), Counter[str](), Counter[str]()
    for example in examples:
        words = _words(example.output)
        outputs.update(words)
        spread.update(set(words))
        inputs.update(_words(example.input))
    total_out, total_in = outputs.total(), inputs.total()

    def keyness(word: str) -> float:
        a, b = outputs[word], inputs[word]
        expected = (a + b) / (total_out + total_in)
        sides = ((a, expected * total_out), (b, expected * total_in))
        return 2 * sum(seen * math.log(seen / likely) for seen, likely in sides if seen)

    typical = [
        word
        for word in outputs
        if spread[word] >= 2
        and outputs[word] * total_in > inputs[word] * total_out
        and word not in ENGLISH_STOP_WORDS
    ]
    return sorted(typical, key=lambda word: (-keyness(word), word))[:count]


def _words(text: str) -> Iterable[str]:
    return [word.casefold() for word in _WORD.findall(_tidy(text)) if len(word) >= 4]
