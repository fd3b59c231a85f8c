"""How far `call-exact` agrees with the checker of the Berkeley Function Calling Leaderboard.

    python -m venv /tmp/bfcl && /tmp/bfcl/bin/pip install --no-deps bfcl-eval==2026.3.23
    python bench/calls.py --reference /tmp/bfcl/lib/python3.11/site-packages

Every row of the sets simple, multiple and parallel becomes an example: the first of its possible
answers is the target, the others stand in `possible`. Each is answered by the right answer, by five
damaged ones and by six that say the same in another way, and both checkers judge each answer; where
they differ, it is printed. The rows of
irrelevance, where no function fits, get an answer in words and one that calls.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import sys
import types
from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

from assay.config import GraderSpec
from assay.evaluate.graders import GradingContext, grade
from assay.example import Example, Message, ToolCall
from public_data import lines

SETS = ("simple_python", "multiple", "parallel")
IRRELEVANCE = "irrelevance"
"""The set of which no row has a right call, and so no file of answers."""
TYPES = {"dict": "object", "float": "number", "tuple": "array", "any": "string"}
"""Of JSON Schema, by what the leaderboard calls them."""
MOST_VALUES = 64
"""Spellings of one nested argument."""
CONTEXT = GradingContext(task="tools")

Calls = list[dict[str, dict[str, Any]]]
"""As the leaderboard writes them: [{function: {argument: value}}, ...]."""


def tool_of(function: dict[str, Any]) -> dict[str, Any]:
    """A function of the leaderboard as a tool in OpenAI's form."""
    return {
        "type": "function",
        "function": {**function, "parameters": _schema(function["parameters"])},
    }


def _schema(raw: dict[str, Any]) -> dict[str, Any]:
    schema = dict(raw)
    if "type" in schema:
        schema["type"] = TYPES.get(schema["type"], schema["type"])
    if "properties" in schema:
        schema["properties"] = {name: _schema(one) for name, one in schema["properties"].items()}
    if isinstance(schema.get("items"), dict):
        schema["items"] = _schema(schema["items"])
    # Written there for readers; several are no value of the parameter's type.
    schema.pop("default", None)
    schema.pop("optional", None)
    return schema


def example_of(row: dict[str, Any], truth: list[dict[str, Any]]) -> Example:
    """A row with its possible answers; without any, its target is text."""
    calls, possible = [], []
    for number, one in enumerate(truth):
        [(name, arguments)] = one.items()
        values = {key: list(_spellings(listed)) for key, listed in arguments.items()}
        optional = [key for key, listed in arguments.items() if "" in listed]
        first = {key: listed[0] for key, listed in values.items() if listed}
        calls.append(ToolCall(f"call_{number}", name, json.dumps(first)))
        possible.append({"values": {k: v for k, v in values.items() if v}, "optional": optional})
    target = Message("assistant", "" if calls else "No function fits.", tuple(calls))
    question = [Message(turn["role"], turn["content"]) for turn in row["question"][0]]
    tools = tuple(map(tool_of, row["function"]))
    return Example(row["id"], (*question, target), tools, possible=tuple(possible))


def _spellings(listed: list[Any]) -> Iterator[Any]:
    """The values of a list of possible ones; "" among them only says that one may be left out."""
    kept = [value for value in listed if value != ""] or [v for v in listed if v is None]
    for value in kept:
        yield from itertools.islice(_whole(value), MOST_VALUES)


def _whole(value: Any) -> Iterator[Any]:
    """An object lists the possible values of each of its keys; so does one in a list."""
    if isinstance(value, dict):
        choices = [
            [(key, one) for one in listed if one != ""] + [None] * ("" in listed)
            for key, listed in value.items()
        ]
        for chosen in itertools.product(*choices):
            yield dict(pair for pair in chosen if pair is not None)
    elif isinstance(value, list) and any(isinstance(one, dict) for one in value):
        yield from map(list, itertools.product(*(list(_whole(one)) for one in value)))
    else:
        yield value


def right_answer(example: Example) -> Calls:
    """The calls of the target, as the leaderboard writes them."""
    return [{call.name: json.loads(call.arguments)} for call in example.target.tool_calls]


def text_of(calls: Calls) -> str:
    """Calls as a model writes them."""
    made = [
        ToolCall(str(number), name, json.dumps(arguments, ensure_ascii=False))
        for number, one in enumerate(calls)
        for name, arguments in one.items()
    ]
    return Message("assistant", "", tuple(made)).text


def _changed(
    calls: Calls, change: Callable[[str, dict[str, Any]], tuple[str, dict[str, Any]]]
) -> Calls:
    """The calls with the last one changed."""
    made = deepcopy(calls)
    [(name, arguments)] = made[-1].items()
    name, arguments = change(name, arguments)
    made[-1] = {name: arguments}
    return made


