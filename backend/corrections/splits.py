"""Puts each document on one side of the split, with all documents that have copies of its pages."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import Column, Connection, Row, and_, bindparam, insert, or_, select, text, union_all, update

from backend.corrections.tables import document, sample

__all__ = [
    "COPY_BITS",
    "ELSEWHERE",
    "GOLD",
    "OfDocument",
    "Side",
    "assign_split",
    "document_key",
    "elsewhere",
    "split_of",
]

# Shares of documents, in percent; nothing is ever tuned on the gold set.
TRAIN, VALIDATION, GOLD = 70, 15, 15
COPY_BITS = 3
# A page that more documents have is a form, not a copy.
MOST_SHARING = 8
# As many tell that there are too many, and that there were before the last one came.
_MOST_COPIES = MOST_SHARING + 2
SIDES_LOCK = 0x73706C69  # any number that nothing else locks
ELSEWHERE = "another document has its page on"
_MOST_VARIABLES = 500
_BANDS = ("band0", "band1", "band2", "band3")
_OF_PAGE: Sequence[Column[Any]] = (
    document.c.key,
    document.c.page_sha256,
    document.c.phash,
    document.c.split,
    document.c.fixed,
)
# Both are asked many times for each page: SQLAlchemy takes longer to build them than a database to answer.
_ALIKE = select(document.c.page_sha256, document.c.phash).where(
    or_(*(and_(document.c[band] == bindparam(f"its_{band}"), document.c.first) for band in _BANDS))
)
_ITS = (
    select(*_OF_PAGE).where(document.c.page_sha256 == bindparam("picture")).order_by(document.c.key).limit(_MOST_COPIES)
)
# An index has those that were decided, and the others, in the order of their keys.
_FIRST_OF_PICTURE = union_all(*(select(_ITS.where(document.c.fixed.is_(fixed)).subquery()) for fixed in (True, False)))


def document_key(name: str | None, references: Iterable[str]) -> str:
    """The key of a document: of its name where the import kept one, else of all pages of its task."""
    source = name if name is not None else json.dumps(list(references))
    return hashlib.sha256(source.encode()).hexdigest()


def split_of(key: str) -> str:
    """The side that a document's key alone decides: train, validation or gold."""
    place = int(key[:8], 16) % 100
    return "train" if place < TRAIN else "validation" if place < TRAIN + VALIDATION else "gold"


def elsewhere(side: str) -> str:
    """Why a sample does not teach: another document, on another side, has its page."""
    return f"{ELSEWHERE} the {side} side"


