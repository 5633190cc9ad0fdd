"""Crops of corrected marks, kept by their content in a folder or an object store."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import fsspec
import imagehash
import numpy as np
from fsspec.implementations.local import LocalFileSystem
from PIL import Image

from backend.errors import LedgerError
from backend.escaping import hidden, without_credentials
from backend.outgoing import ask_store
from backend.pages.encoding import png_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    _Place = tuple[int, int, int, int]

__all__ = ["CropStore", "Cutter", "StoredCrop", "cut", "difference", "fingerprint", "perceptual"]

# Room for augmentation to shift, turn and scale the box; the original jitter stays within a quarter of a side.
MARGIN = 0.25
_STORE_SECONDS = 60.0  # half of a lease of the worker's
_MOST_PAGES, _MOST_CUT_BYTES = 1024, 16 << 20


@dataclass(frozen=True, kw_only=True)
class StoredCrop:
    """A mark's pixels with margin around them.

    Attributes:
        png: The encoded crop, margin included.
        key: Its SHA-256, by which the store knows it.
        outer: x1, y1, x2, y2 of the crop on the page, in whole pixels, cut at the page's edge.
        sha256: Hash of the mark's own pixels, margin left out: equal for exact copies.
        phash: 64-bit perceptual hash of the mark's own pixels, 16 hex digits.
    """

    png: bytes
    key: str
    outer: tuple[int, int, int, int]
    sha256: str
    phash: str


def cut(pixels: NDArray[np.uint8], box: tuple[float, float, float, float]) -> StoredCrop:
    """Cuts a mark out of an upright page.

    Args:
        pixels: The page, (H, W, 3) RGB.
        box: x1, y1, x2, y2 in pixels; parts outside the page are left out, at least one pixel stays.
    """
    outer, inner = _places(pixels, box)
    png = png_bytes(pixels[outer[1] : outer[3], outer[0] : outer[2]])
    mark = np.ascontiguousarray(pixels[inner[1] : inner[3], inner[0] : inner[2]])
    return StoredCrop(
        png=png,
        key=hashlib.sha256(png).hexdigest(),
        outer=outer,
        sha256=fingerprint(mark),
        phash=perceptual(mark),
    )


def fingerprint(pixels: NDArray[np.uint8]) -> str:
    """SHA-256 of an image's size and pixels: the same for every way of storing it without loss."""
    digest = hashlib.sha256(repr(pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def perceptual(pixels: NDArray[np.uint8]) -> str:
    """64-bit DCT hash (pHash; Zauner 2010, by the ImageHash library) of an RGB image, as 16 hex digits."""
    return str(imagehash.phash(Image.fromarray(pixels)))


def difference(one: str, other: str) -> int:
    """Number of bits in which two perceptual hashes differ."""
    return (int(one, 16) ^ int(other, 16)).bit_count()


class Cutter:
    """Cuts marks out of pages, and remembers what it made of the last ones; shared by threads.

    An annotation is saved again and again, several people mark one page, and forms repeat. Nothing has to be worked out
    twice of the very same pixels, whatever file they came from.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pages: OrderedDict[str, str] = OrderedDict()
        self._crops: OrderedDict[tuple[str, _Place], StoredCrop] = OrderedDict()
        self._size = 0

    def __reduce__(self) -> tuple[type[Cutter], tuple[()]]:
        """Another process begins with nothing to remember: a training of several processes hands its store on."""
        return Cutter, ()

    def prints(self, pixels: NDArray[np.uint8]) -> tuple[str, str]:
        """`fingerprint` and `perceptual` of a page, (H, W, 3) RGB."""
        name = fingerprint(pixels)
        with self._lock:
            known = self._pages.get(name)
        found = perceptual(pixels) if known is None else known
        with self._lock:
            self._pages[name] = found
            self._pages.move_to_end(name)
            if len(self._pages) > _MOST_PAGES:
                self._pages.popitem(last=False)
        return name, found

    def cut(self, pixels: NDArray[np.uint8], box: tuple[float, float, float, float]) -> StoredCrop:
        """`cut`."""
        outer, inner = _places(pixels, box)
        around = pixels[outer[1] : outer[3], outer[0] : outer[2]]
        key = fingerprint(around), (inner[0] - outer[0], inner[1] - outer[1], inner[2] - outer[0], inner[3] - outer[1])
        with self._lock:
            known = self._crops.get(key)
            if known is not None:
                self._crops.move_to_end(key)
                return replace(known, outer=outer)
        made = cut(pixels, box)
        with self._lock:
            if key not in self._crops:
                self._crops[key] = made
                self._size += len(made.png)
            while self._size > _MOST_CUT_BYTES:
                self._size -= len(self._crops.popitem(last=False)[1].png)
        return made


class CropStore:
    """Crops under `crops/` of a URL that fsspec knows: a folder, `s3://…`, `gs://…`, `memory://`.

    Args:
        url: Where.
        seconds: For how long an object store is waited for at each call.

    Attributes:
        cutter: Cuts what is put here.
    """

    def __init__(self, url: str, *, seconds: float = _STORE_SECONDS) -> None:
        self._seconds = seconds
        self.cutter = Cutter()
        try:
            self._files, self._root = fsspec.url_to_fs(f"{url.rstrip('/')}/crops")
        except (ValueError, ImportError) as error:
            shown = without_credentials(url)
            raise LedgerError(
                f"the crop store {shown} cannot be opened: {hidden(error, url)}; check STORAGE_URL"
            ) from None
        self._url = url
        if isinstance(self._files, LocalFileSystem):
            try:
                Path(self._root).parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                reason = f"the crop store {url} cannot be written: {error.strerror}; check STORAGE_URL and DATA_DIR"
                raise LedgerError(reason) from error

    def keep(self, pixels: NDArray[np.uint8], box: tuple[float, float, float, float]) -> StoredCrop:
        """Cuts a mark out of a page, as `cut` does, and stores it; what it gives has no `png` any more.

        Raises:
            LedgerError: The store did not take it.
        """
        crop = self.cutter.cut(pixels, box)
        self.put(crop)
        return replace(crop, png=b"")

    def put(self, crop: StoredCrop) -> str:
        """Stores a crop once; the same content again is no work. Gives its key.

        Raises:
            LedgerError: The store did not take it.
        """
        path = self._path(crop.key)
        if isinstance(self._files, LocalFileSystem) and not Path(self._root).parent.is_dir():
            # Made anew it would be an empty one, and events would be taken into it.
            raise LedgerError(f"{Path(self._root).parent} was moved or deleted while this program runs: put it back")
        try:
            if self._ask("exists", path):
                return crop.key
            self._ask("makedirs", self._files._parent(path), True)
            if isinstance(self._files, LocalFileSystem):
                self._put_local(path, crop.png)
            else:
                self._ask("pipe_file", path, crop.png)
        except Exception as error:  # those of an object store's library have no common base
            reason = hidden(error, self._url)
            raise LedgerError(f"a crop could not be stored: {reason}; is the disk full, or the store away?") from error
        return crop.key

    def get(self, key: str) -> NDArray[np.uint8]:
        """The crop's pixels, (h, w, 3) RGB.

        Raises:
            LedgerError: It is missing, or not what was stored.
        """
        try:
            data = self._ask("cat_file", self._path(key))
        except Exception as error:  # as above
            raise LedgerError(f"crop {key[:12]} cannot be read: {hidden(error, self._url)}") from error
        if hashlib.sha256(data).hexdigest() != key:
            raise LedgerError(f"crop {key[:12]} has changed since it was stored; delete it and run `sync`")
        return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB), np.uint8)

    def check(self) -> None:
        """Puts a file there, and takes it away again.

        Raises:
            LedgerError: The store did not take it.
        """
        path = f"{self._root}/.check-{os.getpid()}"
        try:
            self._ask("makedirs", self._root, True)
            self._ask("pipe_file", path, b"")
            self._ask("rm_file", path)
        except Exception as error:  # those of an object store's library have no common base
            raise LedgerError(f"the crop store cannot be written: {hidden(error, self._url)}") from error

    def _ask(self, call: str, *args: Any) -> Any:
        return ask_store(self._files, call, *args, seconds=self._seconds)

    def _path(self, key: str) -> str:
        return f"{self._root}/{key[:2]}/{key}.png"

    @staticmethod
    def _put_local(path: str, data: bytes) -> None:
        """Written aside, flushed, renamed: a kill leaves the whole file or none under its name."""
        for left in Path(path).parent.glob(f"{Path(path).name}.*"):
            if not _lives(left.name.split(".")[2]):
                left.unlink(missing_ok=True)
        aside = f"{path}.{os.getpid()}.{os.urandom(4).hex()}"
        try:
            with open(aside, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(aside, path)
        except OSError:
            Path(aside).unlink(missing_ok=True)
            raise


def _lives(process: str) -> bool:
    """Whether there is a process of that number."""
    return Path(f"/proc/{process}").exists() or not Path("/proc/self").exists()


def _places(pixels: NDArray[np.uint8], box: tuple[float, float, float, float]) -> tuple[_Place, _Place]:
    """Where the crop and the mark itself are on the page."""
    height, width = pixels.shape[:2]
    x1, y1, x2, y2 = box
    across, down = MARGIN * (x2 - x1), MARGIN * (y2 - y1)
    outer = _whole((x1 - across, y1 - down, x2 + across, y2 + down), width=width, height=height)
    return outer, _whole(box, width=width, height=height)


def _whole(box: tuple[float, float, float, float], *, width: int, height: int) -> _Place:
    """Rounded outwards, cut to the page, never empty."""
    x1 = min(max(int(np.floor(box[0])), 0), width - 1)
    y1 = min(max(int(np.floor(box[1])), 0), height - 1)
    x2 = max(min(int(np.ceil(box[2])), width), x1 + 1)
    y2 = max(min(int(np.ceil(box[3])), height), y1 + 1)
    return x1, y1, x2, y2
