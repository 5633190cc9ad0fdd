"""PDF documents made to harm whoever draws them."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from tests.pages.files import endless, noisy, pdf, picture_pdf
from tests.pages.hostile_pictures import zeros

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PDFS", "document", "made"]


def with_form(form: bytes, *, uses: bytes = b"/F 9 0 R", content: bytes = b"/F Do") -> bytes:
    """A page that draws a form; `uses` are the form's own resources."""
    head = b"9 0 obj<</Type/XObject/Subtype/Form/BBox[0 0 60 40]/Resources<</XObject<<%s>>>>/Length %d>>stream\n"
    body = head % (uses, len(form)) + form + b"\nendstream endobj\n"
    page = pdf(content=content).replace(b"/Rotate 0", b"/Resources<</XObject<</F 9 0 R>>>>")
    return page.replace(b"trailer", body + b"trailer")


def forms_of_forms(depth: int, width: int) -> bytes:
    objects = []
    for number in range(depth):
        content = b"/F Do " * width if number + 1 < depth else b"0 0 1 1 re f"
        uses = b"/F %d 0 R" % (11 + number)
        objects.append(
            b"%d 0 obj<</Type/XObject/Subtype/Form/BBox[0 0 60 40]/Resources<</XObject<<%s>>>>/Length %d>>stream\n"
            % (10 + number, uses, len(content))
            + content
            + b"\nendstream endobj\n"
        )
    return with_form(b"/F Do", uses=b"/F 10 0 R").replace(b"trailer", b"".join(objects) + b"trailer")


def stream(body: bytes) -> bytes:
    """A page whose content is deflated."""
    plain = pdf()
    start, end = plain.index(b"3 0 obj"), plain.index(b"4 0 obj")
    packed_body = b"3 0 obj<</Filter/FlateDecode/Length %d>>stream\n" % len(body) + body
    return plain[:start] + packed_body + b"\nendstream endobj\n" + plain[end:]


def tiny_pattern() -> bytes:
    pattern = b"9 0 obj<</Type/Pattern/PatternType 1/PaintType 1/TilingType 1/BBox[0 0 1 1]/XStep .001/YStep .001"
    pattern += b"/Resources<<>>/Length 14>>stream\n0 0 .1 .1 re f\nendstream endobj\n"
    page = pdf(content=b"/Pattern cs /P scn 0 0 60 40 re f")
    page = page.replace(b"/Rotate 0", b"/Resources<</Pattern<</P 9 0 R>>>>")
    return page.replace(b"trailer", pattern + b"trailer")


def document(
    *objects: bytes, resources: bytes = b"", content: bytes = b"", more: bytes = b"", root: bytes = b""
) -> bytes:
    """One page of 60 by 40 with its resources and content; `objects` have the numbers from 10 on.

    Args:
        objects: Dictionaries, or streams as `made` gives them.
        resources: Of the page.
        content: Of the page.
        more: Of the page's own dictionary.
        root: Of the catalogue.
    """
    first = (
        b"<</Type/Catalog/Pages 2 0 R%s>>" % root,
        b"<</Type/Pages/Count 1/Kids[3 0 R]>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 60 40]/Contents 4 0 R/Resources<<%s>>%s>>" % (resources, more),
        made(content),
    )
    numbered = [*enumerate(first, 1), *enumerate(objects, 10)]
    body = b"".join(b"%d 0 obj%s endobj\n" % one for one in numbered)
    return b"%PDF-1.7\n" + body + b"trailer<</Root 1 0 R/Size %d>>\n%%%%EOF" % (len(objects) + 10)


def made(body: bytes, entries: bytes = b"") -> bytes:
    """A stream with its dictionary."""
    return b"<<%s/Length %d>>stream\n%s\nendstream" % (entries, len(body), body)


# Pages and the tables that find them


def many_pages(count: int) -> bytes:
    kids = b" ".join(b"%d 0 R" % number for number in range(10, 10 + count))
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 60 40]>>"
    one = document(*[page] * count)
    return one.replace(b"/Count 1/Kids[3 0 R]", b"/Count %d/Kids[%s]" % (count, kids))


def deep_tree(depth: int) -> bytes:
    """Each node has one page, and the next node."""
    nodes = [b"<</Type/Pages/Count 9/Kids[%d 0 R 3 0 R]>>" % (11 + number) for number in range(depth)]
    return document(*nodes).replace(b"/Kids[3 0 R]", b"/Kids[10 0 R]").replace(b"/Count 1", b"/Count 900000")


