"""`prompt-optimised`: the best of many variants of the system prompt. No gain is promised.

Variants add to the project's own prompt what often helps: the form of an answer, what the labels
or fields are, examples of each label, care. Successive halving (Karnin, Koren and Somekh 2013, ICML
28:1238-1246) compares them on training rows, which nothing else of this candidate is fitted to: all
on a few rows, the better half on twice as many, and so on. The last two and the project's own
prompt meet on validation, where a tie goes to the project's own.

With `prompt_search.proposer` a model at a provider writes further variants: it is shown the best
prompt so far and rows that went wrong with it, once for each of `prompt_search.proposals`. These
rows leave the machine, so the project must have agreed (`providers.NAME.consent`).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import product

from assay.agent.agent import Agent
from assay.agent.lineage import HANDFUL
from assay.candidates.building import Candidate, Context, as_trials
from assay.candidates.shared.proposer import PROPOSAL_TOKENS, Proposer, search_spec
from assay.candidates.spec import listed_labels
from assay.config import Config, is_remote
from assay.errors import ConfigError, ModelError
from assay.evaluate.measure import RefusalError
from assay.example import Example, Message
from assay.generate.batch import Request
from assay.quantities import say_count

FIRST_ROWS = 16
"""Training rows of the first round; each round has twice as many as the one before."""
FINALISTS = 2
_SEARCHED_ANSWERS = 1000
"""About what the search takes: some 20 variants, halved every round."""
_SHOWN_WRONG = 5
_SHOWN_CHARACTERS = 600
_CARE = (
    "",
    "Read the whole message before you answer.",
    "Be exact. Add nothing that was not asked for.",
)


SPEC = search_spec(
    "best of many prompts",
    "Many variants of the system prompt are tried, and the best is kept.",
    searched=lambda config: _SEARCHED_ANSWERS,
    shown=_SHOWN_WRONG,
)


def build(context: Context) -> Candidate:
    """Halve the variants on train, choose among the last on validation."""
    rows = list(context.answered)
    random.Random(context.config.data.split.seed).shuffle(rows)
    prompts = variants(context.config, rows)
    warnings: list[str] = []
    if context.config.prompt_search.proposer is not None:
        proposed, warnings = _proposed(context, prompts[0], rows)
        prompts += [prompt for prompt in proposed if prompt not in prompts]
    return choose_prompt(
        context, halve(context, prompts, rows), curated=len(rows) > HANDFUL, warnings=warnings
    )


def choose_prompt(
    context: Context, prompts: Sequence[str], *, curated: bool, warnings: Sequence[str]
) -> Candidate:
    """The best on validation of these prompts and the project's own, to which a tie goes.

    Raises:
        ModelError: the model refuses every request, whatever the prompt.
    """
    own = context.config.system_prompt
    last = dict.fromkeys([own, *prompts])
    tried = [(prompt, context.attempt(_agent(context, prompt))) for prompt in last]
    measured = [(prompt, found) for prompt, found in tried if found is not None]
    if not measured:
        raise ModelError(f"{context.config.model} refuses every request, whatever the prompt.")
    best, measurement = max(measured, key=lambda one: (one[1].score, one[0] == own))
    chosen = context.choose_constraint(_agent(context, best), measurement)
    others = [(_describe(prompt, own), m.score, False) for prompt, m in measured if prompt != best]
    return Candidate(
        agent=chosen.agent,
        tried=as_trials(chosen.tried, f"{_describe(best, own)}, ") + as_trials(others),
        scores=tuple(chosen.measurement.primary_scores),
        curated=curated,
        warnings=tuple(warnings),
    )


def variants(config: Config, rows: Sequence[Example]) -> list[str]:
    """Prompts to try: the project's own first, then those with additions; deterministic."""
    own = config.system_prompt.strip()
    made = [config.system_prompt]
    for form, care in product(_forms(config, rows), _CARE):
        if form or care:
            made.append("\n".join(part for part in (own, form, care) if part))
        if form and own:
            made.append("\n".join(part for part in (form, own, care) if part))
    return list(dict.fromkeys(made))


