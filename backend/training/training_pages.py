"""Openly licensed real pages and single marks, as their manifest lists them; documents stay on one side.

Drawn pages for training, as offices would scan, shrink or squash them, put into a page store.

Pages of frozen data sets among those of a training: their part of an epoch, and a run of their own.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from backend.dataset.freezing import datasets
from backend.errors import TrainingError
from backend.synthetic.drawn_page import draw_page
from backend.training.crops import split_of
from backend.training.pagestore import Corners, LabelledPage, PageStore
from backend.vision.network_config import MARKS
from backend.vision.weights import BUNDLED

if TYPE_CHECKING:
    from backend.dataset.manifest import FrozenPage
    from backend.dataset.store import Version
    from backend.settings import Settings

__all__ = [
    "DRAWN_SEED",
    "MEASURED",
    "add_frozen",
    "add_real_pages",
    "ask_for_folder",
    "collect_frozen",
    "document_of",
    "draw_into",
    "draw_seeds",
    "has_frozen",
    "is_frozen",
    "real_marks",
    "run_name",
    "shared",
    "sides_of",
]

DRAWN_SEED = 1_000_000
"""Seed of the first drawn page: far from those that tests and benchmarks draw."""
_MOST_MARKS = 9
"""Fuller pages than most contracts, since they teach more for the time they take to draw."""
_RESOLUTIONS = {100: 0.35, 150: 0.40, 200: 0.25}
_SQUASHED = 0.35
_SQUARE = (640, 640)
_SAID = 0.5
"""How often a file says its resolution."""
_WITH_LOOKALIKES = 0.5
"""How often a drawn page has things that are taken for marks, such as filled-in words and smudges."""
_MOST_LOOKALIKES = 8
_DOMAINS = {"label-studio": "real", "coco": "real", "drawn": "drawn"}
_DIGITS = 12
_SOURCE = "dataset-"
SHOWINGS = 3.0
"""How often an epoch shows a page or a crop of a data set, as long as they are few."""
MOST = 0.3
"""Most of an epoch that all data sets make together."""
MEASURED = "page_full"
"""The subset that the benchmark measures on."""
_MEASURED_SHARES = (0.70, 0.12, 0.18)
_SHARES = (0.70, 0.15, 0.15)
_UNCERTAIN = frozenset({"seal_sticker", "ignore"})
_MIMICS = ("handwriting", "print")
"""What people take for marks; boxed where we annotated a page ourselves."""
_BY_SOURCE = "source"
"""How `annotated_by` begins where somebody else boxed the marks, and neither handwriting nor logos."""
_COPY_BITS = 3
_HASH_SIDE = 16


def draw_into(store: PageStore, *, pages: int, first: int = DRAWN_SEED, step: int = 1, offset: int = 0) -> None:
    """Draws `pages` pages into `store`; those that are in it are passed over.

    Args:
        store: Where they go.
        pages: How many there are in all.
        first: Seed of the first one.
        step: Of several processes, how many there are.
        offset: Which of them this is.
    """
    draw_seeds(store, range(first + offset, first + pages, step))


def draw_seeds(store: PageStore, seeds: Sequence[int]) -> None:
    """Draws the pages of some seeds into `store`; those that are in it are passed over."""
    for seed in tqdm(seeds, unit="page", desc="drawn", disable=None):
        name = f"drawn-{seed}"
        if name not in store:
            _draw(store, name, seed)


def _draw(store: PageStore, name: str, seed: int) -> None:
    rng = np.random.default_rng([seed, 1])
    dpi = int(rng.choice(list(_RESOLUTIONS), p=list(_RESOLUTIONS.values())))
    squashed, said = rng.random(2) < (_SQUASHED, _SAID)
    count = int(rng.integers(0, _MOST_MARKS, endpoint=True))
    lookalikes = _count_lookalikes(np.random.default_rng([seed, 2]))
    page = draw_page(seed, dpi=dpi, marks=count, size=_SQUARE if squashed else None, lookalikes=lookalikes)
    facts = LabelledPage(
        name=name,
        document=name,
        split=split_of(name),
        domain="drawn",
        source="drawn",
        licence="Apache-2.0",
        dpi=page.dpi if said and not squashed else None,
        boxes=tuple(mark.box for mark in page.marks),
        labels=tuple(mark.label for mark in page.marks),
        complete=MARKS,
        logos=tuple(one.box for one in page.lookalikes if one.kind != "entry"),
        handwriting=tuple(one.box for one in page.lookalikes if one.kind == "entry"),
    )
    store.add(facts, page.pixels)


def _count_lookalikes(rng: np.random.Generator) -> int:
    """How many things that are taken for marks lie on a drawn page."""
    return int(rng.integers(1, _MOST_LOOKALIKES, endpoint=True)) if rng.random() < _WITH_LOOKALIKES else 0


class Sourced(Protocol):
    """A page of a store, or a crop."""

    @property
    def source(self) -> str: ...


class CheckedStore(Protocol):
    """A store that can name its data."""

    def checksum(self) -> str: ...


def collect_frozen(work: Path, names: Sequence[str], settings: Settings) -> None:
    """Adds the pages of data sets to `work/pages`.

    Raises:
        DatasetError: There is no data set of that name, or it is damaged.
    """
    versions = [datasets(settings).open(name) for name in names]
    for version in versions:
        add_frozen(PageStore(work / "pages"), version)


def add_frozen(store: PageStore, version: Version) -> int:
    """Adds a version's pages, each on its side of the split, complete in the classes that it is labelled for.

    Pages that are in the store already are passed over. Gives the number that was added.

    Raises:
        DatasetError: A page is damaged.
    """
    added = 0
    for page in tqdm(version.manifest.pages, unit="page", desc=version.name, disable=None):
        facts = _facts(page, version)
        if facts.name not in store:
            store.add(facts, version.pixels(page))
            added += 1
    return added


def is_frozen(one: Sourced) -> bool:
    """Whether a page or a crop is of a data set."""
    return one.source.startswith(_SOURCE)


def has_frozen(found: Iterable[Sourced]) -> bool:
    """Whether some page or crop is of a data set."""
    return any(map(is_frozen, found))


def shared(
    shares: Mapping[str, float],
    groups: Sequence[str],
    new: Collection[str],
    *,
    samples: int,
    showings: float = SHOWINGS,
    most: float = MOST,
    times: Mapping[str, float] | None = None,
) -> Mapping[str, float]:
    """The shares of a recipe, and beside them one for each new group that it has no share for.

    Without a share a group is never shown. An epoch shows each of its members some times; where that would be too much
    of the epoch, they take turns.

    Args:
        shares: The recipe's, by group.
        groups: The group of each page or crop that trains.
        new: Groups of data sets, or of annotators' own pages.
        samples: Pages or crops of an epoch.
        showings: How often an epoch shows each member of the new groups, as long as they are few.
        most: Most of an epoch that all of them make together.
        times: How many times as often it shows those of some of the groups.
    """
    counts = Counter(group for group in groups if group in new and group not in shares)
    if not counts:
        return shares
    weighed = {name: count * (times or {}).get(name, 1.0) for name, count in sorted(counts.items())}
    total = sum(weighed.values())
    there = sum(share for name, share in shares.items() if name in set(groups)) or 1.0
    part = min(most, showings * total / samples)
    each = there * part / (1 - part) / total
    return {**shares, **{name: each * weight for name, weight in weighed.items()}}


def run_name(kind: str, digest: str, found: Iterable[Sourced], store: CheckedStore) -> str:
    """Name of the folder of a run: by its recipe, and with data sets by the data as well.

    What is drawn, and what comes from outside, is added once; another data set makes another training.
    """
    return f"{kind}-{digest}-{store.checksum()[:_DIGITS]}" if has_frozen(found) else f"{kind}-{digest}"


def ask_for_folder(out: Path) -> None:
    """Refuses the folder of the bundled weights for what learnt from data sets: only the gate lets such weights serve.

    Raises:
        TrainingError: It is that folder.
    """
    if out.resolve() == BUNDLED.resolve():
        raise TrainingError(
            "what learns from a data set does not overwrite the bundled weights: name another folder with --out; then "
            "`models publish` it and ask the gate with `models judge`"
        )


def _facts(page: FrozenPage, version: Version) -> LabelledPage:
    return LabelledPage(
        name=f"{version.id[:_DIGITS]}-{page.name}",
        document=page.document,
        split=page.split,
        domain=_DOMAINS[version.manifest.source],
        source=f"{_SOURCE}{version.name}",
        licence="private",
        dpi=page.dpi,
        boxes=tuple(mark.box for mark in page.marks),
        labels=tuple(mark.label for mark in page.marks),
        ignored=page.ignored,
        complete=page.classes,
        sha256=page.sha256,
    )


def add_real_pages(store: PageStore, folder: Path) -> None:
    """Adds the pages of `folder/manifest.json`; those in the store, and copies of earlier ones, are passed over.

    Raises:
        TrainingError: There is no readable manifest, or it names an image that is missing or unreadable.
    """
    images = _listed(folder / "manifest.json")
    sides = sides_of(images)
    pages = [image for image in images if image["kind"] not in MARKS]
    for image, pixels in _without_copies(tqdm(pages, unit="page", desc="real", disable=None), folder):
        if image["file"] not in store:
            store.add(_realdata_facts(image, sides[document_of(image)]), pixels)


def real_marks(folder: Path) -> Iterator[tuple[LabelledPage, NDArray[np.uint8]]]:
    """The images that show one mark, as pages that are all mark, with their (h, w, 3) RGB pixels.

    Raises:
        TrainingError: There is no readable manifest, or it names an image that is missing or unreadable.
    """
    images = _listed(folder / "manifest.json")
    sides = sides_of(images)
    marks = [image for image in images if image["kind"] in MARKS]
    for image, pixels in _without_copies(tqdm(marks, unit="mark", desc="real", disable=None), folder):
        height, width = pixels.shape[:2]
        whole = (0.0, 0.0, float(width), float(height))
        facts = _realdata_facts({**image, "boxes": ()}, sides[document_of(image)])
        yield replace(facts, boxes=(whole,), labels=(image["kind"],)), pixels


def sides_of(images: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The side of the split, train, validation or gold, of each document that the manifest's images belong to."""
    measured = {document_of(image) for image in images if image["subset"] == MEASURED}
    documents = {document_of(image) for image in images}
    return {one: split_of(one, _MEASURED_SHARES if one in measured else _SHARES) for one in documents}


