"""How answers are judged, in plain words."""

from __future__ import annotations

from assay.compare.result import Result
from assay.config import GraderSpec
from assay.evaluate.graders import GRADERS

LONGEST = 80
"""Of a setting's value; longer ones, such as a judge's prompt, are on the page Settings."""


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
