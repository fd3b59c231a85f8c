"""Five public jobs go from an account of fine-tuned models to releases under the old names.

    PYTHONPATH=. python bench/rescue.py [banking77 snips mts-header e2e-style sgd-restaurants]

    PYTHONPATH=. python bench/rescue.py --quick      # few rows of each, and no page

The account is the local server of the tests with the stand-ins of `rescue_account.py`. Of each job:
`assay rescue openai`, `plan`, `record`, `compare`, `release promote`, `serve`, and one request by
the old name. What came out is kept in FOLDER, and written into `docs/rescue.md`; a job that is
there is not measured again, and one that is not keeps its rows in the page, marked.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from openai import OpenAI
from tests.rescue.server import KEY, AccountServer
from typer.testing import CliRunner

from assay.cli.main import app
from assay.compare.report import wording
from assay.compare.report.replacement import replacement_lines
from assay.compare.result import Result
from assay.config import CONFIG_FILE
from assay.config.yaml_text import edit
from assay.evaluate.parity import ParityError
from assay.interpreter import python
from assay.store.files import write_atomic, write_json
from rescue_account import (
    CHARACTERS_PER_TOKEN,
    JOBS,
    PROVIDER,
    SUCCESSOR,
    AccountJob,
    Row,
    build_server,
    tokens_of,
)

PAGE = Path(__file__).parent.parent / "docs" / "rescue.md"
BEGIN, END = "<!-- measured: public jobs -->\n", "<!-- end -->\n"
QUICK_ROWS = 60
PRICES = {"outgoing": (0.3, 1.2), SUCCESSOR: (0.25, 2.0)}
"""USD per million tokens in and out: what OpenAI asks for a fine-tuned gpt-4o-mini, and for the
successor."""
MOST_USD = 5

SUMMARY = (
    "| job | holdout rows | outgoing | promoted | kept on this machine | a month before | "
    "a month after |"
)
CANDIDATES = "| job | candidate | score | ahead of (+) or behind (−) the outgoing model | |"
EFFORT = "| job | recorded | for | successor asked | for | fetch, plan | record | compare |"


def run(*command: object) -> Any:
    """The JSON that an assay command prints; it runs in this process, which loads libraries once.

    Raises:
        ParityError: the engine that would serve a version does not answer as it was measured.
    """
    print(f"$ assay {' '.join(map(str, command))}", flush=True)
    done = CliRunner().invoke(app, [*map(str, command), "--json"])
    if isinstance(done.exception, ParityError):
        raise done.exception
    if done.exit_code != 0:
        raise SystemExit(f"it has failed: {done.exception!r}\n{done.stderr}")
    return json.loads(done.stdout)


def measure(job: AccountJob, server: AccountServer, folder: Path) -> dict[str, Any]:
    """One job, from its account to the answer by its old name; what came out of each step."""
    account, home = folder / "account", folder / "projects"
    began = cpu_seconds()
    run("rescue", "openai", "--to", account, "--yes", "--base-url", server.url)
    takes_part = ["--successor", f"{PROVIDER}/{SUCCESSOR}"]
    plan = run("rescue", "plan", "--from", account, "--to", home, *takes_part)
    (ours,) = (one for one in plan["models"] if one["model"] == job.model)
    root = home / ours["project"]
    settings = root / CONFIG_FILE
    price_in, price_out = PRICES[SUCCESSOR]
    prices = {SUCCESSOR: {"input": price_in, "output": price_out}}  # of this server none are known
    edits = {**job.settings, f"providers.{PROVIDER}.prices": prices}
    write_atomic(settings, edit(settings.read_text("utf-8"), edits))
    project = ["--project", root]
    prepared = cpu_seconds()

    parts = ["--part", "holdout", "--part", "validation"]
    parts += ["--part", "train"] if "distill" in job.settings["candidates"] else []
    price = ["--input-price", PRICES["outgoing"][0], "--output-price", PRICES["outgoing"][1]]
    terms = ["--base-url", server.url, *price, "--most-usd", MOST_USD, "--yes"]
    kept = run("rescue", "record", job.model, "--to", account, *project, *parts, *terms)
    recorded = cpu_seconds()
    asked = len(server.posted)
    taking = ["--predictions", f"outgoing={kept['file']}", "--consent", PROVIDER]
    result = run("compare", *project, *taking)
    compared = cpu_seconds()

    found = {
        "job": job.name,
        "result": result,
        "recorded": kept["answers"],
        "recorded_usd": kept["usd"],
        "outgoing_usd": kept["usd"] / kept["answers"],  # of a request
        "successor_requests": len(server.posted) - asked,
        "successor_usd": sum(map(_successor_usd, server.posted[asked:])),
        "cpu_seconds": {
            "fetch and plan": prepared - began,
            "record": recorded - prepared,
            "compare": compared - recorded,
        },
        "promoted": None,
        "refused": {},
        "answered": None,
    }
    labels = {one["id"]: one["label"] for one in run("agent", "list", *project)}
    agents = {one["name"]: one["agent"] for one in result["candidates"]}
    for name in replacing(result):
        try:
            run("release", "promote", job.model, labels[agents[name]], *project)
        except ParityError as error:
            found["refused"][name] = error.what.partition(" First answer")[0]
        else:
            found["promoted"] = name
            found["answered"] = ask_by_name(job.model, root, server.posted[-1])
            break
    return found


def cpu_seconds() -> float:
    """Of this process, with the server that it runs, and of those that it has waited for."""
    return sum(os.times()[:4])


def _successor_usd(body: Mapping[str, Any]) -> float:
    """What a request costs at most, by its prompt and 20 tokens of answer."""
    prompt = sum(tokens_of(turn.get("content") or "") for turn in body["messages"])
    prompt += tokens_of(json.dumps(body["tools"])) if "tools" in body else 0
    price_in, price_out = PRICES[SUCCESSOR]
    return (prompt * price_in + 20 * price_out) / 1e6


def replacing(result: Mapping[str, Any]) -> list[str]:
    """Those that may take the outgoing model's place, the ones first that keep most requests on
    this machine, of several the best."""
    (replacement,) = result["replacements"]
    return sorted(replacement["no_worse"], key=lambda name: -kept_here(result, name))


def ask_by_name(model: str, folder: Path, body: Mapping[str, Any]) -> str:
    """What the old program is answered that asks the new server, by the old name."""
    key = run("keys", "create", f"program-{time.time_ns()}", "--folder", folder)["key"]
    with serving(folder) as url:
        client = OpenAI(base_url=f"{url}/v1", api_key=key)
        more = {"tools": body["tools"]} if "tools" in body else {}
        answer = client.chat.completions.create(model=model, messages=body["messages"], **more)
    said = answer.choices[0].message
    return said.content or json.dumps([c.to_dict() for c in said.tool_calls or ()])


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """A server of a project's folder; its address."""
    command = python("-m", "assay.cli.main", "serve", "--port", "0", "--folder", str(folder))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            for line in server.stdout:
                if found := re.search(r"Listening on (\S+)", line):
                    yield found[1]
                    return
            raise SystemExit("the server has not started")
        finally:
            server.terminate()