def halve(context: Context, prompts: Sequence[str], rows: Sequence[Example]) -> list[str]:
    """Successive halving on `rows`: the two best prompts, best first; ties go to the earlier."""
    left, count = list(prompts), FIRST_ROWS
    with context.progress.task("prompts", None, "tried") as bar:
        while len(left) > FINALISTS:
            shown = rows[:count]
            scores = {}
            for prompt in left:
                scores[prompt] = _score(context, prompt, shown)
                bar.advance()
            kept = max(FINALISTS, len(left) // 2)
            left = sorted(left, key=lambda prompt: -scores[prompt])[:kept]
            count *= 2
    return left


def _score(context: Context, prompt: str, shown: Sequence[Example]) -> float:
    """Mean score on training rows; -1 for a prompt with which every request is too long."""
    try:
        return context.bench.measure(_agent(context, prompt), shown, in_batches=False).score
    except RefusalError:
        return -1.0


def _agent(context: Context, prompt: str) -> Agent:
    return context.chat_agent(system_prompt=prompt)


def _describe(prompt: str, own: str) -> str:
    """A variant by what it adds to the project's own prompt, in short."""
    if prompt == own:
        return "own prompt"
    added = " ".join(prompt.replace(own.strip(), "", 1).split())
    return f"“{added if len(added) <= 60 else added[:59] + '…'}”"


def _forms(config: Config, rows: Sequence[Example]) -> list[str]:
    """Sentences on the form of an answer, by the kind of task; "" among them."""
    if config.task == "label":
        labels = list(config.labels or dict.fromkeys(example.output for example in rows))
        listed = ", ".join(labels)
        shortest: dict[str, str] = {}
        for example in rows:
            if len(example.input) < len(shortest.get(example.output, "x" * 200)):
                shortest[example.output] = " ".join(example.input.split())
        each = "\n".join(
            f"- {label}" + (f", such as: {shortest[label]}" if label in shortest else "")
            for label in labels
        )
        return [
            "",
            f"Answer with one of these labels and nothing else: {listed}.",
            f"Decide which of these fits best, and answer with it alone:\n{each}",
        ]
    if several := listed_labels(config):
        return [
            "",
            "Answer with a JSON list of labels and nothing else.",
            f"Answer with a JSON list of all of these labels that fit: {', '.join(several)}.",
        ]
    if config.task == "json":
        properties = (config.output_schema or {}).get("properties", {})
        fields = ", ".join(map(str, properties)) if isinstance(properties, dict) else ""
        named = f" Its fields are: {fields}." if fields else ""
        return [
            "",
            f"Answer with one JSON object and nothing else.{named}",
            f"Answer with one JSON object.{named} Copy values as they stand in the message.",
        ]
    if config.task == "tools":
        return [
            "",
            "Call a function as soon as all arguments that it needs are known.",
            "Call a function only if all arguments that it needs are known; if one is missing, ask "
            "for it.",
        ]
    words = sorted(len(example.output.split()) for example in rows) or [0]
    typical = words[len(words) // 2]
    return [
        "",
        f"Answer in about {typical} words." if typical > 1 else "Answer in one word.",
        "Answer directly, without any introduction.",
    ]


def _proposed(context: Context, first: str, rows: Sequence[Example]) -> tuple[list[str], list[str]]:
    """Prompts that the proposer wrote, and sentences on those that came to nothing.

    Raises:
        ConfigError: it is no model of a known provider, or the project has not agreed.
        OutageError: it did not answer.
    """
    settings = context.config.prompt_search
    model = settings.proposer or ""
    if not is_remote(model):
        raise ConfigError(
            f"{model!r} is not a model at a provider.",
            where="assay.yaml, prompt_search.proposer",
            fix="Write remote:PROVIDER/MODEL, or remove it.",
        )
    proposer = Proposer(context, model)
    shown = rows[: 2 * FIRST_ROWS]
    best, score = first, -1.0
    written: list[str] = []
    lost = 0
    prompt = first
    for number in range(settings.proposals + 1):
        found = _score(context, prompt, shown)
        if found > score:
            best, score = prompt, found
        if number == settings.proposals:
            break
        wrong = _wrong(context, best, shown, number)
        answer = proposer.answer(_request(best, wrong, written))
        _, _, rest = answer.text.partition("<prompt>")
        inside, closed, _ = rest.partition("</prompt>")
        proposed = inside.strip()
        if not closed or not proposed:
            lost += 1
            prompt = best
        else:
            prompt = proposed
            written.append(prompt)
    warnings = []
    if lost:
        proposals = say_count(settings.proposals, "proposal")
        warnings.append(f"{lost} of {proposals} of {model} could not be used.")
    if lost == settings.proposals:
        context.progress.say(warnings[0])
    return written, warnings


def _wrong(
    context: Context, prompt: str, shown: Sequence[Example], turn: int
) -> list[tuple[Example, str]]:
    """Rows that the prompt gets wrong, with what was answered; other ones at every turn."""
    measured = context.bench.measure(_agent(context, prompt), shown, in_batches=False)
    scores = measured.scores[measured.primary]
    missed = [
        (example, answer.text)
        for example, answer, score in zip(shown, measured.answers, scores, strict=True)
        if score < 1
    ]
    start = turn * _SHOWN_WRONG % len(missed) if missed else 0
    return (missed[start:] + missed[:start])[:_SHOWN_WRONG]


def _request(prompt: str, wrong: Sequence[tuple[Example, str]], before: Sequence[str]) -> Request:
    def short(text: str) -> str:
        return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"

    rows = "\n\n".join(
        f"Input: {short(e.input)}\nExpected: {short(e.output)}\nAnswered: {short(answer)}"
        for e, answer in wrong
    )
    tried = "\n---\n".join(short(text) for text in before[-3:])
    text = (
        "This is the system prompt of a language model that does one job:\n\n"
        f"<prompt>\n{prompt}\n</prompt>\n\n"
        f"With it these went wrong (none: all were right):\n\n{rows or 'none'}\n\n"
        + (f"Tried before, not to be repeated:\n\n{tried}\n\n" if tried else "")
        + "Write a better system prompt for the whole job, not for these rows alone. Answer with "
        "it between <prompt> and </prompt>."
    )
    return Request((Message("user", text),), max_new_tokens=PROPOSAL_TOKENS)
