"""The errors a user can cause or mend. Everything else is a bug and may show a traceback."""

from __future__ import annotations

import errno
import os
import re
from enum import Enum


class Step(Enum):
    """What an error advises: the command that does it, and where the studio does it.

    No two have the same command, and no other text has it: `on_page` finds it in what is stored,
    with what stands in it for NAME, FILE or RELEASE (`of`).
    """

    RENEW_HOLDOUT = "`assay data renew-holdout FILE`", "“Replace the holdout” on the page Data"
    CORRECT_LABELS = (
        "Correct in your file what is wrong; it counts once you bring new examples with "
        "`assay data renew-holdout FILE`",
        "Bring new examples with “Replace the holdout” on the page Data: from then on Data lists "
        "these rows, and you can correct there what is wrong, for training",
    )
    APPROVE = "`assay data approve`", "the page Data"
    SAY_ENOUGH = "`good_enough` in assay.yaml", "“Minimum score” on the page Settings"
    SET_COSTS = (
        "with `monthly_requests` and `costs` in assay.yaml",
        "under “Requests per month” and “Prices” on the page Settings",
    )
    DRAW_CURVE = (
        "`assay curve --candidate NAME`",
        "“Draw a learning curve” on the page Training",
    )
    CHECK_DATA = "`assay data check`", "the page Data"
    MEND_REJECTED = (
        "Correct what rejects them (`assay data check` lists every one)",
        "Correct what rejects them",
    )
    CHECK_FILE = "`assay data check FILE`", "“Check or convert other files” on the page Data"
    OTHER_SHEET = (
        "To read another sheet, use `FILE`",
        "Save another sheet as a file of its own, or put its rows below those of the first one",
    )
    NAME_COLUMNS = (
        "Set them with --input COLUMN --output COLUMN",
        "Name its columns as those of the project are named, or “input” and “output”",
    )
    CORRECT_FILE = (
        "Correct the path under `data` in assay.yaml",
        "Bring it back, or correct “File” on the page Settings",
    )
    CREATE_PROJECT = (
        "Create one with `assay init NAME --data FILE`, or change to its folder",
        "Move its folder back, or start the server where it is",
    )
    ADD_LABEL = "add it to `labels`", "add it to “Labels, one per line” on the page Settings"
    CHANGE_SCHEMA = (
        "change `output_schema`",
        "change “output_schema” in the text on the page Settings",
    )
    TEXT_COLUMN = (
        "take it out of `data.columns.numbers`",
        "take it out of “Number columns” on the page Settings",
    )
    OPEN_LISTS = (
        "take `enum` out of `output_schema`",
        "take “enum” out of “output_schema” in the text on the page Settings, once the project is "
        "created",
    )
    OTHER_COLUMNS = "choose another column with --output", "press “Choose other columns”"
    NAME_MODEL = "Name it with --model", "Models are fetched on the page Models"
    OWN_MODEL = (
        "Or use a model you have: `assay init --model FOLDER` (safetensors), `--model PATH.gguf`, "
        "or a hub id",
        "Or use a model you have: name it as “Model” on the page Settings",
    )
    SPLIT = "`assay data split`", "the page Data"
    SHOW_DATA = "`assay data show`", "the page Data"
    START_PROJECT = (
        "Create a project from examples of the same task (`assay init NAME --data FILE`), copy the "
        "version's folder to .assay/versions of the project, and export it there",
        "Create a project from examples of the same task on the page Start, and export it again",
    )
    OTHER_EXAMPLES = (
        "`assay init` makes a project of other files",
        "The page Start of an empty folder makes a project of other files",
    )
    COMPARE = "`assay compare`", "a comparison"
    LIST_MODELS = "`assay models list`", "the page Models"
    LIST_VERSIONS = "`assay versions list`", "the page Models"
    LIST_KEYS = "`assay keys list`", "the page Keys and people"
    LIST_PEOPLE = "`assay people list`", "the page Keys and people"
    LIST_PROVIDERS = "`assay providers list`", "the page Keys and people"
    SEE_KNOWLEDGE = (
        "Run `assay knowledge list` to see all of them, or `assay knowledge add` to create one",
        "Open the page Knowledge to see all of them or to create one",
    )
    LIST_KNOWLEDGE = "Run `assay knowledge list`", "Open the page Knowledge"
    ADD_KNOWLEDGE = "run `assay knowledge add NAME FOLDER`", "add them on the page Knowledge"
    CHECK_KNOWLEDGE = "Run `assay knowledge check`", "Check the documents on the page Knowledge"
    REBUILD = "Run `assay knowledge rebuild`", "Rebuild the documents on the page Knowledge"
    RELEASE_HISTORY = "`assay release history`", "the page Releases"
    LIST_RELEASES = "`assay release list`", "the page Releases"
    PROMOTE = "`assay release promote`", "a promotion"
    FORCE = "use --force with a reason", "give a reason"
    LIST_TRACES = "`assay traces list`", "the page Releases"
    JUDGE_NEXT = (
        "Label the trace of `assay traces next RELEASE`",
        "Judge the trace that “Judge the next answer” shows on the page Releases",
    )
    JUDGE = "use `assay traces feedback`", "judge any trace on the page Releases"
    CORRECT = (
        "with `assay traces feedback ID --answer TEXT`",
        "with “Save correction” on the page Releases",
    )
    LIST_JOBS = "`assay jobs list`", "the page Training"
    PULL_MODEL = "with `assay models pull`", "on the page Models"
    ADD_PROVIDER = (
        "with `assay providers add NAME --url https://...`",
        "under “Providers” on the page Keys and people",
    )
    GIVE_KEY = (
        "with `assay providers add NAME`",
        "under “Providers” on the page Keys and people",
    )
    CONSENT = (
        "run `assay providers consent NAME`, give --consent NAME, or set consent: true",
        "give consent under “Providers” on the page Keys and people",
    )
    WITH_SERVED = (
        "`assay compare` with --agent NAME@VERSION of the served agent",
        "a comparison in which the served agent takes part",
    )
    FETCH_AGAIN = "the same command goes on", "“Fetch” on the page Rescue goes on"
    SAME_ACCOUNT = "add --same-account", "check “It is the same account”"
    GIVE_PRICE = (
        "with --input-price and --output-price, or in the provider's `prices`",
        "in the two fields for prices",
    )
    EXPORT_AS = "another form, such as --to gguf", "another format, such as gguf"
    EXPORT_MERGED = "Use --to merged", "Choose the format merged"

    def __init__(self, command: str, page: str) -> None:
        self.command, self.page = command, page

    def __str__(self) -> str:
        return self.command

    def of(self, name: str) -> str:
        """The command for a thing that is known: its name takes the place of NAME and the like."""
        return _PLACE.sub(lambda _: name, self.command)


