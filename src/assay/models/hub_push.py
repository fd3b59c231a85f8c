"""Sends a folder to a model hub: private unless told otherwise, in one commit, or not at all.

    check_push("acme/support")                  # before long work
    url = push(folder, "acme/support", files)   # https://huggingface.co/acme/support

The token is HF_TOKEN or that of `hf auth login`; the hub HF_ENDPOINT. A repository that holds
anything else is left alone. Large files that came whole are not sent again: the same call goes on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from assay.errors import ModelError, UsageError, first_line
from assay.models.hub import endpoint, limit_silence, without_secrets
from assay.models.quiet import silent_libraries
from assay.progress import SILENT, Progress
from assay.quantities import say_count

_NAME = re.compile(r"[A-Za-z0-9][\w-]*/[A-Za-z0-9_][\w.-]*", re.ASCII)
_OWN = {".gitattributes"}
"""Files that a hub puts into every new repository."""
_HERE = ("127.0.0.1", "::1", "localhost")
_REPEAT = "Repeat the command: files that came whole are not sent again."


def address_of(repository: str) -> str:
    """Where a repository is, or would be."""
    return f"{endpoint()}/{repository}"


def check_push(repository: str, *, public: bool = False, is_begun: bool = False) -> None:
    """See that a folder can be sent, as far as that can be known before; nothing is sent.

    Args:
        is_begun: it may have been sent already, so files that are there are no reason to refuse.

    Raises:
        UsageError: there is no such name, or no token; the repository holds files, or is public
            where it should be private, or private where it should be public.
        ModelError: the hub cannot be reached, or does not accept the token.
    """
    from huggingface_hub import HfApi, get_token

    if not _NAME.fullmatch(repository):
        raise UsageError(
            f"--push {repository!r} is no name of a repository.", fix="Write it as OWNER/NAME."
        )
    place = urlsplit(address_of(repository))
    if place.scheme != "https" and place.hostname not in _HERE:
        raise UsageError(
            f"HF_ENDPOINT is {place.scheme}://{place.netloc}, and others could read your token.",
            fix="Name the hub with https://.",
        )
    if get_token() is None:
        raise UsageError(
            "there is no token to write to the hub with.",
            fix="Run `hf auth login`, or set HF_TOKEN to a token that may write.",
        )
    limit_silence()
    with _explained(repository):
        info = _find(HfApi(), repository, public)
    if info is not None and not is_begun and (held := _names(info)):
        raise _holds_other(repository, held)


def push(
    folder: Path,
    repository: str,
    files: Mapping[str, str],
    *,
    public: bool = False,
    message: str = "Upload model",
    progress: Progress = SILENT,
) -> str:
    """Send files of a folder, and see that they are there; returns the repository's address.

    Args:
        files: the sha256 of each by its name.

    Raises:
        UsageError: as `check_push`; or a repository of that name holds other files.
        ModelError: the hub cannot be reached or refuses; the message says what to do.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi()
    size = sum((folder / name).stat().st_size for name in files)
    limit_silence()
    with silent_libraries(), _explained(repository), ExitStack() as opened:
        if (info := _find(api, repository, public)) is None:
            api.create_repo(repository, private=not public)
            info = api.model_info(repository, files_metadata=True)
            _check_readers(info, repository, public)  # an organisation may decide them
        if not _names(info):
            progress.say(
                f"Sending {say_count(len(files), 'file')} ({size / 1e6:,.1f} MB) to the hub."
            )
            # Open files go by the hub's LFS protocol, which every hub speaks, instead of Xet.
            api.create_commit(
                repository,
                [
                    CommitOperationAdd(name, opened.enter_context((folder / name).open("rb")))
                    for name in sorted(files)
                ],
                commit_message=message,
                parent_commit=info.sha,
            )
            info = api.model_info(repository, files_metadata=True)
    if _names(info) != files.keys() or not _is_same(info, folder, files):
        raise _holds_other(repository, _names(info))
    return address_of(repository)


def _find(api: Any, repository: str, public: bool) -> Any:
    """What the hub says of a repository; None: there is none that the token may see."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        info = api.model_info(repository, files_metadata=True)
    except RepositoryNotFoundError:
        return None
    _check_readers(info, repository, public)
    return info


def _check_readers(info: Any, repository: str, public: bool) -> None:
    """See that a repository is read by whom the user was told."""
    if not info.private and not public:
        raise UsageError(
            f"{repository} is on the hub already, and everybody can read it.",
            fix="To send it there nevertheless, add --public; else name another repository.",
        )
    if info.private and public:
        raise UsageError(
            f"{repository} is on the hub already, and private: --public does not change that.",
            fix="Make it public on the hub first, or leave out --public to keep it private.",
        )


def _names(info: Any) -> set[str]:
    return {file.rfilename for file in info.siblings or ()} - _OWN


def _is_same(info: Any, folder: Path, files: Mapping[str, str]) -> bool:
    """Whether the hub holds the bytes of the folder, by the hashes that it tells."""
    from huggingface_hub.utils.sha import git_hash

    told = {file.rfilename: file for file in info.siblings}
    return all(
        told[name].lfs.sha256 == digest
        if told[name].lfs
        else told[name].blob_id == git_hash((folder / name).read_bytes())
        for name, digest in files.items()
    )


def _holds_other(repository: str, names: set[str]) -> UsageError:
    some = ", ".join(sorted(names)[:3]) + (" and others" if len(names) > 3 else "")
    return UsageError(
        f"{repository} is on the hub already and holds other files ({some}); nothing of it was "
        "changed.",
        fix="Name another repository, or delete that one on the hub.",
    )


@contextmanager
def _explained(repository: str) -> Iterator[None]:
    """Every way in which the hub says no, in plain words and without secrets."""
    try:
        yield
    except (UsageError, ModelError):
        raise
    except Exception as error:  # of whichever HTTP client it uses
        if isinstance(error, OSError) and error.errno and not isinstance(error, ConnectionError):
            raise  # of this machine
        what, fix = _explanation(error, repository)
        raise ModelError(without_secrets(what), where=address_of(repository), fix=fix) from None


def _explanation(error: BaseException, repository: str) -> tuple[str, str]:
    """What the hub's client means by an error, and what to do."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    if isinstance(error, OfflineModeIsEnabled):
        return "the hub is not asked, because HF_HUB_OFFLINE is set.", "Unset it."
    while error.__cause__ is not None and not hasattr(error, "response"):
        error = error.__cause__  # of one file among several
    status = getattr(getattr(error, "response", None), "status_code", None)
    said = getattr(error, "server_message", None) or " ".join(str(error).split())[:300]
    owner = repository.partition("/")[0]
    if status in (402, 413) or re.search(r"storage|quota", said, re.IGNORECASE):
        return f"the hub has no room for it ({said}).", f"Make room in the account of {owner}."
    if status == 401:
        return (
            "the hub does not accept your token.",
            "Run `hf auth login`, or set HF_TOKEN to another one.",
        )
    if status in (403, 404):
        return (
            f"your token may not write to {repository} ({said}).",
            f"Use a token that may write, of somebody who may write for {owner}.",
        )
    if status == 429:
        return "the hub has been asked too often.", f"Wait some minutes. {_REPEAT}"
    if status is not None and status < 500:
        return f"the hub refuses it ({said}).", _REPEAT
    return f"the hub cannot be reached, or has failed ({first_line(error)}).", _REPEAT
