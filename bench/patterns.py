"""Every pattern of the source on texts made to slow it down: none may grow faster than n log n.

    python bench/patterns.py [--length 3000] [--only data.privacy]

Patterns are found in the source: names of modules that hold a compiled one, and calls of `re` and
`regex` whose pattern follows from constants. One that is made of what a function is given stands in
`MADE` with examples; one that stands nowhere is an error. Each is run as the source runs it
(`match`, `fullmatch`, `search`, or to the end of the text) on attacks derived from its own parts:
what stands before a repeat, then the repeat's body many times, then something that does not fit.
What takes longer than the floor is timed at three lengths; a process's own clock ends what does
not end.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import math
import re
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import takewhile
from operator import itemgetter
from pathlib import Path
from typing import Any

import regex

import assay
from assay.evaluate.graders import plain
from assay.generate.classical import WORD
from assay.generate.remote import redaction
from pattern_attacks import Attack, attacks

SOURCE = Path(assay.__file__).parent
LENGTH = 3000
FLOOR_S = 0.0005
"""Below this a time says nothing about how it grows."""
CLOCK_S = 1.0
_TOGETHER = 16  # most attacks take so little that reading the clock takes longer
_CERTAIN = 20  # times the floor: worse attacks of the same pattern need not be found
MOST_EXPONENT = 1.4
"""n log n is 1.13 between 3,000 and 12,000; n² is 2."""

MADE: dict[str, list[str]] = {
    # Escaped text between two looks at one character: linear whatever the text.
    "evaluate.graders.terms._pattern": [r"(?<!\w)a(?!\w)", r"(?<!\w)C\+\+(?!\w)"],
    "studio.pages.start.proposal_form._names": [r"(?<!\w)a(?!\w)", r"(?<!\w)a\ a(?!\w)"],
    "evaluate.graders.plain._pattern": [
        plain._pattern(text, whole_words=True).pattern for text in ("aa", "4.50", "a a", "$4")
    ],
    "evaluate.graders.style._phrase": [r"(?<!\w)as\ an\ ai(?!\w)"],
    "chat.tokens._any_of": [r"<\|im_start\|>|<\|im_end\|>|<s>|</s>"],
    "chat.tokens._each_start_of": [r"(?=(?:<\|im_start\|>|<\|im|<s>))."],
    "generate.remote.redaction._spellings": [
        redaction._spellings(secret).pattern for secret in ("sk-aaaaaaaa", "%%%%2525", "0&#x00")
    ],
    "release.classify.Classifier._counts": [WORD],
    "models.pull._alone": [r"\.model\.[a-z0-9_]{8}\.(part|old)"],
    "close_names.find_close_name": [
        rf"(?i)(?<![^\W_]){re.escape(name)}(?![^\W_])" for name in ("aaa", "a a", "a_a", "---")
    ],
    "mcp.texts.say": [r"/srv/support(/|(?![\w.-]))"],
}
"""Patterns that a function makes of its arguments: examples of them, by the function."""
TIMED = frozenset({"patterns"})
"""Modules whose users bring patterns: those run in `regex`, with a time-out."""

_AT_ONCE = {"match": "match", "fullmatch": "fullmatch", "search": "search"}
_METHODS = ("match", "fullmatch", "search", "sub", "subn", "split", "findall", "finditer")


@dataclass(frozen=True)
class Use:
    """A pattern and how the source runs it.

    Attributes:
        where: module and name, or module and line.
        methods: `match`, `fullmatch`, `search` or `finditer`.
    """

    where: str
    pattern: Any
    methods: tuple[str, ...]


@dataclass(frozen=True)
class Growth:
    """How one attack's time grows.

    Attributes:
        attack: its beginning and end.
        seconds: at once, twice and four times the length; infinite where the clock ended it.
    """

    use: Use
    method: str
    attack: str
    seconds: tuple[float, ...]

    @property
    def exponent(self) -> float:
        """1 is linear, 2 is quadratic."""
        first, last = self.seconds[0], self.seconds[-1]
        return math.inf if math.isinf(last) else math.log2(last / first) / (len(self.seconds) - 1)

    @property
    def too_fast(self) -> bool:
        """Whether it grows faster than n log n."""
        return self.exponent > MOST_EXPONENT

    def __str__(self) -> str:
        times = ", ".join(f"{s * 1000:.1f}" for s in self.seconds)
        pattern = self.use.pattern.pattern
        return (
            f"{self.use.where}.{self.method}: n^{self.exponent:.2f} ({times} ms) on "
            f"{self.attack}\n    {pattern[:160]!r}"
        )


def uses() -> list[Use]:
    """Every pattern of the source.

    Raises:
        LookupError: one is made of what a function is given, and is not in `MADE`.
    """
    trees = {
        path.relative_to(SOURCE).with_suffix("").as_posix().replace("/", "."): ast.parse(
            path.read_text("utf-8")
        )
        for path in sorted(SOURCE.rglob("*.py"))
    }
    everywhere = _methods_by_name(list(trees.values()))
    found: list[Use] = []
    seen: set[int] = set()
    for name, tree in trees.items():
        if not _patterns_in(tree):
            continue
        module = importlib.import_module(f"assay.{name}".removesuffix(".__init__"))
        own = _methods_by_name([tree])
        for label, value in list(vars(module).items()):
            if isinstance(value, type) or label.startswith("__"):
                continue
            for pattern in _compiled(value):
                if id(pattern) in seen:  # another module has it by this one's name
                    continue
                seen.add(id(pattern))
                methods = (own if label.startswith("_") else everywhere).get(label, set())
                found.append(Use(f"{name}.{label}", pattern, tuple(sorted(methods)) or _ALL))
        found += _called(name, tree, vars(module))
    return found


_ALL = ("finditer", "fullmatch", "match")


def _patterns_in(tree: ast.AST) -> bool:
    return any(isinstance(node, ast.Attribute) and _is_re(node.value) for node in ast.walk(tree))


def _is_re(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id in ("re", "regex")


def _compiled(value: Any) -> Iterator[Any]:
    if isinstance(value, (re.Pattern, regex.Pattern)):
        yield value
    elif isinstance(value, (list, tuple, set, frozenset)):
        for one in value:
            yield from _compiled(one)
    elif isinstance(value, dict):
        for one in value.values():
            yield from _compiled(one)


def _methods_by_name(trees: Sequence[ast.AST]) -> dict[str, set[str]]:
    """Methods that are called on a name, or on an attribute or item of that name."""
    found: dict[str, set[str]] = {}
    for tree in trees:
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Attribute) and node.attr in _METHODS):
                continue
            on = node.value
            name = on.attr if isinstance(on, ast.Attribute) else getattr(on, "id", None)
            if name and name not in ("re", "regex"):
                found.setdefault(name, set()).add(_AT_ONCE.get(node.attr, "finditer"))
    return found


def _called(module: str, tree: ast.Module, names: dict[str, Any]) -> Iterator[Use]:
    """Patterns of calls within functions and classes."""
    for scope, call in _calls(tree, ""):
        assert isinstance(call.func, ast.Attribute)
        compiles = call.func.attr == "compile"
        if (compiles and (not scope or _makes_a_global(scope, tree))) or module in TIMED:
            continue  # a name of the module holds it; or it has a clock
        where = f"{module}.{scope}"
        methods = _ALL if compiles else (_AT_ONCE.get(call.func.attr, "finditer"),)
        try:
            yield Use(f"{where}:{call.lineno}", _evaluated(call, names), methods)
        except NameError:
            if where not in MADE:
                raise LookupError(
                    f"{where} (line {call.lineno}) makes a pattern of what it is given: add "
                    "examples of it to MADE in bench/patterns.py."
                ) from None
            for text in MADE[where]:
                yield Use(where, re.compile(text, re.DOTALL), methods)


def _calls(node: ast.AST, scope: str) -> Iterator[tuple[str, ast.Call]]:
    for child in ast.iter_child_nodes(node):
        inner = scope
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            inner = f"{scope}.{child.name}".lstrip(".")
        if (
            isinstance(child, ast.Call)
            and isinstance(child.func, ast.Attribute)
            and _is_re(child.func.value)
            and child.func.attr in (*_METHODS, "compile")
        ):
            yield inner, child
        yield from _calls(child, inner)


def _makes_a_global(scope: str, tree: ast.Module) -> bool:
    """Whether the module calls the function itself, to make what one of its names holds."""
    return any(
        isinstance(node, ast.Name) and node.id == scope
        for statement in tree.body
        if isinstance(statement, (ast.Assign, ast.AnnAssign))
        for node in ast.walk(statement)
    )


def _evaluated(call: ast.Call, names: dict[str, Any]) -> Any:
    """The call's pattern, where it follows from what the module knows (NameError elsewhere)."""
    assert isinstance(call.func, ast.Attribute)
    takes_text = call.func.attr in ("match", "fullmatch", "search", "findall", "finditer")
    given = call.args if call.func.attr == "compile" else call.args[:1]
    given = [*given, *call.args[2:3]] if takes_text else given
    flags = [word for word in call.keywords if word.arg == "flags"]
    made = ast.Call(ast.Attribute(call.func.value, "compile", ast.Load()), given, flags)
    code = compile(ast.fix_missing_locations(ast.Expression(made)), "<pattern>", "eval")
    return eval(code, dict(names))


