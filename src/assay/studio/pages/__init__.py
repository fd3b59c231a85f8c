"""The pages in the order of the navigation; a new one is a module with a `PAGE` and a line here."""

from assay.studio.frame import Page
from assay.studio.pages import (
    agent,
    compare,
    data,
    knowledge,
    models,
    people,
    playground,
    releases,
    settings,
    start,
    training,
)

PAGES: tuple[Page, ...] = (
    start.PAGE,
    agent.PAGE,
    knowledge.PAGE,
    data.PAGE,
    settings.PAGE,
    training.PAGE,
    models.PAGE,
    compare.PAGE,
    playground.PAGE,
    releases.PAGE,
    people.PAGE,
)
