"""How answers are judged, in plain words."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from assay.compare.result import Result
from assay.config import GraderSpec
from assay.evaluate.graders import GRADERS
from assay.quantities import say_count

LONGEST = 80
"""Of a setting's value; longer ones, such as a judge's prompt, are on the page Settings."""
LIKENESS = {"rouge-l", "token-f1", "chrf"}
"""Graders that count what an answer has in common with the expected one."""
SHORT = 12
"""Words of an expected answer up to which one other word says more than all that are in common."""


def find_primary(result: Result) -> GraderSpec | None:
    """The grader that decided, with its settings; None where the result does not tell."""
    specs = [GraderSpec.model_validate(one) for one in result.config.get("graders", ())]
    return next((one for one in specs if one.label == result.primary), None)


def explain_grading(spec: GraderSpec) -> str:
    """What a grader gives points for, and what was set of it."""
    grader = GRADERS.get(spec.name)
    said = f"How an answer is judged, by the grader {spec.name}"
    if grader is None:
        return f"{said}."
    text = f"{said}: {grader.explanation}"
    fields = grader.settings.model_fields
    for name, value in spec.settings.items():
        about = fields[name].description if name in fields else None
        if about is None or name == "as" or len(str(value)) > LONGEST:
            continue
        shown = str(value).lower() if isinstance(value, bool) else value
        text += f" Its setting {name} is {shown}: {about}."
    return text


def explain_length(spec: GraderSpec | None, answer: str) -> str | None:
    """Why an answer scored 0 whatever it says: `contains` takes no longer ones. None: it is not
    too long."""
    most = spec.settings.get("max_words") if spec is not None and spec.name == "contains" else None
    words = len(answer.split())
    return f"{words} words, more than {most} score 0" if most and words > most else None


def explain_likeness(
    spec: GraderSpec, expected: Sequence[str], good_enough: float | None
) -> list[str]:
    """What to do where likeness decides though most expected answers are short; nothing elsewhere.

    Args:
        expected: the answers that were expected.
    """
    if spec.name not in LIKENESS or not expected:
        return []
    words = median(len(answer.split()) for answer in expected)
    if words > SHORT:
        return []
    least = ""
    if good_enough is not None:
        least = (
            f" The minimum score of {100 * good_enough:g} asks for so many points of likeness, not "
            "for so many right answers."
        )
    return [
        f"Half of the expected answers have at most {say_count(round(words), 'word')}. Of answers "
        "so short, "
        "likeness does not tell which are right: a right one in other words scores low, and a "
        f"wrong one in the same words may score higher.{least} If you see that below, let another "
        "grader decide:",
        "`contains`, where a fact makes an answer right (a price, a name, a time). An answer is "
        "right if the expected text stands in it as whole words, whatever is said around it. For "
        "this the expected answers must be the fact alone, such as “12 euros”; those of the "
        "holdout are changed by replacing it.",
        "`judge`, where right answers have few words in common: a model says whether an answer is "
        "as good as the expected one. It needs answers that people have judged, and is written "
        "into the text on the page Settings (docs/graders.md of Assay says how).",
    ]
