"""The pages in the order of the navigation; a new one has a `PAGE` and a line here."""

from assay.studio.frame import Page
from assay.studio.pages import playground
from assay.studio.pages.agent import page as agent
from assay.studio.pages.compare import page as compare
from assay.studio.pages.data import page as data
from assay.studio.pages.knowledge import page as knowledge
from assay.studio.pages.models import page as models
from assay.studio.pages.people import page as people
from assay.studio.pages.releases import page as releases
from assay.studio.pages.rescue import page as rescue
from assay.studio.pages.settings import page as settings
from assay.studio.pages.start import page as start
from assay.studio.pages.traces import page as traces
from assay.studio.pages.training import page as training

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
    rescue.PAGE,
    traces.PAGE,
)
