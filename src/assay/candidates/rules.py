"""`rules`: length, language, a pattern or a label of the input say which agent answers."""

from __future__ import annotations

from dataclasses import replace

from assay.agent.agent import make_routed
from assay.agent.route import Rule, Rules
from assay.candidates.building import Candidate, Context, Trial
from assay.candidates.shared.arms import build_arm, estimate_route, learns, route_candidate
from assay.candidates.spec import MEASURED, RULES, CandidateSpec
from assay.config import Config, RouteSection
from assay.errors import ConfigError
from assay.generate.classical import TFIDF_GRID, dump_classical, fit_tfidf
from assay.models.lineage import keep_rows
from assay.quantities import say_count
from assay.store import blobs

SPEC = CandidateSpec(
    title="routing by rules",
    explanation="The first of your rules that holds decides which agent answers.",
    family="routes",
    estimate=lambda config, sizes: estimate_route(config, sizes, _arms(config)),
    needs=(RULES,),
    sends=lambda config: [(arm, MEASURED) for arm in _arms(config)],
    learns_from_rows=lambda config: _has_labels(config.route) or learns(_arms(config), config),
)


def build(context: Context) -> Candidate:
    """Route by the rules of `route`; nothing is chosen on validation.

    Raises:
        ConfigError: an arm cannot answer, or there are no labels to go by.
    """
    route = context.config.route
    assert route is not None
    assert route.otherwise is not None
    arms = {name: build_arm(context, name) for name in _arms(context.config)}
    made = Rules(
        rules=tuple(
            Rule(**rule.model_dump(exclude={"to"}), to=arms[rule.to].id) for rule in route.rules
        ),
        otherwise=arms[route.otherwise].id,
        classifier=_classifier(context, route),
    )
    measured = context.measure(make_routed(made))
    return route_candidate(
        context,
        made,
        list(arms.values()),
        scores=measured.primary_scores,
        tried=(Trial(say_count(len(made.rules), "rule"), measured.score, True),),
        learned=made.classifier is not None,
    )


def _arms(config: Config) -> list[str]:
    """Names of the arms, each once, as far as they are given."""
    route = config.route
    arms = (*(rule.to for rule in route.rules), route.otherwise) if route is not None else ()
    return list(dict.fromkeys(arm for arm in arms if arm is not None))


def _has_labels(route: RouteSection | None) -> bool:
    """Whether a rule goes by labels, which a classifier learns from the rows."""
    return route is not None and any(rule.labels for rule in route.rules)


def _classifier(context: Context, route: RouteSection) -> str | None:
    """Blob of the classifier that rules with labels ask."""
    if not _has_labels(route):
        return None
    if context.config.task != "label":
        raise ConfigError(
            "rules by label need a label task, whose labels a classifier can learn.",
            where="assay.yaml, route.rules",
            fix="Use pattern, longer_than, shorter_than or languages.",
        )
    model = fit_tfidf(context.answered, TFIDF_GRID[0])
    rows = keep_rows(context.store, context.answered)
    return blobs.put(context.store, dump_classical(replace(model, rows=rows)))
