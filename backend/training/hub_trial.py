"""The trial of the Hub's checkpoint: `python -m backend.training.hub_trial FOLDER BUNDLED`, before it serves.

On drawn pages that nothing was trained on, always the same ones. First the classifier alone names the true boxes: one
that guesses, or says the same of everything, is broken, however well the detector covers that up. Then its fusion with
the bundled detector is fitted on some pages. On the others both run side by side, and the gate judges. The server runs
it as a process of its own: it needs torch, and 1.6 GB.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from backend.errors import BackendError, BadWeights
from backend.escaping import printable
from backend.evaluation.gate import judge
from backend.evaluation.study import race
from backend.evaluation.truth import read_coco
from backend.evaluation.verdict import Bounds
from backend.geometry import as_boxes
from backend.models.original_model import BAD_WEIGHTS, BROKEN, PAGES, SERVES, WORSE, HubVerdict, pairing
from backend.models.publishing import carry_refiner
from backend.models.serving import build_pipeline
from backend.pages.encoding import png_bytes
from backend.pages.workbench import end_with
from backend.settings import Settings
from backend.synthetic import coco
from backend.synthetic.drawn_page import draw_page
from backend.training.fusion import fitted, opinions
from backend.training.harvest import KnownMarks
from backend.vision.classifier import Classifier, load_classifier
from backend.vision.engine import DetectorConfig, Network
from backend.vision.finders import build_detector
from backend.vision.network_config import MARKS
from backend.vision.weights import DETECTOR_CONFIG_FILE, DETECTOR_WEIGHTS_FILE, Weights, home_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from backend.synthetic.marks import DrawnPage

__all__ = ["hub_trial", "main"]

_FIRST_SEED = 5_000_000
"""Far from the seeds of trainings, tests and benchmarks."""
_DPI = 100.0
_MARKS = 5
_EMPTY_EVERY = 4
"""Each so many pages one has no marks: what is boxed there is false."""
_FITTED = 0.4
"""Share of the pages that the fusion is fitted on; the others judge."""
_LEAST = 0.6
"""Marks named rightly, classes alike; who guesses has a third, the card's figure on real marks is .88 to .89."""
_LEAST_OF_ONE = 1 / 3
"""The same for each class: below it, the class is not known."""
_BOUNDS = Bounds(gain=-0.02, lower=-0.08, recall=0.15, calibration=0.05, false=0.3, latency=10.0)
"""Wider than for a candidate: so few pages cannot tell more. Speed is no question: three classes need a second network
beside them, and who asks for the Hub's checkpoint knows that."""
_LOW_PRIORITY = 10


def hub_trial(folder: Path, bundled: Path, *, pages: int, scratch: Path) -> HubVerdict:
    """Tries the weights of a folder, and puts a detector beside them whose fusion is fitted to them.

    Args:
        folder: The weights.
        bundled: What they are tried beside.
        pages: How many pages are drawn; enough that each class is there.
        scratch: An empty folder.

    Raises:
        BadWeights: A file is not what its config promises.
        PageError: A drawn page cannot be read again.
        EvaluationError: Pages and boxes do not fit.
    """
    pair = pairing(folder, bundled)
    champion = Weights.open(bundled, name="bundled", gate_folder=bundled)
    challenger = Weights.open(folder, name="hub", gate_folder=bundled)
    drawn = [
        draw_page(_FIRST_SEED + number, dpi=_DPI, marks=_MARKS if number % _EMPTY_EVERY else 0)
        for number in range(pages)
    ]
    shares = _tells_apart(Classifier(Network(challenger.path, challenger.config), name="hub"), drawn)
    told = ", ".join(f"{share:.0%} of the {name}s" for name, share in zip(MARKS, shares, strict=True))
    figures: dict[str, object] = {"named": dict(zip(MARKS, shares.round(4).tolist(), strict=True))}
    if not shares.mean() >= _LEAST or shares.min() < _LEAST_OF_ONE:
        reason = f"it does not tell marks apart: of drawn ones it names {told} rightly, and who guesses has 33% of each"
        return HubVerdict(pair=pair, state=BROKEN, reasons=(reason,), figures=figures)
    cut = max(1, round(_FITTED * pages))
    _fit(challenger, home_of("detector", bundled), drawn[:cut])
    settings = Settings(data_dir=scratch)
    truth = read_coco(_written(drawn[cut:], scratch), scratch)
    pipelines = build_pipeline(champion, settings), build_pipeline(challenger, settings)
    before, after = race(*pipelines, truth, settings, twice=False)
    verdict = judge(before, after, trained_on=(), hard=(), attempts=1, bounds=_BOUNDS)
    figures["gate"] = verdict.as_json()
    if verdict.promoted:
        reason = f"of drawn marks it names {told} rightly, and whole pages are as good as with the bundled weights"
        return HubVerdict(pair=pair, state=SERVES, reasons=(reason,), figures=figures)
    return HubVerdict(pair=pair, state=WORSE, reasons=verdict.reasons, figures=figures)


