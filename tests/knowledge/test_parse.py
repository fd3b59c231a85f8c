"""Documents become text; those that attack their reader, or hold no text, say why not."""

from __future__ import annotations

import contextlib
import csv
import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.knowledge import files

from assay.knowledge import sandbox
from assay.knowledge.parse import KINDS, Limits, Parser, UnreadableError, load

LIMITS = Limits(seconds=60, memory_mib=1024, file_bytes=2 * 2**20, free=4 * 2**20)


@pytest.fixture(scope="module")
def parser() -> Iterator[Parser]:
    with Parser(LIMITS) as made:
        yield made


def text(parser: Parser, name: str, data: bytes) -> str:
    return "\n".join(page.text for page in parser.parse(name, data).pages)


def why_not(parser: Parser, name: str, data: bytes) -> str:
    with pytest.raises(UnreadableError) as error:
        parser.parse(name, data)
    return str(error.value)


def test_each_format_gives_its_text(parser: Parser) -> None:
    assert "# Refunds\n\nFourteen days." in text(
        parser, "a.docx", files.docx(files.words("# Refunds", "Fourteen days."))
    )
    assert "# Green tea\n\nSteep it briefly." in text(parser, "a.epub", files.epub())
    assert "# Refunds\n\nFourteen days." in text(parser, "a.odt", files.odt())
    assert "Hello **bold** words." in text(parser, "a.rtf", rb"{\rtf1\ansi Hello {\b bold} words.}")
    assert text(parser, "a.tsv", b"drink\teuro\ntea\t3") == "- drink: tea; euro: 3"
    assert text(parser, "a.csv", b"drink;euro\ntea;3") == "- drink: tea; euro: 3"
    assert text(parser, "a.csv", b"drink,euro\n") == "- drink, euro"
    assert text(parser, "a.md", b"# Tea\n\nhot") == "# Tea\n\nhot"
    made = {".docx", ".epub", ".odt", ".rtf", ".tsv", ".csv", ".md", ".markdown"}
    elsewhere = {".pdf", ".pptx", ".xlsx", ".html", ".htm", ".xhtml", ".eml"}
    assert set(KINDS) - made - elsewhere == {".txt", ".text", ".rst", ".log"}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    ("delimiter", "code"), [(";", "utf-8-sig"), (";", "cp1252"), (",", "utf-8"), ("\t", "utf-8")]
)
def test_cells_of_csv_are_parted_as_examples_are(
    parser: Parser, delimiter: str, code: str, end: str
) -> None:
    rows = [["Preis", "Gericht"], ["3,50", 'Käse; "alt",\tdazu; Brot'], ["2,00", "Tee"]]
    table = io.StringIO()
    csv.writer(table, delimiter=delimiter, lineterminator=end).writerows(rows)
    said = '- Preis: 3,50; Gericht: Käse; "alt", dazu; Brot\n- Preis: 2,00; Gericht: Tee'
    assert text(parser, "a.csv", table.getvalue().encode(code)) == said
    alone = end.join(["Frage", "Wann, und wo?", "Wer; wie?", ""])
    assert text(parser, "a.csv", alone.encode(code)).startswith("- Frage\n- Wann")


def test_pages_are_pages_slides_and_sheets(parser: Parser) -> None:
    pages = parser.parse("a.pdf", files.pdf("First page.", "Second page.")).pages
    assert [(p.number, p.text.strip()) for p in pages] == [(1, "First page."), (2, "Second page.")]
    pages = parser.parse("a.pptx", files.pptx()).pages
    assert [p.number for p in pages] == [1, 2]
    assert pages[0].text == "# Refunds\n\nMoney comes back in fourteen days.\n\nSay it slowly."
    assert pages[1].text == "# Prices\n\n- drink: tea; euro: 3"
    pages = parser.parse("a.xlsx", files.xlsx()).pages
    assert [(p.number, p.text) for p in pages] == [
        (None, "# Prices\n\n- drink: tea; euro: 3\n- drink: coffee; euro: 4"),
        (None, "# Hours\n\n- Monday to Friday"),
    ]


def test_html_with_open_tags_loses_nothing(parser: Parser) -> None:
    page = b"<title>Shop</title><p>Now<ul><li>one<li>two</ul><table><tr><td>a<td>b</table>"
    expected = "# Shop Now - one - two | a | b | | --- | --- |"
    assert " ".join(text(parser, "a.html", page).split()) == expected
    assert "alert" not in text(parser, "a.html", b"<p>seen<script>alert(1)</script>")


@pytest.mark.parametrize("code", ["latin-1", "utf-8", "utf-8-sig", "utf-16"])
def test_any_encoding_is_read(parser: Parser, code: str) -> None:
    assert text(parser, "a.txt", "Das Café hält".encode(code)) == "Das Café hält"
    assert "Café: hält" in text(parser, "a.csv", "a,Café\nb,hält".encode(code))
    assert "Café" in text(parser, "a.html", "<p>Das Café hält".encode(code))


