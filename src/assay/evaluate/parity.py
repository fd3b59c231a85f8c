"""The gate before a version leaves the house: does the target answer as the evaluated engine did?

    found = parity(bench, agent, examples, target)
    found.check()          # raises, with the first difference

Validation prompts go through both. Their token ids must be equal; the score must be no worse by a
point, tested one-sided; what the target expects next must be close to what the evaluated engine
expects, as a divergence in nats; and an answer may differ only where the evaluated engine was as
good as undecided, so that a version that scores 0 cannot pass by scoring 0. How close is close
depends on the number formats. The holdout is never touched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import scipy
from rapidfuzz.distance import Prefix

from assay.agent.agent import Agent
from assay.chat.template import Template
from assay.errors import ModelError
from assay.evaluate.measure import Bench, Measurement
from assay.evaluate.resampling import studentise, units
from assay.example import Example, Message
from assay.generate.batch import Answer, Request
from assay.generate.transformers.batch import TransformersBatchEngine
from assay.quantities import say_count

PROMPTS = 1000
"""Most validation prompts that are asked; all where there are fewer."""
MARGIN = 0.01
"""A score that is lower by this much is worse."""
ALPHA = 0.05
MOST_KL: Mapping[int, float] = MappingProxyType({16: 0.005, 8: 0.02, 4: 0.1})
"""Mean divergence in nats a token above which the gate is shut, by the bits of a weight;
docs/releases.md says what was measured."""
NEAR_TIE: Mapping[int, float] = MappingProxyType({16: 0.5, 8: 1.0, 4: 2.0})
"""Nats between two next tokens within which number formats of so many bits may swap them. The
logits of a bfloat16 model are 0.125 apart where they lie beyond 16."""
UNEXPLAINED = 0.05
"""Share of answers that may differ elsewhere than at a near tie."""
POSITIONS = 3
"""Tokens of each reference answer at which the next token's distribution is compared."""
DIVERGENCE_PROMPTS = 200
"""Prompts it is compared on, evenly spread; each costs a pass through both engines."""
_RESAMPLES = 4000
_PARTIAL = "\ufffd"
"""What a tokenizer writes for bytes that are no whole character."""


class ParityError(ModelError):
    """The target does not answer as the version was evaluated."""


class Target(Protocol):
    """Where the version would answer."""

    @property
    def bits(self) -> int:
        """Of a weight: 16 (or more), 8 or 4."""

    def render(self, request: Request) -> list[int]:
        """The token ids that its model would read."""

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        """One answer for each request, in their order."""

    def expects(self, ids: Sequence[int]) -> dict[int, float]:
        """Log-probabilities of the tokens most likely to come after `ids`, by id."""


@dataclass(frozen=True, slots=True)
class Parity:
    """What the gate found.

    Attributes:
        prompts: validation prompts asked.
        evaluated, target: mean scores.
        p: one-sided, of the hypothesis that the target is worse by `MARGIN` or more; 0 where every
            score is equal.
        divergence: mean KL(evaluated, target) in nats over `positions` next tokens, those that the
            target does not name taken as one; a lower bound of the whole one.
        equal_answers: answers with the same text.
        near_ties: of the others, those that part at two tokens of which the evaluated engine held
            one for about as likely as the other (`NEAR_TIE`).
        unexplained: of the others, those that part elsewhere.
        formats: of the weights, in the evaluated engine and in the target.
        refusals: why it is refused, the first difference with each; empty when it passes.
    """

    prompts: int
    evaluated: float
    target: float
    p: float
    divergence: float
    positions: int
    equal_answers: int
    near_ties: int
    unexplained: int
    formats: tuple[str, str]
    refusals: tuple[str, ...]

    def check(self) -> None:
        """Raise where the target does not answer as the evaluated engine.

        Raises:
            ParityError: with the first difference.
        """
        if self.refusals:
            raise ParityError(
                "the target does not answer like the evaluated version: " + " ".join(self.refusals),
                fix="Export it in another form (adapter, merged), or add validation examples if "
                "only the score is in doubt.",
            )


