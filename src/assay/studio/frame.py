"""What is around every page: the way in from NiceGUI, navigation, theme, notices of errors.

A `Page` says where it is, what it is called, the role that it takes, and the function that builds
it; `mount` is handed all of them.
"""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from copy import copy
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal, cast

from fastapi import FastAPI, Request, Response
from nicegui import Client, ui
from nicegui import app as pages_app

from assay.accounts.people import Person, Role
from assay.errors import AssayError
from assay.generate.stream import EnginePool
from assay.project.workspace import Workspace
from assay.studio import widgets as w
from assay.studio.access import LEAVE, PREFIX
from assay.studio.browser import add_scripts
from assay.studio.dialogs import show_error
from assay.studio.session import PageContext
from assay.studio.sockets import Sockets

THEME_COOKIE = "assay_theme"
STYLE = files("assay.studio").joinpath("studio.css").read_text(encoding="utf-8")
STYLE_PATH = f"/style-{hashlib.sha256(STYLE.encode()).hexdigest()[:12]}.css"
"""Changes with the content, so that browsers may keep it for good."""
SLOW_PAGE_S = 20.0
VIEW_ONLY = "You can view this; only an editor can change it."

Group = Literal["Build", "Prove", "Run", "Manage"]
GROUPS: tuple[Group, ...] = ("Build", "Prove", "Run", "Manage")


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the navigation.

    Attributes:
        path: behind the studio's prefix, from `/`.
        icon: a name of Material Icons.
        role: the least that may see it.
        build: makes its content; what takes a while is awaited there, behind a first paint.
        wide: its content needs the whole width.
        edited: editors change something on it, which whoever may only look is told.
    """

    path: str
    title: str
    icon: str
    group: Group
    role: Role
    build: Callable[[PageContext], Awaitable[None]]
    wide: bool = False
    edited: bool = True


def mount(app: FastAPI, workspace: Workspace, engines: EnginePool, pages: Sequence[Page]) -> None:
    """Put pages into an app, in the order of the navigation; once in a process."""
    Sockets(workspace).guard()
    add_scripts()
    _serve_style()
    logging.getLogger("nicegui").addFilter(lambda one: not isinstance(one.msg, AssayError))
    # A bar at the top for every request, without a name to a screen reader: pages tell themselves.
    pages_app.config.quasar_config["loadingBar"]["skipHijack"] = True
    pages_app.state.serves = workspace, engines
    for page in pages:
        _register(page, pages, workspace, engines)
    _register_missing(pages, workspace, engines)
    ui.run_with(
        app,
        mount_path=PREFIX,
        title="Assay",
        language="en-US",
        dark=None,
        favicon=_FAVICON,
        tailwind=False,
        reconnect_timeout=10.0,
        show_welcome_message=False,
    )
    _silence_warnings(app)


def _silence_warnings(app: FastAPI) -> None:
    """NiceGUI looks for its server among all objects there are; some of torch's warn of that."""
    start = app.router.lifespan_context

    @asynccontextmanager
    async def started(app: FastAPI) -> AsyncIterator[Any]:
        async with AsyncExitStack() as stack:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                state = await stack.enter_async_context(start(app))
            yield state

    app.router.lifespan_context = started


def _serve_style() -> None:
    @pages_app.get(STYLE_PATH, include_in_schema=False)
    def stylesheet() -> Response:
        kept = {"Cache-Control": "private, max-age=31536000, immutable"}
        return Response(STYLE, media_type="text/css", headers=kept)

    ui.add_head_html(f'<link rel="stylesheet" href="{PREFIX}{STYLE_PATH}">', shared=True)


def _register(page: Page, pages: Sequence[Page], workspace: Workspace, engines: EnginePool) -> None:
    @ui.page(page.path, title=f"{page.title} · Assay", response_timeout=SLOW_PAGE_S)
    async def show(request: Request) -> None:
        context = _make_context(request, workspace, engines, page)
        with _show_frame(page, pages, context, request):
            if not context.may(page.role):
                w.title(page.title)
                w.empty("lock", "You cannot open this page", f"It requires the role {page.role}.")
                return
            try:
                await page.build(context)
            except AssayError as error:
                w.failure(error)
            if page.edited and not context.may("editor"):
                # Under the title, which the page itself has made.
                w.text(VIEW_ONLY, "soft").move(target_index=1)


def _register_missing(pages: Sequence[Page], workspace: Workspace, engines: EnginePool) -> None:
    """A page for addresses that have none, in the frame of all, so that it leads on."""
    answer = pages_app.exception_handlers[404]

    @pages_app.exception_handler(404)
    async def missing(request: Request, error: Exception) -> Response:
        looks = request.method == "GET" and "text/html" in request.headers.get("accept", "")
        if not looks or "assay.person" not in request.scope:
            return cast("Response", await answer(request, error))  # type: ignore[misc]
        context = _make_context(request, workspace, engines)
        with Client(ui.page("", title="Not found · Assay"), request=request) as client:
            with _show_frame(None, pages, context, request):
                w.title("Not found")
                w.empty(
                    "search_off",
                    "There is no page at this address",
                    "It may be mistyped, or the page has another name now. The menu lists all "
                    "pages.",
                    act=("Go to Start", "/"),
                )
            return client.build_response(request, 404)


