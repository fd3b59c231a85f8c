"""The pages in the order of the navigation; a new one is a module with a `PAGE` and a line here."""

from assay.studio.frame import Page
from assay.studio.pages import agent, start

PAGES: tuple[Page, ...] = (start.PAGE, agent.PAGE)
