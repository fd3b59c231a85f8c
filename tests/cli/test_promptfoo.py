"""`assay promptfoo`: a configuration becomes a project and comes back; gaps are said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.command import run, sentence

from assay.config import load_config
from assay.data.split import load_train, load_validation
from assay.errors import DataError
from assay.example import read_examples
from assay.project.promptfoo import export_config, import_config
from assay.project.promptfoo.files import SuiteFolder, Unsupported
from assay.project.promptfoo.providers import read_providers
from assay.project.promptfoo.suite import Suite, read_suite
from assay.project.promptfoo.templates import text_of
from assay.project.promptfoo.translation import of_cell
from assay.project.workspace import Workspace, project_of

CONFIG = """\
prompts:
  - id: file://prompts/*.json
  - |-
    Name the desk for the message.

    {{message}}
  - 'Shout {{message | upper}}'
  - file://make.py
providers:
  - openai:chat:gpt-4o-mini
  - bedrock:claude
defaultTest:
  vars: {tone: polite}
  assert:
    - {type: not-icontains, value: sorry}
    - type: javascript
      value: output.length < 40
tests:
  - vars: {message: My card is lost}
    assert:
      - {type: icontains-any, value: [cards, desk of cards]}
      - {type: is-json, value: {type: 7}}
  - vars: {message: What are your hours?}
    threshold: 0.5
    assert:
      - {type: llm-rubric, value: 'Is it {{tone}}?', weight: 2}
      - {type: latency, threshold: 500}
  - file://tests.csv
  - file://tests.jsonl
scenarios:
  - config:
      - vars: {thing: card, desk: cards}
      - vars: {thing: loan, desk: loans}
    tests:
      - vars: {message: ['Sell me a {{thing}}', 'End my {{thing}}']}
        assert: [{type: equals, value: '{{desk}}'}]