_PLACE = re.compile(r"\b(?:NAME|FILE|RELEASE)\b(?!@)")


class AssayError(Exception):
    """Something a person can put right; the command line prints it and exits with 1.

    Args:
        what: what was wrong, as a sentence.
        where: file, line, field or setting it was found in.
        fix: what to do next; what the studio does on a page stands in it as a `Step`.

    Attributes:
        charged: a provider may have taken money before it went wrong.
    """

    exit_code = 1
    charged = False

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        fix: str | None = None,
    ) -> None:
        self.what, self.where, self.fix = what, where, fix
        super().__init__(self._sentence())

    def advise_page(self, here: str = "") -> None:
        """Let it name the page of the studio where it named a command; see `on_page`."""
        if self.fix:
            self.fix = on_page(self.fix, here)
            self.args = (self._sentence(),)

    def _sentence(self) -> str:
        parts = [f"{self.where}: {self.what}" if self.where else self.what]
        if self.fix:
            parts.append(self.fix)
        return " ".join(parts)

    def calling(self, path: str, name: str) -> None:
        """Let it speak of `name` wherever it spoke of `path`: not everybody may read a path."""
        self.what = self.what.replace(path, name)
        self.where = self.where.replace(path, name) if self.where else self.where
        self.fix = self.fix.replace(path, name) if self.fix else self.fix
        self.args = (str(self).replace(path, name),)


