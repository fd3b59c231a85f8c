"""A method of somebody else's: sharing, resume and checks are those of our own."""

from __future__ import annotations

import importlib
import json
import logging
import math
import re
import runpy
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from tests.distributions import write_distribution
from tests.small import small_project, write_model
from tests.train.test_methods import _run
from tests.train.test_session import Watcher, run
from tests.train.tiny import rows, tiny_model
from torch import Tensor
from torch.nn import functional

from assay.candidates import registry as candidates
from assay.config import FineTune, Place
from assay.config.training import METHODS
from assay.errors import ConfigError, UsageError
from assay.project import create
from assay.project.start.init import Choices, draft
from assay.project.train import with_method
from assay.train import adapters, loop
from assay.train.many import check_settings
from assay.train.methods import dpo, ipo, orpo, registry
from assay.train.methods.identity import code_sha256
from assay.train.methods.spec import MethodSpec
from assay.train.objective import TokenObjective
from assay.train.preference import PairLogps
from assay.train.ranks import check_place
from assay.train.sequences import alone
from assay.train.step import evaluate, step

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_loss.py"
SCALE = 2.0


def doubled(logits: Tensor, targets: Tensor) -> Tensor:
    return SCALE * functional.cross_entropy(logits, targets, reduction="none")


def hinge(pairs: PairLogps, beta: float) -> Tensor:
    return (1 - beta * (pairs.chosen - pairs.rejected)).clamp_min(0)


def _spec(name: str = "own", **changes: Any) -> MethodSpec:
    given: dict[str, Any] = {"learns_from": "answers", "token_loss": doubled, **changes}
    return MethodSpec(name, "learn otherwise", "For a test.", formula="none", **given)


HINGE = _spec("hinge", learns_from="pairs", token_loss=None, pair_loss=hinge)


def _gradients(model: Any) -> list[Tensor]:
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


def test_a_loss_of_tokens_has_the_gradient_of_the_cross_entropy_that_it_is() -> None:
    """Twice the cross-entropy, over a tree of shared prefixes, in one pass and in many."""
    shared = [
        replace(r, ids=[5, 6, 7, 8, *r.ids], trained=[False] * 4 + r.trained) for r in rows(9)
    ]
    units = alone(shared)
    found = []
    for objective, tokens in (
        (None, 4096),
        (TokenObjective(doubled), 4096),
        (TokenObjective(doubled), 40),
    ):
        model = tiny_model()
        loss, _ = step(model, units, objective, tokens)
        assert evaluate(model, units, objective, tokens) == pytest.approx(loss, rel=1e-5)
        found.append((loss, _gradients(model)))
    (plain, wanted), *others = found
    for loss, gradients in others:
        assert loss == pytest.approx(SCALE * plain, rel=1e-5)
        for ours, theirs in zip(gradients, wanted, strict=True):
            torch.testing.assert_close(ours, SCALE * theirs, rtol=1e-4, atol=1e-5)


def _train_tokens(folder: Path, **named: Any) -> Any:
    return run(folder, method=_spec(), **named)


def _train_pairs(folder: Path, **named: Any) -> Any:
    return _run(folder, "dpo", method=HINGE, **named)


@pytest.mark.parametrize("train", [_train_tokens, _train_pairs])
def test_it_goes_on_to_the_same_bits_and_is_found_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, train: Callable[..., Any]
) -> None:
    def stop(_: float) -> None:
        if len([i for i in watcher.info if "loss" in i]) == 3:
            raise KeyboardInterrupt

    whole = train(tmp_path / "whole")
    watcher = Watcher(stop)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", progress=watcher, checkpoint_seconds=0.0)
    cut = train(tmp_path / "cut")
    bits = [(one.adapter / adapters.WEIGHTS).read_bytes() for one in (whole, cut)]
    assert bits[0] == bits[1]
    assert cut.points == whole.points
    monkeypatch.setattr(loop, "step", lambda *_, **__: pytest.fail("it trained again"))
    assert train(tmp_path / "whole") == whole


def test_of_other_code_it_is_another_method(monkeypatch: pytest.MonkeyPatch) -> None:
    def scaled(by: Any) -> MethodSpec:
        return _spec(token_loss=lambda logits, targets: by * doubled(logits, targets))

    assert code_sha256(registry.find("dpo")) is None
    assert code_sha256(scaled(1.0)) == code_sha256(scaled(1.0)) != code_sha256(scaled(2.0))
    before = code_sha256(_spec())
    monkeypatch.setattr(sys.modules[__name__], "SCALE", 3.0)
    assert code_sha256(_spec()) != before
    log = logging.getLogger("a method's")
    monkeypatch.setattr(log, "level", logging.WARNING)
    said = code_sha256(scaled(log))
    monkeypatch.setattr(log, "level", logging.DEBUG)
    assert code_sha256(scaled(log)) == said  # how much is logged is no part of it
    for unseen in (object(), Path("weights.json")):  # what it points to may change
        with pytest.raises(UsageError, match=r"by of the training method own is a \w*(object|P)"):
            code_sha256(scaled(unseen))


