"""The networks as whole numbers of eight bits, calibrated on pages and crops.

Static quantisation by ONNX Runtime's own tool. Each channel of the weights and each activation gets a scale, in the
graph as pairs of QuantizeLinear and DequantizeLinear (arXiv:1712.05877). Activations are uint8, weights int8 of seven
bits: processors without VNNI add up pairs of products in 16 bits, which eight bits would overflow. What comes after the
last convolutions stays in floating point: heat, distances and places of edges would be as coarse as their numbers.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from tqdm import tqdm

from backend.errors import BadWeights, TrainingError
from backend.models.publishing import carry_refiner
from backend.synthetic.drawn_page import draw_page
from backend.training.pagestore import PageStore
from backend.training.training_pages import add_real_pages, real_marks
from backend.vision.box_refiner import RefinerConfig, looked_at, window_of
from backend.vision.classifier import network_input
from backend.vision.engine import DetectorConfig
from backend.vision.finders import build_detector
from backend.vision.network_config import sha256_of
from backend.vision.network_detector import padded, page_input
from backend.vision.weights import (
    CONFIG_FILE,
    DETECTOR_CONFIG_FILE,
    DETECTOR_WEIGHTS_FILE,
    FLOAT_DETECTOR_FILE,
    FLOAT_REFINER_FILE,
    FLOAT_WEIGHTS_FILE,
    NETWORKS,
    REFINER_CONFIG_FILE,
    REFINER_WEIGHTS_FILE,
    WEIGHTS_FILE,
    Weights,
    home_of,
)

__all__ = [
    "CALIBRATION_SEED",
    "IN_FLOAT",
    "CalibrationInputs",
    "calibration",
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
IN_FLOAT = ("stem", "stages.0", "stages.1", "heat.last", "edges.last", "edges.above")
"""The detector's first layers and its last convolutions, which are one by one pixel, with what follows.

Errors of the first layers grow on their way through the others. With them in floating point, heat is three times as
exact, and a page takes hardly longer.
"""
_REFINER_IN_FLOAT = ("borders.last",)
_OPERATORS = ("Conv", "Relu", "Clip", "Add", "Resize", "Transpose", "MaxPool", "AveragePool")
"""What is computed in whole numbers: convolutions, and what lies between them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CalibrationInputs:
    """What the networks look at to learn the range of each activation.

    Attributes:
        pages: Input of the detector, (1, H, W, 3) uint8 each.
        crops: Input of the classifier, (N, 3, 224, 224) float32 in [0, 1].
        looks: Input of the refiner, (N, S, S, 3) uint8; None where the detector's boxes are not refined.
        documents: Names of the documents that they are of.
    """

    pages: tuple[NDArray[np.uint8], ...]
    crops: NDArray[np.float32]
    looks: NDArray[np.uint8] | None
    documents: tuple[str, ...]


