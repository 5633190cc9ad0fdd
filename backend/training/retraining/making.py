"""From what is given to a candidate's folder: both networks trained, calibrated, and weighed against each other."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from backend.nets.detector import DetectorConfig
from backend.nets.weights import DETECTOR_CONFIG_FILE, FLOAT_WEIGHTS_FILE
from backend.registry.candidates import add_documents, documents_of
from backend.training.pagestore import JoinedPages
from backend.training.quantise import detector_folder
from backend.training.retraining.base import of_whole_numbers
from backend.training.retraining.candidate import add_detector, quantise_candidate, write_candidate
from backend.training.retraining.detector import PageLessons, teach, write_taught
from backend.training.retraining.together import Work, fit_together

if TYPE_CHECKING:
    from backend.training.retraining.gathering import Given
    from backend.training.telling import Tell

__all__ = ["make"]

_CANDIDATE, _DETECTOR = "candidate", "detector"


def make(given: Given, run: Path, *, kind: str, threads: int, workers: int, tell: Tell) -> tuple[Path, int]:
    """Trains both networks, or goes on after the last whole epoch, and writes the candidate.

    Args:
        given: What to learn from, and how.
        run: Folder of this run.
        kind: The DETECTOR setting.
        threads: That may compute.
        workers: Processes that augment; 0 does it in this one.
        tell: Is told how far it is.

    Returns:
        The candidate's folder, and the seconds that training took.
    """
    candidate = run / _CANDIDATE
    shutil.rmtree(candidate, ignore_errors=True)  # what an attempt that was cut off left
    work = Work(
        recipe=given.recipe,
        material=given.material,
        base=given.base.path,
        run=run,
        workers=workers,
        threads=threads,
    )
    progress = fit_together(work, lambda far: tell(f"classifier: {far}"))
    seconds = sum(line.seconds for line in progress.history)
    write_candidate(run, progress, given.recipe, given.material, candidate, plan=given.plan)
    add_documents(candidate, given.base.documents or ())
    if (given.parent.folder / FLOAT_WEIGHTS_FILE).is_file():
        quantise_candidate(candidate, given.material)
    place, judges = detector_folder(given.parent), JoinedPages((given.pages,))
    if given.finding is not None:
        seconds += _teach(given, given.finding, run / _DETECTOR, candidate, workers=workers, tell=tell)
        place, judges = candidate, JoinedPages((given.pages, given.finding.pages))
    tell("both networks are weighed against each other")
    add_detector(candidate, place, judges, serving=given.parent, kind=kind, plan=given.plan, threads=threads)
    return candidate, round(seconds)


def _teach(given: Given, finding: PageLessons, run: Path, candidate: Path, *, workers: int, tell: Tell) -> float:
    """Trains the detector on annotators' pages, or goes on; gives the seconds it took."""
    progress = teach(finding, given.pages, run, workers=workers, tell=lambda far: tell(f"detector: {far}"))
    serving = DetectorConfig.read(detector_folder(given.parent) / DETECTOR_CONFIG_FILE)
    write_taught(run, progress, finding, given.pages, candidate, whole_numbers=of_whole_numbers(serving))
    seen = finding.pages.seen() | finding.replay.seen()
    add_documents(candidate, (*(documents_of(finding.base.folder) or ()), *seen))
    return sum(line.seconds for line in progress.history)
