"""The command `draw`: drawn contract pages with their boxes as COCO; if asked, one overview picture of them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from backend.commands.amounts import above_zero, none_or_more, one_or_more
from backend.files import write_private, writing
from backend.pages.encoding import jpeg_bytes, png_bytes
from backend.settings import Settings
from backend.synthetic import coco
from backend.synthetic.drawn_page import draw_page
from backend.synthetic.marks import LANGUAGES, DrawnPage, Language

__all__ = ["add_arguments", "overview", "run"]

_COLOURS = {"signature": (0, 90, 255), "stamp": (255, 60, 0), "thumb": (0, 150, 60)}
_TILE = (420, 594)
_MOST_TILES = 60
"""Pages in the overview, the first ones: with hundreds it would be larger than a JPEG can be."""
_JPEG_QUALITY = 92


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `draw`."""
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="folder for the pages and annotations.json, which has their boxes",
    )
    parser.add_argument(
        "--overview",
        type=Path,
        metavar="FILE.jpg",
        help="also write a picture of the first pages with their boxes here; not into that folder, if you import it",
    )
    parser.add_argument("--pages", type=none_or_more, default=12, help="how many pages (default: 12)")
    parser.add_argument(
        "--seed",
        type=none_or_more,
        default=1,
        help="random seed of the first page; each further page counts up (default: 1)",
    )
    parser.add_argument("--dpi", type=above_zero, default=200, help="resolution of the pages (default: 200)")
    parser.add_argument("--language", choices=LANGUAGES, help="language of all pages (default: random)")
    parser.add_argument("--marks", type=none_or_more, help="how many marks on each page (default: random)")
    parser.add_argument("--jobs", type=one_or_more, default=1, help="processes that draw (default: 1)")
    parser.add_argument(
        "--format", choices=("jpg", "png"), default="jpg", help="kind of the image files (default: jpg)"
    )


def run(args: argparse.Namespace, _: Settings) -> int:
    """Draws the pages; the exit status.

    Raises:
        OutputError: The folder cannot be made or written to.
    """
    with writing(args.out):
        args.out.mkdir(parents=True, exist_ok=True)
    draw = partial(
        _draw_one, folder=args.out, dpi=args.dpi, language=args.language, marks=args.marks, suffix=args.format
    )
    seeds = range(args.seed, args.seed + args.pages)
    truths: list[coco.PageTruth] = []
    tiles: list[NDArray[np.uint8]] = []
    try:
        for truth, tile in tqdm(_mapped(draw, seeds, args.jobs), total=args.pages, unit="page", disable=None):
            truths.append(truth)
            if len(tiles) < _MOST_TILES:
                tiles.append(tile)
    finally:
        # Also when it was stopped: pages whose marks nobody knows would be of no use.
        coco.write(truths, args.out / "annotations.json")
        if args.overview is not None:
            with writing(args.overview):
                _save(args.overview, overview(tiles))
    marks = sum(len(truth.marks) for truth in truths)
    print(f"{len(truths)} pages with {marks} marks in {args.out}")
    return os.EX_OK


_Drawn = tuple[coco.PageTruth, NDArray[np.uint8]]


def _mapped(draw: partial[_Drawn], seeds: Sequence[int], jobs: int) -> Iterator[_Drawn]:
    if jobs <= 1:
        yield from map(draw, seeds)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_single_thread) as pool:
        yield from pool.map(draw, seeds)


def _single_thread() -> None:
    """Processes share the cores already; OpenCV's own threads would only get in their way."""
    cv2.setNumThreads(1)


def _draw_one(
    seed: int, *, folder: Path, dpi: float, language: Language | None, marks: int | None, suffix: str
) -> _Drawn:
    page = draw_page(seed, dpi=dpi, language=language, marks=marks)
    name = f"page-{seed:05d}.{suffix}"
    _save(folder / name, page.pixels)
    return coco.truth_of(page, name), _tile(page)


def _save(path: Path, pixels: NDArray[np.uint8]) -> None:
    write_private(path, jpeg_bytes(pixels, quality=_JPEG_QUALITY) if path.suffix == ".jpg" else png_bytes(pixels))


def _tile(page: DrawnPage) -> NDArray[np.uint8]:
    """The page small, its boxes drawn in, on a white tile."""
    height, width = page.pixels.shape[:2]
    scale = min(_TILE[0] / width, _TILE[1] / height)
    size = int(width * scale), int(height * scale)
    tile = np.full((_TILE[1], _TILE[0], 3), 255, np.uint8)
    tile[: size[1], : size[0]] = cv2.resize(page.pixels, size, interpolation=cv2.INTER_AREA)
    for mark in page.marks:
        left, top, right, bottom = (int(side * scale) for side in mark.box)
        cv2.rectangle(tile, (left, top), (right, bottom), _COLOURS[mark.label], 1)
    return tile


def overview(tiles: Sequence[NDArray[np.uint8]], columns: int = 6) -> NDArray[np.uint8]:
    """Tiles of one size beside and under each other, as one RGB picture; a single white pixel when there are none."""
    if not tiles:
        return np.full((1, 1, 3), 255, np.uint8)
    blank = np.full_like(tiles[0], 255)
    columns = min(columns, len(tiles))
    padded = [*tiles, *[blank] * (-len(tiles) % columns)]
    return np.vstack([np.hstack(padded[start : start + columns]) for start in range(0, len(padded), columns)])
