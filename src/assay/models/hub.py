"""Fetches a model from the Hugging Face hub: tensors, configuration and tokenizer, nothing else."""

from __future__ import annotations

import glob
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

from assay.errors import ModelError, first_line
from assay.models.encoder_folder import MODULES, MOST_MODULES_BYTES, missing_files, read_modules
from assay.models.growth import show_growth
from assay.models.quiet import silent_libraries
from assay.progress import Progress

_WANTED = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.txt", "README.md", "LICENSE*"]
_UNWANTED = ["*/*", "consolidated*", "*.onnx"]
SECONDS = 5.0
"""That an answer of the hub is waited for, where only its being there is asked."""
ANSWER_SECONDS = 30.0
"""That it may be silent whatever it is asked; its client alone would wait for ever."""
_REMAINS = "*." + 8 * "[0-9a-f]" + ".incomplete"
"""Half files of a client that was killed, under random names that no client knows again."""
_LIMITING = Lock()


@dataclass(frozen=True, slots=True)
class HubModel:
    """What the hub says of a model before anything is fetched.

    Attributes:
        revision: the commit that is its newest now, which is fetched whatever comes meanwhile.
        files: that are fetched.
        download_bytes: of them.
        licence: as its card states it; None: it does not.
        gated: only those who have accepted its terms may have it.
    """

    revision: str | None
    files: tuple[str, ...]
    download_bytes: int
    licence: str | None
    gated: bool


def check(ref: str, *, with_modules: bool = False) -> HubModel:
    """Ask the hub about `ref` before anything is fetched.

    Args:
        with_modules: also fetch the subfolders of the modules that modules.json names, which is
            read for it.

    Raises:
        ModelError: the hub cannot be reached, knows no such model, wants a login or consent to
            terms, or has pickled weights only; a module is not taken, or has no safetensors.
    """
    from huggingface_hub import HfApi, hf_hub_url

    limit_silence()
    api = HfApi()
    with _explained(ref):
        info = api.model_info(ref, files_metadata=True)
    files = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    wanted = _wanted(files)
    weights = [name for name in wanted if name.endswith(".safetensors")]
    if not weights:
        pickles = [n for n in files if n.endswith((".bin", ".pt", ".pth", ".ckpt"))]
        what = (
            f"its weights are pickles ({pickles[0]}), which can run code when opened; Assay loads "
            "safetensors only."
            if pickles
            else "it contains no safetensors weights in the form that transformers reads."
        )
        raise ModelError(what, where=ref, fix="Use a version of the model with *.safetensors.")
    if info.gated:  # all may list its files and read its card and terms, few may have its weights
        with _explained(ref):
            api.get_hf_file_metadata(url=hf_hub_url(ref, weights[0], revision=info.sha))
    if with_modules and MODULES in files:
        wanted += _module_files(ref, info.sha, files)
    licence = getattr(info.card_data, "license", None)
    size = sum(files[name] for name in wanted)
    return HubModel(info.sha, tuple(wanted), size, licence, bool(info.gated))


def _module_files(ref: str, revision: str | None, files: dict[str, int]) -> list[str]:
    """Files of the modules that modules.json names, which is fetched for it and not kept."""
    from huggingface_hub import hf_hub_download

    if files[MODULES] > MOST_MODULES_BYTES:
        raise ModelError(f"its {MODULES} is too large ({files[MODULES]} bytes).", where=ref)
    with tempfile.TemporaryDirectory() as scratch:
        with silent_libraries(), _explained(ref):
            path = hf_hub_download(ref, MODULES, revision=revision, local_dir=scratch)
        modules = read_modules(Path(path), ref)
    if missing := missing_files(modules, files):
        raise ModelError(
            f"the hub does not have {', '.join(missing)}, which its {MODULES} names (weights are "
            "read from safetensors only).",
            where=ref,
            fix="Use a version of the model that is complete.",
        )
    return [name for module in modules for name in module.files if name in files]


def _wanted(names: Iterable[str]) -> list[str]:
    from huggingface_hub.utils import filter_repo_objects  # type: ignore[attr-defined]

    return list(filter_repo_objects(names, allow_patterns=_WANTED, ignore_patterns=_UNWANTED))


def limit_silence() -> None:
    """Let no request of the hub's client in this process wait for ever.

    Where a call has no limit (a list of files has none and takes none), the client asks for none,
    so a limit of the client itself would not do: each request is given one as it leaves.
    """
    from huggingface_hub import get_session, set_client_factory
    from huggingface_hub.utils import _http

    with _LIMITING:
        client = get_session()
        if _limit in client.event_hooks["request"]:
            return
        # The library makes its client anew when a connection has failed, by a factory that may be a
        # user's own (with a proxy, say). No public function says which it is, so its private name
        # is read. Once that is gone, only the present client has a limit, and a hub that fails
        # first and is silent then is waited for.
        make = getattr(_http, "_GLOBAL_CLIENT_FACTORY", None)
        if make is None:
            _limited(client)
        else:
            set_client_factory(lambda: _limited(make()))


def _limited(client: Any) -> Any:
    hooks = client.event_hooks
    client.event_hooks = {**hooks, "request": [*hooks["request"], _limit]}
    return client


def _limit(request: Any) -> None:
    limits = request.extensions.get("timeout") or {}
    request.extensions["timeout"] = {
        wait: ANSWER_SECONDS if limits.get(wait) is None else limits[wait]
        for wait in ("connect", "read", "write", "pool")
    }


