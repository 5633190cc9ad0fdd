"""Quantises both networks to eight-bit whole numbers, calibrated on pages and crops, and measures what that changes.

Static quantisation by ONNX Runtime's own tool. Each channel of the weights and each activation gets a scale, in the
graph as pairs of QuantizeLinear and DequantizeLinear (arXiv:1712.05877). Activations are uint8, weights int8 of seven
bits: processors without VNNI add up pairs of products in 16 bits, which eight bits would overflow.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from tqdm import tqdm

from backend.errors import BadWeights, TrainingError
from backend.evaluation.rates import macro_f1, softmax
from backend.evaluation.study import Run, match, race
from backend.evaluation.truth import Truth, read_coco
from backend.models.publishing import carry_refiner
from backend.models.serving import build_pipeline
from backend.synthetic import coco
from backend.synthetic.drawn_page import draw_page
from backend.training.pagestore import PageStore
from backend.training.training_pages import add_real_pages, real_marks
from backend.vision.classifier import network_input
from backend.vision.engine import DetectorConfig, DetectorNetwork, Network
from backend.vision.finders import build_detector
from backend.vision.network_config import MARKS, sha256_of
from backend.vision.network_detector import padded, page_input
from backend.vision.weights import (
    BUNDLED,
    CONFIG_FILE,
    DETECTOR_CONFIG_FILE,
    DETECTOR_WEIGHTS_FILE,
    FLOAT_WEIGHTS_FILE,
    WEIGHTS_FILE,
    Weights,
)

if TYPE_CHECKING:
    from backend.settings import Settings

__all__ = [
    "CALIBRATION_SEED",
    "IN_FLOAT",
    "CalibrationInputs",
    "calibration",
    "compare",
    "detector_folder",
    "drawn_truth",
    "quantise",
    "quantise_classifier",
    "quantise_network",
]

CALIBRATION_SEED = 3_000_000
"""Seed of the first page that is drawn to calibrate on: no training, test or benchmark draws these."""
_RESOLUTIONS = (100, 150, 200)
_CROPS_A_PAGE = 5
_BATCH = 8
_REAL_PAGES = 24
_REAL_CROPS = 96
IN_FLOAT = ("heat.last", "edges.last")
"""The detector's last convolutions, one by one pixel: exact heat costs next to no time."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CalibrationInputs:
    """What both networks look at to learn the range of each activation.

    Attributes:
        pages: Input of the detector, (1, H, W, 3) uint8 each.
        crops: Input of the classifier, (N, 3, 224, 224) float32 in [0, 1].
        documents: Names of the documents that they are of.
    """

    pages: tuple[NDArray[np.uint8], ...]
    crops: NDArray[np.float32]
    documents: tuple[str, ...]


def calibration(weights: Weights, *, pages: int, real: Path | None = None, threads: int = 0) -> CalibrationInputs:
    """Pages and crops to calibrate on: drawn ones, and real ones of documents that train, where there are any.

    The crops are what the detector proposes on these pages, so that the classifier sees here what it sees in serving,
    and the single real marks.

    Args:
        weights: Their detector proposes.
        pages: How many to draw.
        real: Folder with a manifest.json of real pages and crops.
        threads: Threads one inference may use; 0 for as many as there are cores.

    Raises:
        TrainingError: `real` holds no such manifest, or no page was asked for.
    """
    if pages < 1:
        raise TrainingError(f"{pages} pages to calibrate on: at least one is needed")
    detector = build_detector("model", weights.folder, threads=threads)
    config = DetectorConfig.read(detector_folder(weights) / DETECTOR_CONFIG_FILE)
    looked_at, crops, documents = [], [], []
    for document, pixels, dpi in (*_drawn(pages), *_real_pages(real)):
        small, _ = page_input(pixels, dpi, pixel_mm=config.pixel_mm)
        looked_at.append(padded(small, config.multiple)[None])
        found = detector(pixels, dpi).boxes
        crops.append(network_input(pixels, found[_some(len(found), _CROPS_A_PAGE)]))
        documents.append(document)
    for document, pixels in _real_crops(real):
        height, width = pixels.shape[:2]
        crops.append(network_input(pixels, np.array([[0.0, 0.0, width, height]])))
        documents.append(document)
    every = np.concatenate(crops)
    if not len(every):
        raise TrainingError(f"the detector proposes nothing on {pages} drawn pages: draw more")
    return CalibrationInputs(pages=tuple(looked_at), crops=every, documents=tuple(dict.fromkeys(documents)))