def request_context(request: Request) -> PageContext:
    """Who asks, for a route of the studio that is no page."""
    return _make_context(request, *pages_app.state.serves)


def _make_context(
    request: Request, workspace: Workspace, engines: EnginePool, page: Page | None = None
) -> PageContext:
    person = cast("Person", request.scope["assay.person"])
    return PageContext(
        workspace=workspace.act_as(f"user:{person.name}"),
        engines=engines,
        person=person,
        session=request.scope["assay.session"],
        role="viewer" if page is None else page.role,
        title="" if page is None else page.title,
        address=f"{request.url.scheme}://{request.url.netloc}",
    )


@contextmanager
def _show_frame(
    page: Page | None, pages: Sequence[Page], context: PageContext, request: Request
) -> Iterator[None]:
    """What stands around a page; None for one that is not among them."""
    _set_theme(ui.context.client, request.cookies.get(THEME_COOKIE))
    ui.context.client.layout.classes("studio")
    with ui.element("a").props('href="#main"').classes("skip"):
        ui.label("Skip to content")
    with ui.element("header").classes("top") as header:
        header.on("keydown.escape", js_handler=_CLOSE_MENU)
        with (
            ui.element("button")
            .props('type=button aria-label="Menu" aria-expanded=false aria-controls=navigation')
            .classes("menu") as menu
        ):
            ui.icon("menu")
        menu.on("click", js_handler=_TOGGLE)
        _show_brand()
    with ui.element("nav").props('id=navigation aria-label="Pages"').classes("side") as navigation:
        navigation.on("keydown.escape", js_handler=_CLOSE_MENU)
        _show_brand()
        for group in GROUPS:
            entries = [p for p in pages if p.group == group and context.may(p.role)]
            if not entries:
                continue
            with ui.element("div").classes("group"):
                ui.label(group).classes("group-name")
                for entry in entries:
                    _show_entry(entry, entry is page)
        with ui.element("div").classes("foot"):
            _show_account(context)
    ui.on_exception(show_error)
    with (
        ui.element("div")
        .props("id=main tabindex=-1")
        .classes("page wide" if page and page.wide else "page")
    ):
        yield


def _set_theme(client: Client, theme: str | None) -> None:
    """Of this client alone, once, as its page opens: `ui.dark_mode` would set it again with every
    update of the page, against what the reader has switched to."""
    client.page = copy(client.page)
    client.page.dark = {"dark": True, "light": False}.get(theme or "")


def _show_brand() -> None:
    with ui.element("a").classes("brand") as link:
        ui.html(_MARK, sanitize=False)
        ui.label("Assay")
    link.props["href"] = f"{PREFIX}/"


def _show_entry(page: Page, current: bool) -> None:
    link = ui.element("a").classes("entry")
    link.props["href"] = f"{PREFIX}{page.path}"
    if current:
        link.props("aria-current=page")
    with link:
        ui.icon(page.icon).props("aria-hidden=true")
        ui.label(page.title)


def _show_account(context: PageContext) -> None:
    with ui.element("div").classes("who"):
        ui.label(context.person.name).classes("who-name")
        ui.label(context.person.role).classes("who-role")
    with (
        ui.element("button")
        .props('type=button aria-label="Switch between light and dark"')
        .classes("quiet") as b
    ):
        ui.icon("contrast")
    b.on("click", js_handler=_THEME)
    with (
        ui.element("form").props("method=post") as form,
        ui.element("button").props('type=submit aria-label="Sign out"').classes("quiet"),
    ):
        ui.icon("logout")
    form.props["action"] = LEAVE


_TOGGLE = """(event) => {
  const open = document.body.classList.toggle("menu-open");
  event.currentTarget.setAttribute("aria-expanded", open);
}"""
_CLOSE_MENU = """() => {
  const menu = document.querySelector(".menu");
  if (document.body.classList.contains("menu-open")) { menu.click(); menu.focus(); }
}"""
_THEME = f"""() => {{
  const dark = !Quasar.Dark.isActive;
  Quasar.Dark.set(dark);
  const kept = "path={PREFIX};max-age=31536000;samesite=lax";
  document.cookie = "{THEME_COOKIE}=" + (dark ? "dark" : "light") + ";" + kept;
}}"""
_MARK = (
    '<svg viewBox="0 0 24 24" width="24" height="24" aria-hidden="true">'
    '<path d="M12 2.5 21 20.5H3Z" fill="none" stroke="currentColor" stroke-width="2.2" '
    'stroke-linejoin="round"/><circle cx="12" cy="14.6" r="2.6" fill="currentColor"/></svg>'
)
_FAVICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24">'
    '<path d="M12 2.5 21 20.5H3Z" fill="none" stroke="#0b6b4f" stroke-width="2.2" '
    'stroke-linejoin="round"/><circle cx="12" cy="14.6" r="2.6" fill="#0b6b4f"/></svg>'
)
