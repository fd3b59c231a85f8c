"""From a file of dialogues to an endpoint that an agent's loop drives, with OpenAI's own client.

    python examples/tool_specialist.py

It writes dialogues about ferries into the current folder, compares candidates, serves the
recommended one and talks to it: what it calls is a Python function below, until it answers in
words. The two candidates that need no language model take less than a minute of one core;
`--candidates extract-call,nearest-answer,prompt,fine-tune` adds it, for as long as the printed
estimate says.
"""

import argparse
import itertools
import json
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from openai import OpenAI
from typer.testing import CliRunner

from assay.cli.main import app

PORTS = (
    "Oslo",
    "Bergen",
    "Kiel",
    "Tallinn",
    "Riga",
    "Turku",
    "Visby",
    "Rostock",
    "Gdynia",
    "Helsinki",
)
OPENINGS = (
    "I have to get to {}, can you help me?",
    "Is there a ferry to {}?",
    "A crossing to {} would be nice.",
    "We want to go to {} with the children.",
    "My sister marries in {} and I cannot fly.",
    "How does one come to {} with a dog?",
    "Two bicycles and I are bound for {}.",
    "What sails to {} these days?",
)
DAYS = ("On {}, please.", "We leave on {}.", "{} would suit us.")
PROJECT, RELEASE = "ferries", "ferry"
BOOKED: list[str] = []


def find_ferry(to: str, date: str) -> list[str]:
    """Departures to a port on a day."""
    return [f"{to[:3].upper()}-{int(date[-2:]) * 7}"]


def book_ferry(departure: str) -> str:
    """Books one of them."""
    BOOKED.append(departure)
    return f"booked {departure}"


FUNCTIONS: dict[str, Callable[..., Any]] = {"find_ferry": find_ferry, "book_ferry": book_ferry}
TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": FUNCTIONS[name].__doc__,
            "parameters": {
                "type": "object",
                "properties": {argument: {"type": "string"} for argument in arguments},
                "required": arguments,
                "additionalProperties": False,
            },
        },
    }
    for name, arguments in (("find_ferry", ["to", "date"]), ("book_ferry", ["departure"]))
]


def main() -> None:
    """Write, compare, promote, serve, talk."""
    parser = argparse.ArgumentParser(description="A specialist that calls functions.")
    parser.add_argument("--base", default="smollm2-135m-instruct", help="model to specialise")
    parser.add_argument("--candidates", default="extract-call,nearest-answer", help="a,b")
    chosen = parser.parse_args()
    file = Path("dialogues.jsonl")
    file.write_text("".join(json.dumps(row) + "\n" for row in rows()), "utf-8")

    print(text_of("init", PROJECT, "--data", file, "--model", chosen.base))
    settings = Path(PROJECT, "assay.yaml")
    text, listed = settings.read_text("utf-8"), f"candidates: [{chosen.candidates}]\n"
    settings.write_text(re.sub(r"(?m)^candidates:.*\n(  - .*\n)*", listed, text), "utf-8")

    project = ["--project", PROJECT]
    result = run("compare", *project)
    for one in result["candidates"]:
        print(f"{one['name']}: {one['score']:.0%} of answers call exactly what is right")
    best = result["verdict"]["recommend"]
    if best is None:
        raise SystemExit(result["verdict"]["reason"])
    agent = next(one["agent"] for one in result["candidates"] if one["name"] == best)
    agents = run("agent", "list", *project)
    label = next(one["label"] for one in agents if one["id"] == agent)
    run("release", "promote", RELEASE, label, *project)

    key = run("keys", "create", "agent-loop", "--folder", PROJECT)["key"]
    command = [sys.executable, "-m", "assay.cli.main", "serve", "--port", "0", "--folder", PROJECT]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            client = OpenAI(base_url=f"{listening(server)}/v1", api_key=key)
            talk(client, ["Hello, is there a ferry to Turku?", "On 2027-06-03, please."])
        finally:
            server.terminate()
    print(f"booked: {', '.join(BOOKED)}")


def talk(client: OpenAI, said: list[str]) -> None:
    """A conversation in which the user says these, one after each answer in words."""
    messages: list[Any] = []
    for sentence in said:
        print(f"user: {sentence}")
        messages.append({"role": "user", "content": sentence})
        for _ in range(8):  # a model that calls for ever is not asked for ever
            completion = client.chat.completions.create(
                model=RELEASE, messages=messages, tools=TOOLS
            )
            answer = completion.choices[0].message
            messages.append(answer.to_dict())
            if not answer.tool_calls:
                print(f"agent: {answer.content}")
                break
            for call in answer.tool_calls:
                assert call.type == "function"
                result = call_function(call.function.name, call.function.arguments)
                print(f"  {call.function.name}({call.function.arguments}) -> {result}")
                messages.append({"role": "tool", "tool_call_id": call.id, "content": result})


def call_function(name: str, arguments: str) -> str:
    """What a function returns, as JSON; an error is a result, too, which a model may react to."""
    try:
        return json.dumps(FUNCTIONS[name](**json.loads(arguments)))
    except (KeyError, TypeError, ValueError) as error:
        return json.dumps({"error": str(error)})


def rows() -> Iterator[dict[str, Any]]:
    """80 dialogues: a question back, two calls, a last sentence. Each such turn ends a row."""
    drawn = random.Random(0)
    for number, (opening, port) in enumerate(itertools.product(OPENINGS, PORTS)):
        day = f"2027-{drawn.randint(4, 9):02}-{drawn.randint(1, 28):02}"
        [departure] = find_ferry(port, day)
        turns: list[dict[str, Any]] = [
            {"role": "user", "content": opening.format(port)},
            {"role": "assistant", "content": "On which day?"},
            {"role": "user", "content": drawn.choice(DAYS).format(day)},
            called("c1", "find_ferry", to=port, date=day),
            {"role": "tool", "tool_call_id": "c1", "content": json.dumps([departure])},
            called("c2", "book_ferry", departure=departure),
            {"role": "tool", "tool_call_id": "c2", "content": json.dumps(f"booked {departure}")},
            {"role": "assistant", "content": "It is booked. Have a good crossing."},
        ]
        for end in (2, 4, 6, 8):
            yield {"messages": turns[:end], "tools": TOOLS, "group": str(number)}


def called(id: str, name: str, **arguments: str) -> dict[str, Any]:
    """A turn of the assistant that calls one function."""
    function = {"name": name, "arguments": json.dumps(arguments)}
    call = {"id": id, "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def listening(server: "subprocess.Popen[str]") -> str:
    """The address that the server says it listens on."""
    assert server.stdout is not None
    for line in server.stdout:
        if found := re.search(r"Listening on (\S+)", line):
            return found[1]
    raise SystemExit("the server has not started")


def run(*command: object) -> Any:
    """The JSON that an assay command prints; it runs in this process, for speed."""
    return json.loads(text_of(*command, "--json"))


def text_of(*command: object) -> str:
    """What an assay command prints."""
    print(f"$ assay {' '.join(map(str, command))}", flush=True)
    done = CliRunner().invoke(app, [*map(str, command)])
    if done.exit_code:
        raise SystemExit(f"it has failed: {done.exception}\n{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