class OfDocument(Protocol):
    """Tells which document a sample, or a page of a data set, belongs to."""

    @property
    def document(self) -> str: ...

    @property
    def page_sha256(self) -> str: ...

    @property
    def page_phash(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Side:
    """Where a document is.

    Attributes:
        split: train, validation or gold.
        elsewhere: SHA-256 of those of its pages that another document has on another side, with that other side.
    """

    split: str
    elsewhere: Mapping[str, str]


def assign_split(connection: Connection, pages: Sequence[OfDocument]) -> Side:
    """The side of a document. It depends on the known documents alone.

    Documents that have copies of each other's pages are a family and go together. They go to the side of the document
    with the lowest key, whichever came first. So a document that joins two families can move samples from one side to
    another. A page that many documents have, such as a printed form, tells nothing and makes no family.

    Documents that an older program decided stay where they are, and draw their family there. Two documents of one
    family may be apart, or many may have one form. Then the page that they share stays with one of them (the lowest
    key, decided ones before others). It teaches nothing on other sides.

    Args:
        connection: An open transaction.
        pages: Pages of one document, those that are known of it.
    """
    if connection.dialect.name == "postgresql":
        # Two who know copies of one document must not decide its side at once; SQLite has one writer anyway.
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": SIDES_LOCK})
    key = pages[0].document
    known = set(connection.execute(select(document.c.page_sha256).where(document.c.key == key)).scalars())
    new = {page.page_sha256: page for page in pages if page.page_sha256 not in known}
    split = connection.execute(select(document.c.split).where(document.c.key == key)).scalar()
    fixed = bool(connection.execute(select(document.c.fixed).where(document.c.key == key)).scalar())
    for page in new.values():
        row: dict[str, Any] = dict(_bands(page.page_phash))
        is_known = connection.execute(select(document.c.key).where(document.c.page_sha256 == page.page_sha256).limit(1))
        row |= {"key": key, "page_sha256": page.page_sha256, "phash": page.page_phash, "fixed": fixed}
        row |= {"first": is_known.first() is None}
        connection.execute(insert(document).values(split=split or split_of(key), **row))
    copies = _Copies(connection)
    changed = {key, *_decide(connection, key, new.values(), copies)} if new else set()
    for name in sorted(changed):
        _settle_pages(connection, name, changed, copies)
    split = str(connection.execute(select(document.c.split).where(document.c.key == key).limit(1)).scalar_one())
    owners = {page.page_sha256: _owner(copies.of(page.page_sha256, page.page_phash)) for page in pages}
    return Side(split=split, elsewhere={sha: one.split for sha, one in owners.items() if one.split != split})


def _decide(connection: Connection, key: str, new: Iterable[OfDocument], copies: _Copies) -> set[str]:
    """Decides anew about every family that new pages of a document can have joined or parted.

    Returns:
        The documents that are on another side now.
    """
    touched = {key}
    for page in new:
        touched |= _bound(copies.of(page.page_sha256, page.page_phash), copies)
    moved = set()
    while touched:
        family = _family(connection, touched.pop(), copies)
        touched -= family.keys()
        fixed = sorted(name for name, is_fixed in family.items() if is_fixed)
        side = split_of(min(family))
        if fixed:
            side = str(connection.execute(select(document.c.split).where(document.c.key == fixed[0])).scalar())
        moved |= {name for name in sorted(family.keys() - set(fixed)) if _move(connection, name, side)}
    if moved:
        copies.forget()  # they have their sides
    return moved


def _bound(pages: Sequence[Row[Any]], copies: _Copies) -> set[str]:
    """The documents that copies of a new page bind to others, or did until it came.

    One more may be too many for a page to tell anything: then those that it joined part. A page that had too many
    copies before told nothing, and tells nothing now. So an archive of thousands on one form costs no more with each.
    """
    hashes = [(copy.key, int(copy.phash, 16)) for copy in pages]
    found: set[str] = set()
    for one, (_, own) in zip(pages, hashes, strict=True):
        alike: set[str] = set()
        for key, other in hashes:
            if (own ^ other).bit_count() <= COPY_BITS:
                alike.add(key)
                if len(alike) > MOST_SHARING + 1:
                    break
        else:
            sharing = {other.key for other in copies.of(one.page_sha256, one.phash)}
            if len(sharing) <= MOST_SHARING + 1:
                found |= sharing
    return found


def _family(connection: Connection, key: str, copies: _Copies) -> dict[str, bool]:
    """The documents that are bound to one by pages that they share, it among them; whether each is fixed."""
    found: dict[str, bool] = {}
    wanted = [key]
    while wanted:
        one = wanted.pop()
        if one in found:
            continue
        rows = connection.execute(select(document).where(document.c.key == one)).all()
        found[one] = any(row.fixed for row in rows)
        for row in rows:
            theirs = copies.of(row.page_sha256, row.phash)
            if len({copy.key for copy in theirs}) <= MOST_SHARING:
                wanted += [copy.key for copy in theirs if copy.key not in found and _tells(copy, copies)]
    return found


def _tells(page: Row[Any], copies: _Copies) -> bool:
    """Whether a page is one that few documents have."""
    return len({copy.key for copy in copies.of(page.page_sha256, page.phash)}) <= MOST_SHARING


def _move(connection: Connection, key: str, side: str) -> bool:
    """Puts a document and its samples on a side; False where they are there already."""
    if connection.execute(select(document.c.split).where(document.c.key == key)).scalar() == side:
        return False
    connection.execute(update(document).where(document.c.key == key).values(split=side))
    connection.execute(update(sample).where(sample.c.document == key).values(split=side))
    return True


def _settle_pages(connection: Connection, key: str, changed: Collection[str], copies: _Copies) -> None:
    """Notes for each page of a changed document where it teaches: only on the side of its owner."""
    for page in connection.execute(select(document).where(document.c.key == key)).all():
        owner = _owner(copies.of(page.page_sha256, page.phash))
        moved = owner.key in changed
        theirs = _copies(connection, page.page_sha256, page.phash, every=True) if moved else [page]
        for side in sorted({one.split for one in theirs}):
            here = [one for one in theirs if one.split == side]
            _quarantine(connection, here, None if side == owner.split else elsewhere(owner.split))


def _quarantine(connection: Connection, pages: Sequence[Row[Any]], reason: str | None) -> None:
    """Says why samples of pages do not teach, or takes that back; other reasons stay as they are."""
    said = sample.c.quarantine.startswith(ELSEWHERE)
    which = said if reason is None else or_(said, sample.c.quarantine.is_(None))
    for start in range(0, len(pages), _MOST_VARIABLES):
        some = pages[start : start + _MOST_VARIABLES]
        here = and_(
            sample.c.document.in_([one.key for one in some]),
            sample.c.page_sha256.in_([one.page_sha256 for one in some]),
        )
        connection.execute(update(sample).where(here, which).values(quarantine=reason))


def _owner(copies: Iterable[Row[Any]]) -> Row[Any]:
    """Of documents that have a page, the one whose side it is on."""
    return min(copies, key=lambda one: (not one.fixed, one.key))


class _Copies:
    """Asks once for the copies of each page, as long as no document is added or put on another side."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: dict[tuple[str, str], list[Row[Any]]] = {}

    def of(self, sha256: str, phash: str) -> list[Row[Any]]:
        """As `_copies` gives them."""
        if (sha256, phash) not in self._known:
            self._known[sha256, phash] = _copies(self._connection, sha256, phash)
        return self._known[sha256, phash]

    def forget(self) -> None:
        self._known.clear()


def _copies(connection: Connection, sha256: str, phash: str, *, every: bool = False) -> list[Row[Any]]:
    """The pages that are copies of one: with the same pixels, or a perceptual hash within 3 bits; itself among them.

    Of a picture that many documents have, the first ones, its owner among them; all of them where `every` is set.
    """
    alike = connection.execute(_ALIKE, {f"its_{name}": band for name, band in _bands(phash).items()}).all()
    near = {row.page_sha256 for row in alike if (int(row.phash, 16) ^ int(phash, 16)).bit_count() <= COPY_BITS}
    pictures = sorted({sha256, *near})
    found: list[Row[Any]] = []
    if len(pictures) > MOST_SHARING or every:
        for start in range(0, len(pictures), _MOST_VARIABLES):
            some = document.c.page_sha256.in_(pictures[start : start + _MOST_VARIABLES])
            found += connection.execute(select(*_OF_PAGE).where(some))
    else:
        for picture in pictures:
            found += connection.execute(_FIRST_OF_PICTURE, {"picture": picture})
    return sorted(found, key=lambda row: (row.key, row.page_sha256))


def _bands(phash: str) -> dict[str, str]:
    return {name: phash[4 * n : 4 * n + 4] for n, name in enumerate(_BANDS)}
