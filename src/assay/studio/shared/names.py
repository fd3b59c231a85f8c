"""What agents, versions and people are called on pages: what they are. The names that are typed in
commands and files are one hover away.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime

from nicegui import ui

from assay.candidates import registry
from assay.errors import on_page
from assay.studio import widgets as w
from assay.studio.words import format_time
from assay.train.methods import registry as methods

_CANDIDATE = re.compile(
    r"^(?P<start>Candidate |Holdout: |Unlabelled inputs: )(?P<named>[\w-]+)$"
    r"|^(?P<bare>[\w-]+)(?P<end>: |$)"
    r"|`(?P<quoted>[\w-]+)`"
)
"""A candidate's typed name where a job speaks of it."""


def method_names() -> dict[str, str]:
    """Training methods by what `fine_tune.method` calls them, as they are offered."""
    return {
        name: f"{spec.title[:1].upper()}{spec.title[1:]} ({name})"
        for name, spec in methods.specs().items()
    }


def plain_labels(labels: Iterable[str]) -> dict[str, str]:
    """What agent versions (`few-shot@2`) are called beside one another; the number is said where
    there are several versions of one."""
    known = dict.fromkeys(labels)
    times = Counter(label.partition("@")[0] for label in known)
    return {
        label: (exact_label if times[label.partition("@")[0]] > 1 else plain_label)(label)
        for label in known
    }


def plain_label(label: str) -> str:
    """What one agent version is called by itself."""
    base = label.partition("@")[0]
    return registry.plain_name(base) or base


def exact_label(label: str) -> str:
    """What one agent version is called where it has to be told from all others, with its number."""
    plain, version = plain_label(label), label.partition("@")[2]
    return f"{plain}, version {version}" if version else plain


def plain_line(line: str) -> str:
    """A line that a job says, with the candidate it speaks of called as everywhere on pages; where
    it advises a command, the page that does it."""

    def turn(found: re.Match[str]) -> str:
        name = found["bare"] or found["named"] or found["quoted"]
        base, _, version = name.rpartition("-")
        if registry.plain_name(base) and version.isdecimal():  # a saved agent
            plain = exact_label(f"{base}@{version}")
        else:
            plain = registry.plain_name(name) or name
        if found["named"]:
            return f"{found['start'].rstrip(': ')}: {plain}"
        return plain + ("" if found["bare"] is None else found["end"])

    return on_page(_CANDIDATE.sub(turn, line))


def called_in_turn(labels: Iterable[str]) -> str:
    """The agents that a route asked, in order."""
    asked = list(labels)
    plain = plain_labels(asked)
    return " → ".join(plain[label] for label in asked)


def version_names(saved: Mapping[str, datetime]) -> dict[str, str]:
    """What fine-tuned versions are called, by their ids: by when they were saved; of those of one
    minute by the first digits of the id, too."""
    times = {id: format_time(at) for id, at in saved.items()}
    count = Counter(times.values())
    return {
        id: f"Version of {at}" + (f" ({id[:4]})" if count[at] > 1 else "")
        for id, at in times.items()
    }


def typed_hint(label: str) -> None:
    """Let the button that is open say the name that is typed, on hover, touch or focus."""
    ui.tooltip(typed_text(label)).classes("meaning")


def typed_term(words: str, label: str) -> None:
    """Words that say the name that is typed, on hover, touch or focus."""
    w.term(words, typed_text(label))


def typed_text(label: str) -> str:
    """What a hover over a plain name says: the name that is typed."""
    return f"In commands and files: {label}"
