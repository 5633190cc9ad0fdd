"""Which files are meant by the paths that an operator names."""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from backend.errors import DocumentError
from backend.escaping import LONGEST_LINE, printable
from backend.pages.source import PAGE_SUFFIXES

__all__ = ["DocumentFiles", "LeftOut", "find", "name_of", "named_documents"]

_MOST_LISTED = 5
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
"""How an address begins, as a path has it: one of its two strokes is gone."""


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """Something in a folder that is not imported.

    Attributes:
        path: What.
        reason: Why, in a few words.
    """

    path: Path
    reason: str


@dataclass(frozen=True, kw_only=True)
class DocumentFiles:
    """What the named paths stand for.

    Attributes:
        files: Files to import, in order: paths as they were named, the files of a folder sorted.
        left_out: What was seen in folders and is not imported.
    """

    files: tuple[Path, ...]
    left_out: tuple[LeftOut, ...]


def find(paths: Iterable[Path], *, recursive: bool) -> DocumentFiles:
    """The files of the named paths.

    A file that is named is taken whatever it is called, and a link that is named is followed. Of a folder, those files
    are taken whose names end like a document's or an image's. Hidden files (a name that begins with a dot), links to
    folders and links that lead out of the folder are left out: nobody named them.

    Args:
        paths: Files and folders; one that does not exist is kept, and fails when it is read.
        recursive: Whether folders inside folders are looked into.
    """
    files: list[Path] = []
    left_out: list[LeftOut] = []
    for path in paths:
        if path.is_dir():
            for entry in _entries(path, root=path.resolve(), recursive=recursive):
                files.append(entry) if isinstance(entry, Path) else left_out.append(entry)
        else:
            files.append(path)
    return DocumentFiles(files=tuple(dict.fromkeys(files)), left_out=tuple(left_out))


def named_documents(paths: Iterable[Path], *, recursive: bool) -> tuple[Path, ...]:
    """The files of the named paths; what is left out of folders is said on stderr, a few of each reason.

    Raises:
        DocumentError: There are none.
    """
    found = find(paths, recursive=recursive)
    for reason, count in Counter(one.reason for one in found.left_out).items():
        names = [str(one.path) for one in found.left_out if one.reason == reason][:_MOST_LISTED]
        more = f" and {count - len(names)} more" if count > len(names) else ""
        said = printable(f"left out ({reason}): {', '.join(names)}{more}", most=LONGEST_LINE)
        print(f"contract-marks: {said}", file=sys.stderr)
    if address := next((file for file in found.files if _ADDRESS.match(str(file)) and not file.exists()), None):
        raise DocumentError(f"{address} is an address, and files are taken: download it first, and name the file")
    if not found.files:
        raise DocumentError("there is no document in what was named: PDF, TIFF and image files are taken")
    return found.files


def name_of(path: Path) -> str:
    """A file's name as Unicode text; bytes in it that are no UTF-8 are replaced."""
    return os.fsencode(path.name).decode("utf-8", "replace")


def _entries(folder: Path, *, root: Path, recursive: bool) -> Iterator[Path | LeftOut]:
    """Sorted by name, so that a run that goes on where another stopped meets the same order."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        yield LeftOut(path=folder, reason=f"the folder cannot be read ({error.strerror})")
        return
    for entry in entries:
        if entry.name.startswith("."):
            yield LeftOut(path=entry, reason="hidden")
        elif entry.is_dir():
            if entry.is_symlink():
                yield LeftOut(path=entry, reason="a link to a folder")
            elif recursive:
                yield from _entries(entry, root=root, recursive=True)
            else:
                yield LeftOut(path=entry, reason="a folder; --recursive looks into it")
        else:
            yield _file(entry, root)


def _file(entry: Path, root: Path) -> Path | LeftOut:
    if entry.suffix.lower() not in PAGE_SUFFIXES:
        return LeftOut(path=entry, reason="its name ends like no document's or image's")
    if entry.is_symlink() and not entry.resolve().is_relative_to(root):
        return LeftOut(path=entry, reason="a link out of the folder")
    return entry
