"""The bundled weights made again, step by step; each step goes on where it was stopped."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path

import cv2
import torch

from backend.errors import TrainingError
from backend.models.publishing import add_documents, documents_of
from backend.settings import Settings
from backend.training.classifier_loop import fit, network_from
from backend.training.classifier_publishing import CARD_FILE, publish
from backend.training.classifier_recipe import BUNDLED, Recipe
from backend.training.convert import imagenet_lite
from backend.training.crops import CropFolder
from backend.training.detector.detector_loop import DetectorProgress, fit_detector
from backend.training.detector.detector_publishing import DETECTOR_CARD_FILE, DETECTOR_RECORD_FILE, publish_detector
from backend.training.detector.detector_recipe import BUNDLED_DETECTOR, FURTHER_DETECTOR, DetectorRecipe
from backend.training.detector.lite_network import LITE0, LiteNet, body_from_imagenet
from backend.training.detector.marks_to_paste import marks_to_paste
from backend.training.detector.scenes import Stock, load_stock
from backend.training.export import state_dict_from_onnx
from backend.training.fusion import fit_fusion
from backend.training.harvest import harvest_marks, harvest_pages
from backend.training.network_publishing import EarlierNetwork
from backend.training.pagestore import LabelledPage, PageStore
from backend.training.parity import compare, drawn_truth
from backend.training.quantise import CalibrationInputs, calibration, quantise
from backend.training.refiner.refiner_loop import BUNDLED_REFINER, fit_refiner
from backend.training.refiner.refiner_publishing import REFINER_CARD_FILE, REFINER_RECORD_FILE, publish_refiner
from backend.training.refiner.refiner_samples import Proposals
from backend.training.training_pages import (
    add_real_pages,
    ask_for_folder,
    draw_into,
    has_frozen,
    is_frozen,
    run_name,
    shared,
)
from backend.vision.finders import build_detector
from backend.vision.network_config import MARKS, sha256_of
from backend.vision.weights import BUNDLED as WEIGHTS
from backend.vision.weights import (
    DETECTOR_WEIGHTS_FILE,
    FILES,
    NETWORKS,
    REFINER_WEIGHTS_FILE,
    WEIGHTS_FILE,
    Weights,
    home_of,
    in_floating_point,
)

__all__ = [
    "collect",
    "fit_boxes",
    "fit_classifier",
    "fit_pages",
    "harvest",
    "into_whole_numbers",
    "publish_classifier",
    "weigh",
    "within",
]

_CARDS = {
    WEIGHTS_FILE: CARD_FILE,
    DETECTOR_WEIGHTS_FILE: DETECTOR_CARD_FILE,
    REFINER_WEIGHTS_FILE: REFINER_CARD_FILE,
}
_CALIBRATION_PAGES = 40
_JUDGED = 40
"""Drawn pages that judge the detector after each epoch."""


def collect(work: Path, *, pages: int, real: Path | None, jobs: int) -> None:
    """Fills `work/pages` with `pages` drawn pages, and with the real ones of `real`.

    Raises:
        TrainingError: `real` is no folder of real pages with their manifest.
    """
    if real:
        add_real_pages(_pages(work), real)
    _in_parallel(partial(_draw, work, pages, jobs), jobs)


def fit_pages(
    work: Path,
    out: Path,
    *,
    real: Path | None,
    threads: int,
    jobs: int,
    minutes: float | None = None,
    further: bool = False,
) -> list[str]:
    """Trains the detector on the pages of `work`, pasting the single marks of `real`, and writes it to `out`.

    Gives what was measured, one line for each set. With `minutes`, the training stops after the epoch in which they
    end, and writes the weights that it has. The next call goes on from there. A run begins with ImageNet's weights, or,
    where it goes `further`, with the bundled detector.

    Raises:
        TrainingError: There are no pages, or those of a data set are to overwrite the bundled weights.
    """
    torch.set_num_threads(threads)
    store = _pages(work)
    pages = store.read()
    train, judge = _stocks(store, pages, out, real)
    begun, earlier = _further(work) if further else (BUNDLED_DETECTOR, None)
    new = {f"{page.domain}/{page.source}" for page in pages if is_frozen(page)}
    recipe = dataclasses.replace(begun, shares=shared(begun.shares, train.groups, new, samples=begun.samples))
    folder = work / run_name("detector", recipe.digest, pages, store)
    base = body_from_imagenet(LiteNet(LITE0), imagenet_lite()) if earlier is None else earlier.weights
    train_for = partial(fit_detector, recipe, train, judge, folder, base=base, workers=jobs)
    return publish_detector(folder, within(minutes, train_for, recipe), recipe, store, out, earlier=earlier)


def _further(work: Path) -> tuple[DetectorRecipe, EarlierNetwork]:
    """The recipe that goes on from the bundled detector, and that detector."""
    name, earlier = _bundled(work / "detector-base", DETECTOR_WEIGHTS_FILE, DETECTOR_RECORD_FILE)
    return dataclasses.replace(FURTHER_DETECTOR, base=f"bundled-{name}"), earlier


def _bundled(copy: Path, weights_file: str, record_file: str) -> tuple[str, EarlierNetwork]:
    """The start of a bundled network's checksum, and that network: by a copy, since publishing replaces it."""
    weights = _base_of(copy.with_suffix(".onnx"), in_floating_point(WEIGHTS, weights_file))
    record = _base_of(copy.with_suffix(".json"), WEIGHTS / record_file)
    told = json.loads(record.read_text(encoding="utf-8"))
    return sha256_of(weights)[:12], EarlierNetwork(weights=state_dict_from_onnx(weights), record=told)