def slowest(use: Use, length: int = LENGTH) -> list[Growth]:
    """The attacks that took longer than the floor, one of each method, the fastest growing."""
    found = []
    for method in use.methods:
        slow: list[tuple[float, Attack]] = []
        for attack in _suspects(use, method, length):
            if (seconds := _seconds(use, method, attack.text(length))) > FLOOR_S:
                slow.append((seconds, attack))
            if seconds > _CERTAIN * FLOOR_S:
                break
        slowest_first = sorted(slow, key=itemgetter(0), reverse=True)
        grown = [_confirmed(use, method, attack, length) for _, attack in slowest_first[:3]]
        if grown:
            found.append(max(grown, key=lambda growth: growth.exponent))
    return found


def _suspects(use: Use, method: str, length: int) -> Iterator[Attack]:
    """The pattern's attacks, without those that together take less than the floor."""
    found = attacks(use.pattern, length)
    for first in range(0, len(found), _TOGETHER):
        some = found[first : first + _TOGETHER]
        if _seconds(use, method, *(attack.text(length) for attack in some)) > FLOOR_S:
            yield from some


def _confirmed(use: Use, method: str, attack: Attack, length: int) -> Growth:
    """Measured again where it grows too fast: other work slows single runs down, too."""
    least = _growth(use, method, attack, length)
    for _ in range(5):
        if not least.too_fast:
            break
        again = _growth(use, method, attack, length).seconds
        shared = tuple(map(min, least.seconds, again))
        rest = max(least.seconds, again, key=len)[len(shared) :]
        least = replace(least, seconds=(*shared, *rest))
    return least