"""
DESKS = ("card", "loan", "transfer")


def suite(folder: Path, text: str = CONFIG, **files: str) -> Path:
    """A folder with a configuration and what it names."""
    (folder / "prompts").mkdir(parents=True)
    turns = [{"role": "system", "content": "Answer with the desk."}]
    turns.append({"role": "user", "content": "{{message}}"})
    (folder / "prompts" / "short.json").write_text(json.dumps(turns))
    rows = [f'"My {DESKS[n % 3]}, {n}",{DESKS[n % 3]}s,contains: s' for n in range(12)]
    (folder / "tests.csv").write_text("\n".join(["message,__expected,__expected2", *rows]))
    lines = [
        {"vars": {"message": f"On a {one} of mine"}, "assert": [{"type": "equals", "value": one}]}
        for one in DESKS
    ]
    (folder / "tests.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for name, content in files.items():
        (folder / name).write_text(content)
    config = folder / "promptfooconfig.yaml"
    config.write_text(text)
    return config


def test_a_configuration_becomes_a_project_and_comes_back(tmp_path: Path) -> None:
    config = suite(tmp_path / "suite")
    (tmp_path / ".desks.part").mkdir()  # which a process that was killed may have left
    done = run("promptfoo", "import", str(config), "--to", "desks", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    assert (made["tests"], made["rows"], made["inputs"]) == (21, 20, 1)
    assert made["assertions"]["equals"] == 19
    assert (made["primary"], made["agents"]) == ("assertions", ["prompt-2@1"])
    listed = {(one["line"], one["what"]) for one in made["unsupported"]}
    assert listed == {
        (7, "Shout {{message | upper}}"),
        (8, "file://make.py"),
        (11, "bedrock:claude"),
        (16, "javascript"),
        (22, "is-json"),
        (23, "llm-rubric"),
        (27, "latency"),
        (23, "threshold 0.5"),
    }
    settings = load_config(tmp_path / "desks" / "assay.yaml")
    assert settings.system_prompt == "Answer with the desk."
    assert settings.remote == "remote:openai/gpt-4o-mini"
    written = list(read_examples(tmp_path / "desks" / "data" / "tests.jsonl"))
    by_input = {row.input: row for row in written}
    bad = ("file:///etc/passwd", " File://x.js", "package:@a/b:run", "{{env.KEY}}")
    with (tmp_path / "desks" / "data" / "tests.jsonl").open("a") as file:
        pairs = [(one, "cards") for one in bad] + [(f"In a word: {one[::-1]}", one) for one in bad]
        for asked, answer in [*pairs, *((f"Where to, {n}?", "loans") for n in range(16))]:
            turns = [{"role": "user", "content": asked}]
            turns.append({"role": "assistant", "content": answer})
            said = [{"type": "contains-any", "value": [answer]}]
            file.write(json.dumps({"messages": turns, "assertions": said}) + "\n")
    assert by_input["My card is lost"].output == "cards"
    assert by_input["Sell me a card"].assertions[-1] == {"type": "equals", "value": "cards"}

    out = run("promptfoo", "export", "back", "--project", "desks", cwd=tmp_path)
    assert out.returncode == 0, out.stderr
    assert "Grader rouge-l: promptfoo has no assertion like it" in out.stdout
    again = import_config(tmp_path / "back" / "promptfooconfig.yaml", tmp_path / "again")
    assert again.project is not None
    assert all(one.key.startswith("providers.0") for one in again.unsupported)
    project = project_of(Workspace(tmp_path / "desks"))
    seen = [*load_train(project.split_folder), *load_validation(project.split_folder)]
    kept = [row for row in seen if not {row.input, row.output} & {*bad}]
    assert kept != seen
    texts = (tmp_path / "back" / "tests.jsonl").read_text()
    assert not any(one in texts for one in bad)
    assert f"{len(seen) - len(kept)} rows are left out" in out.stdout
    rows = {row.input: row for row in read_examples(tmp_path / "again" / "data" / "tests.jsonl")}
    assert set(rows) == {row.input for row in kept}
    for row in kept:
        assert rows[row.input].output == row.output
        for one in row.assertions:
            assert one in rows[row.input].assertions


def test_too_few_right_answers_are_no_project(tmp_path: Path) -> None:
    config = suite(tmp_path / "suite", "prompts: ['{{q}}']\ntests: [{vars: {q: a}}]\n")
    done = run("promptfoo", "import", str(config), "--to", "few", cwd=tmp_path)
    assert done.returncode == 0
    assert {one.name for one in tmp_path.iterdir()} == {"suite", "few"}
    assert "0 tests say a right answer; at least 10 are needed" in done.stdout
    assert (
        json.loads((tmp_path / "few" / "inputs.jsonl").read_text())["messages"][0]["content"] == "a"
    )


BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nprompts: ['{{q}}']\n"
WRONG = {
    "no YAML": ("prompts: [", "line 1", 1),
    "aliases": (BOMB, "references (*) are not supported", 1),
    "huge": ("# " + "x" * 300_000, "more than 250000 characters", 1),
    "a list": ("- a", "no promptfoo configuration", 1),
    "outside": ("prompts: [file://../../secret.txt]", "outside of the configuration's folder", 2),
    "absolute": ("prompts: [file:///etc/passwd]", "outside of the configuration's folder", 2),
    "a link": ("prompts: [file://link.txt]", "outside of the configuration's folder", 2),
    "missing": ("prompts: ['{{q}}']\ntests: file://none.csv", "line 2", 1),
    "no prompt": ("prompts: [exec:./run.sh]", "none of the prompts can be read", 1),
    "a threshold": ("prompts: ['{{q}}']\ntests: file://far.csv", "far.csv, line 2", 1),
    "a date": ("prompts: [2024-01-01]", "neither text nor a number", 1),
    "many": ("prompts: ['{{q}}']\ntests: [{vars: {a: &x 1}}]", "0 tests say", 0),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_files_end_in_sentences(name: str, tmp_path: Path) -> None:
    text, said, code = WRONG[name]
    (tmp_path / "secret.txt").write_text("{{q}} secret")
    far = "q,__expected,__threshold\na,b,nan\n"
    config = suite(tmp_path / "inner" / "suite", text, **{"far.csv": far})
    (config.parent / "link.txt").symlink_to(tmp_path / "secret.txt")
    done = run("promptfoo", "import", str(config), "--to", "made", cwd=tmp_path)
    found = " ".join((sentence(done, code) + done.stdout).split())
    assert said in found


def read(folder: Path, text: str, **files: str) -> Suite:
    return read_suite(suite(folder / "suite", text, **files))


def test_tests_are_merged_as_promptfoo_merges_them(tmp_path: Path) -> None:
    text = """\
prompts: ['{{q}}']
assertionTemplates: {short: {type: word-count, value: {max: 3}}}
defaultTest:
  vars: {place: here}
  assert: [{$ref: '#/assertionTemplates/short'}]
  threshold: 0.5
