"""The whole product on public data: one comparison a data set, and the page of their verdicts.

    python bench/verdicts.py [ferry banking77 snips xquad ...]

    python bench/verdicts.py --curves [banking77 snips-intent snips]

The jobs are those of `public_jobs.py`. A comparison that was stopped goes on; one that ended is
read. In `docs/verdicts.md` the sections of all results in FOLDER are written anew; the others stay.
`--curves` draws learning curves and looks whether half of the rows foresaw the score of all.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

from assay import project
from assay.cli.progress import Terminal
from assay.compare.naming import with_named_range
from assay.compare.report import learning_curve, wording, worth
from assay.compare.result import Result
from assay.compare.scale import scale_of
from assay.config import CONFIG_FILE
from assay.project.start.init import Choices
from assay.store.files import write_atomic, write_atomic_lines, write_json
from ferry import open_ferry
from public_jobs import JOBS

PAGE = Path(__file__).parent.parent / "docs" / "verdicts.md"
OTHERS = "<!-- Below: made by other scripts, kept. -->"
QUICK_ROWS = 150

CURVES = {
    "banking77": ("baseline-tfidf", 2000),
    "snips-intent": ("baseline-tfidf", 2000),
    "snips": ("fine-tune", 320),
}
"""The candidate whose learning curve is drawn, and the training rows of its largest size."""

DEMO = "ferry"

BESIDE_WORK = {
    DEMO,
    "snips",
    "snips-intent",
    "snips-intent-prompts",
    "mts-header",
    "mts-terms",
    "e2e-fields",
    "e2e-fields-twice",
    "e2e-style",
    "xquad",
    "medquad",
    "policy",
    "bfcl",
}
"""Jobs whose answers were timed while the machine did other work."""

NOTES = {
    DEMO: "Half of the records are right as a whole and 87 of 100 fields are: somebody has to look "
    "at them, or a larger model has to be tried. `extract` finds two fields of three.",
    "banking77": "`encoder` is ahead of `classifier` by 1.3 points and takes minutes to train, "
    "`classifier` seconds. Shown examples reach 81 in 100 only because the most similar rows "
    "are shown; a model of this size cannot choose among 77 labels by itself.",
    "snips": "A third of the records have a fault. `extract` is 10 points behind and answers in "
    "milliseconds where the tuned model takes seconds.",
    "snips-intent": "There is nothing left to gain: words alone (`baseline-tfidf`) are right on "
    "97.9 of 100. `encoder` is named because it costs practically the same to own as `classifier`, "
    "which is 0.2 points behind and takes seconds to train. Before `encoder` took part, it was "
    "`classifier`.",
    "snips-intent-prompts": "Neither search found a prompt that validation likes better than the "
    "one that `init` writes, so all three are the same. The starter's eight proposals "
    "(`prompt-reflected`) were no better here and took 22 minutes beside other work; a stronger "
    "proposer, at a provider, was not measured. "
    "300 of the 700 test rows were drawn.",
    "mts-header": "Many dialogues are longer than the embedder reads: `classifier` chooses on "
    "validation whether they are cut or embedded in pieces and averaged; cut, it was right on 73 "
    "of 100 there, in pieces on 71. `encoder` is trained on what its embedder reads of a dialogue "
    "(256 tokens), its head chosen as `classifier`'s; `fine-tune` reads them whole. Before "
    "`encoder` took part, `classifier` was the one to use for now. "
    "Of the 1,201 rows of the training file 240 were used to train and 100 to validate; the "
    "second official test file was not used.",
    "mts-terms": "Nothing here is fit for use. By `terms`, the share of the clinical terms that "
    "the note should hold, `nearest-answer` is ahead (35.6 against 8.9): likeness rewards the "
    "tuned model for writing like a doctor, not for writing what matters. "
    "Only dialogues below 1,200 characters with notes below 500 took part, 168 of the 200 of "
    "the first test file.",
    "e2e-fields": "Another training, on 200 of these holdout rows, was ahead of `extract` by 6.0 "
    "(likely -1.9 to +13.9), this one by 2.7 (likely -3.9 to +9.4): that training gains anything "
    "on these records is not shown. At 8 bits the tuned model takes 145 MB instead of 279 and "
    "answers eight times as fast; at 4 bits the parity check refused it, for 15 of 100 answers "
    "differed where the model was sure. Until more is known, the cheapest of those within one "
    "standard error of the best was named; by the rule of today, of those at most 2 in 100 behind "
    "it, `extract` would not be, but one of the tuned.",
    "e2e-fields-twice": "With three times the rows of the job before to train on, the tuned model "
    "(here in 8 bits alone) is ahead of `extract` by 1.0 (likely -1.9 to +3.7) on 936 rows: on "
    "these records training a language model gains at most a few points. Both are wrong on 211 "
    "rows, most often in `customer rating`, `priceRange` and `familyFriendly`, which sentences "
    "leave out or tell in other words than the record's.",
    "e2e-style": "Likeness to one sentence says little of whether all fields are told; the house "
    "style (`style`) is kept by all but the prompt. All 630 test records were measured, "
    "before the cheap rivals 300 of them. "
    "The right answer is the first sentence that people wrote of a record; the files have "
    "further ones.",
    "xquad": "A quoted sentence holds the fact more easily than a generated one does: of answers "
    "that are the fact to the letter (`exact`) `fine-tune-rag` gives most, 33.5 in 100. Whoever "
    "needs these reads the table by that column. 200 of 1,190 questions were drawn to be measured, "
    "for candidates that read passages take seconds an answer.",
    "medquad": "By what an answer contains `quote` is ahead; to the letter (`exact`) it is "
    "`fine-tune-rag`, 19 against 1 in 100. The best is wrong on two of three questions: nothing "
    "here should answer patients by itself. 200 of 2,141 questions were drawn to be measured, for "
    "candidates that read passages take seconds an answer. "
    "The data set's own division was not used; all questions were divided anew.",
    "policy": "Judged by likeness, and before `quote` took part, the verdict was “Use "
    "fine-tune-rag” (32.4 of 100 points for likeness, rouge-l; below): it **has fallen**. "
    "`baseline-majority` always says that the policy does not tell, which is right for a fifth of "
    "the questions; `prompt`, `rag` and `rag-tuned` score less than that.",
    "bfcl": "Only candidates that show the starter examples have it call functions; `prompt` and "
    "`extract-call` call nothing, which is right for 18 in 100. "
    "No language model is trained: the leaderboard has no rows for that. 100 of its 1,040 "
    "rows are what `few-shot`, `few-shot-nearest` and the candidates that generate nothing know; a "
    "fifth of all, drawn over its four sets, were measured. None of the functions that "
    "these rows need is called in the 100, and a row that is shown as an example comes with its "
    "call but without the definitions of its functions. Answers end at 256 tokens, which 3 right "
    "ones exceed.",
}
"""An honest word on a job, beside its figures."""

EARLIER: dict[str, tuple[str | None, float]] = {
    DEMO: ("fine-tune", 48.3),
    "banking77": ("fine-tune", 86.1),
    "snips": ("fine-tune", 68.4),
    "mts-header": (None, 65.0),
    "mts-terms": (None, 23.3),
    "e2e-fields": ("fine-tune", 58.5),
    "e2e-style": ("fine-tune", 46.6),
}
"""What the page said while a prompt, shown examples, TF-IDF and fine-tuning were all that took
part: the candidate that was recommended (None: none of them) and the best score, fine-tune's."""

