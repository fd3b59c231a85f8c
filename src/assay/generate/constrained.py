"""Constrained decoding: at each step only tokens that the answer's grammar allows.

The grammar comes from a JSON Schema or a closed list of choices and is followed by llguidance
(https://github.com/guidance-ai/llguidance), the engine vLLM and llama.cpp use too.
"""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from assay import json_reader
from assay.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

JSON_SPELLING = {"item_separator": ", ", "key_separator": ": ", "whitespace_flexible": False}
"""How `json.dumps` writes, and with it most training data. A fixed spelling keeps the model from
wandering off in white space."""


LONGEST_SCHEMA = 64 * 1024
"""Characters of a schema as JSON."""
LONGEST_TEXT = 4096
"""Characters of one constant or name in it: the work of a step grows with it, for all who are
answered beside."""
_MOST = {"properties": 400, "anyOf": 400, "oneOf": 400, "prefixItems": 400}
"""The parser's row has 2000 items, four a property."""
_NOT_FOLLOWED = frozenset({"description", "title", "$comment", "default", "examples"})
_TRIALS, _TRIAL_STEPS, _TRIAL_S = 4, 100, 0.5
"""Answers that a grammar is tried out on, their bytes, and the longest that all may take."""


class Constraint:
    """How far one answer has come in its grammar."""

    def __init__(self, matcher: LLMatcher) -> None:
        self.matcher = matcher

    def accept(self, token: int) -> None:
        """Go on by a token that the mask allowed.

        Raises:
            ModelError: the grammar has turned out to be too large to be followed.
        """
        if not self.matcher.consume_token(token):
            raise self._error()

    def check(self) -> None:
        """Raise a ModelError if the parser has given up: its masks then allow the end only."""
        if self.matcher.is_error():
            raise self._error()

    def _error(self) -> ModelError:
        return ModelError(
            "the answer's schema cannot be enforced to the end: "
            f"{_reason(self.matcher.get_error())}.",
            fix="Make the schema smaller.",
        )

    def reset(self) -> None:
        """Go back to the start of the grammar."""
        self.matcher.reset()


MOST_KEPT = 64
"""Compiled grammars of one tokenizer; the oldest go first."""


class Grammars:
    """Grammars over one tokenizer, compiled once each.

    Args:
        tokenizer: a PreTrainedTokenizerFast.
        vocabulary: number of logits of the model; tokens beyond the tokenizer's are never allowed.
        stop_ids: the tokens that may follow once the grammar is satisfied.
    """

    def __init__(self, tokenizer: Any, vocabulary: int, stop_ids: frozenset[int]) -> None:
        self._tokenizer, self._vocabulary, self._stops = tokenizer, vocabulary, sorted(stop_ids)
        self._wrapped: LLTokenizer | None = None
        self._compiled: dict[str, LLMatcher] = {}

    def constraint(
        self,
        schema: dict[str, Any] | None,
        choices: tuple[str, ...] | None,
        rules: str | None = None,
    ) -> Constraint | None:
        """A fresh constraint; None where nothing is asked for.

        Args:
            rules: in Lark's form.

        Raises:
            ConfigError: the schema uses what cannot be enforced.
        """
        if choices is not None:
            return self._start(choices_grammar(choices))
        if schema is not None:
            return self._start(schema_grammar(json.dumps(schema)))
        return None if rules is None else self._start(parse_rules(rules))

    def masks(
        self, constraints: Sequence[Constraint | None], width: int
    ) -> np.ndarray[Any, np.dtype[np.bool_]] | None:
        """Allowed tokens, bool [len(constraints), width]; None when nothing is constrained."""
        import llguidance.numpy

        places = [(i, c) for i, c in enumerate(constraints) if c is not None]
        if not places:
            return None
        bits = llguidance.numpy.allocate_token_bitmask(len(constraints), width)
        for place, constraint in places:
            llguidance.numpy.fill_next_token_bitmask(constraint.matcher, bits, place)
            constraint.check()
        allowed = np.unpackbits(bits.view(np.uint8), axis=1, bitorder="little")
        return allowed[:, :width].view(np.bool_)

    def _start(self, grammar: str) -> Constraint:
        compiled = self._compiled.get(grammar)
        if compiled is None:
            from llguidance import LLMatcher

            compiled = LLMatcher(self._tokens(), grammar, log_level=0)
            if error := compiled.get_error():
                raise ConfigError(f"constrained decoding does not support this: {error}.")
            while len(self._compiled) >= MOST_KEPT:  # clients choose them, and each takes memory
                oldest, *_ = self._compiled
                self._compiled.pop(oldest, None)
            self._compiled[grammar] = compiled
        return Constraint(compiled.deep_copy())

    def _tokens(self) -> LLTokenizer:
        if self._wrapped is None:
            import llguidance.hf

            self._wrapped = llguidance.hf.from_tokenizer(
                self._tokenizer, n_vocab=self._vocabulary, eos_token=self._stops
            )
        return self._wrapped


@lru_cache(maxsize=64)
def schema_grammar(schema: str) -> str:
    """The grammar of a JSON Schema (as JSON text).

    Raises:
        ConfigError: it uses a keyword that cannot be enforced; the message names it.
    """
    from llguidance import LLMatcher

    if len(schema) > LONGEST_SCHEMA:
        raise ConfigError(
            f"a schema of {len(schema)} characters is too long to be enforced.",
            where="output_schema",
            fix=f"Make it shorter than {LONGEST_SCHEMA}, or set generate.constrained to off.",
        )
    if reason := next(_oversize(json_reader.read(schema)), None):
        raise ConfigError(
            f"a schema with {reason} cannot be enforced.",
            where="output_schema",
            fix="Make it smaller, or set generate.constrained to off.",
        )
    grammar: str = LLMatcher.grammar_from_json_schema(schema, overrides=JSON_SPELLING)
    return _checked(grammar, "output_schema")


