"""What agents and candidates are called on pages: what they are. The names that are typed in
commands and files are one hover away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime

from nicegui import ui

from assay.candidates import registry
from assay.compare.report import wording
from assay.compare.result import Verdict
from assay.studio import widgets as w


def plain_labels(labels: Iterable[str]) -> dict[str, str]:
    """What agent versions (`few-shot@2`) are called beside one another; the number is said where
    there are several versions of one."""
    known = list(dict.fromkeys(labels))
    bases = [label.partition("@")[0] for label in known]
    found = {}
    for label, base in zip(known, bases, strict=True):
        plain = registry.plain_name(base) or base
        version = label.partition("@")[2]
        found[label] = f"{plain}, version {version}" if bases.count(base) > 1 else plain
    return found


def plain_label(label: str) -> str:
    """What one agent version is called by itself."""
    return plain_labels([label])[label]


def exact_label(label: str) -> str:
    """What one agent version is called where it has to be told from all others, with its number."""
    plain, version = plain_label(label), label.partition("@")[2]
    return f"{plain}, version {version}" if version else plain


def called_in_turn(labels: Iterable[str]) -> str:
    """The agents that a route asked, in order."""
    asked = list(labels)
    plain = plain_labels(asked)
    return " → ".join(plain[label] for label in asked)


def version_names(saved: Mapping[str, datetime]) -> dict[str, str]:
    """What fine-tuned versions are called, by their ids: by when they were saved; of those of one
    minute by the first digits of the id, too."""
    times = {id: w.format_time(at) for id, at in saved.items()}
    count = Counter(times.values())
    return {
        id: f"Version of {at}" + (f" ({id[:4]})" if count[at] > 1 else "")
        for id, at in times.items()
    }


def agent_name(label: str, plain: str = "") -> None:
    """An agent's plain name; a hover says the name that is typed.

    Args:
        plain: as it is called beside others.
    """
    typed_term(plain or plain_label(label), label)


def typed_hint(label: str) -> None:
    """Let the button that is open say the name that is typed, on hover, touch or focus."""
    ui.tooltip(_typed(label)).classes("meaning")


def typed_term(words: str, label: str) -> None:
    """Words that say the name that is typed, on hover, touch or focus."""
    w.term(words, _typed(label))


def _typed(label: str) -> str:
    return f"In commands and files: {label}"


def headline(verdict: Verdict) -> str:
    """The verdict in a few words, of a comparison whose candidates have not been read."""
    names = ("recommend", "use_meanwhile")
    called = {name: _called(getattr(verdict, name)) for name in names}
    return wording.headline(verdict.model_copy(update=called))


def _called(name: str | None) -> str | None:
    if name is None:
        return None
    base, _, version = name.rpartition("-")
    if base and version.isdecimal():  # a saved agent
        return f"{registry.plain_name(base) or base}, version {version}"
    return registry.plain_name(name) or name