ABOUT_DEMO = "The built-in messages: a passenger's message, its whole record."


def make(
    name: str, folder: Path, terminal: Terminal, *, quick: bool = False, most: int | None = None
) -> project.Project:
    """The project of a job; opened when it is there. `most`: other training rows than the job's."""
    root = folder / name
    if name == DEMO:
        return open_ferry(root, terminal)
    if (root / CONFIG_FILE).exists():
        return project.open(root)
    job, edits = JOBS[name], dict(JOBS[name].edits)
    files = {}
    for part in ("train", "test"):
        files[part] = folder / "files" / f"{name}-{part}.jsonl"
        texts = (json.dumps(row, ensure_ascii=False) + "\n" for row in job.rows(part))
        write_atomic_lines(files[part], texts)
    documents = None
    if job.documents is not None:
        documents = folder / "files" / f"{name}-documents"
        for file, text in job.documents().items():
            write_atomic(documents / file, text)
    choices = Choices(
        data=files["train"],
        holdout=None if job.is_divided else files["test"],
        input=None if job.is_chat else ["input"],
        output=None if job.is_chat else ["output"],
        id=None if job.is_chat else "id",
        train_rows=QUICK_ROWS if quick else most or job.train_rows,
        docs=documents,
        document=None if documents is None else "document",
        abstain=job.abstain,
        task=None if documents is None else "text",
    )
    drafted = project.draft(name, choices, terminal)
    made = project.create(drafted, folder=root, progress=terminal)
    path = made.root / CONFIG_FILE
    text = path.read_text(encoding="utf-8")
    if quick:
        edits |= {"  split:": f"  holdout_rows: {QUICK_ROWS}\n  split:"}
    for old, new in edits.items():
        if old not in text:
            raise SystemExit(f"{name}: {old!r} is not in assay.yaml")
        text = text.replace(old, new)
    write_atomic(path, text)
    return project.open(made.root)


