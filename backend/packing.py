"""How an answer over HTTP may be packed (`Content-Encoding`): not at all, or once, in a way that is unpacked here.

Each packing makes up to a thousand bytes of one. A few hundred bytes that are packed five times keep a processor busy
for days, and nothing may come out of it that could be counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from backend.escaping import printable

if TYPE_CHECKING:
    import httpx2

__all__ = ["AS_IT_IS", "refuse_packed", "refused_packing"]

AS_IT_IS = {"Accept-Encoding": "identity"}
"""Asks for an answer that is not packed; servers need not heed it."""
_UNPACKED = frozenset({"gzip", "deflate"})
_LONGEST = 60


def refused_packing(named: str) -> str:
    """Why nobody is to unpack an answer, in words; empty where it may be read.

    Args:
        named: The answer's `Content-Encoding`; several headers are joined by commas.

    Example:
        >>> refused_packing("identity"), refused_packing("gzip")
        ('', '')
        >>> refused_packing("gzip, gzip")
        'its answer is packed as gzip, gzip: have it send files as they are'
    """
    packings = [name for name in map(str.strip, named.lower().split(",")) if name not in ("", "identity")]
    if len(packings) < 2 and _UNPACKED.issuperset(packings):
        return ""
    return f"its answer is packed as {printable(', '.join(packings), most=_LONGEST)}: have it send files as they are"


def refuse_packed(answer: httpx2.Response) -> None:
    """A client's hook that looks at each answer before its body is read.

    Raises:
        httpx2.DecodingError: Nobody is to unpack it.
    """
    if trouble := refused_packing(answer.headers.get("content-encoding", "")):
        import httpx2  # noqa: PLC0415  this file is on the ground floor, where most do without

        raise httpx2.DecodingError(f"{answer.url.host}: {trouble}", request=answer.request)