def fit_boxes(work: Path, out: Path, *, real: Path | None, threads: int, jobs: int) -> list[str]:
    """Trains the bundled refiner further on the pages of `work`, and writes it to `out`.

    The detector of `out` proposes candidates, or the bundled one where there is none. Gives what was measured, a line a
    set.

    Raises:
        TrainingError: There are no pages, or those of a data set are to overwrite the bundled weights.
    """
    torch.set_num_threads(threads)
    store = _pages(work)
    pages = store.read()
    train, judge = _stocks(store, pages, out, real)
    name, earlier = _bundled(work / "refiner-base", REFINER_WEIGHTS_FILE, REFINER_RECORD_FILE)
    new = {f"{page.domain}/{page.source}" for page in pages if is_frozen(page)}
    shares = shared(BUNDLED_REFINER.shares, train.groups, new, samples=BUNDLED_REFINER.samples)
    recipe = dataclasses.replace(BUNDLED_REFINER, base=f"refiner@{name}", shares=shares)
    folder = work / run_name("refiner", recipe.digest, pages, store)
    proposes = Proposals(out if (out / DETECTOR_WEIGHTS_FILE).is_file() else WEIGHTS)
    progress = fit_refiner(recipe, train, judge, folder, base=earlier.weights, proposes=proposes, workers=jobs)
    return publish_refiner(folder, progress, recipe, store, out, earlier=earlier)


def _stocks(store: PageStore, pages: Sequence[LabelledPage], out: Path, real: Path | None) -> tuple[Stock, Stock]:
    """Pages that teach, with marks to paste on them, and pages that judge."""
    if not any(page.split == "train" for page in pages):
        raise TrainingError(f"{store.folder} has no pages to train on: draw some first, with the step `pages`")
    if has_frozen(pages):
        ask_for_folder(out)
    judges = [page for page in pages if page.split == "validation" and page.complete]
    drawn = [page for page in judges if page.domain == "drawn"][:_JUDGED]
    teach = [page for page in pages if page.split == "train"]
    return (
        load_stock(store, teach, marks_to_paste(store, pages, real)),
        load_stock(store, [page for page in judges if page.domain == "real"] + drawn),
    )


def within(
    minutes: float | None, train_for: Callable[..., DetectorProgress], recipe: DetectorRecipe
) -> DetectorProgress:
    """Trains to the recipe's end, or epoch by epoch until the minutes are over; 0 trains no further."""
    if minutes is None:
        return train_for()
    end = time.monotonic() + 60 * minutes
    progress = train_for(stop_after=0)
    while time.monotonic() < end and progress.epoch < recipe.epochs:
        progress = train_for(stop_after=1)
    return progress


def harvest(work: Path, out: Path, *, real: Path | None, jobs: int) -> None:
    """Fills `work/crops` with what the detector of `out` and the rules on ink propose on the pages of `work`."""
    if real:
        harvest_marks(_crops(work), real)
    _in_parallel(partial(_cut, work, out, jobs), jobs)


def fit_classifier(work: Path, *, threads: int, jobs: int) -> None:
    """Trains on the crops of `work`, from the weights that are bundled when a run begins.

    Raises:
        TrainingError: There are no crops.
    """
    torch.set_num_threads(threads)
    recipe, base = _recipe(work)
    fit(recipe, _crops(work), _run_folder(work, recipe), build=lambda _: network_from(base), workers=jobs)


def publish_classifier(work: Path, out: Path, *, threads: int, command: str) -> list[str]:
    """Writes the trained weights and what belongs to them to `out`; gives what was measured, a line a set.

    Raises:
        TrainingError: The training has not come to its last stage, or what learnt from data sets is to overwrite the
            bundled weights.
    """
    torch.set_num_threads(threads)
    store = _pages(work)
    if has_frozen(store.read()):
        ask_for_folder(out)
    recipe, base = _recipe(work)
    run = _run_folder(work, recipe)
    progress = fit(recipe, _crops(work), run, build=lambda _: network_from(base), stop_after=0)
    measured = publish(run, progress, recipe, _crops(work), out, command=command)
    add_documents(out, documents_of(WEIGHTS) or ())  # it goes on from weights that saw these
    return [
        f"{title}: {report.count} crops, accuracy {report.accuracy:.3f}, macro F1 {report.macro_f1:.3f}"
        for title, report in measured.items()
    ]