def section(found: Sequence[Mapping[str, Any]], earlier: str = "") -> str:
    """What came out of all jobs, as Markdown.

    Args:
        earlier: the section as it was; of jobs that were not measured now its rows stay, marked.
    """
    environment = found[0]["result"]["environment"]
    versions = ", ".join(f"{n} {v}" for n, v in sorted(environment["packages"].items()))
    monthly = found[0]["result"]["monthly_requests"]
    now = {one["job"]: one for one in found}
    out = []
    for header, lines in ((SUMMARY, _summary), (CANDIDATES, _candidates), (EFFORT, _effort)):
        out += [header, "|---" * (header.count("|") - 1) + "|"]
        for name in _names():
            out += lines(now[name]) if name in now else earlier_rows(earlier, header, name)
        out.append("")
    for one in found:
        for name, why in one.get("refused", {}).items():  # absent in results of before
            out += [f"{one['job']}: {name} was not promoted, since {why}", ""]
        if one["promoted"] is None:
            (replacement,) = one["result"]["replacements"]
            out += [f"{one['job']}: {replacement['sentence']}", ""]
    out += [
        f"{environment['processor']}, {environment['cores']} cores, beside other work; seconds are "
        f"those of the processor. Python {platform.python_version()}, {versions}. At {monthly:,} "
        f"requests a month; a token is taken to be {CHARACTERS_PER_TOKEN} characters.",
        "",
    ]
    if set(now) != set(_names()):
        out += ["\\*: of an earlier run of the script.", ""]
    return "\n".join(out)


def earlier_rows(section: str, header: str, job: str) -> list[str]:
    """A job's rows in one of the tables of a section, marked as not measured anew."""
    table = section.partition(header)[2].partition("\n\n")[0].splitlines()
    marks = (f"| {job} |", f"| {job}\\* |")
    return [f"{marks[1]}{row.split('|', 2)[2]}" for row in table if row.startswith(marks)]


