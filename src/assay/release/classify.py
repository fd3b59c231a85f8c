"""Answers with the label of a text by the files beside this one: model.onnx, tokenizer.json and
labels.json. It needs Python, numpy, onnxruntime and tokenizers, and nothing else.

    python classify.py "Where is my card?"            # the label, and how probable it is

    classifier = Classifier(Path("support-onnx"))
    [(label, probability)] = classifier.answers(["Where is my card?"])
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

AT_ONCE = 32
"""Texts, or pieces of them, that go through the model together."""


def text_of(messages: Sequence[Mapping[str, str]]) -> str:
    """What is classified of a conversation: its turns, system prompts left out."""
    kept = [m["content"] for m in messages if m["role"] not in ("system", "developer")]
    return "\n".join(kept)


class Classifier:
    """A classifier as it was written to a folder; for one thread.

    Attributes:
        labels: the C classes, in order of the probabilities.
    """

    def __init__(self, folder: Path) -> None:
        self._settings = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
        self.labels: list[str] = self._settings["labels"]
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._uncut = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._uncut.no_truncation()
        self._uncut.no_padding()
        self._session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), providers=["CPUExecutionProvider"]
        )
        words = self._settings["words"]
        self._column = {t: n for n, t in enumerate(words["vocabulary"])} if words else {}

    def probabilities(self, texts: Sequence[str]) -> Any:
        """Of each text and label, [len(texts), C] float32."""
        parts = [self._pieces(text) for text in texts]
        found = [np.zeros((0, len(self.labels)), dtype=np.float32)]
        start = 0
        while start < len(texts):
            end, rows = start + 1, len(parts[start])
            while end < len(texts) and rows + len(parts[end]) <= AT_ONCE:
                rows += len(parts[end])
                end += 1
            found.append(self._run(texts[start:end], parts[start:end]))
            start = end
        return np.concatenate(found)

    def answers(self, texts: Sequence[str]) -> list[tuple[str, float]]:
        """The label of each text, and how probable it is; of several labels a JSON list."""
        return [self.answer(row) for row in self.probabilities(texts)]

    def answer(self, row: Any) -> tuple[str, float]:
        """What follows from a text's probabilities, [C], and how probable it is."""
        several = self._settings["several"]
        if several:
            holds = row >= several["threshold"]
            if not several["may_be_empty"]:
                holds[row.argmax()] = True
            found = [label for label, one in zip(self.labels, holds, strict=True) if one]
            chance = float(np.where(holds, row, 1 - row).prod())
            return json.dumps(found, ensure_ascii=False), chance
        best = int(row.argmax())
        label, chance = self.labels[best], float(row[best])
        doubt = self._settings["doubt"]
        if doubt and label != doubt["label"] and chance < doubt["threshold"]:
            return doubt["label"], 1 - chance
        return label, chance

    def _run(self, texts: Sequence[str], parts: Sequence[list[tuple[str, int]]]) -> Any:
        prefix = self._settings["prefix"]
        read = self._tokenizer.encode_batch([prefix + piece for of in parts for piece, _ in of])
        given = {
            "input_ids": np.array([one.ids for one in read], dtype=np.int64),
            "attention_mask": np.array([one.attention_mask for one in read], dtype=np.int64),
        }
        if self._settings["pieces"]:
            given["pieces"] = np.zeros((len(texts), len(read)), dtype=np.float32)
            start = 0
            for row, of in zip(given["pieces"], parts, strict=True):
                row[start : start + len(of)] = [tokens for _, tokens in of]
                start += len(of)
        if self._settings["words"]:
            given["words"] = np.stack([self._counts(text) for text in texts])
        [found] = self._session.run(["probabilities"], given)
        return found

    def _pieces(self, text: str) -> list[tuple[str, int]]:
        """Consecutive parts of a long text with their tokens; else the text itself."""
        pieces = self._settings["pieces"]
        if not pieces:
            return [(text, 1)]
        room = pieces["tokens"]
        spans = self._uncut.encode(text, add_special_tokens=False).offsets
        if len(spans) <= room:
            return [(text, 1)]
        starts = range(0, len(spans), room)[: pieces["most"]]
        groups = [spans[start : start + room] for start in starts]
        return [(text[group[0][0] : group[-1][1]], len(group)) for group in groups]

    def _counts(self, text: str) -> Any:
        """How often each term of the vocabulary stands in a text, [F] float32."""
        words = self._settings["words"]
        single = re.findall(words["pattern"], text.lower())
        terms = [
            " ".join(single[start : start + length])
            for length in range(words["shortest"], words["longest"] + 1)
            for start in range(len(single) - length + 1)
        ]
        row = np.zeros(len(self._column), dtype=np.float32)
        for term, count in Counter(terms).items():
            if term in self._column:
                row[self._column[term]] = count
        return row


if __name__ == "__main__":
    here = Classifier(Path(__file__).parent)
    for name, chance in here.answers(sys.argv[1:]):
        print(f"{chance:.4f} {name}")
