"""A classifier over an embedder as an ONNX graph: `assay export classifier@1 --to onnx`.

    model.onnx      token ids and mask in, probabilities of the labels out
    tokenizer.json  texts to token ids, cut and filled up
    labels.json     labels, threshold, and how a text is read
    classify.py     runs them with onnxruntime, tokenizers and numpy alone

One graph holds embedder, pooling, normalisation and logistic regression. Files are written to a
draft and asked validation rows through their own `classify.py`; only then does the folder appear.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch.export import Dim
from torch.nn.functional import normalize

from assay.agent.agent import Agent
from assay.errors import ModelError, first_line
from assay.evaluate.measure import Bench
from assay.evaluate.parity import PROMPTS, ParityError, spread
from assay.example import Example
from assay.generate.classical import WORD
from assay.generate.embedding_classifier import WORDS, EmbeddingClassifier, EmbeddingEngine
from assay.models.embed import MOST_PIECES, Embedder, remember
from assay.models.quiet import exclusive_loading
from assay.quantities import say_count
from assay.release.export import check_free
from assay.release.forms import ONNX, Form
from assay.store.files import new_folder, write_atomic

FORMAT = "assay-onnx-classifier-1"
MODEL, TOKENIZER, LABELS, RUNNER = "model.onnx", "tokenizer.json", "labels.json", "classify.py"
COMMAND = f'python {RUNNER} "a text"'
READ = "The contents of all messages but those of system and developer, joined by a line feed."
"""How a conversation becomes a text; `classify.py` does it in `text_of`."""
UNIT = 2.0**-24
"""Largest relative error of one float32 operation."""
DEVIATIONS = 4
"""Of a rounding error, that are let pass."""
OTHERWISE = "Serve it here, or compare a classifier over another embedder."


@dataclass(frozen=True, slots=True)
class Agreement:
    """What was found when both were asked the same rows.

    Attributes:
        rows: of validation that were asked.
        evaluated: mean score of the evaluated classifier on them.
        equal_answers: rows with the same answer.
        largest: difference of a probability, over all rows and labels.
        allowed: what float32 explains of it, see `rounding`.
    """

    rows: int
    evaluated: float
    equal_answers: int
    largest: float
    allowed: float


@dataclass(frozen=True, slots=True)
class ClassifierExport:
    """What was written, and what the gate found.

    Attributes:
        agent: `NAME@VERSION`.
        command: how it is asked, in the folder.
    """

    agent: str
    form: Form
    folder: Path
    files: tuple[str, ...]
    command: str
    parity: Agreement


def export_classifier(
    label: str, agent: Agent, folder: Path, *, bench: Bench, validation: Sequence[Example]
) -> ClassifierExport:
    """Write what answers for an agent into `folder`, which appears only if the gate lets it pass.

    Args:
        label: of the agent, `NAME@VERSION`.
        folder: must not exist, or be empty.
        validation: what the gate asks.

    Raises:
        UsageError: a folder that holds something.
        ModelError: the agent is no classifier over an embedder, a package is missing, the embedder
            cannot be written as a graph, or the gate refuses what was written.
    """
    check_free(folder)
    engine = bench.engines.for_agent(agent)
    assert isinstance(engine, EmbeddingEngine)
    model = engine.model
    body = engine.embedder.copy_model().cpu()  # where there is a GPU, it is there
    with new_folder(folder) as draft:
        bench.progress.say("Writing the graph.")
        write_graph(model, body, draft / MODEL)
        write_atomic(draft / TOKENIZER, _tokenizer(model, engine.embedder, body))
        write_atomic(draft / LABELS, json.dumps(_settings(label, model, body), indent=1))
        runner = Path(__file__).with_name(RUNNER).read_text(encoding="utf-8")
        write_atomic(draft / RUNNER, runner)
        with remember():  # the rows are embedded to be answered, and for their probabilities
            found = _compare(bench, agent, engine, validation, draft, rounding(model, body))
        files = tuple(sorted(file.name for file in draft.iterdir()))
    return ClassifierExport(label, ONNX, folder, files, COMMAND, found)


def rounding(model: EmbeddingClassifier, body: Any) -> float:
    """How far apart two float32 computations of a probability may be.

    A vector of length 1 that has gone through K products of at most N terms each is off by about
    sqrt(N K) roundings (Higham and Mary 2019, SIAM J. Sci. Comput. 41(5):A2815-A2835). A score is
    off by that times the length of a label's coefficients, of which what all labels share counts
    for nothing (if a row has one label); and a probability by at most half as much as the scores
    (softmax has a derivative of 2 p (1 - p) in the maximum norm, the logistic function of 1/4).

    Args:
        body: the embedder's sentence-transformers model.
    """
    shapes = [weights.shape for weights in body.parameters()]
    products = [shape for shape in shapes if len(shape) > 1]
    terms = max(shape[-1] for shape in products)
    of_vector = UNIT * math.sqrt(terms * len(products))
    rows = model.tensors["coefficients"].astype(np.float64)
    if model.several is None:
        rows = rows - rows.mean(axis=0)
    lengths = np.linalg.norm(rows[:, : model.dimension], axis=1)
    lengths += model.settings.words * np.linalg.norm(rows[:, model.dimension :], axis=1)
    return float(DEVIATIONS * of_vector * lengths.max() / model.temperature / 2)


class _Graph(torch.nn.Module):
    """Embedder, pooling, normalisation and logistic regression.

    Args (of a call, T texts in R rows of L tokens):
        input_ids, attention_mask: [R, L] int64.
        pieces: [T, R] float32: how much each row counts for each text; None: each is one text.
        words: [T, F] float32: how often each term stands in a text; None: words do not count.

    Returns [T, C] float32.
    """

    of_vector: torch.Tensor
    of_words: torch.Tensor
    idf: torch.Tensor
    intercept: torch.Tensor

    def __init__(self, model: EmbeddingClassifier, body: Any) -> None:
        super().__init__()
        self.body, self.is_single = body, model.several is None
        of_all = model.tensors["coefficients"].astype(np.float64).T / model.temperature
        of_words = model.settings.words * of_all[model.dimension :]
        self._keep("of_vector", of_all[: model.dimension])
        self._keep("of_words", of_words)
        self._keep("idf", model.tensors.get("idf", np.zeros(0)))
        self._keep("intercept", model.tensors["intercept"] / model.temperature)

    def _keep(self, name: str, values: Any) -> None:
        self.register_buffer(name, torch.tensor(np.asarray(values), dtype=torch.float32))

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        pieces: torch.Tensor | None = None,
        words: torch.Tensor | None = None,
    ) -> torch.Tensor:
        read = {"input_ids": input_ids, "attention_mask": attention_mask}
        vectors = normalize(self.body(read)["sentence_embedding"], dim=1)
        if pieces is not None:
            vectors = normalize(pieces @ vectors, dim=1)
        scores = vectors @ self.of_vector + self.intercept
        if words is not None:
            counted = torch.where(words > 0, 1 + words.clamp(min=1).log(), 0.0)
            scores = scores + normalize(counted * self.idf, dim=1) @ self.of_words
        return scores.softmax(1) if self.is_single else scores.sigmoid()


def write_graph(model: EmbeddingClassifier, body: Any, file: Path) -> None:
    """Write the graph of a classifier as one ONNX file; see `_Graph` for what it takes.

    Args:
        body: the embedder's sentence-transformers model.

    Raises:
        ModelError: the embedder does something that cannot be written so.
    """
    limit = int(body.max_seq_length)
    rows, tokens = Dim("rows"), Dim("tokens", max=limit)
    texts = Dim("texts") if model.settings.in_pieces else rows
    # No size is 1, which would be taken for a constant; all rows but the first are padded.
    size = (3, min(8, limit))
    mask = torch.ones(size, dtype=torch.int64)
    mask[1:, 2:] = 0
    given = {"input_ids": torch.ones(size, dtype=torch.int64), "attention_mask": mask}
    axes: dict[str, dict[int, Any]] = {name: {0: rows, 1: tokens} for name in given}
    count = 2 if model.settings.in_pieces else 3
    if model.settings.in_pieces:
        given["pieces"], axes["pieces"] = torch.ones(count, 3), {0: texts, 1: rows}
    if model.settings.words:
        given["words"], axes["words"] = torch.ones(count, len(model.vocabulary)), {0: texts}
    graph = _Graph(model, body).eval()
    try:
        with exclusive_loading(), _quiet_exporter(), torch.inference_mode():
            program = torch.onnx.export(
                graph,
                kwargs=given,
                dynamic_shapes=axes,
                input_names=list(given),
                output_names=["probabilities"],
                dynamo=True,
                verbose=False,
            )
            assert program is not None
            program.save(file, external_data=False)
    except (torch.onnx.errors.OnnxExporterError, RuntimeError, ValueError) as error:
        raise ModelError(
            f"this embedder cannot be written as an ONNX graph ({first_line(error)[:300]}).",
            where=model.embedder,
            fix=OTHERWISE,
        ) from None


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _tokenizer(model: EmbeddingClassifier, embedder: Embedder, body: Any) -> str:
    """The embedder's tokenizer as JSON, which cuts and fills up as the embedder does.

    Raises:
        ModelError: it has none that can be written so.
    """
    own = body.tokenizer
    if not own.is_fast:
        raise ModelError(
            "its tokenizer cannot be written as tokenizer.json.",
            where=model.embedder,
            fix=OTHERWISE,
        )
    plain = Tokenizer.from_str(embedder.tokenizer_json())
    plain.enable_truncation(embedder.limit, direction=own.truncation_side)
    plain.enable_padding(
        direction=own.padding_side, pad_id=own.pad_token_id, pad_token=own.pad_token
    )
    text: str = plain.to_str()
    return text


def _settings(label: str, model: EmbeddingClassifier, body: Any) -> dict[str, Any]:
    """What stands in labels.json."""
    limit = int(body.max_seq_length)
    special = body.tokenizer.num_special_tokens_to_add()
    pieces = {"tokens": limit - special, "most": MOST_PIECES}
    assert WORDS.word is not None
    shortest, longest = WORDS.word
    words = {
        "pattern": WORD,
        "shortest": shortest,
        "longest": longest,
        "vocabulary": model.vocabulary,
    }
    return {
        "format": FORMAT,
        "agent": label,
        "embedder": model.embedder,
        "labels": model.labels,
        "doubt": asdict(model.doubt) if model.doubt else None,
        "several": asdict(model.several) if model.several else None,
        "text": READ,
        "prefix": body.prompts.get(body.default_prompt_name or "", ""),
        "most_tokens": limit,
        "pieces": pieces if model.settings.in_pieces else None,
        "words": words if model.settings.words else None,
    }


def _compare(
    bench: Bench,
    agent: Agent,
    engine: EmbeddingEngine,
    validation: Sequence[Example],
    draft: Path,
    allowed: float,
) -> Agreement:
    """Ask both the same rows.

    Raises:
        ModelError: there are no rows.
        ParityError: an answer differs, or a probability by more than float32 explains.
    """
    from assay.release.classify import Classifier  # as it was copied

    if not validation:
        raise ModelError("there are no validation examples to compare on.", fix="Add some.")
    chosen = spread(validation, PROMPTS)
    texts = [request.input for request in bench.assemble(agent, chosen)]
    bench.progress.say(f"Comparing both on {say_count(len(chosen), 'validation row')}.")
    measured = bench.measure(agent, chosen)
    vectors = engine.model.settings.embed(engine.embedder, texts)
    ours = np.exp(engine.model.log_probabilities(texts, vectors))
    written = Classifier(draft)
    theirs = written.probabilities(texts)
    answers = [written.answer(row)[0] for row in theirs]
    differ = [
        place
        for place, (one, other) in enumerate(zip(measured.answers, answers, strict=True))
        if one.text != other
    ]
    gaps = np.abs(ours - theirs)
    found = Agreement(
        rows=len(chosen),
        evaluated=measured.score,
        equal_answers=len(chosen) - len(differ),
        largest=float(gaps.max()),
        allowed=allowed,
    )
    refusals = []
    if differ:
        first = differ[0]
        refusals.append(
            f"{len(differ)} of {found.rows} answers differ, first {answers[first]!r} in place of "
            f"{measured.answers[first].text!r} to {texts[first][:80]!r}."
        )
    if not found.largest <= found.allowed:  # NaN is refused, too
        row, column = np.unravel_index(gaps.argmax(), gaps.shape)
        refusals.append(
            f"A probability differs by {found.largest:.2g}, of which float32 explains "
            f"{found.allowed:.2g}: {engine.model.labels[column]!r} of {texts[row][:80]!r}."
        )
    if refusals:
        raise ParityError(
            "the graph does not answer like the evaluated classifier: " + " ".join(refusals),
            fix=OTHERWISE,
        )
    return found