def calibration(weights: Weights, *, pages: int, real: Path | None = None, threads: int = 0) -> CalibrationInputs:
    """Pages and crops to calibrate on: drawn ones, and real ones of documents that train, where there are any.

    The crops are what the detector proposes on these pages, so that the classifier sees here what it sees in serving,
    and the single real marks. The refiner looks at what is proposed, too.

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
    config = DetectorConfig.read(home_of("detector", weights.folder) / DETECTOR_CONFIG_FILE)
    refiner = RefinerConfig.read(home_of("refiner", weights.folder) / REFINER_CONFIG_FILE) if config.refined else None
    inputs, crops, looks, documents = [], [], [], []
    for document, pixels, dpi in (*_drawn(pages), *_real_pages(real)):
        small, scale = page_input(pixels, dpi, pixel_mm=config.pixel_mm)
        inputs.append(padded(small, config.multiple)[None])
        found = detector(pixels, dpi).boxes
        some = found[_some(len(found), _CROPS_A_PAGE)]
        crops.append(network_input(pixels, some))
        if refiner is not None:
            looks.extend([looked_at(small, window_of(box, refiner.margin), refiner.side) for box in some * scale])
        documents.append(document)
    for document, pixels in _real_crops(real):
        height, width = pixels.shape[:2]
        crops.append(network_input(pixels, np.array([[0.0, 0.0, width, height]])))
        documents.append(document)
    every = np.concatenate(crops)
    if not len(every):
        raise TrainingError(f"the detector proposes nothing on {pages} drawn pages: draw more")
    return CalibrationInputs(
        pages=tuple(inputs),
        crops=every,
        looks=np.stack(looks) if looks else None,
        documents=tuple(dict.fromkeys(documents)),
    )


def quantise(weights: Weights, out: Path, seen: CalibrationInputs, *, networks: Collection[str] = NETWORKS) -> None:
    """Writes the networks of `weights` as whole numbers to `out`, with their configs.

    Those in floating point stay beside, for trainings to start from. Temperature, thresholds and fusion are those of
    the weights that they are made from.

    Args:
        weights: Weights in floating point.
        out: Made when missing.
        seen: What to calibrate on.
        networks: Which of `NETWORKS`; the others are copied.

    Raises:
        BadWeights: One of them is of whole numbers already, or cannot be read.
    """
    out.mkdir(parents=True, exist_ok=True)
    note = {"numbers": f"int8, calibrated on {len(seen.pages)} pages and {len(seen.crops)} crops"}
    if "classifier" in networks:
        quantise_classifier(weights, out, seen.crops, note=note["numbers"])
    else:
        _copy(weights.folder, out, (WEIGHTS_FILE, CONFIG_FILE, FLOAT_WEIGHTS_FILE))
    place = home_of("detector", weights.folder)
    if "detector" in networks:
        _quantise_detector(place, out, seen, note=note)
    else:
        _copy(place, out, (DETECTOR_WEIGHTS_FILE, DETECTOR_CONFIG_FILE, FLOAT_DETECTOR_FILE))
    if seen.looks is not None and "refiner" in networks:
        _quantise_refiner(home_of("refiner", weights.folder), out, seen.looks, note=note)
    else:
        carry_refiner(home_of("refiner", weights.folder), out)


def _copy(place: Path, out: Path, names: Sequence[str]) -> None:
    for name in names:
        if (place / name).is_file():
            shutil.copyfile(place / name, out / name)


def _quantise_detector(place: Path, out: Path, seen: CalibrationInputs, *, note: dict[str, str]) -> None:
    quantise_network(place / DETECTOR_WEIGHTS_FILE, out / DETECTOR_WEIGHTS_FILE, seen.pages, in_float=IN_FLOAT)
    shutil.copyfile(place / DETECTOR_WEIGHTS_FILE, out / FLOAT_DETECTOR_FILE)
    detector = DetectorConfig.read(place / DETECTOR_CONFIG_FILE)
    dataclasses.replace(
        detector, sha256=sha256_of(out / DETECTOR_WEIGHTS_FILE), provenance={**detector.provenance, **note}
    ).write(out / DETECTOR_CONFIG_FILE)


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
    quantise_network(weights.path, aside, _batches(crops))
    shutil.copyfile(weights.path, out / FLOAT_WEIGHTS_FILE)
    aside.replace(out / WEIGHTS_FILE)
    provenance = {**weights.config.provenance, "numbers": note}
    dataclasses.replace(weights.config, sha256=sha256_of(out / WEIGHTS_FILE), provenance=provenance).write(
        out / CONFIG_FILE
    )


def _quantise_refiner(place: Path, out: Path, looks: NDArray[np.uint8], *, note: dict[str, str]) -> None:
    weights = out / REFINER_WEIGHTS_FILE
    quantise_network(place / REFINER_WEIGHTS_FILE, weights, _batches(looks), in_float=_REFINER_IN_FLOAT)
    shutil.copyfile(place / REFINER_WEIGHTS_FILE, out / FLOAT_REFINER_FILE)
    config = RefinerConfig.read(place / REFINER_CONFIG_FILE)
    dataclasses.replace(config, sha256=sha256_of(weights), provenance={**config.provenance, **note}).write(
        out / REFINER_CONFIG_FILE
    )


def quantise_network(source: Path, out: Path, inputs: Iterable[NDArray[Any]], *, in_float: Sequence[str] = ()) -> None:
    """Writes the ONNX network `source` as one of whole numbers.

    Args:
        source: A network in floating point.
        out: The file to write.
        inputs: Batches of its input `pixels`, one after the other.
        in_float: Nodes that stay in floating point, or layers, with all that is in them.

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
            nodes_to_exclude=[
                node.name
                for node in onnx.load(plain).graph.node
                if any(node.name == name or node.name.startswith(f"{name}.") for name in in_float)
            ],
            op_types_to_quantize=list(_OPERATORS),
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


def _batches(inputs: NDArray[Any]) -> Iterator[NDArray[Any]]:
    return (inputs[start : start + _BATCH] for start in range(0, len(inputs), _BATCH))


def _some(there: int, wanted: int) -> slice:
    """Some `wanted` of the rows that there are, from the first to the last."""
    return slice(None, None, max(1, there // wanted))
