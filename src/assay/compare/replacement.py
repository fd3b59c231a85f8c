"""Which candidates may take the place of a model whose answers were brought. Pure.

Of each candidate it is tested that it is worse than that model by the margin or more: p of the
pair, and by Holm over all of them at the level of the opening. So the chance that one that is
worse is named at all is at most that level.
"""

from __future__ import annotations

from collections.abc import Sequence

from assay.compare import reasons
from assay.compare.entries import Entry
from assay.compare.findings import Findings
from assay.compare.replacement_section import Replacement
from assay.compare.settling import replacement_needed
from assay.evaluate.multiplicity import holm


def find_replacements(findings: Findings) -> tuple[Replacement, ...]:
    """For each complete candidate that is only answers: who is shown to be no worse."""
    return tuple(_of(findings, entry) for entry in findings.complete if entry.outside)


def _of(findings: Findings, old: Entry) -> Replacement:
    rivals = findings.best_first([e for e in findings.complete if not (e.outside or e.floor)])
    adjusted = holm([findings.pair(entry, old).a_not_worse for entry in rivals])
    shown = [
        entry
        for entry, p in zip(rivals, adjusted, strict=True)
        if findings.judged and p <= findings.level
    ]
    worse = [e for e in rivals if e not in shown and findings.call(e, old) == "worse"]
    rest = [entry for entry in rivals if entry not in shown and entry not in worse]
    settled_by = None
    # Of one that looks worse by the margin or more, no number of examples is likely to show it.
    if rest and not shown and findings.pair(rest[0], old).difference > -findings.terms.margin:
        settled_by = replacement_needed(findings, rest[0], old, len(rivals)).text
    return Replacement(
        replaced=old.name,
        model=old.recorded,
        score=findings.scores[old.name],
        no_worse=_names(shown),
        worse=_names(worse),
        not_shown=_names(rest),
        settled_by=settled_by,
        sentence=reasons.replaced(
            findings.label(old),
            findings.scores[old.name],
            findings.terms.margin,
            [findings.label(entry) for entry in shown],
            [findings.label(entry) for entry in worse],
            findings.label(rest[0]) if rest else None,
            settled_by,
            findings.terms.scale,
        ),
    )


def _names(entries: Sequence[Entry]) -> list[str]:
    return [entry.name for entry in entries]
