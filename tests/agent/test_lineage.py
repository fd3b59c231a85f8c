"""Which agents could not be had without collected rows, whoever made them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.agent.routes import by_rules, saved
from tests.models.test_versions import RECORD, adapter

from assay.agent.agent import Agent, Nearest, as_shown
from assay.agent.lineage import HANDFUL, is_made_of_many_rows, is_retrained, is_tuned
from assay.agent.route import Rule
from assay.example import Example, dump_examples
from assay.generate.classical import dump_classical, fit_constant
from assay.models.versions import save_version
from assay.store import blobs
from assay.store.store import Store

__all__ = ["adapter"]


@pytest.mark.parametrize(("count", "many"), [(HANDFUL, False), (HANDFUL + 1, True)])
def test_rows_count_from_more_than_a_handful_on_shown_looked_up_or_behind_a_route(
    tmp_path: Path, count: int, many: bool
) -> None:
    store = Store(tmp_path)
    rows = [Example.of(f"question {n}", f"answer {n}", id=str(n)) for n in range(count)]
    pool = blobs.put(store, "".join(dump_examples([*rows, rows[0]])).encode())
    nearest = Agent(model="small", nearest=Nearest(k=1, pool=pool, embedder="e"))
    shown = Agent(model="small", shown=tuple(as_shown(row) for row in rows))
    id = saved(store, "near", nearest)
    route = by_rules(id, Rule(to=id, pattern="question"))
    for agent in (nearest, shown, route):
        assert is_made_of_many_rows(agent, store) is many
    assert not is_made_of_many_rows(Agent(model="small"), store)


def test_what_a_version_answers_for_is_made_again_also_behind_two_routes(
    tmp_path: Path, adapter: Path
) -> None:
    store = Store(tmp_path)
    model = f"version:{save_version(store, adapter, RECORD)}"
    plain, tuned = saved(store, "small"), saved(store, "t", Agent(model=model))
    inner = by_rules(plain, Rule(to=tuned, pattern="hard"))
    outer = by_rules(plain, Rule(to=saved(store, "inner", inner), pattern="question"))
    for agent in (Agent(model=model), inner, outer):
        assert is_tuned(agent, store)
        assert is_retrained(agent, store)
    constant = blobs.put(store, dump_classical(fit_constant(["yes"], "yes")))
    for agent in (Agent(model="small"), Agent(kind="classical", model=f"classical:{constant}")):
        assert not is_tuned(agent, store)
        assert not is_retrained(agent, store)
