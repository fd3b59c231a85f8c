"""Fetches a model from the Hugging Face hub: tensors, configuration and tokenizer, nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from assay.errors import ModelError, first_line
from assay.models.quiet import silent_libraries

_WANTED = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt", "README.md", "LICENSE*")
SECONDS = 5.0
"""That an answer of the hub is waited for, where only its being there is asked."""
_UNWANTED = ("*/*", "consolidated*", "*.onnx")


@dataclass(frozen=True, slots=True)
class HubModel:
    """What the hub says of a model before anything is fetched.

    Attributes:
        revision: the commit that is its newest now, which is fetched whatever comes meanwhile.
        licence: as its card states it; None: it does not.
    """

    revision: str | None
    download_bytes: int
    licence: str | None


def check(ref: str) -> HubModel:
    """Ask the hub about `ref` before anything is fetched.

    Raises:
        ModelError: the hub cannot be reached, knows no such model, wants a login, or has pickled
            weights only.
    """
    from huggingface_hub import HfApi

    with _explained(ref):
        info = HfApi().model_info(ref, files_metadata=True)
    files = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    if not any("/" not in name and name.endswith(".safetensors") for name in files):
        pickles = [n for n in files if n.endswith((".bin", ".pt", ".pth", ".ckpt"))]
        what = (
            f"its weights are pickles ({pickles[0]}), which can run code when opened; Assay loads "
            "safetensors only."
            if pickles
            else "it contains no safetensors weights."
        )
        raise ModelError(what, where=ref, fix="Use a version of the model with *.safetensors.")
    size = sum(size for name, size in files.items() if "/" not in name)
    return HubModel(info.sha, size, getattr(info.card_data, "license", None))


def fetch(ref: str, folder: Path, revision: str | None) -> None:
    """Download the files of `ref` into `folder`; whole files that are there already are kept.

    Raises:
        ModelError: see `check`.
    """
    from huggingface_hub import snapshot_download

    with silent_libraries(), _explained(ref):
        snapshot_download(
            ref,
            revision=revision,
            local_dir=folder,
            allow_patterns=list(_WANTED),
            ignore_patterns=list(_UNWANTED),
        )


def state() -> str:
    """Whether the hub answers, as a sentence with what works without it.

    HF_ENDPOINT names another hub.
    """
    from huggingface_hub import constants, get_session

    where = constants.ENDPOINT
    without = "starters, local folders and .gguf files work without it"
    if constants.is_offline_mode():
        return f"{where} is not asked, because HF_HUB_OFFLINE is set: unset it to ask; {without}."
    try:
        get_session().head(where, timeout=SECONDS)
    except Exception as error:  # of whichever HTTP client it uses
        return (
            f"{where} cannot be reached ({first_line(error)}): connect to a network, or name "
            f"another hub in HF_ENDPOINT; {without}."
        )
    return f"{where} answers."


@contextmanager
def _explained(ref: str) -> Iterator[None]:
    """Every way in which the hub says no, in plain words."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    # What the hub's HTTP client (requests, httpx; it changed) derives all its failures from.
    http_error: type[BaseException] = HfHubHTTPError.__bases__[0]

    try:
        yield
    except GatedRepoError:
        raise ModelError(
            "this model is available only to hub accounts that have accepted its terms.",
            where=ref,
            fix="Accept the terms on its page, then run `hf auth login` or set HF_TOKEN.",
        ) from None
    except RepositoryNotFoundError:
        raise ModelError(
            "the hub has no such model, or it is private.",
            where=ref,
            fix="Check the spelling; for a private model set HF_TOKEN. A local folder is given "
            "as a path that exists.",
        ) from None
    except HFValidationError as error:
        raise ModelError(f"this is not a hub id ({error}).", where=ref) from None
    except (
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        http_error,
        ConnectionError,
    ) as error:
        raise ModelError(
            f"the hub cannot be reached ({first_line(error)}).",
            where=ref,
            fix="Try again with a network, give a local folder or .gguf file as the model, or use "
            "the starter model smollm2-135m-instruct.",
        ) from None


def licence(folder: Path) -> str | None:
    """The licence that a model card states in its front matter, or None."""
    card = folder / "README.md"
    if not card.is_file():
        return None
    front = card.read_text(encoding="utf-8", errors="replace").split("---", 2)
    found = re.search(r"^license:\s*(\S+)", front[1], re.MULTILINE) if len(front) == 3 else None
    return found.group(1) if found else None