def quantise(weights: Weights, out: Path, seen: CalibrationInputs) -> None:
    """Writes both networks of `weights` as whole numbers to `out`, with their configs.

    The floating-point classifier stays beside it: trainings start from that. Temperature, thresholds and fusion are
    those of the weights that it is made from.

    Args:
        weights: Weights in floating point.
        out: Made when missing.
        seen: What to calibrate on.

    Raises:
        BadWeights: The weights are of whole numbers already, or cannot be read.
    """
    out.mkdir(parents=True, exist_ok=True)
    note = {"numbers": f"int8, calibrated on {len(seen.pages)} pages and {len(seen.crops)} crops"}
    quantise_classifier(weights, out, seen.crops, note=note["numbers"])
    place = detector_folder(weights)
    quantise_network(place / DETECTOR_WEIGHTS_FILE, out / DETECTOR_WEIGHTS_FILE, seen.pages, in_float=IN_FLOAT)
    detector = DetectorConfig.read(place / DETECTOR_CONFIG_FILE)
    dataclasses.replace(
        detector, sha256=sha256_of(out / DETECTOR_WEIGHTS_FILE), provenance={**detector.provenance, **note}
    ).write(out / DETECTOR_CONFIG_FILE)
    carry_refiner(place, out)


def quantise_classifier(weights: Weights, out: Path, crops: NDArray[np.float32], *, note: str) -> None:
    """Writes the classifier of `weights` as whole numbers to `out`, its own folder or another, with its config.

    The floating-point one stays beside it. Temperature and thresholds are kept.

    Args:
        weights: Weights in floating point.
        out: Exists.
        crops: What to calibrate on, (N, 3, 224, 224) in [0, 1].
        note: Of how it was calibrated; goes into the config.

    Raises:
        BadWeights: It is of whole numbers already, or cannot be read.
    """
    aside = out / f"{WEIGHTS_FILE}.part"
    batches = (crops[start : start + _BATCH] for start in range(0, len(crops), _BATCH))
    quantise_network(weights.path, aside, batches)
    shutil.copyfile(weights.path, out / FLOAT_WEIGHTS_FILE)
    aside.replace(out / WEIGHTS_FILE)
    provenance = {**weights.config.provenance, "numbers": note}
    dataclasses.replace(weights.config, sha256=sha256_of(out / WEIGHTS_FILE), provenance=provenance).write(
        out / CONFIG_FILE
    )


def detector_folder(weights: Weights) -> Path:
    """Where the detector is that serves with these weights."""
    return weights.folder if (weights.folder / DETECTOR_CONFIG_FILE).is_file() else BUNDLED


def quantise_network(source: Path, out: Path, inputs: Iterable[NDArray[Any]], *, in_float: Sequence[str] = ()) -> None:
    """Writes the ONNX network `source` as one of whole numbers.

    Args:
        source: A network in floating point.
        out: The file to write.
        inputs: Batches of its input `pixels`, one after the other.
        in_float: Nodes that stay in floating point.

    Raises:
        BadWeights: It is of whole numbers already.
    """
    if b"QuantizeLinear" in source.read_bytes():
        raise BadWeights(f"{source} is of whole numbers already: quantise what it was made from")
    with tempfile.TemporaryDirectory() as place:
        plain = Path(place) / "plain.onnx"
        # Folds BatchNorm and the casts of float16 weights into the convolutions, which are then found as such.
        quant_pre_process(source, plain, skip_symbolic_shape=True)
        quantize_static(
            plain,
            out,
            _Reader(iter(inputs)),
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=list(in_float),
        )


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # the package has no types
    """Hands over one batch after the other."""

    def __init__(self, inputs: Iterator[NDArray[Any]]) -> None:
        self._inputs = inputs

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        batch = next(self._inputs, None)
        return None if batch is None else {"pixels": batch}


def _drawn(pages: int) -> Iterator[tuple[str, NDArray[np.uint8], float | None]]:
    seeds = range(CALIBRATION_SEED, CALIBRATION_SEED + pages)
    for seed in tqdm(seeds, unit="page", desc="calibration", disable=None):
        page = draw_page(seed, dpi=_RESOLUTIONS[seed % len(_RESOLUTIONS)])
        yield f"drawn-{seed}", page.pixels, page.dpi


def _real_pages(folder: Path | None) -> Iterator[tuple[str, NDArray[np.uint8], float | None]]:
    if folder is None:
        return
    with tempfile.TemporaryDirectory() as place:
        store = PageStore(Path(place))
        add_real_pages(store, folder)
        pages = [page for page in store.read() if page.split == "train"]
        for page in pages[_some(len(pages), _REAL_PAGES)]:
            yield page.document, store.pixels(page), page.dpi


def _real_crops(folder: Path | None) -> list[tuple[str, NDArray[np.uint8]]]:
    marks = real_marks(folder) if folder is not None else ()
    train = [(mark.document, pixels) for mark, pixels in marks if mark.split == "train"]
    return train[_some(len(train), _REAL_CROPS)]


