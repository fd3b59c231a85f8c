"""What is checked before anything is built: consent to what is sent away, and judges.

Each sending is checked again where it happens (`assay.agent.consent`), with what is sent then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from assay.agent.agent import Agent
from assay.agent.consent import ConsentError, count_private
from assay.agent.providers import provider_of
from assay.agent.routing import leaves
from assay.agent.versions import find_version, load_agent
from assay.candidates.registry import asks_model, specs, taking_part
from assay.candidates.spec import MEASURED, Part
from assay.config import CONFIG_FILE, Config, is_remote, split_reference
from assay.config.names import file_of
from assay.errors import ConfigError, UsageError
from assay.evaluate.graders.judge import JudgeSettings, read_pairs
from assay.evaluate.judging import LEAST_KAPPA, JudgeAgreement, judge_worth
from assay.evaluate.measure import Bench
from assay.example import Example
from assay.quantities import say_count


def _rows_of(part: Part) -> tuple[str, str]:
    """What one of them is called, and several."""
    return f"row of {part}", f"rows of {part}"


def check_sendings(
    rows: Mapping[Part, Sequence[Example]],
    holdout_rows: int,
    bench: Bench,
    saved: Sequence[Agent] = (),
    unlabelled: Sequence[Example] = (),
) -> None:
    """Refuse where rows would go to a provider that the project has not agreed to.

    The holdout stays closed: of it the number of rows is named, and no personal data counted.

    Args:
        rows: of train and validation.
        saved: agents that take part beside what is built.
        unlabelled: inputs that go wherever the holdout goes.

    Raises:
        ConsentError: it names the provider, the rows of each part, and the personal data in them.
        ConfigError: the same of the project's vLLM server, where it answers for one that takes
            part.
    """
    config = bench.config
    asked = list(_sendings(bench, saved))
    models = {model for model, _ in asked}
    if any(asks_model(name, config) for name in taking_part(config)):
        models.add(config.model)
    if any(bench.engines.is_served(model) for model in models):
        bench.engines.check_server()
    going: dict[str, set[Part]] = {}
    for model, parts in [*asked, *_judges(config)]:
        if is_remote(model):
            going.setdefault(split_reference(model)[0], set()).update(parts)
    providers = bench.engines.providers
    for name, sent in going.items():
        provider = provider_of(providers, name)
        if providers.has_consent(name):
            continue
        seen = {_rows_of(part): rows[part] for part in rows if part in sent}
        if unlabelled and "holdout" in sent:
            seen["unlabelled input", "unlabelled inputs"] = unlabelled
        counts = {what: len(examples) for what, examples in seen.items()}
        found: Counter[str] = Counter()
        for examples in seen.values():
            for example in examples:
                found.update(count_private(example.messages, example.tools))
        private = ", ".join(f"{what}: {count}" for what, count in sorted(found.items()))
        closed = ""
        if "holdout" in sent:
            counts[_rows_of("holdout")] = holdout_rows
            closed = " (the holdout stays closed and is not looked at)"
        raise ConsentError(
            f"this project has not agreed to send its rows to a provider. The provider {name} "
            f"({provider.base_url}) would receive up to "
            f"{', '.join(say_count(n, *what) for what, n in counts.items())}; secrets "
            f"and personal data found in them{closed}: {private or 'none'}.",
            name,
        )


def _sendings(bench: Bench, saved: Sequence[Agent]) -> Iterator[tuple[str, tuple[Part, ...]]]:
    """Every model that may be asked beside the project's own and judges, and the parts whose rows
    it is asked about."""
    config = bench.config
    for name in taking_part(config):
        for model, parts in specs()[name].sends(config):
            yield from _models_of(model, parts, bench)
    if config.unlabelled is not None:
        yield config.unlabelled.model, ("holdout",)
    for agent in saved:
        for leaf in leaves(agent, bench.store).values():
            yield leaf.model, MEASURED


def _judges(config: Config) -> Iterator[tuple[str, tuple[Part, ...]]]:
    for grader in config.graders:
        if grader.name == "judge":
            yield JudgeSettings.model_validate(grader.settings).model, MEASURED


def _models_of(
    model: str, parts: tuple[Part, ...], bench: Bench
) -> Iterator[tuple[str, tuple[Part, ...]]]:
    """The models behind a name, which may be that of an arm: a candidate, or a saved agent.

    What answers the holdout for a candidate answers whatever the candidate is asked as an arm. What
    a name is otherwise is seen when it is built.
    """
    if model in specs():
        for inner, own in specs()[model].sends(bench.config):
            yield inner, parts if "holdout" in own else own
    elif "@" not in model or is_remote(model):
        yield model, parts
    else:
        try:
            agent = load_agent(bench.store, find_version(bench.store, model).agent)
        except UsageError:
            return
        for leaf in leaves(agent, bench.store).values():
            yield leaf.model, parts


def measure_judges(bench: Bench) -> list[JudgeAgreement]:
    """What every judge with pairs of the project's graders is worth.

    Raises:
        ConfigError: the grader that decides is a judge that must not.
        AssayError: a judge cannot be asked.
    """
    found = []
    for spec in bench.config.graders:
        if spec.name != "judge":
            continue
        decides = spec.label == bench.config.primary
        settings = JudgeSettings.model_validate(spec.settings)
        if settings.pairs is None:
            if decides:
                raise ConfigError(
                    f"the judge {spec.label} cannot decide: its agreement with people has not "
                    "been measured.",
                    where=f"{CONFIG_FILE}, primary",
                    fix="Give it `settings: {pairs: FILE}`, pairs of answers that people have "
                    "judged, or let another grader decide.",
                )
            continue
        bench.progress.say(f"Judge {spec.label}: compared with people")
        pairs = read_pairs(file_of(settings.pairs, bench.root))
        worth = judge_worth(spec.label, settings, pairs, bench.grading)
        if decides and not worth.may_decide:
            raise ConfigError(
                f"the judge {spec.label} ({worth.model}) cannot decide: its agreement with people "
                f"on {worth.pairs} pairs is a kappa of {worth.kappa:.2f}, 95 % interval "
                f"{worth.low:.2f} to {worth.high:.2f}, which reaches below {LEAST_KAPPA}.",
                where=f"{CONFIG_FILE}, primary",
                fix="Let another grader or a better judge decide, or judge more pairs.",
            )
        found.append(worth)
    return found
