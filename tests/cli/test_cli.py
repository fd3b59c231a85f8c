"""The command line as scripts see it: exit codes, one JSON document, sentences for errors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.command import run, sentence
from tests.preloaded import Preloaded
from tests.small import small_project, write_csv

from assay.cli import main


def test_version_and_help_wait_for_no_library() -> None:
    """Whoever imports one of these for a default or a type makes every command slower."""
    asked = [["--version"], ["--help"], ["data", "--help"]]
    asked += [[command, "--help"] for command in ("init", "compare", "curve", "demo", "serve")]
    code = (
        "import sys\nfrom assay.cli.main import app\n"
        f"for words in {asked}:\n    assert not app(words, standalone_mode=False)\n"
        "print(*{name.partition('.')[0] for name in sys.modules})\n"
        "import assay.serve.server, assay.studio.pages\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert done[0].startswith("assay 0.")
    assert "--batch-requests" in " ".join(done)
    heavy = {"fastapi", "nicegui", "numpy", "pyarrow", "scipy", "sklearn", "sqlalchemy"}
    learned = {"pandas", "sklearn", "torch", "transformers"}
    assert not (heavy | learned) & set(done[-2].split())
    assert not learned & set(done[-1].split())  # a server waits for these once they are needed


def test_a_place_that_cannot_be_written_to_is_a_sentence(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "a.csv", 30)
    columns = ("--input", "text", "--output", "label")
    for place in (file, file / "inside"):
        done = run("data", "check", str(file), *columns, "--out", str(place))
        assert str(place) in sentence(done, 1)
    assert len(file.read_text().splitlines()) == 31  # as it was


def test_check_prints_the_contract(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "a.csv", 30)
    with file.open("a") as out:
        out.write("an empty one,\n")
    done = run("data", "check", str(file), "--input", "text", "--output", "label", "--json")
    body = json.loads(done.stdout)
    assert done.returncode == 1
    assert {
        "format",
        "rows",
        "valid",
        "rejected",
        "problems",
        "counts",
        "duplicates",
        "tokens",
    } <= (body.keys())
    assert (body["format"], body["rows"], body["valid"], body["rejected"]) == ("csv", 31, 30, 1)
    empty = next(p for p in body["problems"] if p["code"] == "empty-output")
    assert {"file", "line", "field", "code", "severity", "message", "fix"} == empty.keys()
    assert (empty["line"], empty["severity"]) == (32, "error")
    assert body["tokens"] is None
    assert body["duplicates"].keys() == {"exact", "near"}


def test_check_says_which_columns_it_took(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("text,label,count\n" + "".join(f"text {i},a,{i}\n" for i in range(60)))
    named = ("--input", "text", "--output", "label,count")
    told = "Columns: input text, output label, count; read as numbers: count."
    assert told in run("data", "check", str(file), *named).stdout
    body = json.loads(run("data", "check", str(file), "--json").stdout)
    assert body["columns"] == {"input": ["text"], "output": ["label"]}
    chat = tmp_path / "a.jsonl"
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    chat.write_text(json.dumps({"messages": turns}) + "\n")
    assert "Columns:" not in run("data", "check", str(chat)).stdout
    assert json.loads(run("data", "check", str(chat), "--json").stdout)["columns"] is None


def test_warnings_alone_exit_0(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "a.csv", 60)
    text = file.read_text().splitlines()
    file.write_text("\n".join([*text, text[1]]) + "\n")
    done = run("data", "check", str(file), "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["duplicates"]["exact"] >= 1


def test_overlap_prints_the_contract(tmp_path: Path) -> None:
    train = write_csv(tmp_path / "train.csv", 40)
    (tmp_path / "hold.csv").write_text(
        "text,label\n" + train.read_text().splitlines()[3].upper() + "\nsomething else,cat\n"
    )
    done = run(
        "data", "overlap", str(train), str(tmp_path / "hold.csv"), "--input", "text", "--json"
    )
    body = json.loads(done.stdout)
    assert done.returncode == 0
    assert (body["exact"], body["near"]) == (1, 0)
    (row,) = body["rows"]
    assert row["holdout_row"] == 1
    assert row["train_row"] == 3
    assert row["kind"] == "exact"
    assert row["similarity"] == 1.0


def test_overlap_counts_answers_that_could_be_copied(tmp_path: Path) -> None:
    train, held, docs = (tmp_path / name for name in ("train.csv", "hold.csv", "docs"))
    train.write_text("asked,said,note\nhow do I pay,By card.,a\nwhere is it,See the map.,b\n")
    held.write_text(
        "asked,said,note\nmay I pay later,BY CARD,a\nwhen do you open,At nine o'clock.,b\n"
        "is there parking,Behind the house,c\n"
    )
    docs.mkdir()
    (docs / "faq.md").write_text("# Hours\nWhen do you open? At nine o'clock.\n")
    (docs / "other.txt").write_text("Is there parking? No. The garden is behind the house.")
    asked = ("data", "overlap", str(train), str(held), "--input", "asked")

    def counted(*options: str) -> dict[str, int | None]:
        done = run(*asked, *options, "--json")
        assert done.returncode == 0, done.stderr
        body = json.loads(done.stdout)
        return {name: body[name] for name in ("exact", "answers", "documents")}

    assert counted() == {"exact": 0, "answers": None, "documents": None}
    assert counted("--output", "said") == {"exact": 0, "answers": 1, "documents": None}
    one = ("--output", "said", "--knowledge", str(docs / "faq.md"))
    assert counted(*one)["documents"] == 1
    assert counted(*one, "--knowledge", str(docs / "other.txt"))["documents"] == 2
    assert counted("--output", "said", "--knowledge", str(docs))["documents"] == 2
    assert counted("--output", "note", "--knowledge", str(docs))["answers"] == 2
    shown = run(*asked, *one).stdout
    assert "answers of training rows, word for word: 1." in shown
    assert "in a document that holds their answer: 1." in " ".join(shown.split())
    for wrong, said in (
        (("--knowledge", str(docs)), "Name the output's column, too."),
        (("--output", "said", "--knowledge", str(tmp_path / "none")), "none"),
        (("--output", "nothing"), "nothing"),
    ):
        done = run(*asked, *wrong)
        assert done.returncode != 0
        assert said in done.stderr
        assert "Traceback" not in done.stderr


def test_import_writes_chat_and_keeps_the_rejected(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"prompt": "p", "completion": "c"}\n{"prompt": 3}\n')
    done = run("data", "import", str(file), str(tmp_path / "out.jsonl"), "--json")
    body = json.loads(done.stdout)
    assert (body["written"], body["rejected"]) == (1, 1)
    (line,) = (tmp_path / "out.jsonl").read_text().splitlines()
    assert json.loads(line)["messages"][1] == {"role": "assistant", "content": "c"}
    assert "problems" in json.loads(Path(body["rejected_file"]).read_text())


@pytest.mark.parametrize(
    ("content", "arguments", "code", "words"),
    [
        ("", (), 1, "empty"),
        ("text,label\n", (), 1, ""),
        ("text,label\na,x\nb,y\n", (), 1, "at least 10"),
        ("text\n" + "".join(f"row {i}\n" for i in range(60)), (), 1, "A second column is needed"),
        ("text,label\n" + "".join(f"row {i},same\n" for i in range(60)), (), 1, "same"),
        pytest.param(
            "text,label\nodd,rare\n" + "".join(f"row {i},{'xy'[i % 2]}\n" for i in range(60)),
            (),
            1,
            "a.csv: 1 label has only one row",
            marks=pytest.mark.slow,
        ),
        ("text,label\na,x\n", ("--input", "txt", "--output", "label"), 1, "text"),
        ("text,label\na,x\n", ("--input", "text"), 2, "must be given together"),
        ("text,label\na,x\n", ("--task", "poem"), 2, "label, json, text or tools"),
    ],
)
def test_init_refuses_in_a_sentence(
    tmp_path: Path, content: str, arguments: tuple[str, ...], code: int, words: str
) -> None:
    (tmp_path / "a.csv").write_text(content)
    done = run("init", "p", "--data", "a.csv", "--yes", *arguments, cwd=tmp_path)
    assert words in sentence(done, code)
    assert not (tmp_path / "p").exists()


def test_wrong_turns_end_in_sentences(tmp_path: Path) -> None:
    ours = [sys.executable, "-m", "assay.cli.main", "compare"]
    process = subprocess.run(ours, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "no project here" in sentence(process, 1)
    assert "no project here" in sentence(run("compare", cwd=tmp_path), 1)
    assert sentence(run("init", "p", "--data", "missing.csv", cwd=tmp_path), 1)
    assert sentence(run("comapre", cwd=tmp_path), 2)
    assert "NAME=FILE" in sentence(run("compare", "--predictions", "x", cwd=tmp_path), 2)
    (tmp_path / "assay.yaml").write_text("version: 1\nname: [\n")
    assert "line" in sentence(run("compare", cwd=tmp_path), 1)
    (tmp_path / "assay.yaml").write_text("version: 1\nname: p\nepochs: 3\n")
    assert "assay.yaml" in sentence(run("compare", cwd=tmp_path), 1)
    # A second project stands beside the first: the folder above, and a server of its own.
    beside = sentence(run("init", "second", "--data", "x.csv", cwd=tmp_path), 2)
    assert "cd .." in beside
    assert "assay serve --folder second --port 8001" in beside


@pytest.mark.slow
def test_init_and_compare(tmp_path: Path) -> None:
    edit = {"  - few-shot-nearest\n  - encoder\n  - fine-tune\n": ""}
    project = small_project(tmp_path, edit=edit, tiny_embedder=True)
    done = run("compare", "--json", cwd=project.root)
    assert done.returncode == 0
    body = json.loads(done.stdout)
    assert body["schema_version"] == 1
    assert body["verdict"]["outcome"] in ("recommend", "none", "cannot_tell")
    table = run("compare", cwd=project.root)
    assert "holdout stays closed" in " ".join(table.stderr.split())
    assert "report.html" in table.stdout
    manifest = json.loads(run("data", "split", "--json", cwd=project.root).stdout)
    assert manifest["holdout"] == body["data"]["holdout"]
    assert "locked" in sentence(run("data", "show", "holdout", cwd=project.root), 1)
    curve = run("curve", "--candidate", "support-3", cwd=project.root)
    assert "there is no candidate 'support-3'. Choose from: " in sentence(curve, 2)
    assert run("data", "show", "train", "-n", "2", cwd=project.root).stdout.count("user:") == 2
    look = json.loads(run("data", "second-look", "--json", cwd=project.root).stdout)
    assert look["second_look"] == body["second_look"]
    assert look["sentence"] in run("data", "second-look", cwd=project.root).stdout
    path = project.split_folder / "holdout.jsonl"
    path.write_text(path.read_text().replace("cat", "cow"))
    assert "holdout" in sentence(run("compare", cwd=project.root), 1)


@pytest.mark.slow
def test_ctrl_c_is_clean_and_goes_on(tmp_path: Path) -> None:
    edit = {"  - few-shot-nearest\n  - encoder\n": ""}
    project = small_project(tmp_path, edit=edit, tiny_embedder=True)
    output = tmp_path / "output"
    process = Preloaded(main.run, ["assay", "compare"], project.root, output, os.environ)
    while process.poll() is None and not (output.exists() and "Candidate" in output.read_text()):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    code, said = process.wait(300), output.read_text()
    assert "Traceback" not in said
    assert code in (0, 130)
    assert code == 0 or "run the same command again" in said
    assert run("compare", cwd=project.root).returncode == 0
    leftovers = list(project.root.rglob("*.part"))
    assert leftovers == []
    assert os.path.exists(project.root / "report.html")
