"""`rules`: length, language, a pattern or a label of the input say which agent answers."""

from __future__ import annotations

from assay.agent.agent import routed
from assay.agent.route import Rule, Rules
from assay.candidates.arms import arm, route_candidate
from assay.candidates.building import Candidate, Context, Tried
from assay.config import RouteSection
from assay.errors import ConfigError
from assay.generate.classical import TFIDF_GRID, dump_classical, fit_tfidf


def build(context: Context) -> Candidate:
    """The rules of `route` as they stand; nothing of them is chosen.

    Raises:
        ConfigError: there are none, an arm cannot answer, or there are no labels to go by.
    """
    route = context.config.route
    if route is None or not route.rules or route.otherwise is None:
        raise ConfigError(
            "a route by rules needs rules, and an arm for what none holds for.",
            where="assay.yaml, route",
            fix="Add `route: {rules: [...], otherwise: ...}`.",
        )
    names = dict.fromkeys([*(rule.to for rule in route.rules), route.otherwise])
    arms = {name: arm(context, name) for name in names}
    made = Rules(
        rules=tuple(
            Rule(**rule.model_dump(exclude={"to"}), to=arms[rule.to].id) for rule in route.rules
        ),
        otherwise=arms[route.otherwise].id,
        classifier=_classifier(context, route),
    )
    measured = context.measure(routed(made))
    return route_candidate(
        context,
        "rules",
        made,
        list(arms.values()),
        scores=measured.primary_scores,
        tried=(Tried(f"{len(made.rules)} rules", measured.score, True),),
        curated=made.classifier is not None,
    )


def _classifier(context: Context, route: RouteSection) -> str | None:
    """Blob of the classifier that rules with labels ask."""
    if not any(rule.labels for rule in route.rules):
        return None
    if context.config.task != "label":
        raise ConfigError(
            "rules by label need a label task, whose labels a classifier can learn.",
            where="assay.yaml, route.rules",
            fix="Use pattern, longer_than, shorter_than or languages.",
        )
    return context.store.put(dump_classical(fit_tfidf(context.answered, TFIDF_GRID[0])))