def _growth(use: Use, method: str, attack: Attack, length: int) -> Growth:
    """The attack at three lengths."""
    seconds = []
    for times in (1, 2, 4):
        text = attack.text(length * times)
        runs = (_seconds(use, method, text) for _ in range(3))
        seconds.append(min(takewhile(math.isfinite, runs), default=math.inf))
        if math.isinf(seconds[-1]):
            break
    return Growth(use, method, f"{text[:30]!r} … {text[-12:]!r}", tuple(seconds))


def _seconds(use: Use, method: str, *texts: str) -> float:
    """Processor time of one run over each text; infinite when the clock ends it."""
    binary = isinstance(use.pattern.pattern, bytes)
    given = [text.encode("utf-8") if binary else text for text in texts]
    run = getattr(use.pattern, method)
    try:
        with _clock(CLOCK_S):
            began = time.thread_time()
            for one in given:
                if method == "finditer":
                    for _ in run(one):
                        pass
                else:
                    run(one)
            return time.thread_time() - began
    except TimeoutError:
        return math.inf


@contextmanager
def _clock(seconds: float) -> Iterator[None]:
    """Ends what takes more processor time: `re` looks for signals as it goes."""

    def end(*_: Any) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGVTALRM, end)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def main() -> int:
    """Prints what is slow; 1 if anything grows faster than n log n."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--length", type=int, default=LENGTH, help="characters, once")
    parser.add_argument("--only", default="", help="patterns whose place begins so")
    args = parser.parse_args()
    chosen = [use for use in uses() if use.where.startswith(args.only)]
    failed = 0
    for use in chosen:
        for growth in slowest(use, args.length):
            failed += growth.too_fast
            print("FAILS" if growth.too_fast else "  ok ", growth)
    print(f"{len(chosen)} patterns, {failed} grow faster than n log n.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