def test_put_together_of_assays_functions_it_is_another_method_too() -> None:
    """Of Assay's own methods alone the version of Assay tells."""
    mine = [
        replace(dpo.SPEC, name="mine", **changes)
        for changes in ({}, {"pair_loss": ipo.loss}, {"reference": False, "pair_loss": orpo.loss})
    ]
    assert None not in {code_sha256(one) for one in mine}
    assert len({code_sha256(one) for one in mine}) == len(mine)


PACKAGE = {
    "__init__.py": "",
    "numbers.py": "SCALE = 2.0\n",
    "helpers.py": "from .numbers import SCALE\n\ndef penalty(x):\n    return SCALE * x\n",
    "other.py": "def shift(x):\n    return x + 1\n",
    "loss.py": """
from own_losses import helpers
from own_losses.other import shift
EXTRA = 1.0

def objective(settings, train):
    def of_step(model, units):
        return shift(EXTRA * helpers.penalty(units))
    return of_step
""",
}


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("helpers.py", "SCALE * x", "SCALE + x"),
        ("numbers.py", "2.0", "3.0"),
        ("other.py", "x + 1", "x + 2"),
        ("loss.py", "EXTRA *", "EXTRA +"),
        ("loss.py", "EXTRA = 1.0", "import numpy\nEXTRA = numpy.ones(2)"),
    ],
)
def test_whatever_its_functions_reach_is_part_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, old: str, new: str
) -> None:
    """Through a module, from a function within it, and from a script whose `__main__` is a
    debugger's."""
    folder = tmp_path / "own_losses"
    folder.mkdir()
    for name, text in PACKAGE.items():
        (folder / name).write_text(text, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)

    def found() -> str | None:
        for name in [one for one in sys.modules if one.split(".")[0] == "own_losses"]:
            del sys.modules[name]
        importlib.invalidate_caches()
        script = runpy.run_path(str(folder / "loss.py"), run_name="__main__")
        return code_sha256(_spec(token_loss=None, objective=script["objective"]))

    before = found()
    assert found() == before
    text = (folder / file).read_text("utf-8")
    (folder / file).write_text(text.replace(old, new), "utf-8")
    if "numpy" in new:
        with pytest.raises(UsageError, match="EXTRA of the training method own is a ndarray"):
            found()
    else:
        assert found() != before


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "My Loss"}, "lowercase letters"),
        ({"pair_loss": hinge}, "more than one of"),
        ({"token_loss": None, "pair_loss": hinge}, "a pair_loss learns from pairs"),
        ({"learns_from": "thumbs", "token_loss": None}, "has no loss of them"),
        ({"learns_from": "rewards"}, "none of answers, documents, pairs"),
    ],
)
def test_what_does_not_go_together_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        _spec(**changes)


def test_a_loss_that_is_reduced_is_refused(tmp_path: Path) -> None:
    def mean(logits: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(logits, targets)

    with pytest.raises(UsageError, match=r"shape \[\] for"):
        run(tmp_path, method=_spec(token_loss=mean))


def test_other_processes_are_not_asked_to_find_a_method_that_was_handed_over() -> None:
    with pytest.raises(ConfigError, match="cannot find the training method own"):
        check_place(Place(on="ray", ranks=2), FineTune(), _spec())
    with pytest.raises(ConfigError, match="cannot find the training method own"):
        check_settings(FineTune(), _spec())
    with pytest.raises(ConfigError, match="workers cannot grade rows"):
        check_settings(FineTune(graded_rows=5), None)
    with pytest.raises(ConfigError, match="workers cannot learn from graders"):
        check_settings(FineTune(method="reinforcement"), None)


MODULE = """
from assay.train.methods.spec import MethodSpec

def loss(pairs, beta):
    return -beta * (pairs.chosen - pairs.rejected)

SPEC = MethodSpec("toy", "learn", "Learns.", "pairs", "none", pair_loss=loss)
"""


@pytest.mark.parametrize(
    ("name", "module", "said"),
    [
        ("toy", MODULE, None),
        ("dpo", MODULE, "the name is taken"),
        ("other", MODULE, "its SPEC is called toy"),
        ("toy", "import no_such_module", "no_such_module"),
        ("toy", "", "has no SPEC"),
        ("toy", MODULE.replace('"pairs", "none"', '"answers", "none"'), "learns from pairs"),
    ],
)
def test_a_method_of_another_distribution_is_found_or_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    name: str,
    module: str,
    said: str | None,
) -> None:
    monkeypatch.syspath_prepend(
        write_distribution(tmp_path, module, registry.EXTENSIONS.name, name=name)
    )
    monkeypatch.delitem(sys.modules, "assay_toy", raising=False)
    known = set(registry.specs())
    found = registry.specs.__wrapped__()
    if said is None:
        assert set(found) == {*known, name}
        assert code_sha256(found[name]) is not None
    else:
        assert set(found) == known
        [line] = caplog.messages
        assert re.search(f"of assay-toy .*{said}", line)
        if name not in known:
            with pytest.raises(ConfigError, match=f"of assay-toy .*{said}"):
                registry.find(name)
    sys.modules.pop("assay_toy", None)


