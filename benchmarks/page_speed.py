"""How long a page takes from JPEG bytes to marks: here, by the original snippet, by Faster R-CNN, in turns."""

from __future__ import annotations

import io
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn
from torchvision import transforms
from torchvision.models import ResNet, resnet18
from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_fpn

from backend.geometry import Boxes, as_boxes, iou
from backend.pages.page import Limits
from backend.pages.source import ENOUGH_DPI, decode
from backend.settings import Settings
from backend.synthetic.drawn_page import draw_page
from backend.training.export import state_dict_from_onnx
from backend.vision.network_config import CLASSES
from backend.vision.pipeline import Pipeline
from backend.vision.weights import Weights
from benchmarks.hsv_baseline import hsv_boxes

__all__ = ["Contract", "PageSpeed", "contract", "measure_pages"]

_DPI = 300


_RIGHT = 0.5


@dataclass(frozen=True, eq=False)
class Contract:
    """A drawn A4 page of 300 dpi: a JPEG in memory, and the boxes of its marks (N, 4)."""

    jpeg: bytes
    boxes: Boxes


@dataclass(frozen=True, kw_only=True)
class PageSpeed:
    """Medians in milliseconds.

    Attributes:
        ours: By step and in all.
        original: The same of the original model card's snippet.
        crop: What the original snippet takes for one crop.
        faster_rcnn: torchvision's Faster R-CNN with MobileNetV3 on the decoded page, as it comes; untrained weights,
            which take as long as trained ones.
        candidates: Boxes a page that we classified, on average.
        regions: Boxes a page that the original model card's snippet classified, on average.
        found: Share of the true marks that one of our marks overlaps by half.
        proposed: Share of them that one of the original's regions overlaps by half, whatever it would be named: more
            of them it cannot find.
    """

    ours: dict[str, float]
    original: dict[str, float]
    crop: float
    faster_rcnn: float
    candidates: float
    regions: float
    found: float
    proposed: float

    @property
    def ratio(self) -> float:
        """How many times as long the original model card's snippet takes."""
        return self.original["total"] / self.ours["total"]

    @property
    def crops(self) -> float:
        """How many crops the original snippet classifies in the time of one of our pages."""
        return self.ours["total"] / self.crop


def contract(seed: int, *, marks: int) -> Contract:
    """A drawn contract of `marks` marks."""
    file = io.BytesIO()
    page = draw_page(seed, dpi=_DPI, marks=marks)
    Image.fromarray(page.pixels).save(file, "JPEG", quality=90, dpi=(_DPI, _DPI))
    return Contract(file.getvalue(), as_boxes([mark.box for mark in page.marks]))


@dataclass(frozen=True, eq=False)
class _Turn:
    """One page once: milliseconds by step, how many boxes were classified, which true marks are found."""

    laps: dict[str, float]
    boxes: int
    hits: NDArray[np.bool_]


def measure_pages(pipeline: Pipeline, weights: Weights, *, contracts: Sequence[Contract], rounds: int) -> PageSpeed:
    """Takes turns, so that whatever else the machine does falls on all.

    Args:
        pipeline: Ours.
        weights: Of which torch gets the same.
        contracts: The pages; several, because the fixed HSV rules find nothing on some.
        rounds: How often each page is measured.
    """
    model = resnet18(num_classes=len(weights.config.classes)).eval()
    model.load_state_dict(state_dict_from_onnx(weights.trainable))
    rcnn = fasterrcnn_mobilenet_v3_large_fpn(weights=None, weights_backbone=None, num_classes=len(CLASSES)).eval()
    ours: list[_Turn] = []
    original: list[_Turn] = []
    faster: list[float] = []
    crops: list[float] = []
    for turn in range(-1, rounds):
        for page in contracts if turn >= 0 else contracts[:1]:
            here, there, beside = _our_turn(pipeline, page), _originals_turn(model, page), _rcnns_turn(rcnn, page)
            if turn >= 0:  # the first is to warm up
                ours.append(here)
                original.append(there)
                faster.append(beside)
                crops.append(_milliseconds_a_crop(model, page))
    return PageSpeed(
        ours=_medians(ours),
        original=_medians(original),
        crop=statistics.median(crops),
        faster_rcnn=statistics.median(faster),
        candidates=statistics.mean(turn.boxes for turn in ours),
        regions=statistics.mean(turn.boxes for turn in original),
        found=float(np.concatenate([turn.hits for turn in ours]).mean()),
        proposed=float(np.concatenate([turn.hits for turn in original]).mean()),
    )


def _our_turn(pipeline: Pipeline, contract: Contract) -> _Turn:
    watch = _Watch()
    limits = Limits.of(Settings())
    page = next(decode(contract.jpeg, reference="drawn", limits=limits, dpi=_DPI, enough=ENOUGH_DPI))
    watch.lap("decode")
    candidates = pipeline.detector(page.pixels, page.pixels_dpi)
    watch.lap("detect")
    found = pipeline.classifier.classify(page.pixels, candidates.boxes)
    watch.lap("classify")
    marks = pipeline.judge(candidates, found)
    watch.lap("select")
    return _Turn(watch.laps, len(candidates), _hits(contract.boxes, marks.boxes / page.scale))


def _originals_turn(model: ResNet, contract: Contract) -> _Turn:
    """What the original card shows: HSV regions, then each crop by itself through PIL, torchvision and eager torch."""
    watch = _Watch()
    image = Image.open(io.BytesIO(contract.jpeg)).convert("RGB")
    pixels = np.asarray(image)
    watch.lap("decode")
    boxes = hsv_boxes(pixels)
    watch.lap("detect")
    _classify_one_by_one(model, image, boxes)
    watch.lap("classify")
    return _Turn(watch.laps, len(boxes), _hits(contract.boxes, boxes))


def _rcnns_turn(model: nn.Module, contract: Contract) -> float:
    """Milliseconds from the JPEG to what the network gives."""
    watch = _Watch()
    image = Image.open(io.BytesIO(contract.jpeg)).convert("RGB")
    with torch.no_grad():
        model([transforms.functional.to_tensor(image)])
    watch.lap("all")
    return watch.laps["total"]


def _milliseconds_a_crop(model: ResNet, contract: Contract) -> float:
    """What the original snippet takes for each of the true marks."""
    image = Image.open(io.BytesIO(contract.jpeg)).convert("RGB")
    watch = _Watch()
    _classify_one_by_one(model, image, contract.boxes)
    watch.lap("all")
    return watch.laps["total"] / len(contract.boxes)


def _hits(truth: Boxes, found: Boxes) -> NDArray[np.bool_]:
    return np.asarray(iou(truth, found).max(axis=1, initial=0) >= _RIGHT)


def _classify_one_by_one(model: ResNet, image: Image.Image, boxes: Boxes) -> list[NDArray[np.float32]]:
    transform = transforms.Compose([transforms.Resize((224, 224)), transforms.ToTensor()])
    found = []
    with torch.no_grad():
        for left, top, right, bottom in boxes:
            crop = transform(image.crop((int(left), int(top), int(right), int(bottom)))).unsqueeze(0)
            found.append(torch.softmax(model(crop), dim=1)[0].numpy())
    return found


class _Watch:
    """Lap times in milliseconds."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {"total": 0.0}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name] = 1000 * (now - self._last)
        self.laps["total"] += self.laps[name]
        self._last = now


def _medians(turns: Sequence[_Turn]) -> dict[str, float]:
    return {name: statistics.median(turn.laps[name] for turn in turns) for name in turns[0].laps}