def other_value(value: Any) -> Any:
    """A value of the same type that says something else."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        return value + " not"
    if isinstance(value, list):
        return [*value, *value[-1:]]
    return {key: other_value(inner) for key, inner in value.items()} if value else None


def damage(example: Example) -> dict[str, Calls]:
    """Answers to one example by what is wrong with them."""
    calls = right_answer(example)
    names = [tool["function"]["name"] for tool in example.tools]

    def wrong_name(name: str, arguments: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        others = [other for other in names if other != name]
        return (others or [name + "_other"])[0], arguments

    def without_one(name: str, arguments: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        [parameters] = [
            t["function"]["parameters"] for t in example.tools if t["function"]["name"] == name
        ]
        left = next(iter(parameters["required"]), next(iter(arguments), None))
        return name, {key: value for key, value in arguments.items() if key != left}

    def wrong_value(name: str, arguments: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        first = next(iter(arguments), None)
        return name, {k: other_value(v) if k == first else v for k, v in arguments.items()}

    def wrong_type(name: str, arguments: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        first = next(iter(arguments), None)
        wrong = {
            k: [v] if isinstance(v, str) else str(v) for k, v in arguments.items() if k == first
        }
        return name, arguments | wrong

    def one_more(name: str, arguments: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        return name, {**arguments, "not_a_parameter": 1}

    changes = {
        "wrong function": wrong_name,
        "argument left out": without_one,
        "wrong value": wrong_value,
        "wrong type": wrong_type,
        "argument that is none": one_more,
    }
    return {"right": calls} | {what: _changed(calls, change) for what, change in changes.items()}


def reworded(example: Example) -> dict[str, Calls]:
    """Answers that say the same as the target in another way, by the way."""
    calls = right_answer(example)

    def each(change: Callable[[Any], Any]) -> Calls:
        return [{n: {k: change(v) for k, v in a.items()} for n, a in c.items()} for c in calls]

    last, fewest = [], []
    for call, entry in zip(calls, example.possible, strict=True):
        [(name, arguments)] = call.items()
        last.append({name: {k: entry["values"][k][-1] for k in arguments}})
        fewest.append({name: {k: v for k, v in arguments.items() if k not in entry["optional"]}})
    return {
        "last possible value": last,
        "optional left out": fewest,
        "calls in reverse": calls[::-1],
        "texts in capitals": each(lambda v: v.upper() if isinstance(v, str) else v),
        "texts without signs": each(lambda v: re.sub("[,.]", "", v) if isinstance(v, str) else v),
        "numbers as 5.0": each(lambda v: float(v) if type(v) is int else v),
    }


def ours(example: Example, calls: Calls) -> bool:
    """What `call-exact` says."""
    scores = grade(GraderSpec(name="call-exact"), [text_of(calls)], [example], CONTEXT)
    return scores.scores[0] == 1.0


def reference_checker(folder: Path) -> Callable[[dict[str, Any], Calls, list[Any], str], bool]:
    """The leaderboard's own checker, without the clients of every provider that it comes with."""
    sys.path.append(str(folder))
    stub: Any = types.ModuleType("bfcl_eval.constants.model_config")
    stub.MODEL_CONFIG_MAPPING = {"any": types.SimpleNamespace(underscore_to_dot=False)}
    sys.modules[stub.__name__] = stub
    from bfcl_eval.constants.enums import Language  # type: ignore[import-not-found]
    from bfcl_eval.eval_checker.ast_eval.ast_checker import (  # type: ignore[import-not-found]
        ast_checker,
    )

    def check(row: dict[str, Any], calls: Calls, truth: list[Any], name: str) -> bool:
        found = ast_checker(row["function"], calls, truth, Language.PYTHON, name, "any")
        return bool(found["valid"])

    return check


def rows_of(name: str) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]], Example]]:
    """The rows of a set, their possible answers, and the examples that they become."""
    answered = () if name == IRRELEVANCE else lines("bfcl", f"{name}_answers.jsonl")
    answers = {one["id"]: one["ground_truth"] for one in answered}
    for row in lines("bfcl", f"{name}.jsonl"):
        truth = [] if name == IRRELEVANCE else answers[row["id"]]
        yield row, truth, example_of(row, truth)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--reference", type=Path, required=True, help="folder that holds bfcl_eval")
    check = reference_checker(parser.parse_args().reference)
    for name in SETS:
        judged, same, right = Counter[str](), Counter[str](), Counter[str]()
        for row, truth, example in rows_of(name):
            for kind, calls in (damage(example) | reworded(example)).items():
                mine = ours(example, calls)
                theirs = check(row, calls, truth, name)
                judged[kind] += 1
                right[kind] += mine
                same[kind] += mine == theirs
                if mine != theirs:
                    said = json.dumps(calls, ensure_ascii=False)[:300]
                    print(f"  {row['id']}, {kind}: ours {mine}, theirs {theirs}: {said}")
                    print(f"    possible: {json.dumps(truth, ensure_ascii=False)[:300]}")
        for kind, count in judged.items():
            print(f"{name:14} {kind:22} {same[kind]:4} of {count} the same, {right[kind]} right")
    silent = called = rows = 0
    for row, _, example in rows_of(IRRELEVANCE):
        rows += 1
        words = ["I cannot do that."]
        silent += grade(GraderSpec(name="call-exact"), words, [example], CONTEXT).scores == [1.0]
        call: Calls = [{row["function"][0]["name"]: {}}] if row["function"] else []
        called += bool(call) and not ours(example, call)
    print(f"irrelevance: words right in {silent} of {rows}, a call wrong in {called}")


if __name__ == "__main__":
    main()
