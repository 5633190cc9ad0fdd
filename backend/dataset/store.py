"""Versions on disk: written aside, moved into their place whole, never changed, and checked when they are read.

What the formats share: checked pages as files, and their folders.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from backend.corrections.crop_store import fingerprint
from backend.dataset.manifest import SPLITS, FrozenPage, Manifest
from backend.errors import DatasetError
from backend.files import hold, refusal_of, write_synced
from backend.pages.encoding import png_bytes

__all__ = ["Datasets", "Version", "VersionDraft", "by_split", "lay", "watched"]

HALF = ".freezing-"
"""What the names of half-written folders begin with; no version's name can."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MANIFEST, _MADE, _PAGES, _LOCK = "manifest.json", "made.json", "pages", ".lock"
_READ_ONLY = 0o400
_COMPRESSION = 3


@dataclass(frozen=True, kw_only=True)
class Version:
    """A frozen data set.

    Attributes:
        name: What it was called.
        folder: Where it is.
        manifest: What is in it.
        made: When and by which program it was made: facts that are not part of its id.
    """

    name: str
    folder: Path
    manifest: Manifest
    made: Mapping[str, Any]

    @property
    def id(self) -> str:
        return self.manifest.id

    def file(self, page: FrozenPage) -> Path:
        """The page's PNG file."""
        return _page_file(self.folder, page.sha256)

    def pixels(self, page: FrozenPage) -> NDArray[np.uint8]:
        """The upright page, (H, W, 3) RGB.

        Raises:
            DatasetError: The file is missing, or its pixels are not those that were frozen.
        """
        read = cv2.imread(str(self.file(page)), cv2.IMREAD_COLOR_RGB)
        if read is None:
            raise DatasetError(f"data set {self.name}: page {page.name} is missing or no image: {self.file(page)}")
        pixels = np.asarray(read, np.uint8)
        if fingerprint(pixels) != page.sha256:
            raise DatasetError(
                f"data set {self.name}: page {page.name} is damaged: {self.file(page)} is not what was frozen; take it "
                "from a copy, or freeze anew under another name"
            )
        return pixels

    def damage(self) -> Iterator[tuple[FrozenPage, str | None]]:
        """Each page with what is wrong with it; None where nothing is."""
        for page in self.manifest.pages:
            try:
                self.pixels(page)
            except DatasetError as error:
                yield page, str(error)
            else:
                yield page, None


@dataclass(frozen=True)
class VersionDraft:
    """A version that is being written, where no reader looks."""

    folder: Path

    def add(self, pixels: NDArray[np.uint8]) -> str:
        """Stores an upright (H, W, 3) RGB page, once however often it comes; gives the SHA-256 of its pixels."""
        key = fingerprint(pixels)
        path = _page_file(self.folder, key)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._place(path, png_bytes(pixels, compression=_COMPRESSION))
        return key

    def _place(self, path: Path, data: bytes) -> None:
        """Writes a page, or links to the same file of another version: most pages are in both."""
        for twin in self.folder.parent.glob(f"*/{_PAGES}/{path.parent.name}/{path.name}"):
            if twin.read_bytes() == data:
                try:
                    os.link(twin, path)
                except OSError:  # not every file system has links
                    break
                return
        _write(path, data)


