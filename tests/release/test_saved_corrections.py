"""What is remembered of corrections: the file they are in, and that they were added."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

from tests.release.shelf import PROJECT as P
from tests.release.shelf import shelf

from assay.example import Message
from assay.release import changes, policies, saved_corrections, traces
from assay.store.store import Store

R = "tickets"


def kept(folder: Path, database: str) -> Store:
    """A store with four traces."""
    store, _ = shelf(folder, 1, Store(folder, database))
    changes.promote(store, P, R, "tuned@1", who="ann", force="a test")
    policies.switch_on(store, P, R, who="ann", sample=1.0, days=7, most=100)
    asked, answer = [Message("user", "Where is it?")], Message("assistant", "?")
    for id in "abcd":
        traces.record(store, P, R, "agent", id=id, messages=asked, answer=answer)
    return store


def test_a_correction_is_in_its_file_until_it_changes(database: str, tmp_path: Path) -> None:
    store = kept(tmp_path, database)

    def correct(*ids: str, text: str) -> None:
        for id in ids:
            traces.feedback(store, P, id, thumb="down", corrected=text)

    def unadded() -> dict[str | None, int]:
        found = saved_corrections.find_unadded(store, P, R)
        return {group.file: group.count for group in found}

    def unsaved(*lost: str) -> str:
        found = saved_corrections.list_unsaved(store, P, R, lost=lost, count=9)
        return "".join(trace.id for trace in found)

    correct(*"abcd", text="Here.")
    first = traces.traces(store, P, corrected=True)
    correct("d", text="There.")  # while the others are written
    assert not saved_corrections.mark_saved(store, P, first, "one")  # it has the old answer
    assert unadded() == {None: 4}
    assert saved_corrections.mark_saved(store, P, first[1:], "one")
    assert list(unadded().items()) == [("one", 3), (None, 1)]
    (before, after) = (group.newest for group in saved_corrections.find_unadded(store, P, R))
    assert before is not None
    assert after is not None
    assert before < after
    assert (unsaved(), unsaved("one")) == ("d", "dcba")
    correct("a", text="Here.")  # as it was
    assert unsaved() == "d"
    correct("a", text="Nowhere.")  # and the file is wrong
    assert unsaved() == "dcba"
    saved_corrections.mark_saved(store, P, traces.traces(store, P, corrected=True), "two")
    saved_corrections.mark_added(store, P, "two")
    assert unadded() == {}
    correct("b", text="Nowhere.")
    traces.feedback(store, P, "c", thumb="up")
    assert unadded() == {None: 1}
    # What was added, and may have been taken out since, comes back with no other file.
    assert not saved_corrections.mark_saved(
        store, P, traces.traces(store, P, corrected=True), "three"
    )
    assert unadded() == {None: 1}


def test_corrections_of_one_file_change_at_once(empty_postgres: str, tmp_path: Path) -> None:
    """Whoever changes one changes all others of its file, and none waits for another for ever."""
    store = kept(tmp_path, empty_postgres)
    ids = "abcd"
    for id in ids:
        traces.feedback(store, P, id, thumb="down", corrected="Here.")
    together = Barrier(len(ids) + 1, timeout=30)  # where one of them has failed

    def correct(id: str) -> None:
        for n in range(20):
            together.wait()
            traces.feedback(store, P, id, thumb="down", corrected=f"{n}")

    def save() -> None:
        for n in range(20):
            found = traces.traces(store, P, corrected=True)[:: (-1) ** n]
            saved_corrections.mark_saved(store, P, found, f"{n}")
            together.wait()
            saved_corrections.mark_added(store, P, f"{n}")

    with ThreadPoolExecutor() as pool:
        done = [pool.submit(save), *(pool.submit(correct, id) for id in ids)]
    for one in done:
        one.result()
    assert {one.corrected for one in traces.traces(store, P)} == {"19"}