def _tells_apart(classifier: Classifier, pages: Sequence[DrawnPage]) -> NDArray[np.float64]:
    """Share (3,) of the true boxes of each of `MARKS` that a classifier names rightly, `none` not allowed."""
    right, cases = np.zeros(len(MARKS)), np.zeros(len(MARKS))
    for page in pages:
        labels = [MARKS.index(mark.label) for mark in page.marks]
        said = classifier.classify(page.pixels, as_boxes([mark.box for mark in page.marks])).probabilities
        for label, row in zip(labels, said[:, : len(MARKS)], strict=True):
            cases[label] += 1
            right[label] += int(row.argmax()) == label
    return right / np.maximum(cases, 1)


def _fit(weights: Weights, home: Path, pages: Sequence[DrawnPage]) -> None:
    """Puts the detector of `home` beside the weights, with the fusion that the pages say; its config comes last."""
    config = DetectorConfig.read(home / DETECTOR_CONFIG_FILE)
    known = (
        (
            page.pixels,
            None,
            KnownMarks(
                boxes=as_boxes([mark.box for mark in page.marks]), labels=tuple(mark.label for mark in page.marks)
            ),
        )
        for page in pages
    )
    found = opinions(build_detector("model", home), load_classifier(weights), known)
    fusion = fitted(found.said, found.seen, found.truth, prior=config.fusion if config.fusion.seen else None)
    network, beside = (weights.folder / name for name in (DETECTOR_WEIGHTS_FILE, DETECTOR_CONFIG_FILE))
    shutil.copyfile(home / DETECTOR_WEIGHTS_FILE, _part(network))
    carry_refiner(home, weights.folder)
    dataclasses.replace(config, fusion=fusion).write(_part(beside))
    for file in (network, beside):
        os.replace(_part(file), file)


def _part(file: Path) -> Path:
    return file.with_name(f".{file.name}.part")


def _written(pages: Sequence[DrawnPage], folder: Path) -> Path:
    """The pages as files, and what is known of them as COCO."""
    truths = []
    for page in pages:
        name = f"{page.seed}.png"
        (folder / name).write_bytes(png_bytes(page.pixels, compression=1))
        truths.append(coco.truth_of(page, name))
    coco.write(truths, folder / "pages.json")
    return folder / "pages.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; gives the exit code."""
    parser = argparse.ArgumentParser(description="Try weights beside the bundled ones, on drawn pages.")
    parser.add_argument("folder", type=Path, help="the weights; the verdict is written beside them")
    parser.add_argument("bundled", type=Path, help="the bundled weights")
    parser.add_argument("--pages", type=int, default=PAGES, help="pages that are drawn (default: %(default)s)")
    args = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            verdict = hub_trial(args.folder, args.bundled, pages=args.pages, scratch=Path(scratch))
        verdict.write(args.folder)
    except BadWeights as error:
        print(printable(error), file=sys.stderr)
        return BAD_WEIGHTS
    except (BackendError, OSError) as error:
        print(printable(error), file=sys.stderr)
        return 1
    print(f"{verdict.state}: {verdict}")
    return 0


if __name__ == "__main__":
    threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
    os.nice(_LOW_PRIORITY)
    sys.exit(main())
