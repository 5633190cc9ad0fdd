"""How long a page takes from JPEG bytes to marks, here and by the original snippet, turn by turn in one run."""

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
from torchvision import transforms
from torchvision.models import ResNet, resnet18

from backend.geometry import Boxes
from backend.pages.decode import ENOUGH_DPI, decode
from backend.pages.page import Limits
from backend.settings import Settings
from backend.synthetic.drawn_page import draw_page
from backend.training.export import state_dict_from_onnx
from backend.vision.pipeline import Pipeline
from backend.vision.weights import Weights
from benchmarks.hsv_baseline import hsv_boxes

__all__ = ["PageSpeed", "contract_jpeg", "measure_pages"]

_DPI = 300


@dataclass(frozen=True, kw_only=True)
class PageSpeed:
    """Medians in milliseconds.

    Attributes:
        ours: By step and in all.
        seeds: The same for the original model card's snippet.
        candidates: Boxes a page that we classified, on average.
        regions: Boxes a page that the original model card's snippet classified, on average.
    """

    ours: dict[str, float]
    seeds: dict[str, float]
    candidates: float
    regions: float

    @property
    def ratio(self) -> float:
        """How many times as long the original model card's snippet takes."""
        return self.seeds["total"] / self.ours["total"]


def contract_jpeg(seed: int, *, marks: int) -> bytes:
    """A drawn A4 page of 300 dpi, as a JPEG in memory."""
    file = io.BytesIO()
    page = draw_page(seed, dpi=_DPI, marks=marks)
    Image.fromarray(page.pixels).save(file, "JPEG", quality=90, dpi=(_DPI, _DPI))
    return file.getvalue()


def measure_pages(pipeline: Pipeline, weights: Weights, *, jpegs: Sequence[bytes], rounds: int) -> PageSpeed:
    """Takes turns, so that whatever else the machine does falls on both.

    Args:
        pipeline: Ours.
        weights: Of which torch gets the same.
        jpegs: The pages; several, because the fixed HSV rules find nothing on some.
        rounds: How often each page is measured.
    """
    model = resnet18(num_classes=len(weights.config.classes)).eval()
    model.load_state_dict(state_dict_from_onnx(weights.path))
    ours: list[dict[str, float]] = []
    seeds: list[dict[str, float]] = []
    for turn in range(-1, rounds):
        for jpeg in jpegs if turn >= 0 else jpegs[:1]:
            here, there = _our_turn(pipeline, jpeg), _seeds_turn(model, jpeg)
            if turn >= 0:  # the first is to warm up
                ours.append(here)
                seeds.append(there)
    return PageSpeed(
        ours=_medians(ours),
        seeds=_medians(seeds),
        candidates=statistics.mean(turn["boxes"] for turn in ours),
        regions=statistics.mean(turn["boxes"] for turn in seeds),
    )


def _our_turn(pipeline: Pipeline, data: bytes) -> dict[str, float]:
    watch = _Watch()
    page = next(decode(data, reference="drawn", limits=Limits.of(Settings()), dpi=_DPI, enough=ENOUGH_DPI))
    watch.lap("decode")
    candidates = pipeline.detector(page.pixels, page.pixels_dpi)
    watch.lap("detect")
    found = pipeline.classifier.classify(page.pixels, candidates.boxes)
    watch.lap("classify")
    pipeline.judge(candidates, found)
    watch.lap("select")
    return watch.laps | {"boxes": len(candidates)}


def _seeds_turn(model: ResNet, data: bytes) -> dict[str, float]:
    """What the original card shows: HSV regions, then each crop by itself through PIL, torchvision and eager torch."""
    watch = _Watch()
    image = Image.open(io.BytesIO(data)).convert("RGB")
    pixels = np.asarray(image)
    watch.lap("decode")
    boxes = hsv_boxes(pixels)
    watch.lap("detect")
    _classify_one_by_one(model, image, boxes)
    watch.lap("classify")
    return watch.laps | {"boxes": len(boxes)}


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


def _medians(laps: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(lap[name] for lap in laps) for name in laps[0]}
