"""The bundled weights made again, step by step; each step goes on where it was stopped."""

from __future__ import annotations

import multiprocessing
from functools import partial
from pathlib import Path

import cv2
import torch

from backend.training.crops import CropStore
from backend.training.harvest import harvest_drawn
from backend.training.loop import fit
from backend.training.publish import publish
from backend.training.realdata import harvest_real
from backend.training.recipe import BUNDLED

__all__ = ["fit_bundled", "harvest", "publish_bundled"]


def harvest(work: Path, *, pages: int, real: Path | None, jobs: int) -> None:
    """Fills `work/crops` from `pages` drawn pages, and from the real ones of `real`.

    Raises:
        TrainingError: `real` is no folder of real pages with their manifest.
    """
    if real:
        harvest_real(_store(work), real)
    with multiprocessing.get_context("spawn").Pool(jobs, initializer=partial(cv2.setNumThreads, 1)) as pool:
        pool.map(partial(_draw, work, pages, jobs), range(jobs))


def _draw(work: Path, pages: int, jobs: int, offset: int) -> None:
    harvest_drawn(_store(work), pages=pages, step=jobs, offset=offset)


def fit_bundled(work: Path, *, threads: int, jobs: int) -> None:
    """Trains on the crops of `work`.

    Raises:
        TrainingError: There are no crops.
    """
    torch.set_num_threads(threads)
    fit(BUNDLED, _store(work), _run_folder(work), workers=jobs)


def publish_bundled(work: Path, out: Path, *, threads: int, command: str) -> list[str]:
    """Writes the trained weights and what belongs to them to `out`; gives what was measured, a line a set.

    Raises:
        TrainingError: The training has not come to its last stage.
    """
    torch.set_num_threads(threads)
    progress = fit(BUNDLED, _store(work), _run_folder(work), stop_after=0)
    measured = publish(_run_folder(work), progress, BUNDLED, _store(work), out, command=command)
    return [
        f"{title}: {report.count} crops, accuracy {report.accuracy:.3f}, macro F1 {report.macro_f1:.3f}"
        for title, report in measured.items()
    ]


def _store(work: Path) -> CropStore:
    return CropStore(work / "crops")


def _run_folder(work: Path) -> Path:
    return work / BUNDLED.digest