def section(name: str, result: Result) -> str:
    """What came out, as Markdown."""
    result = with_named_range(result)
    doc = ABOUT_DEMO if name == DEMO else JOBS[name].explanation
    kept_out = result.data.quarantine
    enough = result.good_enough
    bar = "what is good enough was not said"
    if enough is not None:
        bar = f"good enough: {wording.in_100(enough)}"
    scored = f"Score: {wording.score_meaning(result)}, with its 95 % interval; {bar}."
    timed = "Answers were timed beside much other work." if name in BESIDE_WORK else ""
    out = [
        f"## {name}",
        "",
        f"{doc} {result.data.train} training rows, {result.data.validation} validation rows, "
        f"{result.data.holdout} holdout rows; {kept_out.exact} holdout rows had an exact twin and "
        f"{kept_out.near} a near one in the training file, which were kept out.",
        "",
        f"**{wording.headline(result.verdict)}.** {result.verdict.reason} "
        f"{worth.fine_tuning(result)}",
        "",
        " ".join(filter(None, (scored, earlier(name, result), timed))),
        "",
    ]
    if name in NOTES:
        out += [f"**An honest word.** {NOTES[name]}", ""]
    others = list(dict.fromkeys(m for c in result.candidates for m in c.metrics))
    others = [label for label in others if label != result.primary]
    out.append(
        "| candidate | score | interval | " + "".join(f"{o} | " for o in others) + "answer |"
    )
    out.append("|---|---|---|" + "---|" * len(others) + "---|")
    for c in sorted(result.candidates, key=lambda c: -(c.score or 0)):
        cells = [
            wording.in_100(c.metrics[o].score if o in c.metrics else None)
            + (
                f" ({100 * c.metrics[o].low:.1f} – {100 * c.metrics[o].high:.1f})"
                if o in c.metrics
                else ""
            )
            for o in others
        ]
        out.append(
            f"| {c.name} | {wording.in_100(c.score)} | {wording.interval(c)} | "
            + "".join(f"{cell} | " for cell in cells)
            + f"{wording.seconds(c.latency_p50_s)} |"
        )
    env = result.environment
    out += [
        "",
        f"Comparison `{result.comparison[:16]}`, opening {result.opening.number}, smallest lead "
        "that would be recommended in 8 of 10 comparisons "
        f"{100 * result.minimum_detectable_effect:.1f} points; "
        f"{env['processor']}, {env['cores']} cores, torch {env['packages']['torch']}.",
        "",
    ]
    return "\n".join(out)


