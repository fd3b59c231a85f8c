"""`extract-call`: which function to call by its words, and the arguments field by field."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import compress

import numpy as np

from assay.agent.agent import Agent
from assay.candidates.building import Candidate, Context, Stopwatch, Trial
from assay.candidates.shared.extraction import (
    STEPS,
    STRENGTH,
    RecordFit,
    estimate,
    learn,
    read_rows,
)
from assay.candidates.spec import CALLS, CandidateSpec
from assay.errors import AssayError
from assay.example import Example
from assay.generate.batch import Request
from assay.generate.calibration import PLAIN, Calibration, calibrate
from assay.generate.call_extraction import (
    CallModel,
    decide,
    decision_text,
    dump_calls,
    newest_first,
)
from assay.generate.extraction import word_features
from assay.generate.logistic import fit_logistic
from assay.models.lineage import keep_rows
from assay.models.tensor_blob import Array
from assay.store import blobs

SPEC = CandidateSpec(
    title="call extraction",
    explanation="Chooses the function by the words of the last turns, and finds each argument by "
    "the cheapest way that works. Nothing is generated.",
    family="fitted",
    answers_from_rows=True,
    estimate=estimate,
    needs=(CALLS,),
    baseline=True,
)


def build(context: Context) -> Candidate:
    """Learn which function is called, and for each function its arguments.

    Rows that call several functions at once are left out: this makes one call at most.

    Raises:
        AssayError: every row of train calls several functions at once.
    """
    watch = Stopwatch()
    liked = [example for example in context.train if example.liked]
    train = [example for example in liked if len(example.target.tool_calls) < 2]
    judged = [example for example in context.judged if len(example.target.tool_calls) < 2]
    if not train:
        raise AssayError("every training example calls several functions at once.")
    left = len(liked) - len(train)
    said = f"{left} of {len(liked)} training rows call several functions at once and are left out."
    rows = keep_rows(context.store, train)

    def fit(train: Sequence[Example], judged: Sequence[Example]) -> RecordFit:
        embedder = context.config.classifier.embedder
        known, asked = (read_rows(context.store, part, embedder) for part in (train, judged))
        return learn(known, asked, rows)

    names = sorted({_name(one) for one in train}, key=lambda name: name or "")
    functions = {
        name: fit(
            [_arguments(one) for one in train if _name(one) == name],
            [_arguments(one) for one in judged if _name(one) == name],
        )
        for name in names
    }
    coefficients, intercept = _fit_names(train, names)
    model = CallModel(
        names=tuple(names),
        coefficients=coefficients,
        intercept=intercept,
        functions={name: one.model for name, one in functions.items()},
        calibrations=(PLAIN,) * len(names),
        rows=rows,
    )
    model = replace(model, calibrations=_calibrations(context, model))
    agent = _agent(context, model)
    measured = context.measure(agent)
    named = {name: one for name, one in functions.items() if name}
    return Candidate(
        agent=agent,
        tried=(
            Trial("each part of a call by the way that is best for it", measured.score, True),
            *(
                Trial(f"{name}: {trial.setting}", trial.score, trial.chosen)
                for name, one in named.items()
                for trial in one.trials
            ),
        ),
        scores=tuple(measured.primary_scores),
        setup_seconds=watch.seconds(),
        retrained=True,
        warnings=(
            *((said,) if left else ()),
            *(f"{name}: {warning}" for name, one in named.items() for warning in one.warnings),
        ),
    )


def _agent(context: Context, model: CallModel) -> Agent:
    return Agent(kind="classical", model=f"calls:{blobs.put(context.store, dump_calls(model))}")


def _calibrations(context: Context, model: CallModel) -> tuple[Calibration, ...]:
    """How probable it is that an answer is right, by the function that is called: of one with many
    arguments fewer are right, however sure the choice is."""
    measured = context.measure(_agent(context, model))
    rows = list(compress(context.judged, measured.counted[measured.primary]))
    decided = decide(model, [Request(one.prompt, tools=one.tools) for one in rows])
    scored = list(zip(decided, measured.primary_scores, strict=True))
    return tuple(
        calibrate(
            [share for (chosen, share), _ in scored if chosen == place],
            [score for (chosen, _), score in scored if chosen == place],
        )
        for place in range(len(model.names))
    )


def _name(example: Example) -> str | None:
    """Of the function that is called, if any."""
    return next((call.name for call in example.target.tool_calls), None)


def _fit_names(train: Sequence[Example], names: Sequence[str | None]) -> tuple[Array, Array]:
    """Coefficients and intercept of which function is called, see `CallModel`."""
    features = word_features([decision_text(one.prompt) for one in train])
    targets, weights = [names.index(_name(one)) for one in train], [one.weight for one in train]
    coefficients, intercept = fit_logistic(features, targets, STRENGTH, weights, steps=STEPS)
    return coefficients.astype(np.float32), intercept.astype(np.float32)


def _arguments(example: Example) -> Example:
    """A row whose answer is the arguments as JSON; of one that calls nothing, its words."""
    calls = example.target.tool_calls
    answer = calls[0].arguments or "{}" if calls else json.dumps(example.target.content)
    text = newest_first(example.prompt)
    return Example.of(text, answer, id=example.id, weight=example.weight)
