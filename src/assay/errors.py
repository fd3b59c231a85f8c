"""The errors a user can cause or mend. Everything else is a bug and may show a traceback."""

from __future__ import annotations

from enum import Enum


class Step(Enum):
    """What an error advises: the command that does it, and where the studio does it."""

    RENEW_HOLDOUT = "`assay data renew-holdout FILE`", "new examples on the page Data"
    APPROVE = "`assay data approve`", "the page Data"
    CHECK_DATA = "`assay data check`", "the page Data"
    CHECK_FILE = "`assay data check FILE`", "“Check or convert other files” on the page Data"
    COMPARE = "`assay compare`", "a comparison"
    LIST_MODELS = "`assay models list`", "the page Models"
    LIST_VERSIONS = "`assay versions list`", "the page Models"
    LIST_KEYS = "`assay keys list`", "the page Keys and people"
    LIST_PEOPLE = "`assay people list`", "the page Keys and people"
    LIST_PROVIDERS = "`assay providers list`", "the page Keys and people"
    LIST_KNOWLEDGE = "Run `assay knowledge list`", "Open the page Knowledge"
    REBUILD = "Run `assay knowledge rebuild`", "Rebuild the documents on the page Knowledge"
    RELEASE_HISTORY = "`assay release history`", "the page Releases"

    def __init__(self, command: str, page: str) -> None:
        self.command, self.page = command, page


class AssayError(Exception):
    """Something a person can put right; the command line prints it and exits with 1.

    Args:
        what: what was wrong, as a sentence.
        where: file, line, field or setting it was found in.
        fix: what to do next; `{step}` in it is where or by what command that is done.
        step: what stands there.

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
        step: Step | None = None,
    ) -> None:
        self.what, self.where, self.fix = what, where, fix
        self._advice, self._step = fix, step
        if step is not None:
            self._advise(step.command)
        super().__init__(self._sentence())

    def advise_page(self) -> None:
        """Let it name the page of the studio where it named a command."""
        if self._step is not None:
            self._advise(self._step.page)
            self.args = (self._sentence(),)

    def _advise(self, step: str) -> None:
        text = (self._advice or "").replace("{step}", step)
        self.fix = text[:1].upper() + text[1:]

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
        self._advice = self._advice.replace(path, name) if self._advice else self._advice
        self.args = (str(self).replace(path, name),)


class UsageError(AssayError):
    """The call itself was wrong (an unknown option or name); exits with 2."""

    exit_code = 2


class ConfigError(AssayError):
    """assay.yaml cannot be used as it is."""


class DataError(AssayError):
    """A file of examples cannot be used as it is."""


class ModelError(AssayError):
    """A model cannot be found, fetched, trusted or loaded."""


class OutageError(ModelError):
    """A model left requests unanswered, for now: the same call again asks for these only."""


class StoreError(AssayError):
    """The state cannot be used now: its database is out of reach or broken, or the disk is full."""


class HoldoutError(AssayError):
    """The locked holdout was changed, or somebody asked for what must stay locked."""


class NotFoundError(AssayError):
    """There is none of that name, or it belongs to another project: nobody can tell which."""


class StateError(AssayError):
    """What is asked for cannot be done to a thing as it is now."""


def first_line(error: BaseException) -> str:
    """The first line of what another's error says, without its full stop; its type where it says
    nothing."""
    said = str(error).strip()
    return said.splitlines()[0].rstrip(".") if said else type(error).__name__