def earlier(name: str, result: Result) -> str:
    """Whether the verdict from before the cheap rivals stands; "" for a job that had none."""
    if name not in EARLIER:
        return ""
    used, score = EARLIER[name]
    if used is None and result.good_enough is None:
        return (
            "Before the cheap rivals took part, none reached what was asked for then (fine-tune: "
            f"{score} {scale_of(result).unit}); nothing is asked for now, so the two "
            "verdicts cannot be compared."
        )
    said = f"Use {used}" if used else "Use none of these"
    now = {"recommend": result.verdict.recommend, "none": None}
    stands = now.get(result.verdict.outcome, "") == used
    return (
        f"Before the cheap rivals took part, the verdict was “{said}” (fine-tune: {score} "
        f"{scale_of(result).unit}): it {'stands' if stands else '**has fallen**'}."
    )


def draw_curve(name: str, folder: Path, terminal: Terminal) -> None:
    """The learning curve of a job, kept beside its project."""
    candidate, rows = CURVES[name]
    made = make(name, folder / "curves", terminal, most=rows)
    drawn = made.curve(candidate, terminal)
    write_json(folder / "curves" / f"{name}.json", drawn.to_dict())


def curve_section(name: str, drawn: dict[str, Any]) -> str:
    """A learning curve and its back-test, as Markdown."""
    test = drawn["backtest"]
    said = test["prediction"]
    out = [
        f"## Learning curve: {name}, {drawn['candidate']}",
        "",
        "Score on validation by training rows, three nested resamples: "
        + "; ".join(
            f"{point['rows']}: {', '.join(f'{100 * s:.1f}' for s in point['scores'])}"
            for point in drawn["points"]
        )
        + ".",
        "",
        f"Back-test: fitted up to half of the rows, the power law foresees "
        f"{100 * said['score']:.1f} ({100 * said['low']:.1f} – {100 * said['high']:.1f}) at "
        f"{said['size']} rows; {100 * test['observed']:.1f} was observed, "
        f"{'inside' if test['covered'] else 'OUTSIDE'} the interval. "
        f"{learning_curve.doubled(drawn)}",
        "",
    ]
    return "\n".join(out)


def sections_of(text: str) -> dict[str, str]:
    """The sections of a page in their order, by their headings."""
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def write_page(folder: Path) -> None:
    """Write `docs/verdicts.md`: sections of results in the folder anew, the others as they were."""
    page, mark, others = PAGE.read_text(encoding="utf-8").partition(OTHERS)
    old, new = sections_of(page), {}
    for name in (DEMO, *JOBS):
        for path in sorted((folder / name).glob(".assay/comparisons/*/result.json")):
            new[name] = section(name, Result.model_validate_json(path.read_text()))
    for path in sorted((folder / "curves").glob("*.json")):
        drawn = json.loads(path.read_text())
        title = f"Learning curve: {path.stem}, {drawn['candidate']}"
        new[title] = curve_section(path.stem, drawn)
    parts = [page[: page.index("\n## ")].strip(), ""]
    for name in dict.fromkeys([DEMO, *JOBS, *old, *new]):
        if name in new:
            parts.append(new[name])
        elif name in old:
            parts.append(f"## {name}{old[name].rstrip()}\n")
    write_atomic(PAGE, "\n".join(parts).rstrip() + "\n" + (f"\n{mark}{others}" if mark else ""))


def main() -> None:
    """Run the named jobs, then write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("jobs", nargs="*", choices=[DEMO, *JOBS, []], help="none: only the page")
    parser.add_argument("--folder", type=Path, default=Path("verdicts"))
    parser.add_argument("--curves", action="store_true", help="learning curves of the jobs")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROWS} rows of each part")
    arguments = parser.parse_args()
    terminal = Terminal()
    for name in arguments.jobs:
        if arguments.curves:
            draw_curve(name, arguments.folder, terminal)
            continue
        made = make(name, arguments.folder, terminal, quick=arguments.quick)
        done = made.compare(reason="bench/verdicts.py", progress=terminal)
        print(section(name, done.result))
    write_page(arguments.folder)


if __name__ == "__main__":
    main()
