"""The public data sets as jobs: rows, documents, and what their configuration says otherwise."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import calls
import policy
from public_data import Rows, lines


def banking77(part: str) -> Rows:
    """A bank's customer, one of 77 intents."""
    for row in lines("banking77", f"{part}.jsonl"):
        yield {"id": row["id"], "input": row["text"], "output": row["label"]}


def snips(part: str) -> Rows:
    """A sentence for a voice assistant, its intent and slots as a record."""
    for row in lines("snips", f"{part}.jsonl"):
        record = {"intent": row["intent"], "slots": row["slots"]}
        yield {"id": row["id"], "input": row["text"], "output": record}


def snips_intent(part: str) -> Rows:
    """A sentence for a voice assistant, one of seven intents."""
    for row in lines("snips", f"{part}.jsonl"):
        yield {"id": row["id"], "input": row["text"], "output": row["intent"]}


def snips_intent_prompts(part: str) -> Rows:
    """The job before with few rows, for what can be done to the prompt; the starter itself is the
    proposer of `prompt-reflected`, with the budget that is the default."""
    return snips_intent(part)


def mts_header(part: str) -> Rows:
    """A dialogue of doctor and patient, the section of the note it belongs to."""
    for row in lines("mts_dialog", "train.jsonl" if part == "train" else "test1.jsonl"):
        yield {"id": row["ID"], "input": row["dialogue"], "output": row["section_header"]}


def mts_terms(part: str) -> Rows:
    """A dialogue of doctor and patient, the note in clinical terms."""
    for row in lines("mts_dialog", "train.jsonl" if part == "train" else "test1.jsonl"):
        if len(row["dialogue"]) < 1200 and len(row["section_text"]) < 500:
            yield {"id": row["ID"], "input": row["dialogue"], "output": row["section_text"]}


def e2e(part: str, most: int = 1) -> Rows:
    """The first sentences of each meaning of a restaurant's description, at most so many."""
    seen: Counter[str] = Counter()
    for row in lines("e2e_nlg", "dev.jsonl" if part == "train" else "test.jsonl"):
        seen[row["mr"]] += 1
        if seen[row["mr"]] <= most:
            yield row


def e2e_style(part: str) -> Rows:
    """Fields of a restaurant, a sentence about it in the house style."""
    for row in e2e(part):
        yield {"id": row["id"], "input": row["mr"], "output": row["ref"]}


def e2e_fields(_part: str) -> Rows:
    """A sentence about a restaurant, its fields as a record. Both files are divided anew: the
    official ones name other kinds of restaurant, which no schema made from the first allows."""
    for part in ("train", "test"):
        for row in e2e(part):
            yield {"id": row["id"], "input": row["ref"], "output": row["fields"]}


def e2e_fields_twice(_part: str) -> Rows:
    """Two sentences about each restaurant of the job before, in groups by their record, and all of
    them: a holdout that is large enough to tell a gain of a few points."""
    for part in ("train", "test"):
        for row in e2e(part, 2):
            record = {"id": row["id"], "input": row["ref"], "output": row["fields"]}
            yield record | {"restaurant": row["mr"]}


def sgd_restaurants(_part: str) -> Rows:
    """A dialogue about restaurants; which function is called now, with what arguments, or none. The
    rows of a dialogue begin alike and are one group."""
    yield from lines("sgd_restaurants", "calls.jsonl")


def snips_calls(part: str) -> Rows:
    """A sentence for a voice assistant, its intent as a call of one of seven functions, its slots
    as the call's arguments."""
    functions = slots_of_intents()
    tools = [
        {
            "type": "function",
            "function": {
                "name": intent,
                "parameters": {
                    "type": "object",
                    "properties": {
                        slot: {"type": "array", "items": {"type": "string"}} for slot in slots
                    },
                    "additionalProperties": False,
                },
            },
        }
        for intent, slots in functions.items()
    ]
    for row in lines("snips", f"{part}.jsonl"):
        call = {"name": row["intent"], "arguments": json.dumps(row["slots"], ensure_ascii=False)}
        answer = {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call_1", "type": "function", "function": call}],
        }
        messages = [{"role": "user", "content": row["text"]}, answer]
        yield {"id": row["id"], "messages": messages, "tools": tools}


