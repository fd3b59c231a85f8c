"""Judges in a comparison: what they are worth is measured before anything is spent."""

from __future__ import annotations

from assay.config import CONFIG_FILE
from assay.config.names import file_of
from assay.errors import ConfigError
from assay.evaluate.graders.judge import JudgeSettings, read_pairs
from assay.evaluate.judging import LEAST_KAPPA, JudgeWorth, judge_worth
from assay.evaluate.measure import Bench


def measure_judges(bench: Bench) -> list[JudgeWorth]:
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
                    f"the judge {spec.label} cannot decide: nobody knows how far it agrees with "
                    "people.",
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