def weigh(work: Path, out: Path, *, threads: int) -> str:
    """Fits how much the detector of `out` counts beside the classifier there, and prints it.

    Real pages decide, where there are some. They have hardly any thumbprints, so drawn pages decide their bias.

    Raises:
        TrainingError: There are no validation pages in `work`, or no detector in `out`.
    """
    torch.set_num_threads(threads)
    store = _pages(work)
    unseen = [page for page in store.read() if page.split == "validation" and set(MARKS) <= set(page.complete)]
    real = [page for page in unseen if page.domain == "real"]
    drawn = [page for page in unseen if page.domain == "drawn"]
    return f"fusion: {fit_fusion(out, store, real or drawn, stand_ins=drawn if real else (), threads=threads)}"


def into_whole_numbers(
    out: Path,
    *,
    real: Path | None,
    threads: int,
    pages: int = _CALIBRATION_PAGES,
    networks: Collection[str] = NETWORKS,
) -> list[str]:
    """Puts the networks of `out` into whole numbers, in their place; those in floating point stay beside.

    Gives how far they are from those, on the drawn pages that they are calibrated on, a line a thing. Their cards say
    which file is which.

    Args:
        out: Holds the classifier and the detector; a detector whose boxes are refined takes its refiner with it.
        real: Folder of real pages and crops to calibrate on, besides.
        threads: That may compute.
        pages: How many to draw.
        networks: Which of `NETWORKS`.

    Raises:
        BadWeights: One of the networks is missing, or they are of whole numbers already.
        TrainingError: `real` is no folder of real pages with their manifest.
    """
    weights = Weights.open(out, name="bundled", gate_folder=out)
    settings = Settings(model_threads=threads)
    seen = calibration(weights, pages=pages, real=real, threads=threads)
    with tempfile.TemporaryDirectory() as place:
        whole, before = Path(place) / "whole", {name: sha256_of(file) for name, file in _files_of(weights).items()}
        quantise(weights, whole, seen, networks=networks)
        after = Weights.open(whole, name="int8", gate_folder=whole)
        compared = compare(weights, after, seen, drawn_truth(Path(place) / "pages", pages=pages), settings)
        for file in whole.iterdir():
            shutil.copyfile(file, out / file.name)
    add_documents(out, seen.documents)
    for name, checksum in before.items():
        _tell_of_whole_numbers(out, name, checksum, seen)
    return str(compared).splitlines()


def _files_of(weights: Weights) -> dict[str, Path]:
    return {files.weights: home_of(name, weights.folder) / files.weights for name, files in FILES.items()}


def _tell_of_whole_numbers(out: Path, name: str, checksum: str, seen: CalibrationInputs) -> None:
    """Makes the card of a network that changed, if there is one, name the file that serves and the one it describes."""
    card, now = out / _CARDS[name], out / name
    if not card.is_file() or not now.is_file() or sha256_of(now) == checksum:
        return
    kept, size = in_floating_point(out, name).name, now.stat().st_size / 1e6
    card.write_text(
        card.read_text(encoding="utf-8").replace(checksum, sha256_of(now)).rstrip()
        + f"""

## Whole numbers

`{name}` computes in whole numbers (int8, {size:.1f} MB), calibrated on {len(seen.pages)} pages and {len(seen.crops)}
crops. It was made from `{kept}`, which lies beside it for trainings to start from. The figures above are of that one.
Its SHA-256 is `{checksum}`.
""",
        encoding="utf-8",
    )


def _in_parallel(work: Callable[[int], None], jobs: int) -> None:
    with multiprocessing.get_context("spawn").Pool(jobs, initializer=partial(cv2.setNumThreads, 1)) as pool:
        pool.map(work, range(jobs))


def _draw(work: Path, pages: int, jobs: int, offset: int) -> None:
    draw_into(_pages(work), pages=pages, step=jobs, offset=offset)


def _cut(work: Path, out: Path, jobs: int, offset: int) -> None:
    harvest_pages(_crops(work), _pages(work), build_detector("both", out, threads=1), step=jobs, offset=offset)


def _pages(work: Path) -> PageStore:
    return PageStore(work / "pages")


def _crops(work: Path) -> CropFolder:
    return CropFolder(work / "crops")


def _recipe(work: Path) -> tuple[Recipe, Path]:
    """The recipe with its base named, and the base: a copy, since publishing puts new weights in its place."""
    base = _base_of(work / "base.onnx", in_floating_point(WEIGHTS, WEIGHTS_FILE))
    crops = [crop for crop in _crops(work).read() if crop.split == "train"]
    groups = [f"{crop.domain}/{crop.label}" for crop in crops]
    new = {group for group, crop in zip(groups, crops, strict=True) if is_frozen(crop)}
    shares = shared(BUNDLED.shares, groups, new, samples=BUNDLED.samples)
    return dataclasses.replace(BUNDLED, base=f"bundled-{sha256_of(base)[:12]}", shares=shares), base


def _base_of(copy: Path, weights: Path) -> Path:
    """The weights that a run began with: `copy`, which the first step makes of `weights`."""
    if not copy.exists():
        part = copy.with_suffix(".part")
        shutil.copyfile(weights, part)
        part.replace(copy)
    return copy


def _run_folder(work: Path, recipe: Recipe) -> Path:
    crops = _crops(work)
    return work / run_name("classifier", recipe.digest, crops.read(), crops)