def _summary(one: Mapping[str, Any]) -> list[str]:
    """Who takes the place of the outgoing model, and what that costs."""
    result, new = one["result"], one["promoted"]
    before = wording.usd(result["monthly_requests"] * one["outgoing_usd"])
    after = "–" if new is None else _monthly(result, new)
    old = _score(_named(result, "outgoing"))
    cells = (one["job"], result["data"]["holdout"], old, new or "nothing")
    share = f"{100 * kept_here(result, new):.0f} %"
    return ["| " + " | ".join([*map(str, cells), share, before, after]) + " |"]


def _candidates(one: Mapping[str, Any]) -> list[str]:
    """A line for each candidate, the best first."""
    result = Result.model_validate(one["result"])
    (replacement,) = result.replacements
    return [
        f"| {one['job']} | {c.name} | {c.score} ({c.range_}) | {c.difference} | {c.says} |"
        for c in replacement_lines(result, replacement)
    ]


def _effort(one: Mapping[str, Any]) -> list[str]:
    """What was asked of the models, and how long it took."""
    times = [f"{seconds:.0f} s" for seconds in one["cpu_seconds"].values()]
    cells = (
        *(one["job"], f"{one['recorded']:,}", wording.usd(one["recorded_usd"])),
        *(f"{one['successor_requests']:,}", wording.usd(one["successor_usd"]), *times),
    )
    return ["| " + " | ".join(cells) + " |"]


def _named(result: Mapping[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(c for c in result["candidates"] if c["name"] == name)
    return found


def _score(c: Mapping[str, Any]) -> str:
    return f"{100 * c['score']:.1f} ({100 * c['low']:.1f} to {100 * c['high']:.1f})"


def kept_here(result: Mapping[str, Any], name: str | None) -> float:
    """Share of the requests that no provider answers any more."""
    if name in (None, "remote"):
        return 0.0
    routes = {one["candidate"]: one["arms"][0]["answers"] for one in result["routing"]}
    share: float = routes.get(name, 1.0)
    return share


def _monthly(result: Mapping[str, Any], name: str) -> str:
    """Answers, and what the machine costs beside them where it is kept on for this alone."""
    cost = _named(result, name)["cost"]
    answers = wording.usd(None if cost["requests_usd"] is None else cost["requests_usd"] / 12)
    if not cost["idle_usd"]:
        return answers
    return f"{answers}, and {wording.usd(cost['idle_usd'] / 12)} for a machine of its own"


def write_page(found: Sequence[Mapping[str, Any]]) -> None:
    """Write the figures between the marks of the page."""
    before, mark, rest = PAGE.read_text("utf-8").partition(BEGIN)
    assert mark, f"{BEGIN!r} is not in {PAGE}"
    earlier, end, after = rest.partition(END)
    write_atomic(PAGE, f"{before}{BEGIN}\n{section(found, earlier)}{end}{after}")


def shortened(rows: tuple[list[Row], list[Row]]) -> tuple[list[Row], list[Row]]:
    """Few of each part."""
    return rows[0][: 4 * QUICK_ROWS], rows[1][:QUICK_ROWS]


def main() -> None:
    """Measure the jobs that are not there yet, then write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("jobs", nargs="*", metavar="JOB", help=f"of: {', '.join(_names())}")
    parser.add_argument("--folder", type=Path, default=Path("rescued-jobs"))
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROWS} holdout rows, no page")
    arguments = parser.parse_args()
    if unknown := set(arguments.jobs) - set(_names()):
        parser.error(f"unknown job: {', '.join(sorted(unknown))}")
    os.environ["OPENAI_API_KEY"] = KEY
    files = {name: arguments.folder / f"{name}.json" for name in _names()}
    for name in arguments.jobs or _names():
        if not files[name].exists():
            job = next(one for one in JOBS if one.name == name)
            rows = job.rows()
            rows = shortened(rows) if arguments.quick else rows
            folder = arguments.folder / name
            shutil.rmtree(folder, ignore_errors=True)  # of a server that is gone
            with build_server({name: rows}).running() as server:
                write_json(files[name], measure(job, server, folder))
    found = [json.loads(one.read_text("utf-8")) for one in files.values() if one.exists()]
    print(section(found))
    if not arguments.quick:
        write_page(found)


def _names() -> list[str]:
    return [job.name for job in JOBS]


if __name__ == "__main__":
    main()