def with_table(entries: bytes, body: bytes, *, filters: bytes = b"/Filter/FlateDecode") -> bytes:
    """A document that begins with its table of objects as a stream."""
    plain = document()
    plain = plain[: plain.index(b"trailer")]
    stream = b"10 0 obj" + made(body, b"/Type/XRef/Root 1 0 R" + entries + filters)
    return plain + stream + b" endobj\nstartxref\n%d\n%%%%EOF" % len(plain)


def tables_before(count: int) -> bytes:
    """Tables of objects, each of which names the one before."""
    plain = document()
    data = bytearray(plain[: plain.index(b"trailer")])
    before = 0
    for _ in range(count):
        place = len(data)
        data += b"xref\n0 1\n0000000000 65535 f \ntrailer<</Root 1 0 R/Size 5/Prev %d>>\n" % (before or place)
        before = place
    return bytes(data) + b"startxref\n%d\n%%%%EOF" % before


TREES: dict[str, Callable[[], bytes]] = {
    "100,000 pages": lambda: many_pages(100_000),
    "a tree of 100,000 levels": lambda: deep_tree(100_000),
    "a page that is its own parent": lambda: document().replace(b"/Parent 2 0 R", b"/Parent 3 0 R"),
    "a page of units of miles": lambda: document(more=b"/UserUnit 4000000"),
    "a page without end": lambda: document(more=b"/CropBox[-1e38 -1e38 1e38 1e38]").replace(
        b"[0 0 60 40]", b"[-1e38 -1e38 1e38 1e38]"
    ),
    "a table of 2 billion objects": lambda: with_table(
        b"/Size 2147483647/Index[0 2147483647]/W[1 4 2]", zlib.compress(bytes(7000))
    ),
    "a table of numbers of 2 billion bytes": lambda: with_table(
        b"/Size 9/Index[0 9]/W[1 2147483647 2147483647]", zlib.compress(bytes(7000))
    ),
    "a table of a million parts": lambda: with_table(
        b"/Size 4194303/W[1 4 2]/Index[%s]" % (b"0 4194303 " * 1_000_000), zeros(7 * 4_194_303)
    ),
    "a table of nothing": lambda: with_table(b"/Size 9/W[1 4 2]", zeros(10**8)),
    "a table of 4 billion lines": lambda: document().replace(
        b"trailer", b"xref\n0 4294967295\n0000000000 65535 f \ntrailer"
    ),
    "100,000 tables": lambda: tables_before(100_000),
    "objects in objects": lambda: document(
        made(zeros(10**8), b"/Type/ObjStm/N 10000000/First 99999999/Extends 10 0 R/Filter/FlateDecode")
    ).replace(b"/Contents 4 0 R", b"/Contents 10 0 R"),
    "a length that is itself": lambda: document(b"<</Length 10 0 R>>stream\nabc\nendstream").replace(
        b"/Contents 4 0 R", b"/Contents 10 0 R"
    ),
    "dictionaries in dictionaries": lambda: document(b"<</A" * 500_000 + b">>" * 500_000),
    "lists in lists": lambda: document(more=b"/X" + b"[" * 1_000_000),
    "a name of 60 megabytes": lambda: document(more=b"/" + b"#41" * 20_000_000 + b" 1"),
    "a word of 60 megabytes": lambda: document(more=b"/X(" + b"(" * 30_000_000 + b")" * 30_000_000 + b")"),
}


# Notes, forms, layers, locks


def notes(count: int) -> bytes:
    one = b"<</Type/Annot/Subtype/Stamp/Rect[0 0 60 40]/F 4/AP<</N 10 0 R>>>>"
    form = made(b"0 0 60 40 re f", b"/Type/XObject/Subtype/Form/BBox[0 0 60 40]")
    return document(form, *[one] * count, more=b"/Annots[%s]" % b" ".join(b"%d 0 R" % (11 + n) for n in range(count)))


