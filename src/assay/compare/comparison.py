"""A comparison from candidates to result: plan written down, holdout opened, verdict drawn.

Everything that could be chosen is chosen before `open_holdout`; everything after it only counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from assay.agent.agent import Agent
from assay.agent.versions import AgentVersion, save_agent
from assay.candidates import registry
from assay.candidates.building import Candidate, Context, Trial
from assay.compare import reasons, records
from assay.compare.account import Participant, build_result
from assay.compare.answers import answer_rows
from assay.compare.data_section import DataSection, QuarantineCounts
from assay.compare.holdout import (
    HOLDOUT,
    OpeningRequest,
    OpeningTakenError,
    next_opening,
    open_holdout,
)
from assay.compare.identity import identify
from assay.compare.outside import build_outside, read_outside
from assay.compare.partiality import partial_judges
from assay.compare.performance import Performance, measure_performance
from assay.compare.planning import ALPHA, restate_plan, write_plan
from assay.compare.preconditions import check_sendings, measure_judges
from assay.compare.prediction_powered import add_intervals, annotator_of, answer_inputs
from assay.compare.report.detectable import smallest_lead
from assay.compare.result import Plan, Result
from assay.compare.rollout import check_rollout, roll_out_all
from assay.compare.saved import as_candidates, load_saved, refuse_leak
from assay.compare.shared_results import folder_of
from assay.compare.verbatim import find_verbatim
from assay.data.split import (
    VALIDATION,
    SplitManifest,
    load_train,
    load_validation,
    load_validation_with_twins,
    refuse_other,
)
from assay.data.unlabelled import UnlabelledInputs
from assay.errors import AssayError, ConfigError, DataError, OutageError, ProviderError, StoreError
from assay.evaluate.forgetting import Forgetting
from assay.evaluate.measure import Bench, Measurement
from assay.evaluate.probe import forgetting_of
from assay.example import Example
from assay.generate.batch import Answer
from assay.models.embed import remember
from assay.models.versions import version_id
from assay.progress import begin_stage, say_quoting
from assay.quantities import say_count
from assay.version import VERSION


@dataclass(frozen=True, slots=True)
class ComparisonData:
    """What a comparison is made on.

    Attributes:
        split: the folder of the split; its holdout stays closed until the plan is written.
        holdout: sha256 the holdout was locked with.
        holdout_groups: how many groups the holdout's rows form; None where no two share one.
        with_twins: validation before the quarantine, where that took very much of it.
        data: what the report says of the data.
        unlabelled: inputs that the annotator of assay.yaml labels; None where there are none.
    """

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    with_twins: tuple[Example, ...] | None
    split: Path
    holdout: str
    holdout_rows: int
    holdout_groups: int | None
    data: DataSection
    unlabelled: UnlabelledInputs | None = None

    @classmethod
    def read(
        cls, split: Path, manifest: SplitManifest, unlabelled: UnlabelledInputs | None = None
    ) -> ComparisonData:
        """The parts of a split, but for the rows of its holdout.

        Raises:
            StateError: another split has taken its place.
        """
        twins = load_validation_with_twins(split)
        train, validation = load_train(split), load_validation(split)
        refuse_other(split, manifest)  # holdout rows of this one may be in train of the other
        return cls(
            train=tuple(train),
            validation=tuple(validation),
            with_twins=None if twins is None else tuple(twins),
            split=split,
            holdout=manifest.holdout_sha256,
            holdout_rows=manifest.holdout,
            holdout_groups=manifest.groups,
            data=_data_section(manifest),
            unlabelled=unlabelled,
        )


def compare(
    parts: ComparisonData,
    bench: Bench,
    request: OpeningRequest,
    *,
    predictions: Mapping[str, Path],
    agents: Sequence[AgentVersion] = (),
    notes: Sequence[str] = (),
) -> tuple[Result, Path]:
    """Build every candidate, write the plan, open the holdout, measure, decide.

    A comparison that ended is read back. One that was killed goes on where it was, and so does one
    that an outage left without some answers, or without the annotator's labels of the holdout: only
    these are asked for, and it is concluded anew, in the same opening. So is one in which only
    costs differ from an earlier one.

    Args:
        request: for the log of openings; asked where the holdout is opened.
        agents: saved ones that take part beside what is built, such as the one that is served.
        notes: sentences on the data that a reader must see beside the verdict.

    Returns:
        the result, and the folder of plan.json, result.json, answers.jsonl.gz and report.html.

    Raises:
        ConsentError: rows would go to a provider that nobody has agreed to.
        AssayError: no candidate could be built, or outside answers do not fit the holdout.
    """
    outside = read_outside(predictions, parts.split, parts.holdout, bench.progress)
    refuse = partial(refuse_leak, bench.store, parts.split, parts.holdout, bench.owner, request.who)
    saved = load_saved(agents, bench.store, refuse, taken=predictions)
    check_sendings(
        {"train": parts.train, "validation": parts.validation},
        parts.holdout_rows,
        bench,
        [agent for _, agent in saved],
        () if parts.unlabelled is None else parts.unlabelled.examples,
    )
    annotator = _annotator(parts, bench, refuse)
    tools = check_rollout((*parts.train, *parts.validation), bench)
    judges = measure_judges(bench)
    built, warnings = build_all(parts, bench)
    built += [
        build_outside(name, predictions[name], outside[name], bench.store) for name in outside
    ]
    if not built:
        raise AssayError(" ".join(["no candidate could be built.", *warnings]))
    built += as_candidates(saved, built, parts.validation, bench)
    for one in built:
        if one.agent.route is not None:
            refuse(one.name, one.agent)
    warnings += [*notes, *partial_judges(built, judges, bench)]
    identity = identify(parts.holdout, built, bench, parts.unlabelled, tools)
    id = identity.comparison
    folder = folder_of(bench.store, id)
    ended = records.load_result(bench.store, id)
    if ended is not None and (folder / records.RESULT_FILE).exists():
        missing = [one.name for one in ended.candidates if one.status == "incomplete"]
        if annotator is not None and ended.prediction_powered is None:
            missing.append(f"labels of {annotator.model}")
        rolled = [] if ended.rollout is None else ended.rollout.left_out
        missing += [one.candidate for one in rolled if one.again and one.candidate not in missing]
        if not missing:
            records.count_as_newest(bench.store, id)
            bench.progress.say(
                "Nothing has changed since this comparison; the holdout stays closed."
            )
            return ended, folder
        bench.progress.say(f"Asking for the answers that are missing: {', '.join(missing)}.")
    bench.progress.say("Measuring how fast each candidate answers")
    speeds = bench.store.folder / "speeds" / identity.speeds[:16]
    performances = {c.name: _performance(c, parts, bench, speeds) for c in built}
    arms = {
        c.name: {
            id: measure_performance(part.agent, parts.validation, bench, speeds)
            for id, part in c.arms.items()
        }
        for c in built
    }
    forgotten = {
        c.name: _forgetting(c.name, version, bench)
        for c in built
        if (version := version_id(c.agent.model)) is not None
    }
    answered = None
    if annotator is not None and parts.unlabelled is not None:
        answered = answer_inputs(annotator, parts.unlabelled, built, bench)

    def write() -> Plan:
        opened = records.find_opened(bench.store, id, parts.holdout, identity.tests)
        return (restate_plan(*opened, bench.config) if opened else None) or write_plan(
            built,
            bench.config,
            rows=parts.holdout_rows,
            groups=parts.holdout_groups,
            opening=next_opening(bench.store, parts.holdout, id),
            judge_error=next(
                (j.error_high for j in judges if j.name == bench.config.primary), None
            ),
            unlabelled=None if answered is None else len(answered.inputs.examples),
            tests=identity.tests,
        )

    plan, examples = _open(id, write, parts, bench, request)
    if plan.opened_by is not None:
        warnings.append(reasons.costs_changed(plan.opened_by))
        bench.progress.say(warnings[-1])
    with remember():
        measured = {c.name: _answer(c, examples, bench, outside) for c in built}
        rollout = None
        if bench.config.rollout is not None:
            rollout = roll_out_all(built, measured, examples, bench)
    begin_stage(bench.progress, "end", "")
    taken = [
        Participant(c, measured[c.name], performances[c.name], forgotten.get(c.name), arms[c.name])
        for c in built
    ]
    verbatim = find_verbatim(parts.train, examples, bench)
    data = parts.data.model_copy(update={"verbatim": verbatim})
    result = build_result(id, plan, taken, examples, data, bench, warnings, judges)
    result = result.model_copy(update={"rollout": rollout})
    if answered is not None:
        result = add_intervals(result, answered, measured, examples, bench)
    records.save_result(bench.store, result, answer_rows(examples, built, measured), folder)
    return result, folder


def build_all(parts: ComparisonData, bench: Bench) -> tuple[list[Candidate], list[str]]:
    """Every candidate that can be built, and a sentence for each that cannot.

    Raises:
        OutageError: a model did not answer while a candidate was being built. The others are
            built first; the holdout is not opened without one that is only not there yet, since
            with it that would be another comparison and another opening.
    """
    built: list[Candidate] = []
    outages: list[tuple[str, str]] = []
    names = registry.taking_part(bench.config)
    refused = [name for name in registry.baselines(bench.config) if name not in names]
    warnings = [reasons.baselines_off(refused)] if refused else []
    with remember(), bench.progress.task("candidates", len(names), "built") as bar:
        for name in names:
            bench.progress.say(f"Candidate {name}")
            begin_stage(bench.progress, "build", name)
            try:
                there = {one.name: one for one in built}
                context = Context(parts.train, parts.validation, bench, parts.holdout, there)
                candidate = registry.build(name, context)
            except (ConfigError, DataError, StoreError):
                raise
            except OutageError as error:
                outages.append((f"{name}: {error.what}", f"{name}: {error.plain}"))
                say_quoting(bench.progress, *outages[-1])
            except ProviderError as error:
                warnings.append(f"`{name}` was left out: {error.plain}")
                say_quoting(bench.progress, f"`{name}` was left out: {error}", warnings[-1])
            except AssayError as error:
                warnings.append(f"`{name}` was left out: {error}")
                bench.progress.say(warnings[-1])
            else:
                if parts.with_twins is not None:
                    candidate = _shown_with_twins(candidate, parts.with_twins, bench)
                message = f"built for a comparison by assay {VERSION}"
                save_agent(bench.store, candidate.name, candidate.agent, message=message)
                built.append(candidate)
            bar.advance()
    if outages:
        said, plain = map(" ".join, zip(*outages, strict=True))
        raise OutageError(
            said,
            plain=plain,
            fix="The holdout stays closed. Run the same command again to request only what "
            "is missing, or remove the candidate from `candidates` in assay.yaml.",
        )
    return built, warnings


def _shown_with_twins(
    candidate: Candidate, validation: tuple[Example, ...], bench: Bench
) -> Candidate:
    """The quarantine took much of validation: what the figure would have been is shown as well."""
    score = bench.measure(candidate.agent, [e for e in validation if e.liked]).score
    extra = Trial("chosen setting, with the twins of holdout rows", score, False)
    return replace(candidate, tried=(*candidate.tried, extra))


def _open(
    id: str,
    write: Callable[[], Plan],
    parts: ComparisonData,
    bench: Bench,
    request: OpeningRequest,
) -> tuple[Plan, list[Example]]:
    """The plan, and the rows of the holdout, opened by it at the number that it states: where
    another comparison was faster, the plan is written anew."""
    store, holdout = bench.store, parts.holdout
    while True:
        plan = records.find_plan(store, id, holdout) or write()
        plan = records.save_plan(store, id, holdout, plan, folder_of(store, id))
        bench.progress.say(
            f"Plan written: {say_count(len(plan.candidates), 'candidate')}, "
            f"{say_count(parts.holdout_rows, 'holdout example')}, opening {plan.opening}. With "
            f"these, {smallest_lead(plan.minimum_detectable_effect)}."
        )
        opening = plan.opened_by or id
        with suppress(OpeningTakenError):
            rows = open_holdout(
                store, parts.split, holdout, request, comparison=opening, alpha=ALPHA
            )
            # Another process with this comparison may have written it anew before the opening.
            return records.load_plan(store, id) or plan, rows


def _annotator(
    parts: ComparisonData, bench: Bench, refuse: Callable[[str, Agent], None]
) -> Agent | None:
    """What labels the unlabelled inputs and the holdout; None where no inputs are named.

    Raises:
        HoldoutError: it was made of rows of the holdout, so that its errors there would be fewer
            than those on other inputs.
    """
    if bench.config.unlabelled is None:
        return None
    context = Context(parts.train, parts.validation, bench, parts.holdout)
    annotator = annotator_of(bench.config.unlabelled, context)
    refuse(f"the annotator {annotator.model}", annotator)
    return annotator


def _performance(
    candidate: Candidate, parts: ComparisonData, bench: Bench, folder: Path
) -> Performance:
    begin_stage(bench.progress, "speed", candidate.name)
    return measure_performance(candidate.agent, parts.validation, bench, folder)


def _forgetting(name: str, version: str, bench: Bench) -> Forgetting:
    begin_stage(bench.progress, "probe", name)
    return forgetting_of(version, bench.engines, bench.progress)


def _answer(
    candidate: Candidate,
    examples: Sequence[Example],
    bench: Bench,
    outside: Mapping[str, Sequence[str]],
) -> Measurement:
    bench.progress.say(f"{HOLDOUT}{candidate.name}")
    begin_stage(bench.progress, "holdout", candidate.name)
    if candidate.agent.kind == "outside":
        return bench.grade([Answer(text) for text in outside[candidate.name]], examples)
    return bench.measure(candidate.agent, examples, in_part=True)


def _data_section(manifest: SplitManifest) -> DataSection:
    raw: dict[str, Any] = manifest.to_dict()
    names = ("file", "format", "task", "rows", "rejected", "train", "validation", "holdout")
    return DataSection(
        **{name: raw[name] for name in names},
        official_split=manifest.official_split,
        groups=manifest.groups,
        holdout_sha256=manifest.holdout_sha256,
        train_sha256=manifest.train_sha256,
        validation_sha256=manifest.files[VALIDATION],
        problems=manifest.problems,
        duplicates=manifest.duplicates,
        quarantine=QuarantineCounts(**raw["quarantine"]),
        warnings=manifest.warnings,
    )