def _listed(manifest: Path) -> list[dict[str, Any]]:
    """The images that a manifest lists.

    Raises:
        TrainingError: It cannot be read, or is no manifest.
    """
    try:
        images: list[dict[str, Any]] = json.loads(manifest.read_text(encoding="utf-8"))["images"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{manifest} is no manifest of real pages: {error!r}") from error
    return images


def document_of(image: Mapping[str, Any]) -> str:
    """The document, or where it is known the writer, that an image belongs to, whatever the subset calls it."""
    return str(image.get("writer") or image["document"]).lower().removesuffix("_png_jpg")


def _without_copies(
    images: Iterable[Mapping[str, Any]], folder: Path
) -> Iterator[tuple[Mapping[str, Any], NDArray[np.uint8]]]:
    """The images with their pixels; a page that looks like an earlier one is left out, since it is a copy."""
    seen: list[NDArray[np.bool_]] = []
    for image in images:
        pixels = _read(folder / image["file"])
        if image["kind"] == "page":
            look = _difference_hash(pixels)
            if any(int((look != other).sum()) <= _COPY_BITS for other in seen):
                continue
            seen.append(look)
        yield image, pixels


def _read(path: Path) -> NDArray[np.uint8]:
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    if pixels is None:
        raise TrainingError(f"{path} is listed in the manifest, but is no readable image")
    return np.asarray(pixels, np.uint8)


def _difference_hash(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether each pixel of a 17 x 16 grey thumbnail is brighter than its left neighbour, (256,)."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_HASH_SIDE + 1, _HASH_SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(small[:, 1:] > small[:, :-1]).ravel()


def _realdata_facts(image: Mapping[str, Any], split: str) -> LabelledPage:
    marks = [box for box in image["boxes"] if box["class"] in MARKS]
    return LabelledPage(
        name=image["file"],
        document=f"real-{document_of(image)}",
        split=split,
        domain="real",
        source=image["subset"],
        licence=image["licence"],
        dpi=None,
        boxes=tuple(map(_corners, marks)),
        labels=tuple(box["class"] for box in marks),
        ignored=tuple(_corners(box) for box in image["boxes"] if box["class"] in _UNCERTAIN),
        complete=_complete(image),
        logos=tuple(_corners(box) for box in image["boxes"] if box["class"] == "logo"),
        handwriting=tuple(_corners(box) for box in image["boxes"] if box["class"] == "handwriting"),
    )


def _complete(image: Mapping[str, Any]) -> tuple[str, ...]:
    """The classes whose marks on a page are all boxed."""
    if image["kind"] == "negative":
        return MARKS
    scope = tuple(mark for mark in MARKS if mark in image.get("label_scope", ()))
    ours = image["subset"] == MEASURED and not str(image.get("annotated_by", _BY_SOURCE)).startswith(_BY_SOURCE)
    return scope + _MIMICS if ours else scope


def _corners(box: Mapping[str, float]) -> Corners:
    return box["x"], box["y"], box["x"] + box["w"], box["y"] + box["h"]