def _some(there: int, wanted: int) -> slice:
    """Some `wanted` of the rows that there are, from the first to the last."""
    return slice(None, None, max(1, there // wanted))


_IOU = 0.5
_COMPARED_AT_ONCE = 32
_DPI = 150


@dataclass(frozen=True, kw_only=True)
class Parity:
    """What changed.

    Attributes:
        crops: How many the classifiers were compared on.
        mean: Mean distance of a class's probability.
        largest: The largest.
        same: Share of crops that keep their name.
        heat_mean: Mean distance of the detectors' heat.
        heat_largest: The largest.
        pages: How many whole pages both saw.
        f1: Macro F1 on them at IoU .5, before and after; None where there is no mark.
        milliseconds: Median of a page, before and after.
    """

    crops: int
    mean: float
    largest: float
    same: float
    heat_mean: float
    heat_largest: float
    pages: int
    f1: tuple[float | None, float | None]
    milliseconds: tuple[float, float]

    def as_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        before, after = ("none" if one is None else f"{one:.3f}" for one in self.f1)
        return (
            f"{self.crops} crops: probabilities differ by {self.mean:.4f}, at most {self.largest:.3f}; "
            f"{self.same:.1%} keep their name\n"
            f"heat of the detector differs by {self.heat_mean:.4f}, at most {self.heat_largest:.3f}\n"
            f"{self.pages} pages: macro F1 {before} → {after}; "
            f"{self.milliseconds[0]:.0f} → {self.milliseconds[1]:.0f} ms a page"
        )


def compare(before: Weights, after: Weights, seen: CalibrationInputs, truth: Truth, settings: Settings) -> Parity:
    """Both on the same crops and pages.

    Args:
        before: In floating point.
        after: In whole numbers.
        seen: Crops for the classifiers, and inputs for the detectors.
        truth: Pages for both together, as they serve.
        settings: Threads, and how marks are found and selected.

    Raises:
        BadWeights: One of the two cannot be loaded.
        PageError: A page cannot be read.
    """
    threads = settings.model_threads
    old, new = (_probabilities(one, seen.crops, threads=threads) for one in (before, after))
    heat, whole = (_heat(one, seen, threads=threads) for one in (before, after))
    distance, heat_distance = np.abs(old - new), np.abs(heat - whole)
    runs = race(build_pipeline(before, settings), build_pipeline(after, settings), truth, settings)
    first, second = (_f1(run) for run in runs)
    slow, fast = (float(np.median(run.milliseconds)) for run in runs)
    return Parity(
        crops=len(seen.crops),
        mean=float(distance.mean()),
        largest=float(distance.max()),
        same=float((old.argmax(axis=1) == new.argmax(axis=1)).mean()),
        heat_mean=float(heat_distance.mean()),
        heat_largest=float(heat_distance.max()),
        pages=len(truth.pages),
        f1=(first, second),
        milliseconds=(slow, fast),
    )


def drawn_truth(folder: Path, *, pages: int) -> Truth:
    """The drawn pages that were calibrated on, with their marks, in a folder that is made."""
    folder.mkdir()
    known = []
    for seed in range(CALIBRATION_SEED, CALIBRATION_SEED + pages):
        page, name = draw_page(seed, dpi=_DPI), f"page-{seed}.png"
        if not cv2.imwrite(str(folder / name), np.ascontiguousarray(page.pixels[..., ::-1])):
            raise OSError(f"{folder / name} could not be written: check the folder's permissions and the space left")
        known.append(coco.truth_of(page, name))
    coco.write(known, folder / "annotations.json")
    return read_coco(folder / "annotations.json", folder)


def _probabilities(weights: Weights, crops: NDArray[np.float32], *, threads: int) -> NDArray[np.float64]:
    network = Network(weights.path, weights.config, threads=threads)
    parts = [
        network.run(crops[start : start + _COMPARED_AT_ONCE])[0] for start in range(0, len(crops), _COMPARED_AT_ONCE)
    ]
    return softmax(np.concatenate(parts), weights.config.temperature)


def _heat(weights: Weights, seen: CalibrationInputs, *, threads: int) -> NDArray[np.float32]:
    """The heat of all pages, one number after the other."""
    folder = detector_folder(weights)
    config = DetectorConfig.read(folder / DETECTOR_CONFIG_FILE)
    network = DetectorNetwork(folder / DETECTOR_WEIGHTS_FILE, config, threads=threads)
    return np.concatenate([network.run(page[0]).heat.ravel() for page in seen.pages])


def _f1(run: Run) -> float | None:
    matches = [match(page, shown, _IOU) for page, shown in zip(run.truth.pages, run.shown, strict=True)]
    value = float(macro_f1(np.sum([one.confusion for one in matches], axis=0), len(MARKS)))
    return None if np.isnan(value) else value