tests:
  - vars: {q: [a, b], n: 1}
    options: {prefix: 'Say {{n}}: '}
    assert:
      - {type: contains-any, value: 'x, {{place}}'}
      - {type: contains, value: 7}
  - vars: {q: c}
    options: {transform: output.toUpperCase()}
  - vars: file://vars.json
    options: {disableDefaultAsserts: true}
    threshold: 0
    assert: [{type: equals, value: file://expected.json}]
scenarios:
  - config:
      - {vars: {q: s}, assert: [{type: contains, value: s}], options: {disableDefaultAsserts: true}}
"""
    found = read(tmp_path, text, **{"vars.json": '{"q": "d"}', "expected.json": '{"a": [1]}'})
    assert [test.variables["q"] for test in found.tests] == ["a", "b", "d", "s"]
    assert [one["type"] for one in found.tests[3].assertions[0]["assert"]] == ["contains"]
    assert found.tests[0].prefix == "Say 1: "
    (both,) = found.tests[0].assertions
    assert both == {
        "type": "assert-set",
        "threshold": 0.5,
        "assert": [
            {"type": "word-count", "value": {"max": 3}},
            {"type": "contains-any", "value": ["x", "here"]},
            {"type": "contains", "value": "7"},
        ],
    }
    (equal,) = found.tests[2].assertions
    assert equal["threshold"] == 0
    assert equal["assert"] == [{"type": "equals", "value": {"a": [1]}}]
    assert found.unsupported == [
        Unsupported(
            "promptfooconfig.yaml",
            14,
            "tests.1.options",
            "options.transform",
            "answers are graded as they are given",
        )
    ]


CELLS: list[tuple[str, dict[str, Any]]] = [
    ("Paris", {"type": "equals", "value": "Paris"}),
    ("note: this", {"type": "equals", "value": "note: this"}),
    ("contains: Paris", {"type": "contains", "value": "Paris"}),
    ("not-icontains:no", {"type": "not-icontains", "value": "no"}),
    ("similar(0.9): hi", {"type": "similar", "value": "hi", "threshold": 0.9}),
    ("is-json", {"type": "is-json"}),
    ("grade: be kind", {"type": "llm-rubric", "value": " be kind"}),
    ("fn: output == 1", {"type": "javascript", "value": " output == 1"}),
    ("file://check.py", {"type": "python", "value": "file://check.py"}),
    ("file://check.js:run", {"type": "python", "value": "file://check.js:run"}),
    ("file://right.json", {"type": "equals", "value": "file://right.json"}),
    ("search-rubric: y", {"type": "search-rubric", "value": "y"}),
    ("answer-relevance(0.8): x", {"type": "answer-relevance", "value": "x"}),
    ("not-is-valid-openai-tools-call", {"type": "not-is-valid-openai-tools-call"}),
    ("trajectory:step-count: 3", {"type": "trajectory", "value": "step-count: 3"}),
    ("similar(0): hi", {"type": "similar", "value": "hi", "threshold": 0.0}),
]


@pytest.mark.parametrize(("cell", "assertion"), CELLS)
def test_cells_are_short_assertions(cell: str, assertion: dict[str, Any]) -> None:
    assert of_cell(cell) == assertion


def test_a_file_may_not_be_larger_than_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = suite(tmp_path / "suite")
    monkeypatch.setattr("assay.project.promptfoo.files.MOST_BYTES", 10)
    with pytest.raises(Exception, match="more than 0 MiB"):
        list(SuiteFolder(config).records(config.parent / "tests.csv"))


def test_sets_in_each_other_and_many_assertions_have_an_end(tmp_path: Path) -> None:
    names = "abcdefgh"
    bomb = [
        f"  {one}: {{type: assert-set, assert: [{', '.join([ref(after)] * 10)}]}}"
        for one, after in zip(names, [*names[1:], "a"], strict=True)
    ]
    many = ", ".join(f"{{type: contains, value: w{n}}}" for n in range(101))
    text = "\n".join(
        [
            "prompts: ['{{q}}']",
            "assertionTemplates:",
            *bomb,
            f"tests: [{{vars: {{q: a}}, assert: [{ref('a')}]}},",
            f"{{vars: {{q: b}}, assert: [{many}]}},",
            "{vars: {q: b}, assert: [{type: contains, value: more}]}]",
        ]
    )
    made = import_config(suite(tmp_path / "suite", text), tmp_path / "made")
    assert made.assertions == {"contains": 100}
    said = [one.reason for one in made.unsupported]
    assert any(why.startswith("more than 2 sets are in each other") for why in said)
    assert any(why.startswith("a test has at most 100 assertions") for why in said)
    assert any(why.startswith("the tests of this input have more") for why in said)


def ref(name: str) -> str:
    return f"{{$ref: '#/assertionTemplates/{name}'}}"


OTHER = "apiBaseUrl: https://models.example/v1"
PROVIDERS: list[tuple[str, str | None, str | None, str | None]] = [
    ("openai:gpt-4o", "openai/gpt-4o", "OPENAI_API_KEY", None),
    (f"{{id: openai:gpt-4o, config: {{{OTHER}}}}}", "models-example/gpt-4o", None, "apiBaseUrl"),
    (
        f"{{id: openai:gpt-4o, config: {{{OTHER}, apiKeyEnvar: AWS_SECRET_ACCESS_KEY}}}}",
        "models-example/gpt-4o",
        None,
        "apiKeyEnvar",
    ),
    (
        f"{{id: openai:gpt-4o, config: {{{OTHER}, apiKeyEnvar: ANTHROPIC_API_KEY}}}}",
        "models-example/gpt-4o",
        None,
        "apiKeyEnvar",
    ),
    (
        f"{{id: openai:gpt-4o, config: {{{OTHER}, apiKeyEnvar: DESK_API_KEY}}}}",
        "models-example/gpt-4o",
        "DESK_API_KEY",
        "apiKeyEnvar",
    ),
    (
        "{id: openai:gpt-4o, config: {apiBaseUrl: https://openai/v1}}",
        "openai-elsewhere/gpt-4o",
        None,
        "apiBaseUrl",
    ),
    ("openai:completion:x", None, None, "0"),
    ("openai:embeddings:x", None, None, "0"),
    ("openai:realtime:x", None, None, "0"),
    ("openai:gpt-4o:mine", "openai/gpt-4o:mine", "OPENAI_API_KEY", None),
]


@pytest.mark.parametrize(("provider", "model", "key", "listed"), PROVIDERS)
def test_no_key_goes_to_an_address_that_is_not_its_own(
    provider: str, model: str | None, key: str | None, listed: str | None, tmp_path: Path
) -> None:
    found = read(tmp_path, f"prompts: ['{{{{q}}}}']\nproviders: [{provider}]\n")
    sections, remote = read_providers(found)
    assert remote == (model and f"remote:{model}")
    if model:
        name = model.partition("/")[0]
        assert sections[f"providers.{name}"]["key_env"] == key
    keys = [one.key.rpartition(".")[2] for one in found.unsupported]
    assert keys[-1:] == ([listed] if listed else [])


@pytest.mark.parametrize(
    ("first", "second", "agents"),
    [("A", "B", 1), ("A", "B {{way}}", 0), ("A {{way}}", "B", 0), ("A {{way}}", "B {{way}}", 0)],
)
def test_a_system_prompt_that_differs_between_tests_is_no_agents(
    first: str, second: str, agents: int, tmp_path: Path
) -> None:
    prompts = [
        json.dumps([{"role": "system", "content": one}, {"role": "user", "content": "{{q}}"}])
        for one in (first, second)
    ]
    tests = [
        {
            "vars": {"q": f"q{n}", "way": f"way {n % 2}"},
            "assert": [{"type": "equals", "value": f"a{n % 3}" if n % 2 else {"a": n}}],
        }
        for n in range(12)
    ]
    text = json.dumps({"prompts": prompts, "tests": tests})
    made = import_config(suite(tmp_path / "suite", text), tmp_path / "made")
    assert len(made.agents) == agents
    assert made.primary == "assertions"  # the values are texts and JSON: neither `exact` reads both
    assert len([one for one in made.unsupported if "another one in other tests" in one.reason]) == (
        1 - agents
    )


VALUES: list[tuple[dict[str, Any], Any]] = [
    ({"type": "bleu", "value": ["one ref", "two ref"]}, "its value is a list or an object"),
    ({"type": "contains", "value": {"a": 1}}, "its value is a list or an object"),
    ({"type": "llm-rubric", "value": {"a": 1}}, "its value is a list or an object"),
    ({"type": "contains-any", "value": ["file://a.txt"]}, "files in a list are not read"),
    ({"type": "equals", "value": "x", "metricOnly": True}, "only what decides is graded"),
    ({"type": "assert-set", "assert": []}, "it has no assertions"),
    ({"type": "equals", "value": 1.0}, "1"),
    ({"type": "contains", "value": "at {{price}}"}, "at 5"),
    ({"type": "contains-all", "value": '"a, b", c'}, ["a, b", "c"]),
]


@pytest.mark.parametrize(("assertion", "made"), VALUES)
def test_values_are_promptfoos_or_listed(
    assertion: dict[str, Any], made: Any, tmp_path: Path
) -> None:
    test = {"vars": {"q": "a", "price": 5.0}, "assert": [assertion]}
    found = read(tmp_path, json.dumps({"prompts": ["{{q}}"], "tests": [test]}))
    (read_test,) = found.tests
    if read_test.assertions:
        assert read_test.assertions[0]["value"] == made
    else:
        assert found.unsupported[0].reason.startswith(made)


PATHS: list[tuple[str, list[str], str | None]] = [
    ("prompts/*.txt", ["One {{q}}", "Two {{q}}"], None),
    ("texts", ["# Role\n\n---\n\n# Task {{q}}"], None),
    ("prompts/gone.txt", [], "no file 'prompts/gone.txt'"),
    ("gone/*", [], "no file 'gone/\\*'"),
    ("and/or" * 60, ["and/or" * 60], None),
    ("Is it either a/b or 2 * 3? Say so.", ["Is it either a/b or 2 * 3? Say so."], None),
]


@pytest.mark.parametrize(("name", "texts", "fault"), PATHS)
def test_a_prompt_may_be_a_path(
    name: str, texts: list[str], fault: str | None, tmp_path: Path
) -> None:
    config = suite(tmp_path / "suite", json.dumps({"prompts": [name]}))
    (config.parent / "prompts" / "two.txt").write_text("One {{q}}\n---\nTwo {{q}}\n")
    (config.parent / "prompts" / "old.txt").mkdir()
    (config.parent / "texts").mkdir()
    (config.parent / "texts" / "role.md").write_text("# Role\n\n---\n\n# Task {{q}}")
    if fault:
        with pytest.raises(DataError, match=fault):
            read_suite(config)
    else:
        found = [
            "\n\n".join([one.system, one.turns[-1][1]]).strip()
            for one in read_suite(config).prompts
        ]
        assert found == texts


VARIABLES: list[tuple[Any, list[str]]] = [
    (["a", "file://b.txt"], ["a", "b"]),
    ("file://texts/*.txt", ["one", "two"]),
    ("file://list.json", ['["x", 1.0]']),
    ("file://list.yaml", ['["x",1]']),
    ([1, 2], ["[1, 2]"]),
    ([], ["[]"]),
    ("{{b}} {{b}}\n", ["y y"]),
    ("{{d | upper}}", []),
    ("file://x.png", []),
]


@pytest.mark.parametrize(("value", "texts"), VARIABLES)
def test_lists_and_files_make_tests_as_in_promptfoo(
    value: Any, texts: list[str], tmp_path: Path
) -> None:
    made = {"prompts": ["{{q}}"], "tests": [{"vars": {"q": value, "b": "{{c}}", "c": "y"}}]}
    config = suite(tmp_path / "suite", json.dumps(made), **{"b.txt": " b\n"})
    (config.parent / "list.json").write_text('["x", 1.0]\n')
    (config.parent / "list.yaml").write_text("[x, 1]\n")
    (config.parent / "texts").mkdir()
    for name in ("one", "two"):
        (config.parent / "texts" / f"{name}.txt").write_text(f"{name}\n")
    found = read_suite(config)
    assert [text_of(test.variables["q"]) for test in found.tests] == texts
    assert len(found.unsupported) == (0 if texts else 1)


def test_what_is_not_read_is_listed_wherever_it_stands(tmp_path: Path) -> None:
    text = """\
prompts: ['{{q}}']
env: {A: b}
evaluateOptions: {repeat: 3, maxConcurrency: 2}
strange: 1
defaultTest:
  vars: file://vars.json
  provider: openai:gpt-4o
  prompts: [a]
  assertScoringFunction: file://s.js
  options: {provider: openai:gpt-4o, odd: 1}
tests: [{vars: {n: 1}, unheard: 1}]
"""
    found = read(tmp_path, text, **{"vars.json": '{"q": "from a file"}'})
    assert [test.variables["q"] for test in found.tests] == ["from a file"]
    assert {one.what for one in found.unsupported} == {
        *("env", "repeat", "strange", "provider", "prompts", "assertScoringFunction"),
        *("options.provider", "options.odd", "unheard"),
    }


def test_what_a_judge_goes_by_comes_back(tmp_path: Path) -> None:
    said = [{"type": "factuality", "value": f"It is {n}."} for n in range(14)]
    tests = [{"vars": {"q": f"q{n}"}, "assert": [one]} for n, one in enumerate(said)]
    made = {"prompts": ["{{q}}"], "tests": tests, "providers": ["openai:gpt-4o"]}
    config = suite(tmp_path / "suite", json.dumps(made))
    import_config(config, tmp_path / "made", judge="remote:openai/gpt-4o")
    out = export_config(Workspace(tmp_path / "made"), tmp_path / "back")
    assert "judge" not in out.unsupported
    for line in (tmp_path / "back" / "tests.jsonl").read_text().splitlines():
        assert [one for one in json.loads(line)["assert"] if one in said]