def fetch(ref: str, folder: Path, model: HubModel, progress: Progress) -> None:
    """Download the files of `ref` into `folder`; whole files that are there already are kept.

    The client compares sizes alone, so every file is compared with its hash here: a large one
    with its sha256, a small one with its name in git.

    Raises:
        ModelError: see `check`; or a file is missing, or not what the hub says it is, which removes
            it.
    """
    from huggingface_hub import HfApi, snapshot_download

    limit_silence()
    for remains in (folder / ".cache").rglob(_REMAINS):
        remains.unlink()
    with silent_libraries(), _explained(ref):
        with show_growth(folder, f"Downloading {ref}", model.download_bytes, progress):
            snapshot_download(
                ref,
                revision=model.revision,
                local_dir=folder,
                allow_patterns=[glob.escape(name) for name in model.files],
            )
        found = HfApi().verify_repo_checksums(ref, revision=model.revision, local_dir=folder)
    wrong = [mismatch["path"] for mismatch in found.mismatches]
    for name in wrong:
        (folder / name).unlink()
    if wrong:
        raise ModelError(
            f"what was sent is not what the hub announced ({', '.join(wrong)}: other hash); it was "
            "not kept.",
            where=ref,
            fix="Try again, which fetches these files anew. If it stays so, something between you "
            "and the hub changes them: do not use this hub or mirror.",
        )
    # The client takes a folder with files in it for the model if it gets no list of what is in it.
    missing = [name for name in found.missing_paths if name in model.files]
    if missing:
        raise ModelError(
            f"the hub did not send all files of the model ({', '.join(missing)} missing).",
            where=ref,
            fix="Try again, which fetches these files alone.",
        )


def endpoint() -> str:
    """The hub's address for people, without the user and password that HF_ENDPOINT may name."""
    from huggingface_hub import constants

    place = urlsplit(constants.ENDPOINT)
    return place._replace(netloc=place.netloc.rpartition("@")[2]).geturl()


def without_secrets(text: str) -> str:
    """What the hub or its client has said, without the token, and user and password."""
    from huggingface_hub import constants, get_token

    user = urlsplit(constants.ENDPOINT).netloc.rpartition("@")[0]
    for secret in filter(None, (get_token(), user)):
        text = text.replace(secret, "...")
    return text


def state() -> str:
    """Whether the hub answers, as a sentence with what works without it.

    HF_ENDPOINT names another hub.
    """
    from huggingface_hub import constants, get_session

    where = endpoint()
    without = "starters, local folders and .gguf files work without it"
    if constants.is_offline_mode():
        return f"{where} is not asked, because HF_HUB_OFFLINE is set: unset it to ask; {without}."
    try:
        get_session().head(constants.ENDPOINT, timeout=SECONDS)
    except Exception as error:  # of whichever HTTP client it uses
        why = without_secrets(first_line(error))
        return (
            f"{where} cannot be reached ({why}): connect to a network, or name "
            f"another hub in HF_ENDPOINT; {without}."
        )
    return f"{where} answers."


@contextmanager
def _explained(ref: str) -> Iterator[None]:
    """Every way in which the hub says no, in plain words."""
    try:
        yield
    except Exception as error:  # of whichever HTTP client it uses, and what it makes of nonsense
        if isinstance(error, OSError) and error.errno and not isinstance(error, ConnectionError):
            raise  # of this machine, such as a full disk
        what, fix = _explanation(error)
        raise ModelError(without_secrets(what), where=ref, fix=fix) from None


def _explanation(error: Exception) -> tuple[str, str | None]:
    """What the hub's client means by an error, and what to do."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if isinstance(error, GatedRepoError):
        return (
            "this model is available only to hub accounts that have accepted its terms.",
            "Accept the terms on its page, then run `hf auth login` or set HF_TOKEN.",
        )
    if isinstance(error, RepositoryNotFoundError):
        return (
            "the hub has no such model, or it is private.",
            "Check the spelling; for a private model set HF_TOKEN. A local folder is given "
            "as a path that exists.",
        )
    if isinstance(error, RevisionNotFoundError):
        return (
            "the hub no longer has the commit that it named as the newest.",
            "Try again, which asks for the newest commit anew.",
        )
    if isinstance(error, HFValidationError):
        return f"this is not a hub id ({error}).", None
    if isinstance(error, HfHubHTTPError) and error.response.status_code == 401:
        return (
            "the hub does not accept your token.",
            "Run `hf auth login`, set another HF_TOKEN, or unset it for a model that is public.",
        )
    answered = isinstance(error, HfHubHTTPError | ValueError | KeyError | TypeError)
    what = "does not answer as a hub does" if answered else "cannot be reached"
    return (
        f"the hub {what} ({first_line(error.__cause__ or error)}).",
        "Try again with a network (files that came whole are kept), give a local folder or .gguf "
        "file as the model, or use the starter model smollm2-135m-instruct.",
    )


def licence(folder: Path) -> str | None:
    """The licence that a model card states in its front matter, or None."""
    card = folder / "README.md"
    if not card.is_file():
        return None
    front = card.read_text(encoding="utf-8", errors="replace").split("---", 2)
    found = re.search(r"^license:\s*(\S+)", front[1], re.MULTILINE) if len(front) == 3 else None
    return found.group(1) if found else None
