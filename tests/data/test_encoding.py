"""Encodings are found by content; broken bytes are told with their line."""

from __future__ import annotations

import codecs
import gzip
import os
import pickle
import zipfile
from pathlib import Path

import pytest

from assay.data import source
from assay.data.read import Row, detect, read
from assay.errors import DataError

TEXT = "text,label\nGrüße aus Köln,gruß\nçà va très bien,français\n"


def rows_of(path: Path) -> list[Row]:
    return list(read(path))


def codes(rows: list[Row]) -> list[str]:
    return [p.code for row in rows for p in row.problems]


@pytest.mark.parametrize(
    ("written", "found"),
    [
        (TEXT.encode(), "utf-8"),
        (codecs.BOM_UTF8 + TEXT.encode(), "utf-8-sig"),
        (codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"), "utf-16"),
        (codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"), "utf-16"),
        (TEXT.encode("utf-16-le"), "utf-16-le"),
        (TEXT.encode("utf-16-be"), "utf-16-be"),
        (codecs.BOM_UTF32_LE + TEXT.encode("utf-32-le"), "utf-32"),
        (TEXT.encode("latin-1"), "cp1252"),
        (TEXT.encode("cp1252"), "cp1252"),
    ],
)
def test_encoding_is_found_by_content(tmp_path: Path, written: bytes, found: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(written)
    assert detect(path).encoding == found
    rows = rows_of(path)
    assert [r.example.input for r in rows if r.example] == ["Grüße aus Köln", "çà va très bien"]
    assert [r.example.output for r in rows if r.example] == ["gruß", "français"]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_bom_in_other_scripts(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(
        ("text,label\n" + "我想知道我的包裹什么时候到达这里,包裹\n" * 50).encode(encoding)
    )
    assert detect(path).encoding == encoding
    assert rows_of(path)[0].example.output == "包裹"  # type: ignore[union-attr]


def test_a_guessed_encoding_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(TEXT.encode("latin-1"))
    assert codes(rows_of(path)) == ["encoding-guessed"]
    assert all(row.example for row in rows_of(path))


def test_windows_quotes_are_told_from_latin_1(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("text,label\n“quoted” – 5 €,a\n".encode("cp1252"))
    assert rows_of(path)[0].example.input == "“quoted” – 5 €"  # type: ignore[union-attr]


def test_mostly_cyrillic_one_byte_text_is_not_read_as_western(tmp_path: Path) -> None:
    line = "Здравствуйте, я хотел бы узнать, когда прибудет мой заказ"
    path = tmp_path / "a.csv"
    path.write_bytes(("text;label\n" + f"{line};заказ\n" * 30).encode("cp1251"))
    assert rows_of(path)[0].example.input == line  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "price",
    [
        "12\xa0500\xa0€",
        "12\xa0500.50 ±\xa02 £",
        "20°–25°",
        "2 × 3",
        "1½",
        "2.5 ‰",
        "12.50 ¥",
        "“1”",
        "12 ¢",
        "3…4",
        "§ 12",
        "7 •",
        "5 ÷ 2",
        "5’10”",
        "«7»",
        "12 µ",
        "3²",
    ],
)
def test_a_table_of_numbers_is_read_as_western(tmp_path: Path, price: str) -> None:
    """What stands beside numbers outweighs the few letters that are there."""
    path = tmp_path / "a.csv"
    path.write_bytes(("text,label\n" + f"{price},a\n" * 200).encode("cp1252"))
    assert {row.example.input for row in rows_of(path) if row.example} == {price}


def test_letters_that_look_like_western_signs_are_letters(tmp_path: Path) -> None:
    asked = ("가격은 얼마,price question", "배송 지연,late order", "결제가 안됨,payment failed")
    path = tmp_path / "a.csv"
    path.write_bytes(("text,label\n" + "\n".join(asked * 40) + "\n").encode("euc-kr"))
    assert rows_of(path)[0].example.input == "가격은 얼마"  # type: ignore[union-attr]


def test_latin_1_is_found_however_late_its_first_accent_comes(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    plain = b"plain,a\n" * 400_000
    path.write_bytes(b"text,label\n" + plain + "Köln,b\n".encode("latin-1"))
    assert detect(path).encoding == "cp1252"


def test_an_invalid_byte_in_utf_8_costs_only_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    good = "Grüße,a\n".encode()
    path.write_bytes(b"text,label\n" + good * 3 + b"br\xffken,b\n" + good * 2)
    rows = rows_of(path)
    assert [r.line for r in rows if r.example is None] == [5]
    assert codes(rows) == ["invalid-byte"]
    assert "0xFF" in rows[3].problems[0].message
    assert len([r for r in rows if r.example]) == 5


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "json"])
def test_a_nul_byte_is_told_with_its_line(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    if suffix == "csv":
        path.write_bytes(b"text,label\na,b\nc\0c,d\ne,f\n")
    else:
        lines = [b'{"text": "%s", "label": "b"}' % t for t in (b"a", b"c\0c", b"e")]
        body = b"\n".join(lines) if suffix == "jsonl" else b"[" + b",\n".join(lines) + b"]"
        path.write_bytes(body)
    rows = rows_of(path)
    broken = [r for r in rows if r.example is None]
    assert [r.line for r in broken] == [3 if suffix == "csv" else 2]
    assert broken[0].problems[0].code == ("nul-byte" if suffix != "json" else "invalid-json")


@pytest.mark.parametrize("broken", [b"c\0c", b"c\0\xe9"])
@pytest.mark.parametrize("rows", [1, 2, 3, 4])
def test_a_nul_byte_in_a_small_western_file_costs_only_its_line(
    tmp_path: Path, broken: bytes, rows: int
) -> None:
    """Wherever it stands: at odd and at even places."""
    path = tmp_path / "a.csv"
    good = "Köln,b\n".encode("cp1252")
    for start in (b"text,label\n", b"texts,label\n"):
        path.write_bytes(start + good * rows + broken + b",d\n" + good)
        found = rows_of(path)
        assert [row.line for row in found if row.example is None] == [rows + 2]
        assert "nul-byte" in codes(found)
        assert found[0].example is not None
        assert found[0].example.input == "Köln"


def test_bytes_that_are_not_utf_16_end_in_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    body = "text,label\n".encode("utf-16-le") + "a,b\n".encode("utf-16-le") * 50_000
    path.write_bytes(codecs.BOM_UTF16_LE + body + b"\x00\xdc\x00\xdc")
    with pytest.raises(DataError, match="UTF-16"):
        rows_of(path)


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_line_ends(tmp_path: Path, newline: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(TEXT.replace("\n", newline).encode())
    assert detect(path).newline == newline
    assert [r.line for r in rows_of(path)] == [2, 3]
    assert rows_of(path)[1].example.output == "français"  # type: ignore[union-attr]


def test_gzip_is_undone(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(TEXT.encode()))
    assert len(rows_of(path)) == 2


def test_cut_off_gzip(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(os.urandom(5000))[:1000])
    with pytest.raises(DataError, match="truncated"):
        rows_of(path)


def test_gzip_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "GZIP_FREE", 1 << 20)
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"text,label\n" + b"a,b\n" * 400_000))
    with pytest.raises(DataError, match="300 times"):
        rows_of(path)


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "tickets.csv").write_text(TEXT)
    with pytest.raises(DataError, match=r"Did you mean tickets\.csv"):
        detect(tmp_path / "ticket.csv")
    with pytest.raises(DataError, match="folder"):
        detect(tmp_path)
    with pytest.raises(DataError, match="no such file"):
        detect(tmp_path / "nowhere" / "x.csv")


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="pipe"):
        detect(tmp_path / "pipe")


