"""From an account at OpenAI to a release under the old name, which an unchanged program calls.

    export OPENAI_API_KEY=sk-...
    python examples/rescue.py ft:gpt-4o-mini-2024-07-18:acme::abc --most-usd 5 \\
        --successor openai/gpt-5-mini

The model is asked the inputs of its project's holdout, validation and train, up to that budget, and
its answers are kept. What is shown to be no worse than it on the holdout is served under its name.
"""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from openai import OpenAI
from typer.testing import CliRunner

from assay.cli.main import app


def main() -> None:
    """Fetch, plan, record, compare, promote, serve, call."""
    parser = argparse.ArgumentParser(description="Replace a fine-tuned model that will end.")
    parser.add_argument("model", help="its name at OpenAI: ft:...")
    parser.add_argument("--most-usd", default="5", help="what its answers may cost")
    parser.add_argument("--to", type=Path, default=Path("rescued"), help="folder to write")
    parser.add_argument("--base-url", help="another address than OpenAI's, with /v1")
    parser.add_argument("--base", default="smollm2-135m-instruct", help="model to specialise")
    parser.add_argument("--candidates", help="what is compared: a,b (default: as proposed)")
    parser.add_argument("--successor", help="PROVIDER/MODEL that takes part; rows go there")
    parser.add_argument("--prices", nargs=2, help="USD per million tokens in and out, if unlisted")
    chosen = parser.parse_args()
    account, home = chosen.to / "account", chosen.to / "projects"
    there = ["--base-url", chosen.base_url] if chosen.base_url else []
    prices = []
    if chosen.prices:
        prices = ["--input-price", chosen.prices[0], "--output-price", chosen.prices[1]]

    run("rescue", "openai", "--to", account, "--yes", *there, may_miss=True)
    there_too = ["--successor", chosen.successor] if chosen.successor else []
    plan = run(
        "rescue", "plan", "--from", account, "--to", home, "--model", chosen.base, *there_too
    )
    ours = next(one for one in plan["models"] if one["model"] == chosen.model)
    if ours["project"] is None:
        raise SystemExit(f"no project for {chosen.model}: {ours['reason']}")
    print(f"ends {ours['ends']}; project {home / ours['project']}")
    project = ["--project", home / ours["project"]]
    if chosen.candidates:
        settings = home / ours["project"] / "assay.yaml"
        text, listed = settings.read_text("utf-8"), f"candidates: [{chosen.candidates}]\n"
        settings.write_text(re.sub(r"(?m)^candidates:.*\n(  - .*\n)*", listed, text), "utf-8")

    budget = ["--most-usd", chosen.most_usd, "--yes"]
    asked = [chosen.model, "--to", account, *project, *there, *prices, *budget]
    kept = run("rescue", "record", *asked, may_miss=True)
    print(f"{kept['recorded']} answers recorded for USD {kept['usd']:.2f}")

    agreed = ["--consent", chosen.successor.partition("/")[0]] if chosen.successor else []
    result = run("compare", *project, "--predictions", f"outgoing={kept['file']}", *agreed)
    (replacement,) = result["replacements"]
    print(replacement["sentence"])
    found = {one["name"]: one for one in result["candidates"]}
    fit = replacement["no_worse"]
    if not fit:
        raise SystemExit("nothing can take its place yet; keep the recording for later")
    best = result["verdict"]["recommend"]
    agent = found[best if best in fit else fit[0]]["agent"]
    agents = run("agent", "list", *project)
    label = next(one["label"] for one in agents if one["id"] == agent)
    run("release", "promote", chosen.model, label, *project)
    print(f"{chosen.model} is now {label}")

    folder = ["--folder", home / ours["project"]]
    key = run("keys", "create", "old-program", *folder)["key"]
    command = [sys.executable, "-m", "assay.cli.main", "serve", "--port", "0", *map(str, folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            print(f"answered: {old_program(chosen.model, listening(server), key)}")
        finally:
            server.terminate()


def old_program(model: str, url: str, key: str) -> str | None:
    """The program that has called OpenAI: its address and key are another, and nothing else."""
    client = OpenAI(base_url=f"{url}/v1", api_key=key)
    question = "Where is my card?"
    answer = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": question}]
    )
    return answer.choices[0].message.content


def listening(server: "subprocess.Popen[str]") -> str:
    """The address that the server says it listens on."""
    assert server.stdout is not None
    for line in server.stdout:
        if found := re.search(r"Listening on (\S+)", line):
            return found[1]
    raise SystemExit("the server has not started")


def run(*command: object, may_miss: bool = False) -> Any:
    """The JSON that an assay command prints; it runs in this process, which loads libraries once.

    Args:
        may_miss: exit code 1 says only that not everything was had.
    """
    print(f"$ assay {' '.join(map(str, command))}", flush=True)
    done = CliRunner().invoke(app, [*map(str, command), "--json"])
    is_known = done.exit_code == 0 or (may_miss and done.exit_code == 1 and done.stdout.strip())
    if not is_known:
        raise SystemExit(f"it has failed: {done.exception}\n{done.stderr}")
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()
