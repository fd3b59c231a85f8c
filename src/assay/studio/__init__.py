"""The studio: web pages in the process of `assay serve`, over the same `assay.project` functions.

    studio = app.Studio(workspace, engines)
    studio.mount(server)                    # the app of `assay.serve`
    print(studio.welcome("http://127.0.0.1:8000"))

app.py       puts the studio into a server's app
access.py    who may come in: sessions, the origin of requests, what leaves in headers
session.py   what a page is given; actions, each with the role that it takes
sockets.py   a page's socket belongs to the session that the page was made for
frame.py     what is around every page: navigation, theme, notices
widgets.py   what pages are built of
dialogs.py   notices of what went well or wrong, and dialogs
pages/       a package for each page, with its cards, or a module; `pages/__init__.py` lists them
shared/      what several pages show
studio.css   the one stylesheet
"""

import os

# NiceGUI makes its folder for sessions where it is imported; nothing of ours is kept there.
os.environ.setdefault("NICEGUI_STORAGE_PATH", os.devnull)
