"""PDF documents made to harm by what is on their page: pictures, letters, patterns, shades, paths and groups."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

from tests.pages.hostile_parts import wavelets
from tests.pages.hostile_pdfs import document, made
from tests.pages.hostile_pictures import zeros

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DRAWN"]

# Streams and pictures


def picture_of(body: bytes, entries: bytes, *, uses: bytes = b"/I Do") -> bytes:
    """A page that shows one picture."""
    image = made(body, b"/Type/XObject/Subtype/Image" + entries)
    return document(image, resources=b"/XObject<</I 10 0 R>>", content=b"q 60 0 0 40 0 0 cm %s Q" % uses)


def grey_picture(width: int, height: int, more: bytes = b"", *, bits: int = 8) -> bytes:
    return b"/ColorSpace/DeviceGray/BitsPerComponent %d/Width %d/Height %d%s" % (bits, width, height, more)


def jbig2(width: int, height: int, *, kind: int, body: bytes) -> bytes:
    """One page and one segment."""
    page = struct.pack(">IBBBI", 0, 48, 0, 1, 19) + struct.pack(">IIIIBH", width, height, 0, 0, 0, 0)
    return page + struct.pack(">IBBBI", 1, kind, 0, 1, len(body)) + body


def region(width: int, height: int, rest: bytes) -> bytes:
    return struct.pack(">IIIIB", width, height, 0, 0, 0) + rest


SHOWN: dict[str, Callable[[], bytes]] = {
    "JBIG2 of 3 gigapixels": lambda: picture_of(
        jbig2(60_000, 50_000, kind=38, body=region(60_000, 50_000, bytes(9) + bytes(100))),
        grey_picture(60_000, 50_000, b"/Filter/JBIG2Decode", bits=1),
    ),
    "JBIG2 of 4 billion rows": lambda: picture_of(
        jbig2(60_000, 2**32 - 1, kind=38, body=region(2**31, 2**31, bytes(9))),
        grey_picture(60_000, 2**31 - 1, b"/Filter/JBIG2Decode", bits=1),
    ),
    "JBIG2 of 4 billion signs": lambda: picture_of(
        jbig2(64, 64, kind=0, body=struct.pack(">H8sII", 0, bytes(8), 2**32 - 1, 2**32 - 1) + bytes(200)),
        grey_picture(64, 64, b"/Filter/JBIG2Decode", bits=1),
    ),
    "JBIG2 of 100 megapixels, ten thousand times": lambda: picture_of(
        jbig2(64, 64, kind=38, body=region(10_000, 10_000, bytes(9) + bytes(20)))
        + b"".join(
            struct.pack(">IBBBI", 2 + number, 38, 0, 1, 46) + region(10_000, 10_000, bytes(29))
            for number in range(10_000)
        ),
        grey_picture(64, 64, b"/Filter/JBIG2Decode", bits=1),
    ),
    "fax of 3 gigapixels": lambda: picture_of(
        b"\x55" * 1000,
        grey_picture(60_000, 50_000, b"/Filter/CCITTFaxDecode/DecodeParms<</K -1/Columns 60000/Rows 50000>>", bits=1),
    ),
    "fax of 2 billion columns": lambda: picture_of(
        b"\x55" * 1000,
        grey_picture(64, 64, b"/Filter/CCITTFaxDecode/DecodeParms<</K 0/Columns 2147483647/Rows 9>>", bits=1),
    ),
    "JPEG 2000 of 100 megapixels that are not there": lambda: picture_of(
        wavelets(size=10_000, step=100, levels=5), b"/Width 10000/Height 10000/Filter/JPXDecode"
    ),
    "JPEG 2000 in places of one": lambda: picture_of(
        wavelets(size=2_000, precinct=0), b"/Width 2000/Height 2000/Filter/JPXDecode"
    ),
    "JPEG 2000 of 16,384 colours": lambda: picture_of(
        wavelets(size=1_000, components=16_384), b"/Width 1000/Height 1000/Filter/JPXDecode"
    ),
    "a predictor of 2 billion columns": lambda: picture_of(
        zeros(10**6),
        grey_picture(9_000, 9_000, b"/Filter/FlateDecode/DecodeParms<</Predictor 15/Columns 2147483647/Colors 32>>"),
    ),
    "five times deflated nothing": lambda: picture_of(
        zlib.compress(zlib.compress(zlib.compress(zeros(10**8), 9), 9), 9),
        grey_picture(9_000, 9_000, b"/Filter[%s]" % (b"/FlateDecode" * 4)),
    ),
    "a thousand filters": lambda: picture_of(
        b"00>" * 100_000, grey_picture(9_000, 9_000, b"/Filter[%s]" % (b"/ASCIIHexDecode" * 1000))
    ),
    "runs of runs": lambda: picture_of(
        b"\x81\x81" * 1_000_000, grey_picture(9_000, 9_000, b"/Filter[%s]" % (b"/RunLengthDecode" * 4))
    ),
    "a picture of 80 megapixels, a thousand times": lambda: picture_of(
        zeros(9_000 * 9_000), grey_picture(9_000, 9_000, b"/Filter/FlateDecode/Interpolate true"), uses=b"/I Do " * 1000
    ),
    "masks of masks": lambda: picture_of(
        zeros(9_000 * 9_000), grey_picture(9_000, 9_000, b"/Filter/FlateDecode/SMask 10 0 R")
    ),
    "a picture of colours of colours": lambda: document(
        made(bytes(64), b"/Type/XObject/Subtype/Image/Width 8/Height 8/BitsPerComponent 8/ColorSpace 11 0 R"),
        b"[/Indexed 12 0 R 255(abc)]",
        b"[/Separation/X 11 0 R 13 0 R]",
        b"<</FunctionType 3/Domain[0 1]/Bounds[.5]/Encode[0 1 0 1]/Functions[13 0 R 13 0 R]>>",
        resources=b"/XObject<</I 10 0 R>>",
        content=b"q 60 0 0 40 0 0 cm /I Do Q",
    ),
    "a profile that stands for itself": lambda: document(
        made(bytes(64), b"/Type/XObject/Subtype/Image/Width 4/Height 4/BitsPerComponent 8/ColorSpace 11 0 R"),
        b"[/ICCBased 12 0 R]",
        made(b"", b"/N 3/Alternate 11 0 R"),
        resources=b"/XObject<</I 10 0 R>>",
        content=b"q 60 0 0 40 0 0 cm /I Do Q",
    ),
    "pictures in the text": lambda: document(
        content=b"BI/W 1/H 1/BPC 8/CS/G ID a EI " * 1_000_000,
    ),
}


# What is drawn


def drawn_letters(content: bytes, uses: bytes) -> bytes:
    """A font whose letters are drawn by content of their own (Type 3)."""
    return document(
        b"<</Type/Font/Subtype/Type3/FontBBox[0 0 9 9]/FontMatrix[.1 0 0 .1 0 0]/FirstChar 97/LastChar 97/Widths[9]"
        b"/Encoding<</Differences[97/a]>>/CharProcs<</a 11 0 R>>/Resources<<%s>>>>" % uses,
        made(b"9 0 d0 " + content),
        resources=b"/Font<</F 10 0 R>>",
        content=b"BT /F 20 Tf 5 5 Td (aaaaaaaa) Tj ET",
    )


def shading(entries: bytes, *functions: bytes) -> bytes:
    return document(
        b"<</ColorSpace/DeviceRGB%s>>" % entries if not entries.startswith(b"<<") else entries,
        *functions,
        resources=b"/Shading<</S 10 0 R>>",
        content=b"/S sh",
    )


def mesh(patches: int) -> bytes:
    one = b"\0" + bytes(range(0, 240, 10)) + bytes(12)
    entries = b"/ShadingType 7/ColorSpace/DeviceRGB/BitsPerCoordinate 8/BitsPerComponent 8/BitsPerFlag 8"
    entries += b"/Decode[0 60 0 40 0 1 0 1 0 1]"
    return document(made(one * patches, entries), resources=b"/Shading<</S 10 0 R>>", content=b"/S sh")


def loop_of(times: int) -> bytes:
    """A function that counts, written out."""
    return made(b"{" + b"dup sin add " * times + b"dup dup}", b"/FunctionType 4/Domain[0 1 0 1]/Range[0 1 0 1 0 1]")


def groups(depth: int) -> bytes:
    """Groups in groups, each of which has pixels of its own."""
    forms = [
        made(
            b"/G gs /F Do",
            b"/Type/XObject/Subtype/Form/BBox[0 0 60 40]/Group<</S/Transparency/I true/K true>>"
            b"/Resources<</ExtGState<</G<</ca .5/BM/Luminosity>>>>/XObject<</F %d 0 R>>>>" % (11 + number),
        )
        for number in range(depth)
    ]
    forms.append(made(b"0 0 60 40 re f", b"/Type/XObject/Subtype/Form/BBox[0 0 60 40]"))
    return document(
        *forms, resources=b"/XObject<</F 10 0 R>>/ExtGState<</G<</ca .5>>>>", content=b"/G gs /F Do"
    ).replace(b"MediaBox[0 0 60 40]", b"MediaBox[0 0 480 480]")


DRAWINGS: dict[str, Callable[[], bytes]] = {
    "a letter drawn by itself": lambda: drawn_letters(b"BT /F 9 Tf (aa) Tj ET", b"/Font<</F 10 0 R>>"),
    "a letter of a billion shapes": lambda: drawn_letters(b"0 0 9 9 re f " * 4_000_000, b""),
    "a pattern of itself": lambda: document(
        made(
            b"/Pattern cs /P scn 0 0 60 40 re f",
            b"/Type/Pattern/PatternType 1/PaintType 1/TilingType 1/BBox[0 0 9 9]/XStep 9/YStep 9"
            b"/Resources<</Pattern<</P 10 0 R>>>>",
        ),
        resources=b"/Pattern<</P 10 0 R>>",
        content=b"/Pattern cs /P scn 0 0 60 40 re f",
    ),
    "a shade of a million steps": lambda: shading(
        b"/ShadingType 1/Domain[0 1 0 1]/Matrix[60 0 0 40 0 0]/Function 11 0 R", loop_of(1_000_000)
    ),
    "a shade of a function of itself": lambda: shading(
        b"/ShadingType 2/Coords[0 0 60 40]/Function 11 0 R",
        b"<</FunctionType 3/Domain[0 1]/Bounds[.5]/Encode[0 1 0 1]/Functions[11 0 R 11 0 R]>>",
    ),
    "a shade of a table of many sides": lambda: shading(
        b"/ShadingType 1/Domain[0 1 0 1]/Matrix[60 0 0 40 0 0]/Function 11 0 R",
        made(
            bytes(100),
            b"/FunctionType 0/Domain[%s]/Range[0 1 0 1 0 1]/BitsPerSample 8/Size[%s]" % (b"0 1 " * 32, b"2 " * 32),
        ),
    ),
    "a shade of a million patches": lambda: mesh(1_000_000),
    "groups in groups": lambda: groups(1000),
    "a mask of itself": lambda: document(
        b"<</SMask<</S/Luminosity/G 11 0 R>>>>",
        made(
            b"/G gs 0 0 60 40 re f",
            b"/Type/XObject/Subtype/Form/BBox[0 0 60 40]/Group<</S/Transparency/CS/DeviceGray>>"
            b"/Resources<</ExtGState<</G 10 0 R>>>>",
        ),
        resources=b"/ExtGState<</G 10 0 R>>",
        content=b"/G gs 0 0 60 40 re f",
    ),
    "a line of endless dashes": lambda: document(content=b"[.00001 .00001] 0 d 1 w 0 0 m 1000000 1000000 l S"),
    "lines as wide as the world": lambda: document(content=b"1e38 w 1 j 1 J 0 0 m 1e38 1e38 l -1e38 3 l S " * 10_000),
    "a path of 5 million points": lambda: document(content=b"0 0 m " + b"59 39 l 1 2 l " * 5_000_000 + b"f"),
    "a path of a million curves": lambda: document(content=b"0 0 m " + b"0 99 60 -99 60 40 c " * 1_000_000 + b"S"),
    "100,000 cuts": lambda: document(content=b"0 0 m 60 40 l 60 0 l h W n " * 100_000 + b"0 0 60 40 re f"),
    "10 million letters": lambda: document(
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        resources=b"/Font<</F 10 0 R>>",
        content=b"BT /F 1 Tf (" + b"a" * 10_000_000 + b") Tj ET",
    ),
    "a letter as large as a town": lambda: document(
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        resources=b"/Font<</F 10 0 R>>",
        content=b"BT /F 1000000000 Tf (abc) Tj ET " * 1000,
    ),
    "a million contents": lambda: document().replace(b"/Contents 4 0 R", b"/Contents[%s]" % (b"4 0 R " * 1_000_000)),
    "words that close nothing": lambda: document(content=b"EMC Q ET EI endstream >> ] ) } " * 1_000_000),
}

DRAWN: dict[str, Callable[[], bytes]] = {**SHOWN, **DRAWINGS}
"""Each by what is hostile in it."""
