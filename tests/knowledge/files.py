"""Small documents of many formats, made by hand, and some that attack their reader."""

from __future__ import annotations

import io
import zipfile
import zlib

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"


def zipped(members: dict[str, str | bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def docx(document: str) -> bytes:
    """A Word file with this as its document.xml."""
    main = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    rels = "application/vnd.openxmlformats-package.relationships+xml"
    return zipped(
        {
            "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types">'
            f'<Default Extension="rels" ContentType="{rels}"/>'
            f'<Override PartName="/word/document.xml" ContentType="{main}"/></Types>',
            "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship '
            f'Id="r1" Type="{_OFFICE}/officeDocument" Target="word/document.xml"/></Relationships>',
            "word/document.xml": document,
        }
    )


def words(*paragraphs: str) -> str:
    """A document.xml; a paragraph that begins with "#" is a heading."""
    made = []
    for text in paragraphs:
        style = '<w:pPr><w:pStyle w:val="Heading1"/></w:pPr>' if text.startswith("# ") else ""
        made.append(f"<w:p>{style}<w:r><w:t>{text.removeprefix('# ')}</w:t></w:r></w:p>")
    return f"<w:document {W}><w:body>{''.join(made)}</w:body></w:document>"


def pptx() -> bytes:
    from pptx import Presentation
    from pptx.util import Inches

    show = Presentation()
    slide = show.slides.add_slide(show.slide_layouts[1])
    slide.shapes.title.text = "Refunds"
    slide.placeholders[1].text = "Money comes back in fourteen days."
    slide.notes_slide.notes_text_frame.text = "Say it slowly."
    second = show.slides.add_slide(show.slide_layouts[5])
    second.shapes.title.text = "Prices"
    table = second.shapes.add_table(2, 2, Inches(1), Inches(2), Inches(4), Inches(1)).table
    for place, text in enumerate(("drink", "euro", "tea", "3")):
        table.cell(place // 2, place % 2).text = text
    file = io.BytesIO()
    show.save(file)
    return file.getvalue()


def xlsx() -> bytes:
    import openpyxl

    book = openpyxl.Workbook()
    book.active.title = "Prices"
    for row in (["drink", "euro"], ["tea", 3], ["coffee", 4]):
        book.active.append(row)
    book.create_sheet("Hours").append(["Monday to Friday"])
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def epub() -> bytes:
    page = (
        '<?xml version="1.0"?><!DOCTYPE html><html xmlns="http://www.w3.org/1999/xhtml"><head>'
        "<title>Tea</title></head><body><h1>Green tea</h1><p>Steep it briefly.</p></body></html>"
    )
    return zipped(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": '<container version="1.0" '
            'xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles><rootfile '
            'full-path="c.opf" media-type="application/oebps-package+xml"/></rootfiles>'
            "</container>",
            "c.opf": '<package xmlns="http://www.idpf.org/2007/opf" version="3.0" '
            'unique-identifier="i"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/">'
            '<dc:title>Tea</dc:title><dc:identifier id="i">1</dc:identifier>'
            "<dc:language>en</dc:language></metadata><manifest>"
            '<item id="a" href="a.xhtml" media-type="application/xhtml+xml"/></manifest>'
            '<spine><itemref idref="a"/></spine></package>',
            "a.xhtml": page,
        }
    )


def odt() -> bytes:
    office = "urn:oasis:names:tc:opendocument:xmlns"
    return zipped(
        {
            "mimetype": "application/vnd.oasis.opendocument.text",
            "META-INF/manifest.xml": f'<m:manifest xmlns:m="{office}:manifest:1.0"/>',
            "content.xml": f'<o:document-content xmlns:o="{office}:office:1.0" '
            f'xmlns:t="{office}:text:1.0"><o:body><o:text><t:h t:outline-level="1">Refunds</t:h>'
            "<t:p>Fourteen days.</t:p></o:text></o:body></o:document-content>",
        }
    )


def pdf(*pages: str, content: bytes | None = None) -> bytes:
    """A PDF with a line of text a page, or with one page of this content stream."""
    streams = [content] if content is not None else [_line(text) for text in pages]
    kids = " ".join(f"{4 + 2 * n} 0 R" for n in range(len(streams)))
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        f"<</Type/Pages/Count {len(streams)}/Kids[{kids}]>>".encode(),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    for number, stream in enumerate(streams):
        packed = zlib.compress(stream, 9)
        objects.append(
            f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents {5 + 2 * number} 0 R"
            "/Resources<</Font<</F 3 0 R>>>>>>".encode()
        )
        objects.append(
            f"<</Filter/FlateDecode/Length {len(packed)}>>stream\n".encode()
            + packed
            + b"\nendstream"
        )
    body, places = b"%PDF-1.4\n", []
    for number, one in enumerate(objects, 1):
        places.append(len(body))
        body += f"{number} 0 obj\n".encode() + one + b"\nendobj\n"
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    return (
        body
        + f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}trailer"
        f"<</Size {len(objects) + 1}/Root 1 0 R>>\nstartxref\n{len(body)}\n%%EOF".encode()
    )


def _line(text: str) -> bytes:
    return f"BT /F 18 Tf 50 700 Td ({text}) Tj ET".encode()


MAIL = b"""From: ann@example.org
To: bob@example.org
Subject: Your refund
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=XX

--XX
Content-Type: text/html; charset=iso-8859-1
Content-Transfer-Encoding: 8bit

<p>The caf\xe9 pays you back.
--XX
Content-Type: text/csv; name=prices.csv
Content-Disposition: attachment; filename=prices.csv

drink,euro
tea,3
--XX
Content-Type: application/pdf; name=broken.pdf
Content-Disposition: attachment; filename=broken.pdf

nothing
--XX--
"""