def test_a_page_that_names_its_encoding_is_believed(parser: Parser) -> None:
    page = "<meta charset='windows-1251'><p>Привет".encode("cp1251")
    assert "Привет" in text(parser, "a.html", page)


def test_a_page_that_names_what_it_cannot_be_is_not(parser: Parser) -> None:
    page = "<meta charset='utf-16'><p>Café".encode()
    assert "Café" in text(parser, "a.html", page)
    marked = "\ufeff<meta charset='iso-8859-1'><p>Café".encode()
    assert "Café" in text(parser, "a.html", marked)


def test_a_mail_is_read_with_its_attachments(parser: Parser) -> None:
    parsed = parser.parse("a.eml", files.MAIL)
    [page] = parsed.pages
    assert page.text.startswith("# Your refund\n\nFrom: ann@example.org")
    assert "The café pays you back." in page.text
    assert "## Attachment: prices.csv\n\n- drink: tea; euro: 3" in page.text
    assert [name for name, _ in parsed.skipped] == ["broken.pdf"]


def test_messages_in_messages_have_a_bottom(parser: Parser) -> None:
    mail = b"Subject: innermost\n\nsecret"
    for level in range(30):
        mail = (
            b"Subject: outer\nMIME-Version: 1.0\n"
            b"Content-Type: multipart/mixed; boundary=B%d\n\n--B%d\nContent-Type: text/plain\n\n"
            b"wrapped\n--B%d\nContent-Type: message/rfc822\n\n%b\n--B%d--\n"
        ) % (level, level, level, mail, level)
    parsed = parser.parse("a.eml", mail)
    assert "wrapped" in parsed.pages[0].text
    assert "innermost" not in parsed.pages[0].text
    assert "more than 3 messages deep" in parsed.skipped[0][1]


def test_no_text_is_a_failure(parser: Parser) -> None:
    assert "perhaps a scan" in why_not(parser, "a.pdf", files.pdf(content=b"0 0 10 10 re f"))
    assert "no text" in why_not(parser, "a.html", b"<p> </p>")
    assert "no text" in why_not(parser, "a.txt", b" \n\t")
    assert "no text" in why_not(parser, "a.docx", files.docx(files.words("")))


def test_what_is_damaged_or_named_wrongly_says_so(parser: Parser) -> None:
    assert "damaged" in why_not(parser, "a.pdf", b"%PDF-1.4 nothing")
    assert "damaged" in why_not(parser, "a.docx", b"hello")
    assert "damaged" in why_not(parser, "a.xlsx", files.docx(files.words("no sheet")))
    assert "damaged" in why_not(parser, "a.pptx", files.zipped({"a": "b"}))
    assert "this is an image" in why_not(parser, "a.csv", b"\x89PNG\r\n\x1a\n")


def test_a_zip_bomb_is_refused(parser: Parser) -> None:
    bomb = files.docx(" " * 8_000_000)
    assert len(bomb) < LIMITS.file_bytes
    assert "decompression bomb" in why_not(parser, "a.docx", bomb)
    many = files.zipped({f"{n}": "" for n in range(LIMITS.entries + 1)})
    assert "more than 10000 files" in why_not(parser, "a.epub", many)


def test_a_size_that_lies_helps_nobody(parser: Parser) -> None:
    bomb = bytearray(files.docx(" " * 8_000_000))
    size = (8_000_000).to_bytes(4, "little")
    while (place := bomb.find(size)) >= 0:
        bomb[place : place + 4] = (100).to_bytes(4, "little")
    assert why_not(parser, "a.docx", bytes(bomb))


@pytest.mark.parametrize("code", ["utf-8", "utf-16"])
def test_xml_entities_are_refused(parser: Parser, code: str) -> None:
    lol = '<?xml version="1.0" encoding="{}"?><!DOCTYPE d [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>'
    body = lol.format(code) + files.words("&b; and the rest")
    data = files.docx("")
    data = files.zipped({"word/document.xml": body.encode(code), "[Content_Types].xml": "<a/>"})
    assert "entities" in why_not(parser, "a.docx", data)