def test_a_method_that_nobody_has_is_named_with_those_that_there_are() -> None:
    with pytest.raises(
        ConfigError, match=r"fine_tune.method.*no training method 'dp0'.*sft, text, dpo"
    ):
        registry.find("dp0")


def test_what_no_method_can_be_called_is_refused_and_the_schema_lists_those_of_assay() -> None:
    for name in ("DPO", "d_po", "dpo ", ""):
        with pytest.raises(ValidationError, match="must be the name of a method"):
            FineTune(method=name)
    assert set(METHODS) == set(registry.built_in())


@pytest.mark.slow
def test_a_project_opens_without_its_method_and_only_trains_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    opened = small_project(tmp_path, edit={"  rank: 2": "  rank: 2\n  method: gone"})
    assert "there is no training method 'gone'" in caplog.text
    built: list[str] = []
    monkeypatch.setattr(candidates, "build", lambda name, context: built.append(name))
    for spend in (opened.train, opened.compare):
        with pytest.raises(ConfigError, match="no training method 'gone'"):
            spend()
    assert not built
    monkeypatch.undo()
    opened.config = opened.config.model_copy(update={"candidates": ["prompt"]})
    compared = opened.compare()
    assert "prompt" in [one.name for one in compared.result.candidates]


@pytest.mark.slow
def test_the_example_trains_a_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = small_project(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), str(opened.root)])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    assert re.search(r"version \w+ by smoothed: validation loss \d", capsys.readouterr().out)
    trained = opened.train(method=_spec())
    assert trained.settings["method"] == "own"
    assert len(trained.settings["method_sha256"]) == 64
    installed = with_method(opened.context(), dpo.SPEC)  # which other processes find, too
    assert (installed.config.fine_tune.method, installed.own_method) == ("dpo", None)
    own = with_method(opened.context(), _spec())
    assert own.with_training(seed=5).method.name == "own"
    assert own.with_training(method="dpo").method is dpo.SPEC
    with pytest.raises(UsageError, match="dpo is installed already"):
        opened.train(method=replace(HINGE, name="dpo"))


@pytest.mark.slow
def test_the_example_trains_a_version_on_better_and_worse_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "chats.jsonl"
    rows = [
        {"prompt": f"How is {n}?", "chosen": f"{n} is fine.", "rejected": f"I do not know {n}."}
        for n in range(40)
    ]
    data.write_text("\n".join(map(json.dumps, rows)))
    drafted = draft("chats", Choices(data=data, model=str(write_model(tmp_path / "model"))))
    opened = create(drafted, folder=tmp_path / "chats")
    path = opened.root / "assay.yaml"
    short = "  epochs: 1\n  rank: 2\n  max_tokens:"
    path.write_text(path.read_text().replace("  max_tokens:", short))
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), str(opened.root)])
    example = runpy.run_path(str(EXAMPLE), run_name="__main__")
    assert re.search(r"version \w+ by simpo: validation loss \d", capsys.readouterr().out)
    # Means over tokens of -2 and -4, twice their difference less the margin: -log sigmoid(3.5)
    sums, zero, tokens = torch.tensor([-6.0, -8.0]), torch.zeros(1), torch.tensor([3.0, 2.0])
    pair = PairLogps(sums[:1], sums[1:], zero, zero, tokens[:1], tokens[1:])
    assert example["simpo"](pair, 2.0).item() == pytest.approx(math.log(1 + math.exp(-3.5)))
