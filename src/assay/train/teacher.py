"""What a teacher holds likely at each trained token: read off a model once, or off what it told.

    <folder>/about.json              key of all blocks, threads, seconds spent
    <folder>/00000.safetensors       ids and probabilities of one block of rows, their sha256

The teacher runs over the rows as the trainer does, what they share computed once. A killed reading
goes on at the block it was in, with the threads it began with, to the same bits.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from assay.example import json_sha256
from assay.generate.batch import AnswerToken
from assay.progress import Progress
from assay.store.files import write_atomic
from assay.train import sealed
from assay.train.loss import logits_head
from assay.train.sequences import TeacherDistribution, TrainingSequence, alone, fingerprint
from assay.train.step import causal_lm, each_pass, in_passes, running, trained_states

if TYPE_CHECKING:
    from torch import Tensor

TOP = 20
"""Tokens a place; what providers tell at most."""
BLOCK = 64
"""Rows between two writes."""
FORMAT = 1
_CHUNK = 256
_ABOUT = "about.json"

Allowed = Callable[[int], "np.ndarray[Any, np.dtype[np.bool_]] | None"]
"""Of a row by its place: bool [n, V], the tokens that its constraint allowed; None: all."""


def read_top(
    model: nn.Module,
    rows: Sequence[TrainingSequence],
    folder: Path,
    *,
    identity: Mapping[str, str],
    vocabulary: int,
    tokens: int,
    allowed: Allowed = lambda place: None,
    top: int = TOP,
    progress: Progress,
) -> tuple[list[TeacherDistribution], float]:
    """The teacher's `top` likeliest tokens at each trained token of each row.

    Args:
        model: the teacher, in eval mode.
        rows: as the teacher spells them.
        folder: where finished blocks are kept.
        identity: all that can change the teacher's logits, and what `allowed` says.
        vocabulary: tokens that the student knows, too; the others go into the rest.
        tokens: at most this many go through the model at once.

    Returns:
        One `TeacherDistribution` a row, and the seconds that all readings so far have taken.
    """
    key = json_sha256(
        {
            "format": FORMAT,
            "teacher": dict(identity),
            "rows": fingerprint(rows),
            "vocabulary": vocabulary,
            "tokens": tokens,
            "top": top,
        }
    )
    about = sealed.read(folder / _ABOUT, key, progress)
    if about is None:
        about = {"key": key, "threads": torch.get_num_threads(), "seconds": 0.0}
        sealed.write(folder / _ABOUT, about)
    found: list[TeacherDistribution] = []
    threads = torch.get_num_threads()
    torch.set_num_threads(about["threads"])
    try:
        with (
            progress.task("reading the teacher's log-probabilities", len(rows), "rows") as bar,
            torch.no_grad(),
            running(model),
        ):
            for start in range(0, len(rows), BLOCK):
                block = rows[start : start + BLOCK]
                file = folder / f"{start // BLOCK:05d}.safetensors"
                known = _read(file, key, block)
                if known is None:
                    began = time.monotonic()
                    known = _block(model, block, start, allowed, vocabulary, tokens, top)
                    _write(file, key, known)
                    about["seconds"] += time.monotonic() - began
                    sealed.write(folder / _ABOUT, about)
                found += known
                bar.advance(len(block))
    finally:
        torch.set_num_threads(threads)
    return found, float(about["seconds"])


def _block(
    model: nn.Module,
    rows: Sequence[TrainingSequence],
    start: int,
    allowed: Allowed,
    vocabulary: int,
    tokens: int,
    top: int,
) -> list[TeacherDistribution]:
    head = logits_head(causal_lm(model))
    found: dict[int, TeacherDistribution] = {}
    for places, trunk in each_pass(model, in_passes(model, alone(rows), tokens)):
        hidden = trained_states(model, [rows[place] for place in places], trunk)[0]
        begin = 0
        for place in places:
            end = begin + rows[place].trained_tokens
            mask = allowed(start + place)
            parts = [
                _likeliest(
                    head(hidden[low : min(low + _CHUNK, end)]).float(),
                    None if mask is None else mask[low - begin : low - begin + _CHUNK],
                    vocabulary,
                    top,
                )
                for low in range(begin, end, _CHUNK)
            ]
            ids, probs = (np.concatenate(each) for each in zip(*parts, strict=True))
            found[place] = TeacherDistribution(ids, probs)
            begin = end
    return [found[place] for place in range(len(rows))]


def _likeliest(
    logits_nv: Tensor,
    allowed: np.ndarray[Any, np.dtype[np.bool_]] | None,
    vocabulary: int,
    top: int,
) -> tuple[np.ndarray[Any, np.dtype[np.int32]], np.ndarray[Any, np.dtype[np.float32]]]:
    """Ids and probabilities of the likeliest tokens; one token at least is left for the rest."""
    if allowed is not None:
        hidden = ~torch.from_numpy(allowed).to(logits_nv.device)
        logits_nv = logits_nv.masked_fill(hidden, -torch.inf)
    probs = torch.softmax(logits_nv, dim=1)[:, :vocabulary]
    best = probs.topk(min(top, probs.shape[1] - 1), dim=1)
    return best.indices.cpu().numpy().astype(np.int32), best.values.cpu().numpy()


def spellings(tokenizer: Any) -> dict[bytes, int]:
    """The ordinary tokens of a tokenizer by what they spell; what two of them spell is left out."""
    import llguidance.hf

    known = llguidance.hf.from_tokenizer(tokenizer)
    found: dict[bytes, int] = {}
    twice: set[bytes] = set()
    for token in range(known.vocab_size):
        if known.is_special_token(token):
            continue
        spelled = known.decode_bytes([token])
        if spelled in found:
            twice.add(spelled)
        found[spelled] = token
    return {spelled: token for spelled, token in found.items() if spelled and spelled not in twice}


def match_tokens(
    row: TrainingSequence, told: Sequence[AnswerToken], spelled: Mapping[bytes, int]
) -> TeacherDistribution | None:
    """What a provider told of its answer's tokens, where they are the student's own, one for one.

    The token that ends the answer is told by nobody; it counts as certain. So do earlier turns.

    Args:
        row: as the student spells it, ending with the answer and its stop token.
        spelled: the student's tokens, see `spellings`.
    """
    trained = row.targets
    answer = [spelled.get(bytes.fromhex(token.bytes)) for token in told]
    first = len(trained) - 1 - len(answer)
    if first < 0 or trained[first:-1] != answer or not any(token.top for token in told):
        return None
    width = 1 + max(len(token.top) for token in told)
    ids = np.repeat(np.array(trained, dtype=np.int32)[:, None], width, axis=1)
    probs = np.zeros(ids.shape, dtype=np.float32)
    probs[:, 0] = 1.0
    for place, token in enumerate(told, start=first):
        likely = {trained[place]: math.exp(token.logprob)}
        for other, logprob in token.top:
            known = spelled.get(bytes.fromhex(other))
            if known is not None:
                likely[known] = math.exp(logprob)
        whole = max(1.0, sum(likely.values()))  # what was rounded must not exceed 1
        for column, (known, probability) in enumerate(likely.items()):
            ids[place, column], probs[place, column] = known, probability / whole
    return TeacherDistribution(ids, probs)


def _write(file: Path, key: str, block: Sequence[TeacherDistribution]) -> None:
    from safetensors.numpy import save

    tensors = {
        "ids": np.concatenate([taught.ids for taught in block]),
        "probs": np.concatenate([taught.probs for taught in block]),
    }
    write_atomic(file, save(tensors, {"key": key, "sha256": _sum(tensors)}))


def _read(
    file: Path, key: str, rows: Sequence[TrainingSequence]
) -> list[TeacherDistribution] | None:
    """A finished block; None where it is missing, damaged, or of another reading."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "np") as raw:
            about = raw.metadata() or {}
            tensors = {name: raw.get_tensor(name) for name in ("ids", "probs")}
    except (OSError, SafetensorError):
        return None
    counts = [row.trained_tokens for row in rows]
    whole = about.get("key") == key and about.get("sha256") == _sum(tensors)
    if not whole or len(tensors["ids"]) != sum(counts):
        return None
    ends = np.cumsum(counts)[:-1]
    return [
        TeacherDistribution(ids, probs)
        for ids, probs in zip(
            np.split(tensors["ids"], ends), np.split(tensors["probs"], ends), strict=True
        )
    ]


def _sum(tensors: Mapping[str, np.ndarray[Any, Any]]) -> str:
    return hashlib.sha256(tensors["ids"].tobytes() + tensors["probs"].tobytes()).hexdigest()