def parity(
    bench: Bench,
    agent: Agent,
    examples: Sequence[Example],
    target: Target,
    *,
    most: int = PROMPTS,
    by_score: bool = True,
) -> Parity:
    """Compare a target with the engine that evaluated an agent.

    Args:
        agent: the version as it was evaluated.
        examples: of validation.
        most: examples that are asked, evenly spread.
        by_score: False where the target's score is judged by a comparison of its own.

    Raises:
        ModelError: there are no examples, or an engine cannot answer.
    """
    if not examples:
        raise ModelError(
            "there are no validation examples to compare on.", fix="Add data.validation."
        )
    chosen = spread(examples, most)
    bench = bench.here  # a server shows no whole distributions
    requests = bench.assemble(agent, chosen)
    engine = bench.engines.for_agent(agent)
    if not isinstance(engine, TransformersBatchEngine):
        raise ModelError("only a language model on this machine can be compared.")
    refusals = _rendering(engine.template, requests, target)
    ours = bench.measure(agent, chosen)
    bench.progress.say(f"Asking the target {say_count(len(chosen), 'validation prompt')}.")
    answers = target.answer(requests)
    for place, answer in enumerate(answers):
        if answer.finish == "error":
            raise ModelError(f"the target did not answer prompt {place + 1}: {answer.error}")
    theirs = bench.grade(answers, chosen)
    p = _not_worse_p(ours, theirs, chosen)
    if by_score and p > ALPHA:
        refusals.append(_worse(ours, theirs, p, requests))
    bits = target.bits
    divergence, positions, worst = _divergence(engine, requests, chosen, target)
    if not divergence <= MOST_KL[bits]:  # NaN is refused, too
        refusals.append(
            f"Its next-token probabilities differ by {divergence:.2g} nats on average (allowed: "
            f"at most {MOST_KL[bits]:g}), most of all {worst}."
        )
    partings = _partings(engine, requests, ours.answers, answers)
    unexplained = [found for found in partings if not found.gap <= NEAR_TIE[bits]]
    if _surely_above(UNEXPLAINED, len(unexplained), len(chosen)):
        refusals.append(
            f"{len(unexplained)} of {len(chosen)} answers differ where the evaluated engine was "
            f"sure, most of all {max(unexplained, key=lambda found: found.gap)}."
        )
    pairs = zip(ours.answers, answers, strict=True)
    return Parity(
        prompts=len(chosen),
        evaluated=ours.score,
        target=theirs.score,
        p=p,
        divergence=divergence,
        positions=positions,
        equal_answers=sum(a.text == b.text for a, b in pairs),
        near_ties=len(partings) - len(unexplained),
        unexplained=len(unexplained),
        formats=(str(engine.model.dtype).removeprefix("torch."), f"{bits} bits"),
        refusals=tuple(refusals),
    )


