"""`plan.md`: for each model that ends what to run, and what to change in the calling program."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from assay.config import split_reference
from assay.log_lines import printable
from assay.quantities import say_count
from assay.release.changes import LONGEST_NAME, NAME
from assay.rescue import dates
from assay.rescue.recording import folder_of
from assay.rescue.report import plain
from assay.store.files import write_atomic

PORT = 8000
"""Of `assay serve` without an option."""
OUTGOING = "outgoing"
"""What the model that goes is called in a comparison."""


def client_lines(port: int) -> tuple[str, ...]:
    """The calling program, changed so that it asks a server of this machine at a port."""
    return (
        "from openai import OpenAI",
        "",
        f'client = OpenAI(base_url="http://127.0.0.1:{port}/v1", api_key="assay-...")',
    )


def environment_lines(port: int) -> tuple[str, ...]:
    """The same without a change of the program."""
    return (
        f"export OPENAI_BASE_URL=http://127.0.0.1:{port}/v1",
        "export OPENAI_API_KEY=assay-...",
    )


def write_page(file: Path, plan: Mapping[str, Any]) -> None:
    """Write what `plan_rescue` has found as a page."""
    write_atomic(file, "\n".join(_page(plan)) + "\n", private=True)


def commands(plan: Mapping[str, Any], one: Mapping[str, Any]) -> list[str]:
    """What to run in the folder of a model's project, in this order."""
    model = shlex.quote(one["model"])
    if plan["takes_provider"]:
        there = " --provider NAME"
    elif plan["base_url"] is None:
        there = ""
    else:
        there = f" --base-url {shlex.quote(plan['base_url'])}"
    price = "" if one["is_priced"] else " --input-price INPUT --output-price OUTPUT"
    to = f"--to {shlex.quote(str(folder_of(Path(one['recording']))))}"
    record = f"assay rescue record {model} {to}{there} --most-usd 5{price}"
    return [record, *later_commands(one["model"], one["recording"]), "assay serve"]


def later_commands(model: str, recording: str) -> list[str]:
    """What to run once answers are in a file, up to `assay serve`."""
    found = [f"assay compare --predictions {OUTGOING}={shlex.quote(recording)}"]
    if _may_be_named(model):
        found.append(f"assay release promote {shlex.quote(model)} AGENT@VERSION")
    return found


def _page(plan: Mapping[str, Any]) -> Iterator[str]:
    yield from ("# What replaces the models that end", "")
    yield f"Made from {plain(plan['source'])}."
    yield "The projects hold your users' data: keep this folder private."
    yield f"Dates change: {dates.PAGE}."
    ready = [one for one in plan["models"] if one["project"] is not None]
    left = [one for one in plan["models"] if one["project"] is None]
    for one in ready:
        yield from ("", f"## {plain(one['model'])}", "")
        yield from _project(plan, one)
    if not ready:
        yield from ("", "There is no model with a job whose files are here.")
    if left or plan["no_model"]:
        yield from ("", "## Without a project", "")
        for one in left:
            yield f"- {plain(one['model'])}, {_end(one)}: {plain(one['reason'])}"
        for job in plan["no_model"]:
            status = plain(job["status"])
            yield f"- job {plain(job['job'])}: it has made no model (status {status})."
    yield from ("", "## The calling program", "")
    yield from (
        "Only the address and the key change; the name of the model stays. `assay serve` prints a",
        "key at its first start, and `assay keys create NAME` makes further ones.",
        "",
        *(f"    {line}" if line else "" for line in client_lines(PORT)),
        "",
        "or, without a change of the program, in its environment:",
        "",
        *(f"    {line}" for line in environment_lines(PORT)),
    )


def _project(plan: Mapping[str, Any], one: Mapping[str, Any]) -> Iterator[str]:
    yield f"- {_end(one)}"
    yield f"- base {plain(one['base'])}" + (f", job {plain(one['job'])}" if one["job"] else "")
    yield f"- project `{one['project']}/`, {_holdout(one)}"
    yield ""
    if one["settings"]:
        yield "| setting of the job | value | here |"
        yield "|---|---|---|"
        for setting in one["settings"]:
            here = setting["here"] or "no equal; decided by model and data"
            yield f"| {plain(setting['name'])} | {plain(setting['value'])} | {here} |"
        yield ""
    yield from _candidates(plan, one)
    if one["recorded"]:
        are = say_count(one["recorded"], "answer is", "answers are")
        yield f"{are} recorded; `record` asks for those that are missing."
    else:
        yield (
            "No answer is recorded yet. Once the model is gone, nothing can be compared with it "
            "unless its answers are here."
        )
    if not one["is_priced"]:
        yield (
            "The price of this model is not listed here, and without it no budget is kept: put "
            "what its provider asks per million tokens, in USD, for INPUT and OUTPUT."
        )
    if plan["takes_provider"]:
        yield (
            f"The address {plain(plan['base_url'])} takes a provider of this project: add one with "
            "`assay providers add NAME`, its private_network included, and put its name for NAME."
        )
    yield ""
    yield f"    cd {one['project']}"
    for command in commands(plan, one):
        yield f"    {printable(command)}"
    yield ""
    yield (
        f"The comparison says in one sentence which candidates are shown to be no worse than "
        f"`{OUTGOING}`; "
    )
    if _may_be_named(one["model"]):
        yield (
            "promote one of these, the one that it recommends if it is among them (`assay agent "
            "list` shows versions)."
        )
    else:
        yield (
            "no release can have this model's name (too long, or other characters): promote the "
            "recommended one under another name, and change the name in the program."
        )


def _candidates(plan: Mapping[str, Any], one: Mapping[str, Any]) -> Iterator[str]:
    """Whom the project compares with what was proposed for its rows."""
    if one["successor"]:
        provider, model = split_reference(one["successor"])
        yield (
            f"`remote` is the successor {plain(model)} with the system prompt that the rows bring, "
            "or else the project's; `remote-few-shot` shows it a few training rows as well. "
            f"`assay compare` asks before rows go to {plain(provider)}, and says what it will cost."
        )
    elif plan["successor"] is None:
        yield (
            "No successor takes part, so nothing will say how good a provider's newer model is at "
            "this job. To add one, remove this project before anything is compared in it, and run "
            "`assay rescue plan` again with `--successor PROVIDER/MODEL`, such as "
            "openai/gpt-5-mini; or set `remote` in its assay.yaml and name `remote` among its "
            "candidates."
        )
    if plan["successor"] not in (None, one["successor"]):
        yield (
            f"{plain(plan['successor'])} takes no part: the project was there before. Set `remote` "
            "in its assay.yaml, and name it among its candidates, to let it."
        )
    if one["distills"]:
        yield (
            "`distill` learns the answers that `record` keeps of training rows, beside "
            "`fine-tune`, which learns the rows' own; where fewer than half of the rows have one "
            "it is left out. Record all of `train` before the first comparison: a version that has "
            "learned more answers is another candidate, and its comparison another opening."
        )
    yield ""


def _holdout(one: Mapping[str, Any]) -> str:
    if one["holdout"] == "validation file":
        return "with the job's validation file as the holdout."
    return (
        "with a holdout drawn from the training file. The model was trained on these rows, so it "
        "scores more there than on new ones: a candidate that is shown to be no worse is no worse "
        "on new ones either, and one that is not shown to be may still be."
    )


def _end(one: Mapping[str, Any]) -> str:
    return (
        f"ends {one['ends']} ({plain(one['ends_according_to'])})" if one["ends"] else "end unknown"
    )


def _may_be_named(model: str) -> bool:
    return len(model) <= LONGEST_NAME and NAME.fullmatch(model) is not None