def test_an_outside_entity_reads_no_file(parser: Parser, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("the canary sings")
    page = f'<!DOCTYPE p [<!ENTITY s SYSTEM "file://{secret}">]><p>before &s; after'
    assert "canary" not in text(parser, "a.html", page.encode())
    assert "canary" not in text(parser, "a.xhtml", b'<?xml version="1.0"?>' + page.encode())


def test_deep_nesting_is_refused_and_not_lost(parser: Parser) -> None:
    deep = b"<div>" * 50_000 + b"bottom" + b"</div>" * 50_000
    assert "nested too deeply" in why_not(parser, "a.html", deep)
    nested = "<w:p>" * 50_000 + "<w:r><w:t>bottom</w:t></w:r>" + "</w:p>" * 50_000
    document = f"<w:document {files.W}><w:body>{nested}</w:body></w:document>"
    with contextlib.suppress(UnreadableError):  # a sentence is as good as the text
        assert "bottom" in text(parser, "a.docx", files.docx(document))


@pytest.mark.slow
def test_a_pdf_bomb_costs_its_own_file_alone() -> None:
    bomb = files.pdf(content=b"0 0 m " * 10_000_000)
    with Parser(Limits(seconds=5, memory_mib=900)) as parser:
        assert text(parser, "good.pdf", files.pdf("Still here.")).strip() == "Still here."
        reason = why_not(parser, "bomb.pdf", bomb)
        assert "took more than 5 s" in reason or "900 MiB" in reason or "no text" in reason
        assert text(parser, "good.pdf", files.pdf("Still here.")).strip() == "Still here."


@pytest.mark.slow
def test_a_file_that_takes_too_long_is_given_up() -> None:
    sheet = "c" * 20 + ",x\n"
    rows = (sheet * 60_000).encode()
    with Parser(Limits(seconds=0.01)) as parser:
        assert "took more than 0.01 s" in why_not(parser, "slow.csv", rows)
    with Parser(LIMITS) as parser:
        assert text(parser, "slow.csv", b"a,b\n1,2")


def test_too_much_text_is_refused() -> None:
    with Parser(Limits(characters=1000)) as parser:
        assert "1000 characters" in why_not(parser, "a.csv", b"word,other\n" * 1000)
        assert "1000 characters" in why_not(parser, "a.txt", b"word " * 1000)


def test_what_is_too_large_of_no_kind_or_not_there_is_not_opened(tmp_path: Path) -> None:
    big = tmp_path / "big.txt"
    big.write_bytes(b"x" * (LIMITS.file_bytes + 1))
    for name, file, reason in (
        ("big.txt", big, "larger than 2 MiB"),
        ("a.exe", big, "type .exe"),
        ("README", big, "without an extension"),
        ("gone.txt", tmp_path / "gone.txt", "no such file"),
        ("folder.txt", tmp_path, "no such file"),
    ):
        with pytest.raises(UnreadableError, match=reason):
            load(name, file, LIMITS)


ATTEMPTS = """
import importlib.util, socket, subprocess, os, ctypes, sys, pathlib
spec = importlib.util.spec_from_file_location("sandbox", sys.argv[1])
sandbox = importlib.util.module_from_spec(spec); spec.loader.exec_module(sandbox)
libc = ctypes.CDLL(None, use_errno=True)
sandbox.bound(1024, 60)
sealed = sandbox.seal()
def refused(attempt):
    try:
        attempt()
    except OSError:
        return True
    return False
print(sealed, *map(refused, (
    lambda: socket.create_connection(("127.0.0.1", 9)),
    lambda: subprocess.run(["/bin/true"]),
    lambda: os.execv("/bin/true", ["true"]),
    lambda: pathlib.Path(sys.argv[2]).write_text("written"),
    lambda: open(sys.argv[3], "r+b"),
    lambda: open(sys.argv[3], "wb"),
    lambda: os.truncate(sys.argv[3], 0),
    lambda: os.rename(sys.argv[3], sys.argv[2]),
    lambda: os.unlink(sys.argv[3]),
    lambda: os.link(sys.argv[3], sys.argv[2]),
    lambda: os.symlink(sys.argv[3], sys.argv[2]),
    lambda: os.mkdir(sys.argv[2]),
    lambda: os.chmod(sys.argv[3], 0o777),
    lambda: os.utime(sys.argv[3], (0, 0)),
    lambda: os.kill(os.getppid(), 0),
)), open(sys.argv[3]).read(), libc.socket(2, 1, 0), ctypes.get_errno())
"""


def test_the_reader_reaches_no_network_starts_nothing_and_writes_nothing(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("kept")
    places = (tmp_path / "f", precious)
    done = subprocess.run(
        [sys.executable, "-I", "-c", ATTEMPTS, sandbox.__file__, *map(str, places)],
        capture_output=True,
        text=True,
        check=True,
    )
    if sys.platform == "linux":
        assert done.stdout.split() == ["True"] * 16 + ["kept", "-1", "1"]  # EPERM, native code too
        assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_a_pdf_is_read_on_a_machine_that_has_never_read_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path))
    with Parser() as parser:
        assert text(parser, "a.pdf", files.pdf("Read at once.")).strip() == "Read at once."
    [folder] = tmp_path.iterdir()
    assert folder.stat().st_mode & 0o077 == 0  # what is loaded from there, nobody else has put


@pytest.mark.slow
def test_real_pdfs(parser: Parser, data_folder: Path) -> None:
    found = sorted((data_folder / "ntsb_pdfs").glob("*.pdf"))
    assert len(found) == 20
    for file in found:
        pages = parser.parse(file.name, file.read_bytes()).pages
        assert [page.number for page in pages] == list(range(1, len(pages) + 1))
        assert f"Page 1 of {len(pages)}" in pages[0].text
        assert "National Transportation Safety Board" in pages[0].text
