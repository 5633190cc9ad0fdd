"""How crops look: small pictures of them, and how alike they are; made when they are asked for, kept for a while."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import pdist

from backend.errors import PageUnavailable, RequestError
from backend.geometry import as_boxes
from backend.labelstudio.connections import first_page
from backend.labelstudio.labelling import bind
from backend.labelstudio.tasks import sheets
from backend.pages.thumbnail import thumbnail

if TYPE_CHECKING:
    from backend.labelstudio.client import LabelStudio
    from backend.labelstudio.connections import Pages
    from backend.server.wall.wall_queue import CropItem

__all__ = ["Look", "Looks", "alike_first", "in_likeness"]

_WIDTH, _HEIGHT = 200, 120
_MOST_LOOKS = 6000
"""Of some 8 kB each."""
_MOST_CONFIGS = 200
_AT_ONCE = 2
"""Pages that are decoded at once, beside those of predictions: an A4 page at 300 dpi is 26 MB."""

Embed = Callable[[NDArray[np.uint8], NDArray[np.float64]], NDArray[np.float32]]


class Reach(Protocol):
    """Ways into Label Studio, by project; `backend.labelstudio.connections.Connections` has them."""

    def pages(self, project: str) -> Pages: ...

    def studio(self, project: str) -> LabelStudio: ...


@dataclass(frozen=True, eq=False)
class Look:
    """A crop as a JPEG, and its embedding of unit length."""

    jpeg: bytes
    embedding: NDArray[np.float32]


class Looks:
    """Makes the looks of all crops of a page at once, for its pixels are the dear part.

    Args:
        reach: Ways into Label Studio.
        on_page: Gives all crops on a page, by project, task and page.
        embed: Embeds boxes of a page's pixels.
    """

    def __init__(self, reach: Reach, *, on_page: Callable[[int, int, int], Sequence[CropItem]], embed: Embed) -> None:
        self._reach = reach
        self._on_page = on_page
        self._embed = embed
        self._kept: OrderedDict[tuple[str, str], Look] = OrderedDict()
        self._references: OrderedDict[tuple[int, int], tuple[str, ...]] = OrderedDict()
        self._making: dict[tuple[int, int, int], threading.Lock] = {}
        self._lock = threading.Lock()
        self._decoding = threading.BoundedSemaphore(_AT_ONCE)

    def get(self, item: CropItem) -> Look:
        """How a crop looks.

        Raises:
            PageError: Its page cannot be had.
            RequestError: The task no longer names it.
            LabelStudioError: Label Studio refused or did not answer.
        """
        found = self._known(item)
        if found is not None:
            return found
        page = (item.project, item.task, item.page)
        with self._lock:
            turn = self._making.setdefault(page, threading.Lock())
        with turn:
            found = self._known(item)
            if found is None:
                made = self._make(item)
                with self._lock:
                    self._keep(made)
                    self._making.pop(page, None)
                found = made[_name(item)]
        return found

    def _known(self, item: CropItem) -> Look | None:
        with self._lock:
            found = self._kept.get(_name(item))
            if found is not None:
                self._kept.move_to_end(_name(item))
            return found

    def _keep(self, made: dict[tuple[str, str], Look]) -> None:
        for name, look in made.items():
            self._kept[name] = look
            self._kept.move_to_end(name)
        while len(self._kept) > _MOST_LOOKS:
            self._kept.popitem(last=False)

    def _make(self, item: CropItem) -> dict[tuple[str, str], Look]:
        reference = self._reference(item)
        items = list({_name(one): one for one in (*self._on_page(item.project, item.task, item.page), item)}.values())
        with self._decoding:
            page = first_page(self._reach.pages(str(item.project)), reference, task=item.task)
            embeddings = self._embed(page.pixels, as_boxes([one.box for one in items])).astype(np.float32)
            jpegs = [thumbnail(page.pixels, one.box, width=_WIDTH, height=_HEIGHT) for one in items]
        length = np.linalg.norm(embeddings, axis=1, keepdims=True)
        unit = (embeddings / np.where(length > 0, length, 1)).astype(np.float32)
        return {_name(one): Look(jpeg, row) for one, jpeg, row in zip(items, jpegs, unit, strict=True)}

    def _reference(self, item: CropItem) -> str:
        place = (item.project, item.task)
        with self._lock:
            found = self._references.get(place)
        if found is None:
            studio = self._reach.studio(str(item.project))
            task = studio.call("GET", f"/api/tasks/{item.task}/")
            config = str(studio.project(item.project).get("label_config") or "")
            found = tuple(sheet.reference for sheet in sheets(0, task, bind(config)))
            with self._lock:
                self._references[place] = found
                while len(self._references) > _MOST_CONFIGS:
                    self._references.popitem(last=False)
        if item.page >= len(found):
            raise RequestError(f"task {item.task} has {len(found)} pages by now, and no page {item.page + 1}")
        return found[item.page]


def in_likeness(items: Sequence[CropItem], looks: Looks) -> list[CropItem]:
    """Crops in an order in which neighbours look alike; those that cannot be looked at come last.

    Average linkage over cosine distance, its leaves in optimal order (Bar-Joseph et al., 2001), so that the same
    mistake made a hundred times hangs together.
    """
    seen, unseen, embeddings = _looked(items, looks)
    if len(seen) < 3:
        return [*seen, *unseen]
    tree = linkage(pdist(embeddings, "cosine").clip(min=0), "average", optimal_ordering=True)
    return [*(seen[place] for place in leaves_list(tree)), *unseen]


def alike_first(items: Sequence[CropItem], looks: Looks, *, to: CropItem) -> list[CropItem]:
    """Crops by how much they look like one of them, which comes first; those that cannot be looked at come last."""
    seen, unseen, embeddings = _looked(items, looks)
    if not seen:
        return unseen
    order = np.argsort(-(embeddings @ looks.get(to).embedding), kind="stable")
    return [*(seen[place] for place in order.tolist()), *unseen]


def _looked(items: Iterable[CropItem], looks: Looks) -> tuple[list[CropItem], list[CropItem], NDArray[np.float64]]:
    seen, unseen, embeddings = [], [], []
    for one in items:
        try:
            embeddings.append(looks.get(one).embedding)
        except (PageUnavailable, RequestError):
            unseen.append(one)
        else:
            seen.append(one)
    return seen, unseen, np.array(embeddings, np.float64).reshape(len(seen), -1)


def _name(item: CropItem) -> tuple[str, str]:
    """A crop by its place and its box: moved, it looks otherwise."""
    return f"{item.project}.{item.key}", ",".join(f"{side:.1f}" for side in item.box)
