"""An assertion of promptfoo as one of `assay.data.assertions`, or the reason why there is none."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from assay import json_reader
from assay.data.assertions import CHECKED, JUDGED, MOST, SET, TEXT, TEXTS, find_fault, split_type
from assay.errors import UsageError
from assay.project.promptfoo.files import (
    PREFIX,
    PROGRAMS,
    TREES,
    Node,
    SuiteFolder,
    Unsupported,
    suffix_of,
)
from assay.project.promptfoo.templates import fault_of, fill, text_of, texts_in

_CODE = "code of a configuration is never run; a `python` grader of your own can do the same"
_MEASURED = "cost and time of every candidate are measured without being asked for"
_INSIDE = "no grader looks for this in a text"
_SERVICE = "it needs another service"
_TRACED = "it looks at what an agent did on the way; only answers are graded"
_REASONS = {
    **dict.fromkeys(("javascript", "python", "ruby"), _CODE),
    "webhook": "no answer is sent to an address to be graded",
    **dict.fromkeys(("cost", "latency"), _MEASURED),
    **dict.fromkeys(("contains-json", "contains-html", "contains-sql", "contains-xml"), _INSIDE),
    **dict.fromkeys(("is-html", "is-sql", "is-xml", "is-refusal"), "no grader reads this form"),
    **dict.fromkeys(("classifier", "moderation", "guardrails", "pi"), _SERVICE),
    **dict.fromkeys(("select-best", "max-score"), "a comparison says itself which is best"),
    **dict.fromkeys(("perplexity", "perplexity-score"), "probabilities of answers are not graded"),
    "meteor": "promptfoo's counts synonyms of WordNet, which is not here; `rouge-n` is",
}
_OTHERS = frozenset(
    (
        *("answer-relevance", "context-faithfulness", "context-recall", "context-relevance"),
        *("conversation-relevance", "finish-reason", "human", "is-valid-function-call"),
        *("is-valid-openai-function-call", "is-valid-openai-tools-call", "search-rubric"),
        *("skill-used", "tool-call-f1", "trace-error-spans", "trace-span-count"),
        *("trace-span-duration", "trajectory"),
    )
)
_IN_CELLS = (CHECKED - {SET}) | JUDGED | _REASONS.keys() | _OTHERS
"""What before a colon is a type; any other cell is the right answer as a whole."""
_MOST_DEPTH = 2
"""Sets in each other: fewer than a row may have, for a test's threshold is one more around them."""
_SET_ONLY = ("transform", "contextTransform", "normalizeUnicode", "rubricPrompt", "config")
_PART = re.compile(
    r"""\s*+(?:"(?P<quoted>(?:[^"\\]|\\.|"")*+)"\s*|(?P<bare>(?!")[^,]*))(?:,|\Z)""", re.DOTALL
)
_ESCAPED = re.compile(r"""\\(["\\])|"(")""")
_COMPACT = re.compile(r"(not-)?([a-z][a-z-]*)(?:\((\d+(?:\.\d+)?)\))?(?::([\s\S]*))?")
LESS = "it is reached, or not, by the assertions that are left"
_THRESHOLDS = frozenset(("levenshtein", "rouge-n", "similar"))
Listed = Callable[[Unsupported], None]


def of_cell(text: str) -> dict[str, Any]:
    """The assertion that a cell `__expected` writes in short: `contains: Paris`."""
    short = {"fn": "javascript", "eval": "javascript", "grade": "llm-rubric"}
    for name, stands_for in short.items():
        if text.startswith(f"{name}:"):
            return {"type": stands_for, "value": text[len(name) + 1 :]}
    found = _COMPACT.fullmatch(text)
    if found is None or found[2] not in _IN_CELLS:
        if text.startswith(PREFIX) and suffix_of(text) in PROGRAMS:
            return {"type": "python", "value": text}
        return {"type": "equals", "value": text}
    kind, value = found[2], (found[4] or "").strip()
    made: dict[str, Any] = {"type": f"{found[1] or ''}{kind}"}
    if value:
        made["value"] = value
    if kind in _THRESHOLDS:
        made["threshold"] = float(found[3] or (0.8 if kind == "similar" else 0.75))
    return made


