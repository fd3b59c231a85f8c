"""docs/compat.md, made of what the suite has found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.compat.checks import NAMES

_HEAD = """# Clients

[Serving](serving.md) says which routes there are. This page says which programs were seen to work
with them: the packages as they are, from the package index, each in a Python of its own without
Assay, against `assay serve` with the starter model and embedder. Telemetry is off, and a client
that asks for anything beyond this machine is refused.

`make compat` installs them, runs all of it and writes this page; it fails if anything below is
**no**. A few minutes; not part of `make test`.
"""
_FOOT = """
- **yes**: done by the client's own call, and looked at. A number: what has to be set, or is not
  there. Empty: the client has no such call, or it is the same as its neighbour's.
- *chat*, *stream*: an answer, and one in pieces. *tools*: a forced call, and going on with its
  result. *structured*: an object that follows a schema. *token ids*: embeddings of numbers in
  place of texts, where the server has [OpenAI's vocabulary](serving.md#token-ids) (here the file
  that LiteLLM brings). *responses* is `/v1/responses`, *previous* and *conversation* what [it
  keeps](serving.md#responses-and-conversations). *fine-tuning*: a job that trains the starter (of
  LiteLLM: one that is created, looked up and cancelled).
- That it is called right is checked, not how well the starter, a very small model, answers. Each
  answer has a limit in tokens, for some of the starter's [do not
  end](serving.md#which-model-answers) before its context is full; what has to be whole is asked
  for at temperature 0.

## Installed together

One environment for all is not to be had: llama-index needs openai below 3, and instructor a jiter
below 0.15, which keeps openai at 3.3 for all that is installed beside it. Four clash with Assay's
own `constraints.txt`: openai-agents (websockets below 17), instructor (rich below 15, and jiter),
litellm (importlib-metadata below 9) and llama-index (openai below 3). So there are three
environments (`tests/compat/requirements`), each whole and pinned, and three releases of the client
`openai` under test.
"""


@dataclass(frozen=True)
class Finding:
    """What came of one check.

    Attributes:
        name: one of `NAMES`.
        error: what was raised; None: nothing.
        but: what the table says beside it.
    """

    name: str
    error: str | None
    but: str | None = None


@dataclass(frozen=True)
class Client:
    """One client, and the package `openai` beside it."""

    package: str
    version: str
    openai: str
    findings: tuple[Finding, ...]


def page(clients: Sequence[Client]) -> str:
    """The page as Markdown."""
    remarks: list[str] = []
    names = [name.removesuffix(" output").removesuffix(" response") for name in NAMES]
    lines = [
        "| client | " + " | ".join(names) + " |",
        "|---" * (1 + len(names)) + "|",
    ]
    for client in clients:
        by_name = {one.name: one for one in client.findings}
        cells = [_cell(by_name.get(name), remarks) for name in NAMES]
        beside = "" if client.package == "openai" else f", openai {client.openai}"
        lines.append(f"| {client.package} {client.version}{beside} | " + " | ".join(cells) + " |")
    told = "".join(f"\n{number}. {text}" for number, text in enumerate(remarks, 1))
    return f"{_HEAD}\n" + "\n".join(lines) + f"\n{told}\n{_FOOT}"


def _cell(found: Finding | None, remarks: list[str]) -> str:
    if found is None:
        return ""
    mark = "yes" if found.error is None else "**no**"
    remark = found.error if found.error is not None else found.but
    if remark is None:
        return mark
    text = " ".join(remark.split())[:300]
    if text not in remarks:
        remarks.append(text)
    return f"{mark} ({remarks.index(text) + 1})"
