"""An answer is found in the file at the line that its example has there now."""

from __future__ import annotations

import json
from pathlib import Path

from tests.compare.sample import sample_rows

from assay import project
from assay.project.answer_lines import with_present_lines
from assay.project.start.init import Choices
from assay.project.workspace import Workspace


def test_lines_follow_their_rows_when_others_are_removed(tmp_path: Path) -> None:
    file = tmp_path / "tickets.csv"
    told = [f'"ticket {n}, on a bill",{"bill" if n % 2 else "card"}\n' for n in range(40)]
    file.write_text("message,desk\n" + "".join(told))
    folder = tmp_path / "tickets"
    project.create(project.draft("tickets", Choices(data=file)), folder=folder)
    measured = [
        row.model_copy(update={"input": f"ticket {n}, on a bill", "reference": label, "line": line})
        for row, (n, label, line) in zip(
            sample_rows(3), [(0, "card", 2), (9, "bill", 11), (39, "bill", 41)], strict=True
        )
    ]
    assert [row.line for row in with_present_lines(Workspace(folder), measured)] == [2, 11, 41]
    kept = [line for n, line in enumerate(told) if n not in (0, 4)]
    (folder / "data" / "tickets.csv").write_text("message,desk\n" + "".join(kept))
    assert [row.line for row in with_present_lines(Workspace(folder), measured)] == [0, 9, 39]


def test_lines_of_rows_with_calls_are_found_as_they_were_written_before_and_since(
    tmp_path: Path,
) -> None:
    function = {"name": "find_ferry", "arguments": '{"to": "Kiel"}'}
    call = {"role": "assistant", "tool_calls": [{"id": "c", "function": function}]}
    result = {"role": "tool", "tool_call_id": "c", "content": "none"}
    turns = [{"role": "user", "content": "To Kiel"}, call, result, {"role": "assistant"}]
    turns[-1]["content"] = "There is none."
    config = {
        "version": 1,
        "name": "ferries",
        "task": "tools",
        "data": {"file": "rows.jsonl"},
        "candidates": ["prompt"],
        "graders": [{"name": "call-exact"}],
        "primary": "call-exact",
    }
    (tmp_path / "assay.yaml").write_text(json.dumps(config))
    (tmp_path / "rows.jsonl").write_text("\n" + json.dumps({"messages": turns}) + "\n")
    told = {"reference": "There is none.", "line": 9}
    rows = [
        row.model_copy(update={"input": given, **told})
        for row, given in zip(
            sample_rows(2),
            ['To Kiel\nfind_ferry(to: "Kiel")\nnone', "To Kiel\n\nnone"],
            strict=True,
        )
    ]
    assert [row.line for row in with_present_lines(Workspace(tmp_path), rows)] == [2, 2]