def bfcl(_part: str) -> Rows:
    """A request and one to four functions of it alone; right are all calls that it asks for, and
    none where no function fits. Rows that are about functions of one name are one group."""
    for name in (*calls.SETS, calls.IRRELEVANCE):
        for _, _, example in calls.rows_of(name):
            called = {call.name for call in example.target.tool_calls}
            [about] = called or {tool["function"]["name"] for tool in example.tools}
            yield replace(example, group=about).to_dict()


def slots_of_intents() -> dict[str, list[str]]:
    """The slots that each intent of `snips` has in the training file, in the order of names."""
    slots: dict[str, set[str]] = {}
    for row in lines("snips", "train.jsonl"):
        slots.setdefault(row["intent"], set()).update(row["slots"])
    return {intent: sorted(slots[intent]) for intent in sorted(slots)}


GLOSSARY = ["hypertension", "diabetes", "allergies", "denies", "surgeries", "tobacco", "alcohol"]
STYLE = {"min_words": 5, "max_words": 40, "avoid": ["I", "you"], "format": "plain"}

MOST_EXPECTED = 30
"""Words of what `medquad` expects; an answer has to contain it, in at most twice as many."""


@dataclass(frozen=True)
class Job:
    """A data set as a project.

    Attributes:
        rows: of "train" or "test"; its docstring says what the job is.
        train_rows: None: all that are not held back.
        edits: text of `assay.yaml` as `init` writes it, and what stands there instead.
        is_divided: Assay divides the rows itself; `rows` gives all of them for "train".
        documents: text of each document by its file's name; the rows name theirs as `document`.
        abstain: the answer of rows that no document answers.
        is_chat: rows are OpenAI's chat rows, with `messages` and `tools`.
    """

    rows: Callable[[str], Rows]
    train_rows: int | None = None
    edits: Mapping[str, str] = field(default_factory=dict)
    is_divided: bool = False
    documents: Callable[[], dict[str, str]] | None = None
    abstain: str | None = None
    is_chat: bool = False

    @property
    def explanation(self) -> str:
        """What the job is, in a sentence or two."""
        return " ".join((self.rows.__doc__ or "").split())


def file_of(document: str) -> str:
    """The file's name of a document with such an id."""
    return re.sub(r"[^A-Za-z0-9]+", "-", document).strip("-") + ".txt"


def documents_of(name: str) -> dict[str, str]:
    """Every document of a data set that has them in `docs.jsonl`, by its file's name."""
    return {file_of(row["doc_id"]): row["text"] for row in lines(name, "docs.jsonl")}


def xquad(_part: str) -> Rows:
    """A question about one of 240 paragraphs of an encyclopaedia; right is an answer of at most 50
    words that contains the words of the paragraph that answer it."""
    for row in lines("xquad_en", "qa.jsonl"):
        yield {
            "id": row["id"],
            "input": row["question"],
            "output": row["answers"][0],
            "document": file_of(row["doc_id"]),
        }


def medquad(_part: str) -> Rows:
    """A question about an illness, 483 leaflets; right is an answer of at most 60 words that
    contains the first sentence of the leaflet's own answer. Where that sentence has more than 30
    words, the question is left out."""
    for row in lines("medquad", "qa.jsonl"):
        first = re.split(r"(?<=[.?!])\s+|\n", row["answer"].strip())[0]
        if len(first.split()) <= MOST_EXPECTED:
            yield {
                "id": row["id"],
                "input": row["question"],
                "output": first,
                "document": file_of(row["doc_id"]),
            }


def policy_rows(_part: str) -> Rows:
    """A question about a shop's policy of 55 documents; a fifth cannot be answered from it, which
    is then the right answer. Right is an answer of at most 30 words that contains the fact."""
    for row in policy.questions():
        files = [policy.file_name(where) for where in row["where"]]
        yield {
            "id": row["id"],
            "input": row["question"],
            "output": row["answer"] or policy.ABSTAIN,
            "document": files[0] if files else "",
        }


def policy_documents() -> dict[str, str]:
    """The policy as Markdown, by file name."""
    return {policy.file_name(where): text for where, text in policy.documents().items()}


def judged_by_contents(words: int) -> dict[str, str]:
    """Edits for a job whose answers are right where they contain the expected text, and have at
    most so many words; where answers are short and stand in the documents, init proposes it."""
    return {
        "  - name: rouge-l\n": f"  - name: contains\n    settings: {{max_words: {words}}}\n",
        "primary: rouge-l": "primary: contains",
    }