def test_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.csv"
    path.write_text(TEXT)

    def refuse(self: Path, *args: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # chmod does not stop root
    with pytest.raises(DataError, match="permission to read"):
        detect(path)


def test_empty_files(tmp_path: Path) -> None:
    for name, text, said in [
        ("a.csv", "", "empty"),
        ("b.csv", "\n \n", "white space"),
        ("c.csv", "text,label\n", "no rows below the header"),
        ("d.json", "[]", "no rows"),
        ("e.json", "[ \n ]", "no rows"),
    ]:
        (tmp_path / name).write_text(text)
        with pytest.raises(DataError, match=said):
            detect(tmp_path / name)
        with pytest.raises(DataError, match=said):
            read(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a.md", r"a document \(\.md\)"),
        ("a.html.gz", r"a document \(\.html\)"),
        ("a.txt", "plain text"),
        ("a.txt.gz", "plain text"),
        ("a.csv", None),
    ],
)
def test_a_text_to_be_read_is_no_table_of_examples(
    tmp_path: Path, name: str, said: str | None
) -> None:
    path = tmp_path / name
    lines = ["# Refunds, and when", "A crossing, late or early, is paid back, in full.", ""]
    text = "\n".join(lines * 6).encode()
    path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    if said is None:  # a table whose cells are not quoted, of which each row is told
        assert detect(path).format == "csv"
        return
    with pytest.raises(DataError, match=rf"{said}.*assay knowledge add NAME FOLDER"):
        detect(path)


def test_binary_files_are_named_and_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(pickle.dumps([{"text": "a", "label": "b"}]))
    with pytest.raises(DataError, match="pickle"):
        detect(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tickets.csv", TEXT)
    with pytest.raises(DataError, match=r"ZIP archive, not a workbook.*tickets\.csv"):
        detect(path)
    path.write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(DataError, match="damaged"):
        detect(path)
    for names, said in (
        (["[Content_Types].xml", "word/document.xml"], r"this is a document \(\.docx\)"),
        (["[Content_Types].xml", "ppt/slides.xml"], r"this is a document \(\.pptx\)"),
        (["word/list.csv"], "ZIP archive"),
        (["mimetype", "META-INF/manifest.xml"], "OpenDocument"),
    ):
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, "<w/>")
        with pytest.raises(DataError, match=said):
            detect(path)
    path.write_bytes(b"%PDF-1.7 ...")
    with pytest.raises(DataError, match=r"PDF.*assay knowledge add"):
        detect(path)
    path.write_bytes(bytes(range(256)) * 100)
    with pytest.raises(DataError, match="binary"):
        detect(path)