@lru_cache(maxsize=64)
def parse_rules(rules: str) -> str:
    """The grammar of rules in Lark's form, which may name tokens of a tokenizer."""
    from llguidance import LLMatcher

    grammar: str = LLMatcher.grammar_from_lark(rules)
    return grammar


def rules_grammar(rules: str) -> str:
    """The grammar of rules in Lark's form, over texts.

    Raises:
        ConfigError: they come to more than can be enforced.
    """
    return _checked(parse_rules(rules), "tools")


def _checked(grammar: str, where: str) -> str:
    """The grammar itself, if it can be followed."""
    from llguidance import LLMatcher

    failed, messages = LLMatcher.validate_grammar_with_warnings(grammar)
    if failed:
        raise ConfigError(
            f"constrained decoding does not support this: {_reason(messages[0])}.",
            where=where,
            fix="Leave that part out, or set generate.constrained to off.",
        )
    byte_matcher(grammar)
    return grammar


def _oversize(part: Any) -> Iterator[str]:
    """What in a schema is more than a parser can hold."""
    if isinstance(part, str) and len(part) > LONGEST_TEXT:
        yield f"a string of {len(part)} characters (at most {LONGEST_TEXT})"
    elif isinstance(part, list):
        for inner in part:
            yield from _oversize(inner)
    elif isinstance(part, dict):
        for name, inner in part.items():
            yield from _oversize(name)
            most = _MOST.get(name)
            if most and isinstance(inner, (list, dict)) and len(inner) > most:
                yield f"{len(inner)} parts in one `{name}` (at most {most})"
            if name not in _NOT_FOLLOWED or not isinstance(inner, str):
                yield from _oversize(inner)


@lru_cache(maxsize=MOST_KEPT)
def byte_matcher(grammar: str) -> LLMatcher:
    """A grammar over bytes, at its start; a copy of it tells whether an answer follows.

    Grammars that are well formed can still be too large for the parser, which shows only when it
    runs: it is tried on the beginning of an answer that the grammar allows. llama.cpp goes on
    without a grammar where that happens.

    Raises:
        ConfigError: it cannot be followed.
    """
    from llguidance import LLMatcher, LLTokenizer

    bytewise = LLTokenizer("byte")
    matcher = LLMatcher(bytewise, grammar, log_level=0)
    error = matcher.get_error() or _failure(matcher, bytewise.vocab_size)
    if error:
        raise ConfigError(
            f"constrained decoding does not support this: {_reason(error)}.",
            where="output_schema",
            fix="Make it smaller: fewer properties in one object, shorter constants; or set "
            "generate.constrained to off.",
        )
    return matcher


def _failure(start: LLMatcher, tokens: int) -> str | None:
    """Why a parser stops on one of some answers drawn at random; None: it stops on none of them.

    Texts in them end soon, lists and objects do not.
    """
    import llguidance.numpy

    drawn, until = random.Random(0), time.monotonic() + _TRIAL_S
    bits = llguidance.numpy.allocate_token_bitmask(1, tokens)
    for _ in range(_TRIALS):
        matcher = start.deep_copy()
        for _ in range(_TRIAL_STEPS):
            llguidance.numpy.fill_next_token_bitmask(matcher, bits, 0)
            allowed = np.flatnonzero(np.unpackbits(bits.view(np.uint8), bitorder="little")[:256])
            if matcher.is_error() or time.monotonic() > until or not len(allowed):
                break
            going_on = [sign for sign in allowed if sign not in b"]}"] or allowed
            ends = ord('"') in allowed and drawn.random() < 0.5
            if not matcher.consume_token(ord('"') if ends else int(drawn.choice(going_on))):
                break
        if error := matcher.get_error():
            return str(error)
    return None


def can_be_parsed(schema: dict[str, Any]) -> bool:
    """Whether every keyword of a schema can be followed; its size is not looked at."""
    from llguidance import LLMatcher

    try:
        grammar = LLMatcher.grammar_from_json_schema(json.dumps(schema), overrides=JSON_SPELLING)
    except ValueError:
        return False
    failed, _ = LLMatcher.validate_grammar_with_warnings(grammar)
    return not failed


def check_schema(schema: dict[str, Any]) -> None:
    """Raise a ConfigError that names the keyword if constrained decoding cannot follow `schema`."""
    schema_grammar(json.dumps(schema))


@lru_cache(maxsize=64)
def choices_grammar(choices: tuple[str, ...]) -> str:
    """The grammar whose answers are exactly the choices.

    Raises:
        ConfigError: there are none, or one is empty.
    """
    from llguidance import LLMatcher

    if not choices or not all(choices):
        raise ConfigError(
            "there is nothing to choose from, or a choice is empty.",
            where="labels",
            fix="Provide at least one label, and leave none empty.",
        )
    grammar: str = LLMatcher.grammar_from_lark(choices_rules(choices))
    return _checked(grammar, "labels")


def choices_rules(choices: Sequence[str]) -> str:
    """The rules of `choices_grammar` in Lark's form.

    The choices are one terminal: of parts that each are a terminal, a parser's row holds 2000.
    """
    spelled = " | ".join(json.dumps(c, ensure_ascii=False) for c in dict.fromkeys(choices))
    return f"start: CHOICE\nCHOICE: {spelled}"


def _reason(message: str) -> str:
    """llguidance's message on one line, JSON lists of keywords as plain words."""
    message = message.partition("\n<state>")[0]
    found = re.fullmatch(r"Unimplemented keys: \[(.*)\]", message.strip())
    if found:
        return f"the keyword {found[1].replace(chr(34), '`')} cannot be enforced"
    return " ".join(message.split()).rstrip(".")