def about_documents(holdout_rows: int, group: str | None = "document") -> dict[str, str]:
    """Edits for a job whose answers stand in documents.

    Args:
        group: the column of what rows have in common; None where they have nothing.
    """
    return {
        "group: null": f"group: {group or 'null'}",
        "  split:": f"  holdout_rows: {holdout_rows}\n  split:",
        "  - rag-few-shot\n": "",
        "  - few-shot\n": "",
        "  - fine-tune\n": "  - rag-tuned\n  - fine-tune\n  - fine-tune-rag\n",
    }


FEWER_SHOWN = {"ks: [1, 3, 8]": "ks: [1]"}  # dialogues are long
FEWER_BITS = {"  - fine-tune\n": "  - fine-tune\n  - fine-tune-8bit\n  - fine-tune-4bit\n"}
FEWER_QUESTIONS = 200  # to train on, with passages, which are long

JOBS: dict[str, Job] = {
    "banking77": Job(banking77, 2000),
    "snips": Job(snips, 1000),
    "snips-intent": Job(snips_intent, 2000),
    "snips-intent-prompts": Job(
        snips_intent_prompts,
        200,
        {
            "  split:": "  holdout_rows: 300\n  split:",
            "  - few-shot-nearest\n": "",
            "  - few-shot\n": "",
            "  - encoder\n": "",
            "  - fine-tune\n": "  - prompt-optimised\n  - prompt-reflected\n",
        },
    ),
    "mts-header": Job(mts_header, 240, FEWER_SHOWN),
    "mts-terms": Job(
        mts_terms,
        240,
        FEWER_SHOWN
        | {
            "  - name: exact\n": "  - name: terms\n    settings: "
            + json.dumps({"glossary": GLOSSARY})
            + "\n"
        },
    ),
    "e2e-fields": Job(
        e2e_fields,
        400,
        FEWER_SHOWN | FEWER_BITS,
        is_divided=True,
    ),
    "e2e-fields-twice": Job(
        e2e_fields_twice,
        None,
        {
            "group: null": "group: restaurant",
            "validation: 0.15, holdout: 0.2": "validation: 0.1, holdout: 0.4",
            "  - few-shot-nearest\n": "",
            "  - few-shot\n": "",
            "  - prompt\n": "",
            "  - fine-tune\n": "  - fine-tune-8bit\n",
        },
        is_divided=True,
    ),
    "e2e-style": Job(
        e2e_style,
        600,
        {
            "  - name: exact\n": f"  - name: style\n    settings: {json.dumps(STYLE)}\n",
        },
    ),
    "xquad": Job(
        xquad,
        FEWER_QUESTIONS,
        about_documents(200),
        is_divided=True,
        documents=partial(documents_of, "xquad_en"),
    ),
    "medquad": Job(
        medquad,
        FEWER_QUESTIONS,
        judged_by_contents(2 * MOST_EXPECTED) | about_documents(200),
        is_divided=True,
        documents=partial(documents_of, "medquad"),
    ),
    "policy": Job(
        policy_rows,
        None,
        about_documents(107, group=None),  # a fifth has no document
        is_divided=True,
        documents=policy_documents,
        abstain=policy.ABSTAIN,
    ),
    "sgd-restaurants": Job(
        sgd_restaurants,
        400,
        FEWER_SHOWN | {"  - few-shot-nearest\n": "", "fine_tune:": "fine_tune:\n  epochs: 2"},
        is_divided=True,
        is_chat=True,
    ),
    "snips-calls": Job(
        snips_calls,
        600,
        FEWER_SHOWN | {"  - few-shot-nearest\n": "", "  split:": "  holdout_rows: 300\n  split:"},
        is_chat=True,
    ),
    "bfcl": Job(
        bfcl,
        100,  # the set has none of its own: a few, for what shows or looks up examples
        {
            "validation: 0.15, holdout: 0.29": "validation: 0.06, holdout: 0.2",
            "  - fine-tune\n": "",
            "ks: [1, 3, 8]": "ks: [3]",  # the first that is shown calls nothing
            "max_new_tokens: 448": "max_new_tokens: 256",  # 1037 of 1040 right answers fit
        },
        is_divided=True,
        is_chat=True,
    ),
}
