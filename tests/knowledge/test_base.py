"""What goes in, what comes out, what is made anew and what is not."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update
from tests.knowledge.wordy import Wordy

from assay.errors import NotFoundError, StateError, UsageError
from assay.knowledge import build as building
from assay.knowledge.base import KnowledgeBase
from assay.knowledge.records import EMPTY
from assay.knowledge.search import Mode
from assay.knowledge.settings import KnowledgeSettings
from assay.knowledge.sources import SourceFile
from assay.knowledge.table import IndexBrokenError, Tables
from assay.store.store import Store
from assay.store.tables import KnowledgeBuildRow, KnowledgeDocumentRow, now


def names(base: KnowledgeBase) -> list[str]:
    return [Path(document.path).name for document in base.documents()]


def test_a_folder_goes_in_and_documents_are_named_as_it_was_given(
    base: KnowledgeBase, docs: Path
) -> None:
    (docs / ".hidden.txt").write_text("not seen")
    (docs / "photo.png").write_bytes(b"\x89PNG")
    (docs / "empty.txt").write_text("")
    added = base.add([docs])
    assert (added.documents, added.passages, added.unchanged) == (3, 3, 0)
    assert {Path(f.file).name: f.reason for f in added.failed} == {
        "photo.png": "files of type .png are not read.",
        "empty.txt": "it is empty.",
    }
    assert [d.path for d in base.documents()] == [
        str(docs / name) for name in ("hours.txt", "refunds.md", "sub/tea.txt")
    ]
    assert [Path(f.file).name for f in base.failures()] == ["empty.txt", "photo.png"]
    [found] = base.search(["When does money come back?"], k=1)
    assert found[0].document == str(docs / "refunds.md")
    assert (found[0].heading, found[0].page) == ("Refunds", None)
    assert found[0].text == "# Refunds\n\nMoney comes back within fourteen days."


def test_only_what_changed_is_embedded_again(
    base: KnowledgeBase, docs: Path, encoder: Wordy
) -> None:
    base.add([docs])
    first, encoder.embedded = base.snapshot, []
    again = base.add([docs])
    assert (again.documents, again.unchanged, encoder.embedded) == (3, 3, [])
    assert base.snapshot == first
    (docs / "hours.txt").write_text("The shop never closes.")
    added = base.add([docs])
    assert (added.documents, added.unchanged) == (3, 2)
    assert encoder.embedded == ["hours\nThe shop never closes."]
    assert base.snapshot != first
    assert len(base.documents()) == 3


def test_the_same_documents_are_the_same_snapshot_again(base: KnowledgeBase, docs: Path) -> None:
    base.add([docs])
    first = base.snapshot
    (docs / "new.txt").write_text("Something else.")
    base.add([docs / "new.txt"])
    assert base.snapshot != first
    base.remove([str(docs / "new.txt")])
    assert base.snapshot == first
    assert base.search(["tea"], k=1)[0]


def test_a_document_with_its_first_text_again_was_added_last(
    base: KnowledgeBase, docs: Path, tmp_path: Path
) -> None:
    hours = docs / "hours.txt"
    first, long_ago = hours.read_text(), now() - timedelta(hours=1)
    for text in (first, "The shop never closes."):
        hours.write_text(text)
        base.add([docs])
    with Store(tmp_path / ".assay").session() as session:
        session.execute(update(KnowledgeDocumentRow).values(added=long_ago))
    hours.write_text(first)
    base.add([docs])
    added = {Path(d.path).name: d.added_at for d in base.documents()}
    assert added["tea.txt"] == long_ago.replace(microsecond=added["tea.txt"].microsecond)
    assert added["hours.txt"] > long_ago + timedelta(minutes=30)


def test_a_file_added_by_another_path_is_no_second_document(
    base: KnowledgeBase, docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base.add([docs])
    monkeypatch.chdir(docs.parent)
    base.add(["docs"])
    assert [d.path for d in base.documents()] == [
        "docs/hours.txt",
        "docs/refunds.md",
        "docs/sub/tea.txt",
    ]


def test_a_source_may_be_called_otherwise(base: KnowledgeBase, docs: Path) -> None:
    blob = docs / "8f3a"
    blob.write_text("Blobs have no suffix of their own.")
    base.add(
        [SourceFile("file-1/notes.txt", blob), SourceFile("b.md", blob, labels=("b",))],
        labels=["a"],
    )
    assert [(d.path, d.labels) for d in base.documents()] == [
        ("b.md", ("b",)),
        ("file-1/notes.txt", ("a",)),
    ]


def test_a_link_out_of_a_folder_is_not_followed(base: KnowledgeBase, docs: Path) -> None:
    secret = docs.parent / "secret.txt"
    secret.write_text("the canary sings")
    (docs / "link.txt").symlink_to(secret)
    (docs / "away").symlink_to(docs.parent)
    (docs / "circle.txt").symlink_to("circle.txt")
    (docs / "long.txt").symlink_to("n" * 300)
    added = base.add([docs])
    assert added.documents == 3
    assert [f.reason for f in added.failed] == ["it is a link to no file of the folder."] * 3


def test_a_file_that_breaks_keeps_what_was_read_before(base: KnowledgeBase, docs: Path) -> None:
    base.add([docs])
    (docs / "hours.txt").write_text("")
    assert [f.reason for f in base.add([docs]).failed] == ["it is empty."]
    assert base.search(["When does the shop open?"], k=1)[0][0].document == str(docs / "hours.txt")
    (docs / "hours.txt").write_text("Mended.")
    base.add([docs])
    assert base.failures() == []


def test_labels_are_filtered_before_ranking(base: KnowledgeBase, docs: Path) -> None:
    for number in range(30):
        (docs / f"secret{number}.txt").write_text(f"Tea tea tea secret number {number}.")
    base.add([docs], labels=["staff"])
    base.add([docs / "sub"], labels=["public", "o'brien"])
    for mode in ("bm25", "dense", "hybrid"):
        [found] = base.search(["secret tea"], k=5, mode=mode, labels=frozenset({"public"}))
        assert [Path(p.document).name for p in found] == ["tea.txt"]
        [all] = base.search(["secret tea"], k=5, mode=mode)
        assert "tea.txt" not in [Path(p.document).name for p in all]
    assert base.search(["tea"], k=5, labels=frozenset({"o'brien"}))[0]
    assert base.search(["tea"], k=5, labels=frozenset({"') OR true --"})) == [[]]
    assert base.search(["tea"], k=5, labels=frozenset()) == [[]]
    # What an agent is held to and what its client may see hold both.
    assert base.search(["tea"], k=1, labels=frozenset({"staff"}), seen=frozenset({"staff"}))[0]
    assert base.search(["tea"], k=9, labels=frozenset({"staff"}), seen=frozenset({"public"})) == [
        []
    ]
    assert base.search(["tea"], k=5, seen=frozenset()) == [[]]


def test_a_label_alone_can_change(base: KnowledgeBase, docs: Path, encoder: Wordy) -> None:
    base.add([docs], labels=["a"])
    encoder.embedded = []
    base.add([docs / "sub"], labels=["b"])
    assert encoder.embedded == []
    assert {Path(d.path).name: d.labels for d in base.documents()} == {
        "hours.txt": ("a",),
        "refunds.md": ("a",),
        "tea.txt": ("b",),
    }
    assert len(base.search(["tea shop money"], k=9, labels=frozenset("b"))[0]) == 1
    with pytest.raises(UsageError):
        base.add([docs], labels=[" "])


def test_who_may_no_longer_see_a_document_finds_it_in_no_earlier_state(
    base: KnowledgeBase, docs: Path
) -> None:
    base.add([docs], labels=["staff"])
    before = base.snapshot
    [name] = [d.path for d in base.documents() if d.path.endswith("tea.txt")]
    base.add([docs], labels=["staff", "board"])  # more may see it: what was is kept
    assert base.search(["tea"], k=1, mode="bm25", snapshot=before)[0]
    copy = base.sized_copy(50)
    copy.add([docs], labels=["staff", "board"], settings=KnowledgeSettings(chunk_tokens=50))
    staff = frozenset({"staff"})
    assert copy.search(["green tea steeped"], k=1, mode="bm25", seen=staff)[0]
    base.add([docs / "sub" / "tea.txt"], labels=["board"])
    assert copy.search(["green tea steeped"], k=1, mode="bm25", seen=staff) == [[]]
    for earlier in (before, base.snapshot):
        seen = {"k": 9, "mode": "bm25", "seen": frozenset({"staff"}), "snapshot": earlier}
        try:
            found = base.search(["green tea steeped minutes"], **seen)[0]
        except NotFoundError:
            continue  # agents then search the present state
        assert name not in {passage.document for passage in found}
    with pytest.raises(NotFoundError, match="no longer kept"):
        base.search(["tea"], k=1, mode="bm25", snapshot=before)


def test_a_removal_finds_what_a_document_was_under_another_name(
    base: KnowledgeBase, docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = docs / "secret.txt"
    secret.write_text("The password was swordfish.")
    monkeypatch.chdir(docs.parent)
    base.add([f"{docs.name}/secret.txt"])
    before = base.snapshot
    secret.write_text("The password is gone.")
    monkeypatch.chdir(docs)
    base.add(["secret.txt"])
    assert [d.path for d in base.documents()] == ["secret.txt"]
    base.remove(["secret.txt"])
    with pytest.raises(NotFoundError, match="no longer kept"):
        base.search(["swordfish"], k=1, mode="bm25", snapshot=before)
    for file in base._store.folder.rglob("*"):
        assert not file.is_file() or b"swordfish" not in file.read_bytes(), file


def test_a_name_that_is_empty_removes_nothing(base: KnowledgeBase, docs: Path) -> None:
    base.add([docs.resolve()])
    there = len(base.documents())
    for name in ("", "/"):
        with pytest.raises(UsageError, match="no document was given"):
            base.remove([name])
    assert len(base.documents()) == there


@pytest.mark.parametrize(
    "query", ['"green tea"', '"tea" or "coffee"', "tea AND (", '+tea -"', "tea*"]
)
@pytest.mark.parametrize("mode", ["bm25", "hybrid"])
def test_a_question_is_words_and_no_query_language(
    base: KnowledgeBase, docs: Path, query: str, mode: Mode
) -> None:
    base.add([docs])
    [found] = base.search([query], k=1, mode=mode)
    assert found[0].document.endswith("tea.txt")


def test_removal_by_name_by_folder_and_of_everything(base: KnowledgeBase, docs: Path) -> None:
    base.add([docs])
    with pytest.raises(NotFoundError, match=r"no document 'nothing.txt'"):
        base.remove([str(docs / "hours.txt"), "nothing.txt"])
    assert len(base.documents()) == 3
    removed = base.remove([str(docs / "sub")])
    assert (removed.documents, removed.left) == ((str(docs / "sub" / "tea.txt"),), 2)
    base.remove([str(docs)])
    assert base.documents() == []
    assert base.search(["tea"], k=3) == [[]]
    base.add([docs])
    assert len(base.documents()) == 3
    base.delete()
    with pytest.raises(NotFoundError):
        base.documents()


def test_a_removal_reaches_the_passages_of_other_sizes(
    base: KnowledgeBase, docs: Path, tmp_path: Path
) -> None:
    base.add([docs])
    copy, other = (
        base.sized_copy(50),
        KnowledgeBase(Store(tmp_path / ".assay"), "shop", "manuals.50"),
    )
    copy.add([docs], settings=KnowledgeSettings(chunk_tokens=50))
    other.add([docs])  # called so by a user: it is nobody's copy
    assert copy.search(["money"], k=1, mode="bm25")[0]
    base.remove([str(docs / "refunds.md")])
    assert [d.path for d in copy.documents()] == [d.path for d in base.documents()]
    assert copy.search(["money"], k=1, mode="bm25") == [[]]
    base.delete()
    with pytest.raises(NotFoundError):
        copy.documents()
    assert str(docs / "refunds.md") in [d.path for d in other.documents()]


def test_an_earlier_state_is_searched_by_its_snapshot_until_its_time_is_over(
    base: KnowledgeBase, docs: Path, tmp_path: Path
) -> None:
    base.add([docs])
    before = base.snapshot
    (docs / "hours.txt").write_text("The shop is closed for good.")
    base.add([docs])
    question = ["When does the shop open and close?"]
    assert "closed for good" in base.search(question, k=1)[0][0].text
    assert "opens at nine" in base.search(question, k=1, snapshot=before)[0][0].text
    store = Store(tmp_path / ".assay")
    with store.session() as session:
        session.execute(
            update(KnowledgeBuildRow)
            .where(KnowledgeBuildRow.snapshot == before)
            .values(superseded=now() - building.RETENTION - timedelta(days=1))
        )
    (docs / "new.txt").write_text("Anything.")
    base.add([docs])
    with pytest.raises(NotFoundError, match="no longer kept"):
        base.search(question, k=1, snapshot=before)


def test_an_empty_one_answers_nothing(base: KnowledgeBase) -> None:
    with pytest.raises(NotFoundError, match="no knowledge base 'manuals'"):
        base.search(["anything"], k=1)
    base.create()
    assert base.snapshot == EMPTY
    assert base.search(["anything"], k=1) == [[]]
    assert base.search(["anything"], k=1, snapshot=EMPTY) == [[]]
    assert base.documents() == []


def test_owners_do_not_see_each_other(base: KnowledgeBase, docs: Path, tmp_path: Path) -> None:
    base.add([docs])
    with pytest.raises(NotFoundError):
        KnowledgeBase(Store(tmp_path / ".assay"), "other", "manuals").documents()


@pytest.mark.parametrize("name", ["", "a/b", "../x", "a" * 101, ".hidden"])
def test_names_that_cannot_be(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError):
        KnowledgeBase(Store(tmp_path / ".assay"), "o", name).create()


def test_other_settings_need_a_rebuild(base: KnowledgeBase, docs: Path, encoder: Wordy) -> None:
    base.add([docs], settings=KnowledgeSettings(chunk_tokens=50))
    with pytest.raises(StateError, match="rebuild"):
        base.add([docs], settings=KnowledgeSettings(chunk_tokens=4))
    first, encoder.embedded = base.snapshot, []
    made = base.rebuild(KnowledgeSettings(chunk_tokens=4))
    assert made.passages > 3
    assert len(encoder.embedded) == made.passages
    assert base.settings.chunk_tokens == 4
    assert base.snapshot != first
    assert base.search(["tea"], k=1)[0]
    with pytest.raises(UsageError, match="Klingon"):
        base.rebuild(KnowledgeSettings(language="Klingon"))
    assert base.search(["tea"], k=1)[0]


def test_another_model_of_the_same_name_is_refused(
    base: KnowledgeBase, docs: Path, tmp_path: Path
) -> None:
    base.add([docs])
    wider = KnowledgeBase(
        Store(tmp_path / ".assay"), "shop", "manuals", embedders=lambda _: Wordy(300)
    )
    with pytest.raises(StateError, match=r"different model.*rebuild"):
        wider.search(["tea"], k=1)
    (docs / "new.txt").write_text("Something new.")
    with pytest.raises(StateError, match="rebuild"):
        wider.add([docs])
    assert wider.search(["tea"], k=1, mode="bm25")[0]
    wider.rebuild()
    assert wider.search(["tea"], k=1)[0]


def test_what_a_stopped_addition_has_embedded_is_not_embedded_again(
    base: KnowledgeBase, docs: Path, encoder: Wordy
) -> None:
    class Stops(Wordy):
        def encode(self, texts: object) -> object:  # type: ignore[override]
            if len(self.embedded) == 2:
                raise KeyboardInterrupt
            return super().encode(texts)  # type: ignore[arg-type]

    stops = Stops()
    stops.at_once = 1
    base._embedders = lambda _: stops  # type: ignore[assignment, return-value]
    with pytest.raises(KeyboardInterrupt):
        base.add([docs])
    assert base.documents() == []
    assert base.check().leftovers > 0
    base._embedders = lambda _: encoder
    base.add([docs])
    assert len(encoder.embedded) == 1
    assert len(base.documents()) == 3
    assert base.check().leftovers == 0


def test_a_table_that_is_damaged_gives_no_half_of_a_document(
    base: KnowledgeBase, docs: Path, encoder: Wordy, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder.at_once = 2
    monkeypatch.setattr(building, "_COPIED_AT_ONCE", 1)
    (docs / "hours.txt").write_text("The shop opens at nine. " * 60)
    base.add([docs], settings=KnowledgeSettings(chunk_tokens=16))
    passages = {d.path: d.passages for d in base.documents()}
    plain, calls = building._Writer._labelled, []

    def breaks(writer: object, rows: object) -> object:
        calls.append(rows)
        if len(calls) == 2:
            raise OSError("a damaged page")
        return plain(writer, rows)  # type: ignore[arg-type]

    monkeypatch.setattr(building._Writer, "_labelled", breaks)
    (docs / "new.txt").write_text("Something new.")
    base.add([docs])
    assert len(calls) == 2
    assert {d.path: d.passages for d in base.documents()} == passages | {str(docs / "new.txt"): 1}
    assert base.check().damage == ()


def test_additions_at_the_same_time_wait_for_each_other(
    base: KnowledgeBase, docs: Path, tmp_path: Path
) -> None:
    files = [docs / f"{n}.txt" for n in range(6)]
    for file in files:
        file.write_text(f"Document {file.stem}.")
    threads = [threading.Thread(target=lambda f=f: base.add([f])) for f in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names(base) == [f"{n}.txt" for n in range(6)]


def test_check_finds_what_changed_and_what_is_damaged(
    base: KnowledgeBase, docs: Path, tmp_path: Path
) -> None:
    (docs / "bad.pdf").write_bytes(b"%PDF nothing")
    base.add([docs])
    found = base.check()
    assert (found.changed, found.vanished, found.damage) == ((), (), ())
    assert [Path(f.file).name for f in found.failed] == ["bad.pdf"]
    (docs / "hours.txt").write_text("Never.")
    (docs / "refunds.md").unlink()
    found = base.check()
    assert [Path(p).name for p in found.changed] == ["hours.txt"]
    assert [Path(p).name for p in found.vanished] == ["refunds.md"]
    assert found.damage == ()
    for data in (tmp_path / ".assay" / "knowledge").glob("*/tables/*/data/*.lance"):
        data.write_bytes(data.read_bytes()[:-200])
    again = KnowledgeBase(
        Store(tmp_path / ".assay"), "shop", "manuals", embedders=lambda _: Wordy()
    )
    assert "rebuild" in " ".join(again.check().damage)
    with pytest.raises(Exception, match="rebuild"):
        again.search(["tea"], k=1)
    again.rebuild()
    assert again.check().damage == ()
    assert again.search(["tea"], k=1)[0]


def test_a_table_that_is_being_removed_cannot_be_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = Tables(tmp_path)
    tables.create("a", 2, None)

    def killed(_: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("assay.knowledge.table.erase", killed)
        with pytest.raises(KeyboardInterrupt):
            tables.drop("a")
    with pytest.raises(IndexBrokenError):  # of files that go one by one, an empty version is left
        tables.open("a")
    for left in tables.names():
        tables.drop(left)
    assert list(tmp_path.iterdir()) == []


def test_ten_threads_search_while_it_changes(base: KnowledgeBase, docs: Path) -> None:
    base.add([docs])
    over, errors = threading.Event(), []

    def ask() -> None:
        while not over.is_set():
            try:
                assert base.search(["tea"], k=1)[0][0].document.endswith("tea.txt")
            except Exception as error:
                errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(10)]
    for thread in threads:
        thread.start()
    for number in range(3):
        (docs / "hours.txt").write_text(f"Opening hours, edition {number}.")
        base.add([docs])
    base.remove([str(docs / "hours.txt")])
    over.set()
    for thread in threads:
        thread.join()
    assert errors == []