def fields(count: int, *, in_circle: bool = False) -> bytes:
    """A form of fields, each the parent of the next one."""
    last = 10 if in_circle else 10 + count
    nodes = [
        b"<</FT/Tx/T(a)/V(b)/DA(/H 9 Tf)/Parent %d 0 R/Kids[%d 0 R]>>"
        % (9 + number if number else 10, 11 + number if number + 1 < count else last)
        for number in range(count)
    ]
    nodes.append(b"<</FT/Tx/T(z)/Subtype/Widget/Rect[0 0 60 40]/Parent %d 0 R>>" % (9 + count))
    return document(
        *nodes, more=b"/Annots[%d 0 R]" % (10 + count), root=b"/AcroForm<</Fields[10 0 R]/NeedAppearances true>>"
    )


def locked(version: int, revision: int, *, length: int) -> bytes:
    words = b"/O<%s>/U<%s>" % (b"41" * 48, b"42" * 48)
    keys = b"/OE<%s>/UE<%s>/Perms<%s>" % (b"43" * 32, b"44" * 32, b"45" * 16)
    lock = b"/Encrypt<</Filter/Standard/V %d/R %d/Length %d/P -1%s%s" % (version, revision, length, words, keys)
    lock += b"/StmF/S/StrF/S/CF<</S<</CFM/AESV3/Length 2147483647>>>>>>/ID[<00><00>]"
    return document().replace(b"/Root 1 0 R", b"/Root 1 0 R" + lock)


EXTRAS: dict[str, Callable[[], bytes]] = {
    "50,000 notes": lambda: notes(50_000),
    "100,000 fields in fields": lambda: fields(100_000),
    "fields in a circle": lambda: fields(50, in_circle=True),
    "a form of XFA": lambda: document(
        made(b"<a>" * 1_000_000), root=b"/NeedsRendering true/AcroForm<</Fields[]/XFA[(template)10 0 R]>>"
    ),
    "a portfolio in a circle": lambda: document(
        b"<</Kids[10 0 R 10 0 R]/Limits[(a)(b)]>>", root=b"/Collection<</View/D>>/Names<</EmbeddedFiles 10 0 R>>"
    ),
    "contents in a circle": lambda: document(
        b"<</First 10 0 R/Next 10 0 R/Title(a)/Parent 10 0 R>>", root=b"/Outlines<</First 10 0 R/Count 9>>"
    ),
    "layers of layers": lambda: document(
        b"<</Type/OCMD/VE " + b"[/Not " * 200_000 + b"11 0 R" + b"]" * 200_000 + b">>",
        b"<</Type/OCG/Name(a)>>",
        root=b"/OCProperties<</OCGs[11 0 R]/D<</Order[11 0 R]>>>>",
        resources=b"/Properties<</M 10 0 R>>",
        content=b"/OC/M BDC 0 0 60 40 re f EMC",
    ),
    "a program at the beginning": lambda: document(
        root=b"/OpenAction<</S/JavaScript/JS(for(;;\\);)>>/Names<</JavaScript<</Names[(a)<</S/JavaScript/JS(for(;;\\);)>>]>>>>"
    ),
    "a lock of 256 bits": lambda: locked(5, 6, length=256),
    "a lock of 2 billion bits": lambda: locked(2, 3, length=2**31 - 1),
}


PDFS: dict[str, Callable[[], bytes]] = {
    "a form that contains itself": lambda: with_form(b"/F Do"),
    "a form that contains itself twice": lambda: with_form(b"/F Do /F Do"),
    "forms of forms of forms": lambda: forms_of_forms(9, 12),
    "600 copies of a form that contains itself": lambda: with_form(b"/F Do " * 600, content=b"/F Do " * 600),
    "pages that contain each other": lambda: pdf().replace(b"/Kids[4 0 R]", b"/Kids[2 0 R 4 0 R]"),
    "a million pages": lambda: pdf().replace(b"/Count 1", b"/Count 1000000"),
    "a stream of nothing": lambda: stream(zeros(10**9)),
    "a billion shapes": lambda: stream(zlib.compress(b"0 0 60 40 re f " * 2_000_000, 9)),
    "a tiny pattern": tiny_pattern,
    "a picture of endless scans": lambda: picture_pdf(endless(scans=50_000, side=4000), width=4000, height=4000),
    "a picture of 10 gigapixels": lambda: picture_pdf(noisy("JPEG"), width=100_000, height=100_000),
    "a page as large as a town": lambda: pdf(width=1e6, height=1e6),
    "nested brackets": lambda: pdf(content=b"[" * 1_000_000),
    "saved states": lambda: pdf(content=b"q " * 1_000_000),
    **TREES,
    **EXTRAS,
}
"""Each by what is hostile in it."""
