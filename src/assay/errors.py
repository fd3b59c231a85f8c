"""The errors a user can cause or mend. Everything else is a bug and may show a traceback."""

from __future__ import annotations


class AssayError(Exception):
    """Something a person can put right; the command line prints it and exits with 1.

    Args:
        what: what was wrong, as a sentence.
        where: file, line, field or setting it was found in.
        fix: what to do next.

    Attributes:
        charged: a provider may have taken money before it went wrong.
    """

    exit_code = 1
    charged = False

    def __init__(self, what: str, *, where: str | None = None, fix: str | None = None) -> None:
        self.what, self.where, self.fix = what, where, fix
        parts = [f"{where}: {what}" if where else what]
        if fix:
            parts.append(fix)
        super().__init__(" ".join(parts))

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
