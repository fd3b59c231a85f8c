"""Answers of the most similar row: kept whole, given alike in another process."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.knowledge.wordy import Wordy

from assay.errors import ModelError
from assay.example import Message
from assay.generate.batch import Request
from assay.generate.calibration import Calibration, calibrate
from assay.generate.nearest import (
    NearestEngine,
    NearestModel,
    distinct,
    dump_nearest,
    load_nearest,
    nearest_rows,
)
from assay.generate.registry import EngineResources, open_batch
from assay.models.embed import STARTER, Embedder, load_embedder
from assay.store import blobs
from assay.store.store import Store

ROWS = {
    "how do I reset my password": "Use the link on the sign-in page.",
    "where is my parcel": "See the tracking page.",
    "where is my package": "See the tracking page.",
    "can I pay by card": "Yes.",
}
AGAIN = """
import json, sys
from pathlib import Path
from assay.example import Message
from assay.generate.batch import Request
from assay.generate.registry import EngineResources, open_batch
from assay.store.store import Store

engine = open_batch(sys.argv[2], EngineResources(Store(Path(sys.argv[1]))))
asked = [Request((Message("user", text),)) for text in json.load(sys.stdin)]
print(json.dumps([[answer.text, answer.logprob] for answer in engine.answer(asked)]))
"""


def model(embedder: Embedder | Wordy, threshold: float | None = None) -> NearestModel:
    answers, places = distinct(list(ROWS.values()))
    return NearestModel(
        embedder=STARTER,
        identity=embedder.identity,
        answers=answers,
        places=places,
        vectors=embedder.encode(list(ROWS)),
        threshold=threshold,
        abstention="I cannot say.",
        calibration=Calibration(8.0, -4.0),
        rows="0" * 64,
    )


def asked(*texts: str) -> list[Request]:
    return [Request((Message("system", "Be kind."), Message("user", text))) for text in texts]


def test_the_most_similar_row_answers_and_says_how_sure_it_is() -> None:
    engine = NearestEngine(model(Wordy()), Wordy(), "0")
    same, far = engine.answer(asked("where is my parcel", "reset it"))
    assert (same.text, far.text) == ("See the tracking page.", "Use the link on the sign-in page.")
    assert same.logprob == pytest.approx(-math.log1p(math.exp(-4.0)))
    assert (far.logprob or 0) < (same.logprob or 0) < 0


def test_what_is_not_alike_is_not_answered() -> None:
    engine = NearestEngine(model(Wordy(), threshold=0.9), Wordy(), "0")
    same, far = engine.answer(asked("can I pay by card", "can I pay by cheque or by bank"))
    assert (same.text, far.text) == ("Yes.", "I cannot say.")


def test_of_equally_similar_rows_the_first_answers_whatever_the_last_digits() -> None:
    rows = np.array([[1.0, 0.0], [1.0, 1e-7], [0.0, 1.0]], dtype=np.float32)
    assert nearest_rows(np.array([[0.6, 0.8], [0.8, 0.6]], dtype=np.float32), rows) == (
        [2, 0],
        pytest.approx([0.8, 0.8]),
    )


def test_a_calibration_rises_and_never_reaches_certainty() -> None:
    found = calibrate([0.2, 0.3, 0.4, 0.8, 0.9, 0.95], [0, 0, 0, 1, 1, 1])
    low, high = math.exp(found.logprob(0.2)), math.exp(found.logprob(0.95))
    assert low < 0.2 < 0.8 < high < 1
    assert 0.5 < math.exp(calibrate([0.5] * 8, [1] * 8).logprob(0.5)) < 1
    assert math.exp(calibrate([], []).logprob(0.0)) == pytest.approx(0.5, abs=0.5)


def test_a_damaged_blob_is_refused() -> None:
    blob = dump_nearest(model(Wordy()))
    for wrong in (blob[:-2], b"", b"nonsense"):
        with pytest.raises(ModelError, match="damaged"):
            load_nearest(wrong)


def test_parts_that_do_not_fit_together_are_refused() -> None:
    made = model(Wordy())
    wrong = (
        replace(made, places=made.places + 1),
        replace(made, places=made.places - 1),
        replace(made, places=made.places[:-1]),
        replace(made, vectors=made.vectors[:0], places=made.places[:0]),
        replace(made, vectors=made.vectors[:, 0]),
        replace(made, vectors=made.vectors * np.float32(np.nan)),
    )
    for one in wrong:
        with pytest.raises(ModelError, match="damaged"):
            load_nearest(dump_nearest(one))
    with pytest.raises(ModelError, match="not the one"):
        NearestEngine(made, Wordy(dimension=8), "0")


def test_another_process_answers_alike(tmp_path: Path) -> None:
    store = Store(tmp_path / ".assay")
    made = model(load_embedder(STARTER), 0.3)
    name = f"nearest:{blobs.put(store, dump_nearest(made))}"
    texts = ["my parcel is not here", "which cards do you take?", "sing me a song", ""]
    here = open_batch(name, EngineResources(store)).answer(asked(*texts))
    done = subprocess.run(
        [sys.executable, "-c", AGAIN, str(store.folder), name],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == [[answer.text, answer.logprob] for answer in here]
    assert here[0].text == "See the tracking page."
