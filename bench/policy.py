"""A private policy and questions about it, written before anything was run on them.

    python bench/policy.py FOLDER    # writes FOLDER/documents/*.md and FOLDER/questions.jsonl

The policy (`abcd_guidelines`, looked for as public_data.py says) stays where it is: of it,
`policy_questions.jsonl` holds short answers only. A question has `answerable`; `where`, the
documents that hold its answer, as `Flow > Subflow`; and `answer`, which stands in each of them
(capitals and punctuation aside). A fifth cannot be answered from the policy, though each sounds as
if it could. Four fifths share no five words in a row with the policy, so that quoting does not give
their document away.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

from assay.store.files import write_atomic, write_atomic_lines
from public_data import data_folder

ABSTAIN = "The guidelines do not say."
QUESTIONS = Path(__file__).parent / "policy_questions.jsonl"


def questions() -> list[dict[str, Any]]:
    """`{id, question, answerable, answer, where}` each."""
    return [json.loads(line) for line in QUESTIONS.read_text(encoding="utf-8").splitlines()]


def documents() -> dict[str, str]:
    """The policy as Markdown, one document for each subflow, by `Flow > Subflow`."""
    file = data_folder() / "abcd_guidelines" / "guidelines.json"
    found = {}
    for flow, part in json.loads(file.read_text(encoding="utf-8")).items():
        for name, subflow in part["subflows"].items():
            lines = [f"# {flow}: {name}", "", *subflow["instructions"], ""]
            for action in subflow["actions"]:
                lines += [f"## {action['button']}", "", action["text"], ""]
                lines += [*(f"- {line}" for line in action["subtext"]), ""]
            found[f"{flow} > {name}"] = "\n".join(lines)
    return found


def file_name(where: str) -> str:
    """Of a document that `documents` names."""
    return "-".join(words(where)) + ".md"


def words(text: str) -> list[str]:
    """Words in lower case, punctuation aside."""
    return re.findall(r"\w+", text.lower())


def runs(text: str, length: int = 5) -> set[tuple[str, ...]]:
    """Every `length` words in a row."""
    all = words(text)
    return {tuple(all[start : start + length]) for start in range(len(all) - length + 1)}


def main() -> None:
    """Write both for `assay init NAME --data questions.jsonl --docs documents`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    folder: Path = parser.parse_args().folder
    for where, text in documents().items():
        write_atomic(folder / "documents" / file_name(where), text)
    rows = []
    for row in questions():
        files = [file_name(where) for where in row["where"]]
        # What three documents say alike counts as found in the first of them only.
        answer = row["answer"] or ABSTAIN
        rows.append(row | {"answer": answer, "document": files[0] if files else ""})
    write_atomic_lines(
        folder / "questions.jsonl", (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    )


if __name__ == "__main__":
    main()