@dataclass(slots=True)
class Translator:
    """Translates the assertions of one test.

    Attributes:
        variables: of the test.
        templates: `assertionTemplates` of the configuration, which `$ref` names.
        listed: is told what has no equal.
        left: assertions that the test may still have, those in sets included.
    """

    variables: Mapping[str, Any]
    folder: SuiteFolder
    templates: Node
    listed: Listed
    left: int = MOST

    def translate_all(self, nodes: Iterable[Node], depth: int = 0) -> list[dict[str, Any]]:
        """The assertions with the test's variables in them; what has no equal is listed."""
        found = []
        for node in nodes:
            if self.left <= 0:
                why = (
                    f"a test has at most {MOST} assertions; this one and those behind are left out"
                )
                self.listed(node.unsupported("assertions", why))
                break
            self.left -= 1
            if (made := self._translate(node, depth)) is not None:
                found.append(made)
        return found

    def _translate(self, node: Node, depth: int) -> dict[str, Any] | None:
        raw = node.value
        if isinstance(raw, dict) and isinstance(raw.get("$ref"), str):
            name = raw["$ref"].rpartition("/")[2]
            node = self.templates.child(name)
            raw = node.value
        if not isinstance(raw, dict) or not isinstance(raw.get("type"), str):
            self.listed(node.unsupported(text_of(raw), "it is no assertion with a `type`"))
            return None
        named = raw["type"]
        kind, _ = split_type(raw)
        if kind not in CHECKED | JUDGED:
            self.listed(node.unsupported(named, _reason(kind)))
            return None
        for setting in _SET_ONLY:
            if raw.get(setting) is not None:
                what = f"{named} with {setting}"
                why = "what it does to the answer or the judge is not done"
                self.listed(node.unsupported(what, why))
                return None
        if raw.get("metricOnly"):
            self.listed(node.unsupported(f"{named} with metricOnly", "only what decides is graded"))
            return None
        if raw.get("provider") is not None:
            why = "one judge and one embedding model serve all assertions"
            self.listed(node.unsupported(f"provider of {named}", why))
        if kind in JUDGED and raw.get("threshold") is not None:
            why = "a judge compares with the right answer"
            self.listed(node.unsupported(f"threshold of {named}", why))
        made: dict[str, Any] = {"type": named}
        made |= {name: raw[name] for name in ("weight", "threshold") if raw.get(name) is not None}
        if kind == SET:
            if depth >= _MOST_DEPTH:
                why = f"more than {_MOST_DEPTH} sets are in each other"
                self.listed(node.unsupported(named, why))
                return None
            if not node.value.get("assert"):
                self.listed(node.unsupported(named, "it has no assertions"))
            made["assert"] = self.translate_all(node.child("assert").children(), depth + 1)
            inner = sum(1 for _ in node.child("assert").children())
            if made["assert"] and len(made["assert"]) < inner and "threshold" in made:
                self.listed(node.unsupported(f"threshold {made['threshold']}", LESS))
            if not made["assert"]:
                return None  # each of them is listed
        elif (value := _value(node, kind, self.variables, self.folder, self.listed)) is not None:
            made["value"] = value
            for name in sorted(_unread(value)) if kind == "is-json" else ():
                self.listed(node.unsupported(f"{name} of {named}", "no answer fails by it"))
        elif raw.get("value") is not None:
            return None  # it is listed
        if fault := find_fault([made]):
            why = fault.removeprefix("[0]").lstrip(" .").rstrip(".")
            self.listed(node.unsupported(named, why))
            return None
        return made


def _reason(kind: str) -> str:
    if kind.startswith(("trace-", "trajectory:", "skill-")):
        return _TRACED
    if kind.startswith(("context-", "answer-", "conversation-")):
        return "it needs the passages or the conversation beside the answer"
    if "call" in kind:
        return "calls are graded by `call-exact` and others in a project of tools"
    return _REASONS.get(kind, "there is no grader of this name")


def _value(
    node: Node, kind: str, variables: Mapping[str, Any], folder: SuiteFolder, listed: Listed
) -> Any:
    value = node.value.get("value")
    if isinstance(value, str) and value.startswith(PREFIX):
        if suffix_of(value.partition("#")[0]) in PROGRAMS:
            listed(node.unsupported(f"{kind} of {value}", _CODE))
            return None
        path = folder.find(node.child("value"), value)[0]
        value = folder.tree(path).value if path.suffix in TREES else folder.text(path).strip()
    for text in texts_in(value):
        named = isinstance(value, list) and text.startswith(PREFIX)
        if why := "files in a list are not read" if named else fault_of(text):
            listed(node.unsupported(f"{kind} {text}", why))
            return None
    try:
        return _typed(kind, _filled(value, variables))
    except UsageError as error:
        listed(node.unsupported(kind, str(error).rstrip(".")))
        return None


def _filled(value: Any, variables: Mapping[str, Any]) -> Any:
    """With the variables in a text or in those of a list; promptfoo fills in no objects."""
    if isinstance(value, list):
        return [fill(one, variables) if isinstance(one, str) else one for one in value]
    return fill(value, variables) if isinstance(value, str) else value


def _unread(schema: Any) -> set[str]:
    """Keywords of a schema that promptfoo's validator checks and the one here does not."""
    if isinstance(schema, list):
        return {name for one in schema for name in _unread(one)}
    if not isinstance(schema, dict):
        return set()
    own = {name for name in ("format", "nullable") if isinstance(schema.get(name), str | bool)}
    return own | _unread(list(schema.values()))


def _typed(kind: str, value: Any) -> Any:
    """The value as its type wants it."""
    if kind in TEXT | JUDGED or (kind == "equals" and not isinstance(value, dict | list)):
        if isinstance(value, dict | list):
            raise UsageError("its value is a list or an object, where one text is compared.")
        return None if value is None else text_of(value)
    if kind in TEXTS and isinstance(value, str):
        return [part.strip() for part in _parts(value)]
    if kind in TEXTS and isinstance(value, list):
        return [text_of(part) for part in value]
    if kind == "is-json" and isinstance(value, str):
        try:
            return json_reader.read(value)
        except ValueError:
            return value  # which is no schema, and listed as such
    if kind == "word-count" and isinstance(value, str) and value.isdigit():
        return int(value)
    return value


def _parts(text: str) -> list[str]:
    """The texts between commas, as promptfoo reads them: in quotation marks a comma parts nothing,
    and a quotation mark is written `\\"` or `""`; nothing between two commas is no text.

    Raises:
        UsageError: a quotation mark is not closed, or something follows it before the comma.
    """
    found, place = [], 0
    while place < len(text):
        part = _PART.match(text, place)
        if part is None:
            raise UsageError("its list of texts has a quotation mark that closes nothing.")
        if part["quoted"] is not None:
            found.append(_ESCAPED.sub(r"\1\2", part["quoted"]))
        elif part["bare"].strip():
            found.append(part["bare"].strip())
        place = part.end()
    return found