class UsageError(AssayError):
    """The call itself was wrong (an unknown option or name); exits with 2."""

    exit_code = 2


class ConfigError(AssayError):
    """assay.yaml cannot be used as it is."""


class DataError(AssayError):
    """A file of examples cannot be used as it is."""


class DivisionError(DataError):
    """Examples were read, and cannot be divided into what is trained on and what is measured."""


class ModelError(AssayError):
    """A model cannot be found, pulled, trusted or loaded."""


class ProviderError(ModelError):
    """A model did not do what it was asked; the text may end with what its provider says.

    Args:
        plain: the text without that, which may quote the row that was asked for: for programs, and
            for what is kept.
    """

    def __init__(
        self,
        what: str,
        *,
        plain: str = "a model did not do what it was asked.",
        where: str | None = None,
        fix: str | None = None,
    ) -> None:
        self.plain = plain
        super().__init__(what, where=where, fix=fix)


class OutageError(ProviderError):
    """A model left requests unanswered, for now: the same call again asks for these only."""


class StoreError(AssayError):
    """The state cannot be used now: its database is out of reach or broken, or the disk is full."""


class ObjectsError(StoreError):
    """Stored files cannot be used now: their object storage is away, unfit or another folder's."""


class ObjectsAwayError(ObjectsError):
    """The object storage does not answer, or answers that it cannot now."""


class HoldoutError(AssayError):
    """The locked holdout was changed, or somebody asked for what must stay locked."""


class NotFoundError(AssayError):
    """There is none of that name, or it belongs to another project: nobody can tell which."""


class StateError(AssayError):
    """What is asked for cannot be done to a thing as it is now."""


def _pattern(step: Step) -> str:
    """Matches its command, whatever names stand in it; the group is called like the step."""
    return f"(?P<{step.name}>{'[^`]+?'.join(map(re.escape, _PLACE.split(step.command)))})"


_STEPS = re.compile(
    r"(?P<start>^|[.!?]\s+)?(?:"
    + "|".join(map(_pattern, sorted(Step, key=lambda step: len(step.command), reverse=True)))
    + ")",
    re.IGNORECASE,
)


def on_page(text: str, here: str = "") -> str:
    """An error as a page of the studio says it: where it advises a command, the page that does it.

    Args:
        text: as it is told where commands are typed, which is how a job keeps it.
        here: title of the page that says it, if known: it need not be looked for.
    """

    def turn(found: re.Match[str]) -> str:
        name, start = str(found.lastgroup), found["start"]
        page = Step[name].page
        if here:
            page = page.replace(f" on the page {here}", "")
            page = page.replace(f"the page {here}", "this page")
        if start is None and not found[name][0].isupper():
            return page
        return (start or "") + page[:1].upper() + page[1:]

    return _STEPS.sub(turn, text)


def first_line(error: BaseException) -> str:
    """The first line of what another's error says, without its full stop; its type where it says
    nothing."""
    said = str(error).strip()
    return said.splitlines()[0].rstrip(".") if said else type(error).__name__


_FULL = (errno.ENOSPC, errno.EDQUOT)
_SAID_WHEN_FULL = tuple(os.strerror(code) for code in _FULL)
"""As libraries repeat it that are not written in Python."""


def is_full(error: BaseException) -> bool:
    """Whether a disk, or somebody's part of it, is full."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _FULL
    return any(words in str(error) for words in _SAID_WHEN_FULL)