class Datasets:
    """The versions of a data folder, each in a folder of its own.

    Args:
        folder: Where they are; made when the first one is frozen.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> list[str]:
        """Names of the versions, the longest there first."""
        if not self.folder.is_dir():
            return []
        found = [path for path in self.folder.iterdir() if _NAME.fullmatch(path.name) and (path / _MADE).is_file()]
        return [path.name for path in sorted(found, key=lambda path: ((path / _MADE).stat().st_mtime_ns, path.name))]

    def open(self, name: str) -> Version:
        """Reads a version and checks its manifest; its pages are checked as they are read.

        Raises:
            DatasetError: There is none of that name, or its manifest is not what was frozen.
        """
        folder = self.folder / checked(name)
        try:
            made = json.loads((folder / _MADE).read_bytes())
            text = (folder / _MANIFEST).read_bytes()
        except FileNotFoundError as error:
            known = ", ".join(self.names()) or "none"
            raise DatasetError(f"there is no data set {name!r} (known: {known})") from error
        except (OSError, ValueError) as error:
            raise DatasetError(f"data set {name} cannot be read: {error}") from error
        if hashlib.sha256(text).hexdigest() != made.get("id"):
            raise DatasetError(f"data set {name} is damaged: {folder / _MANIFEST} is not what was frozen")
        return Version(name=name, folder=folder, manifest=Manifest.read(text), made=made)

    @contextmanager
    def drafting(self) -> Iterator[VersionDraft]:
        """A place to write a version to; what is not published by the end is gone. One process at a time.

        Raises:
            DatasetError: Another process is freezing, or the folder cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / _LOCK).open("a")
        except OSError as error:
            raise DatasetError(f"{self.folder} cannot be written ({error.strerror}): check DATA_DIR") from error
        with lock:
            if not hold(lock.fileno()):
                raise DatasetError(f"another process is freezing in {self.folder}: wait for its end")
            for left in self.folder.glob(f"{HALF}*"):  # by one that was killed
                shutil.rmtree(left)
            half = Path(tempfile.mkdtemp(dir=self.folder, prefix=HALF))
            try:
                yield VersionDraft(half)
            finally:
                shutil.rmtree(half, ignore_errors=True)

    def publish(
        self, draft: VersionDraft, name: str, manifest: Manifest, made: Mapping[str, Any]
    ) -> tuple[Version, bool]:
        """Moves a draft to its name, for ever. Gives the version, and whether it was not there already.

        Raises:
            DatasetError: Something else was frozen under that name, or the disk refused.
        """
        target = self.folder / checked(name)
        if target.exists():
            known = self.open(name)
            if known.id != manifest.id:
                raise DatasetError(
                    f"{name} is frozen already, with other content ({known.id[:12]}, this is {manifest.id[:12]}); "
                    "versions never change: choose another name, `dataset diff` then tells what is new"
                )
            return known, False
        try:
            _drop_unused(draft.folder, manifest)
            _write(draft.folder / _MANIFEST, manifest.text)
            _write(draft.folder / _MADE, json.dumps({"id": manifest.id, **made}, indent=1).encode())
            for folder in (*(draft.folder / _PAGES).glob("*"), draft.folder / _PAGES, draft.folder):
                _sync(folder)
            os.rename(draft.folder, target)
            _sync(self.folder)
        except OSError as error:
            raise DatasetError(f"{name} could not be frozen in {self.folder}: {refusal_of(error)}") from error
        return self.open(name), True


def checked(name: str) -> str:
    """The name, if a version may bear it.

    Raises:
        DatasetError: It may not.
    """
    if not _NAME.fullmatch(name):
        raise DatasetError(f"{name!r} is no name for a data set: up to 64 letters, digits, dots, dashes, underscores")
    return name


def _page_file(folder: Path, key: str) -> Path:
    return folder / _PAGES / key[:2] / f"{key}.png"


def _drop_unused(folder: Path, manifest: Manifest) -> None:
    """Removes pages of tasks that were given up half-way."""
    wanted = {page.sha256 for page in manifest.pages}
    for path in (folder / _PAGES).glob("*/*.png"):
        if path.stem not in wanted:
            path.unlink()


def _write(path: Path, data: bytes) -> None:
    write_synced(path, data)
    path.chmod(_READ_ONLY)


def _sync(folder: Path) -> None:
    """Makes the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def by_split(version: Version) -> Iterator[tuple[str, list[FrozenPage]]]:
    """Each side of the split that has pages, with them."""
    for split in SPLITS:
        here = [page for page in version.manifest.pages if page.split == split]
        if here:
            yield split, here


def watched(pages: Sequence[FrozenPage], split: str) -> Iterator[FrozenPage]:
    """The pages, with a bar over them on a terminal."""
    yield from tqdm(pages, unit="page", desc=split, disable=None, file=sys.stderr)


def lay(version: Version, page: FrozenPage, folder: Path) -> str:
    """Copies a page, checked, into a folder that is made where needed; gives the file's name.

    Raises:
        DatasetError: The page is damaged.
    """
    version.pixels(page)
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{page.name}.png"
    shutil.copyfile(version.file(page), folder / name)
    return name