def spread(rows: Sequence[Any], most: int) -> list[Any]:
    """At most so many of the rows, evenly spread."""
    count = min(len(rows), most)
    return [rows[place * len(rows) // count] for place in range(count)]


def _rendering(template: Template, requests: Sequence[Request], target: Target) -> list[str]:
    for place, request in enumerate(requests):
        ours = template.prompt(request.messages, request.tools)
        theirs = target.render(request)
        if ours != theirs:
            at = next(
                (i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b),
                min(len(ours), len(theirs)),
            )
            return [
                f"Prompt {place + 1} has different tokens from token {at + 1} on "
                f"({ours[at : at + 5]} here, {theirs[at : at + 5]} there)."
            ]
    return []


def _not_worse_p(ours: Measurement, theirs: Measurement, examples: Sequence[Example]) -> float:
    """One half of the two one-sided tests (Schuirmann 1987, Journal of Pharmacokinetics and
    Biopharmaceutics 15:657-680): the one that says "no worse", by the studentised bootstrap."""
    counted = ours.counted[ours.primary]
    gaps = np.subtract(theirs.primary_scores, ours.primary_scores)
    if not gaps.any():
        return 0.0
    groups = list(compress([example.group or example.id for example in examples], counted))
    data = units(gaps[:, None], groups)
    rng = np.random.default_rng(0)
    found = studentise(data, _RESAMPLES, rng, least=-1.0, most=1.0)
    return float(found.above_p(-MARGIN)[0])


def _worse(ours: Measurement, theirs: Measurement, p: float, requests: Sequence[Request]) -> str:
    text = (
        f"Its score is {theirs.score:.4f} and that of the evaluated engine {ours.score:.4f}; it "
        f"is not shown to be at most {MARGIN:g} worse (p = {p:.2g})."
    )
    rows = zip(
        ours.scores[ours.primary],
        theirs.scores[ours.primary],
        ours.answers,
        theirs.answers,
        requests,
        strict=True,
    )
    for before, after, our_answer, their_answer, request in rows:
        if after < before:
            ours_said, theirs_said = _apart(our_answer.text, their_answer.text)
            return (
                f"{text} First answer that got worse: {request.messages[-1].content[-80:]!r} was "
                f"answered {ours_said!r} and is now answered {theirs_said!r}."
            )
    return text


def _apart(one: str, other: str) -> tuple[str, str]:
    """80 characters of two texts, from shortly before they part."""
    start = max(0, Prefix.similarity(one, other) - 40)
    return one[start : start + 80], other[start : start + 80]


def _divergence(
    engine: TransformersBatchEngine,
    requests: Sequence[Request],
    examples: Sequence[Example],
    target: Target,
) -> tuple[float, int, str]:
    """Mean KL, the number of places, and the worst place in words.

    The places are those of the first tokens of the reference answers, so that both are asked
    about the very same sequences.
    """
    found: list[float] = []
    worst = (-1.0, "")
    for request, example in spread(list(zip(requests, examples, strict=True)), DIVERGENCE_PROMPTS):
        rendered = engine.template.render((*request.messages, example.target), request.tools)
        start = next(i for i, trained in enumerate(rendered.trained) if trained)
        end = min(start + POSITIONS, len(rendered.ids), engine.loaded.context_length)
        rows = _log_probabilities(engine, rendered.ids[:end], start)
        for place, row in enumerate(rows, start):
            told = target.expects(rendered.ids[:place])
            if not told:
                continue  # llama.cpp does not tell of tokens that are half a character
            gap = divergence(row, told)
            found.append(gap)
            if gap > worst[0]:
                text = engine.loaded.tokenizer.decode(rendered.ids[max(0, place - 12) : place])
                worst = (gap, f"after {text!r} ({gap:.2g})")
    return float(np.mean(found)) if found else float("nan"), len(found), worst[1] or "everywhere"


@dataclass(frozen=True, slots=True)
class _Parting:
    """Where two answers to one prompt part.

    Attributes:
        before: end of the text that both share.
        ours, theirs: the next token's text in each.
        gap: nats by which the evaluated engine holds its own for likelier.
    """

    before: str
    ours: str
    theirs: str
    gap: float

    def __str__(self) -> str:
        return (
            f"after {self.before!r}, where it continues with {self.theirs!r} in place of "
            f"{self.ours!r} ({self.gap:.2g} nats less likely)"
        )


def _partings(
    engine: TransformersBatchEngine,
    requests: Sequence[Request],
    ours: Sequence[Answer],
    theirs: Sequence[Answer],
) -> list[_Parting]:
    """One for each answer whose tokens differ; none of answers that are drawn at random.

    Of a token that is part of a character alone, an answer's text does not say which it was: it is
    taken for the likeliest of its kind.
    """
    found = []
    decode = engine.loaded.tokenizer.decode
    broken: list[int] = []
    for request, mine, other in zip(requests, ours, theirs, strict=True):
        if request.temperature > 0 or mine.text == other.text:
            continue
        a, b = (
            engine.template.render((*request.messages, Message("assistant", t)), request.tools).ids
            for t in (mine.text, other.text)
        )
        at = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), None)
        if at is None or at >= engine.loaded.context_length:
            continue
        stops = engine.template.stop_ids
        if (mine.finish == "length" and a[at] in stops) or (
            other.finish == "length" and b[at] in stops
        ):
            continue  # it was cut there; what it would have gone on with is not known
        row = _log_probabilities(engine, a[: at + 1], at)[0]
        texts, chances = [], []
        for id in (a[at], b[at]):
            texts.append(decode([id]))
            if _PARTIAL not in texts[-1]:
                chances.append(row[id])
                continue
            broken = broken or [i for i in range(len(row)) if _PARTIAL in decode([i])]
            chances.append(row[broken].max())
        before = decode(a[max(0, at - 12) : at])
        found.append(_Parting(before, texts[0], texts[1], float(chances[0] - chances[1])))
    return found


def _surely_above(share: float, count: int, of: int) -> bool:
    """Whether count/of is above a share at 95 %, by the exact bound of Clopper and Pearson (1934,
    Biometrika 26:404-413)."""
    return count > 0 and float(scipy.stats.beta.ppf(ALPHA, count, of - count + 1)) > share


def _log_probabilities(engine: TransformersBatchEngine, ids: list[int], start: int) -> Any:
    """Of the tokens from `start` on, [len(ids) - start, V], float64."""
    import torch

    with torch.inference_mode():
        given = torch.tensor([ids[:-1]], device=engine.model.device)
        logits = engine.model(input_ids=given, logits_to_keep=len(ids) - start).logits[0]
    return logits.double().log_softmax(-1).cpu().numpy()


def divergence(ours: Any, theirs: dict[int, float]) -> float:
    """KL(ours, theirs) in nats, the tokens that `theirs` does not name taken as one.

    Args:
        ours: log-probabilities of the whole vocabulary, [V].
        theirs: log-probabilities by token id, any part of the vocabulary.
    """
    ids = np.fromiter(theirs, dtype=np.intp)
    logs = np.fromiter(theirs.values(), dtype=np.float64)
    named = np.exp(ours[ids])
    total = float((named * (ours[ids] - logs)).sum())
    rest, their_rest = 1 - float(named.sum()), 1 - float(np.exp(logs).sum())
    if rest > 1e-9:
        total += rest * float(np.log(rest / max(their_rest, 1e-9)))
    return total
