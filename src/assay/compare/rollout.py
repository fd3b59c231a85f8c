"""Whole dialogues of the holdout: every candidate goes on with them, beside the verdict.

They are planned and measured in the same opening as single calls, and decide nothing. Answers are
kept as all others are, so that a comparison which was killed goes on where it was.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from assay.candidates.building import Candidate
from assay.chat.tool_text import name_of
from assay.compare.account import METRIC_RESAMPLES
from assay.compare.holdout import HOLDOUT
from assay.compare.prediction_powered import usd_of
from assay.compare.rollout_section import CandidateRollout, DialogueShare, Omission, Rollout
from assay.config.names import file_of
from assay.errors import AssayError, ConfigError, OutageError, UsageError
from assay.evaluate.bounds import effective_groups
from assay.evaluate.dialogues import Dialogue, Outcome, UseTools, dialogues_of, roll_out
from assay.evaluate.graders.calls import Call
from assay.evaluate.measure import Bench, Measurement
from assay.evaluate.resampling import studentise, units
from assay.evaluate.run import incomplete
from assay.evaluate.stats import Groups
from assay.evaluate.trusted import Limits, TrustedCodeError, trusted_tools
from assay.example import Example
from assay.generate.batch import Answer
from assay.progress import begin_stage
from assay.quantities import say_count
from assay.store.files import sha256_file

LIMITS = Limits()
NO_CONVERSATION = "only its answers to single rows are known, so it cannot hold a conversation"
NO_ANSWERS = "answers are missing; the same command asks for them"
FAILED = "a turn of it could not be answered; the run has said how"
TOOLS_FAILED = "the tools failed, as the run has said; the same command goes on with it"


def check_rollout(examples: Sequence[Example], bench: Bench) -> dict[str, str]:
    """Refuse tools that may not run, or cannot, before anything is built.

    Args:
        examples: of training and validation, whose functions the tools have to define.

    Returns:
        by its name in the project's folder, the sha256 of the tools' file and of every file beside
        it that it imports; empty without tools.

    Raises:
        UsageError: nobody has trusted them.
        AssayError: the file is missing, does not load, or lacks a function.
    """
    settings = bench.config.rollout
    if settings is None or settings.tools is None:
        return {}
    if not file_of(settings.tools, bench.root).is_file():
        raise ConfigError(
            f"the file {settings.tools} of rollout.tools does not exist.",
            where=str(bench.root),
            fix="Correct its name; it is relative to the project's folder.",
        )
    if not bench.trust_code:
        raise UsageError(
            f"the tools in {settings.tools} are Python code of this project.",
            fix="Read that code; if you trust it, say so with --trust-code.",
        )
    functions = sorted({name_of(tool) for example in examples for tool in example.tools})
    with trusted_tools(
        file_of(settings.tools, bench.root), LIMITS, folder=bench.root, functions=functions
    ) as tools:
        folder = bench.root.resolve()
        return {os.path.relpath(file, folder): sha256_file(file) for file in tools.files}


def roll_out_all(
    built: Sequence[Candidate],
    measured: Mapping[str, Measurement],
    examples: Sequence[Example],
    bench: Bench,
) -> Rollout:
    """Let every candidate that can go on with the holdout's dialogues.

    Why one could not is said, and kept without what it may quote of a row.

    Args:
        measured: every candidate's measurement on `examples`, the holdout, by its name.
    """
    dialogues = dialogues_of(examples)
    groups = Counter(one.group for one in dialogues)
    is_grouped = len(groups) < len(dialogues)
    candidates, left_out = list[CandidateRollout](), list[Omission]()
    for one in built:
        if one.agent.kind == "outside":
            left_out.append(Omission(candidate=one.name, reason=NO_CONVERSATION))
            continue
        if measured[one.name].incomplete:
            left_out.append(Omission(candidate=one.name, reason=NO_ANSWERS, again=True))
            continue
        bench.progress.say(f"{HOLDOUT}whole dialogues with {one.name}")
        begin_stage(bench.progress, "rollout", one.name)
        try:
            with _tools_of(bench) as tools:
                outcomes = roll_out(dialogues, _asking(one, bench), tools, bench.progress)
        except OutageError as error:
            bench.progress.say(str(error))
            left_out.append(Omission(candidate=one.name, reason=NO_ANSWERS, again=True))
        except TrustedCodeError as error:  # a limit may be one of a busy machine
            bench.progress.say(str(error))
            left_out.append(Omission(candidate=one.name, reason=TOOLS_FAILED, again=True))
        except AssayError as error:
            bench.progress.say(str(error))
            left_out.append(Omission(candidate=one.name, reason=FAILED))
        else:
            candidates.append(_figures(one, dialogues, outcomes, bench))
    return Rollout(
        dialogues=len(dialogues),
        groups=len(groups) if is_grouped else None,
        units=effective_groups(np.array([one.group for one in dialogues])) if is_grouped else None,
        several=sum(count > 1 for count in groups.values()),
        turns=sum(len(one.turns) for one in dialogues),
        with_call=sum(any(e.target.tool_calls for e in one.turns.values()) for one in dialogues),
        tools=bench.config.rollout is not None and bench.config.rollout.tools is not None,
        candidates=candidates,
        left_out=left_out,
    )


def _asking(one: Candidate, bench: Bench) -> Callable[[list[Example]], list[Answer]]:
    def ask(asked: list[Example]) -> list[Answer]:
        answers, _ = bench.answer(one.agent, asked, in_batches=False)  # one turn after the other
        if missing := incomplete(answers):  # later turns would be others without these
            turns = say_count(len(answers), "turn")
            raise OutageError(f"{one.name} left {missing} of {turns} unanswered.")
        return answers

    return ask


@contextmanager
def _tools_of(bench: Bench) -> Iterator[UseTools | None]:
    settings = bench.config.rollout
    if settings is None or settings.tools is None:
        yield None
        return
    file = file_of(settings.tools, bench.root)
    with trusted_tools(file, LIMITS, folder=bench.root) as tools:

        def answer(calls: Sequence[Call]) -> list[str]:
            return tools.use([(call.name, call.arguments) for call in calls])

        yield answer


def _figures(
    one: Candidate, dialogues: Sequence[Dialogue], outcomes: Sequence[Outcome], bench: Bench
) -> CandidateRollout:
    groups = np.array([dialogue.group for dialogue in dialogues])
    departed = [outcome.departure for outcome in outcomes if outcome.departure is not None]
    turns = Counter(departure.turn for departure in departed)
    answers = [answer for outcome in outcomes for answer in outcome.answers]
    settings = bench.config.rollout
    has_tools = settings is not None and settings.tools is not None
    made = [float(outcome.all_made) for outcome in outcomes]
    return CandidateRollout(
        candidate=one.name,
        success=_share([float(outcome.departure is None) for outcome in outcomes], groups),
        before_departure=_share([outcome.right / outcome.turns for outcome in outcomes], groups),
        all_made=_share(made, groups) if has_tools else None,
        departures=dict(Counter(departure.how for departure in departed)),
        at_turn=[turns[number] for number in range(1, max(turns, default=0) + 1)],
        answers=len(answers),
        usd=None if one.agent.route is not None else usd_of(one.agent, answers, bench),
    )


def _share(values: Sequence[float], groups: Groups) -> DialogueShare:
    column = np.array(values)[:, None]
    rng = np.random.default_rng(0)
    mean = studentise(units(column, groups), METRIC_RESAMPLES, rng, least=0.0, most=1.0)
    (low,), (high,) = mean.interval(0.05)
    return DialogueShare(
        score=float(mean.mean[0]), low=max(0.0, float(low)), high=min(1.0, float(high))
    )
