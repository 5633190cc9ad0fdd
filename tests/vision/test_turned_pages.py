"""Pages that lie on their side or upside down: they get the boxes that they get upright, in their own frame."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from backend.geometry import turned_left
from backend.training.detector.lite_network import LiteNet
from backend.vision.engine import DetectorConfig, DetectorNetwork, DetectorOutput
from backend.vision.network_detector import ModelDetector, padded, page_input
from backend.vision.weights import DETECTOR_CONFIG_FILE, DETECTOR_WEIGHTS_FILE
from tests.models.detectors import TINY_LITE, open_detector, random_network, write_detector
from tests.vision.drawing import blotted_page


class Barred(DetectorNetwork):
    """Tells which way is up by the side on which a page has a dark bar.

    `sure` is what it gives that side, `opposite` what it gives the one across; without, all others get the same.

    Attributes:
        sizes: (height, width) of what it looked at.
    """

    def __init__(self, folder: Path, *, sure: float, opposite: float | None = None) -> None:
        config = DetectorConfig.read(folder / DETECTOR_CONFIG_FILE)
        super().__init__(folder / DETECTOR_WEIGHTS_FILE, config, threads=1)
        self.sure, self.sizes = sure, list[tuple[int, int]]()
        self.opposite = (1 - sure) / 3 if opposite is None else opposite

    def run(self, pixels: NDArray[np.uint8]) -> DetectorOutput:
        height, width = pixels.shape[:2]
        self.sizes.append((height, width))
        # Turned to the left by no, one, two and three quarters, the bar at the top is there.
        sides = (pixels[0, width // 2], pixels[height // 2, 0], pixels[-1, width // 2], pixels[height // 2, -1])
        dark = int(np.argmin([side.sum() for side in sides]))
        turns = np.full(4, (1 - self.sure - self.opposite) / 2, np.float32)
        turns[dark], turns[(dark + 2) % 4] = self.sure, self.opposite
        return dataclasses.replace(super().run(pixels), turns=turns)

    @property
    def looks(self) -> int:
        """How often it was asked."""
        return len(self.sizes)


def barred(tmp_path: Path, *, sure: float, opposite: float | None = None, least_turn: float = 0.9) -> Barred:
    network = random_network(seed=4, shape=TINY_LITE)
    write_detector(network, tmp_path / "blind", least_heat=0.3, stride=network.stride)
    write_detector(network, tmp_path / "tells", least_heat=0.3, least_turn=least_turn, stride=network.stride)
    return Barred(tmp_path / "tells", sure=sure, opposite=opposite)


def page_with_a_bar() -> NDArray[np.uint8]:
    """Its sides are multiples of 32 in the network's input, so that nothing is padded."""
    page = blotted_page(192, 128)
    page[:16] = 0
    return page


@pytest.mark.parametrize("sure", [0.6, 0.999])
@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_turned_page_is_looked_at_upright_and_its_boxes_come_back_to_its_own_frame(
    turns: int, sure: float, tmp_path: Path
) -> None:
    """No look has to be sure: four that fit each other are."""
    network = barred(tmp_path, sure=sure)
    upright = page_with_a_bar()
    page = np.ascontiguousarray(np.rot90(upright, turns))
    found = ModelDetector(network)(page, 75)
    assert network.looks == 4
    expected = open_detector(tmp_path / "blind")(upright, 75)
    assert found.turns == turns
    assert len(found)
    np.testing.assert_array_equal(found.heat, expected.heat)
    back = turned_left(found.boxes, -turns, width=page.shape[1], height=page.shape[0])
    np.testing.assert_allclose(back, expected.boxes, atol=1e-9)


def printed(height: int = 480, width: int = 352) -> NDArray[np.uint8]:
    """A page with a bar at the top and lines of short words across."""
    page = blotted_page(height, width)
    page[:16] = 0
    for top, left in itertools.product(range(40, height - 20, 16), range(20, width - 20, 16)):
        page[top : top + 5, left : left + 11] = 60
    return page


@pytest.mark.parametrize("page", [page_with_a_bar(), printed()], ids=["a bar", "print"])
@pytest.mark.parametrize(("turns", "taken"), [(0, 0), (1, 1), (2, 0), (3, 3)])
def test_a_page_on_its_side_is_turned_the_likelier_way_and_one_that_may_be_upright_is_not(
    turns: int, taken: int, page: NDArray[np.uint8], tmp_path: Path
) -> None:
    """On its side it cannot stay: the wrong one of two ways up costs nothing more. Upside down is to be sure."""
    network = barred(tmp_path, sure=0.53, opposite=0.45)
    assert ModelDetector(network)(np.ascontiguousarray(np.rot90(page, turns)), 75).turns == taken


@pytest.mark.parametrize("turns", [1, 3])
def test_print_that_runs_down_the_page_outweighs_looks_that_are_not_sure(turns: int, tmp_path: Path) -> None:
    network = barred(tmp_path, sure=0.27)
    assert ModelDetector(network)(np.ascontiguousarray(np.rot90(printed(), turns)), 75).turns == turns


def test_a_page_whose_print_runs_across_is_never_laid_on_its_side(tmp_path: Path) -> None:
    """However sure the looks are: here the bar, which tells them, is at the left of upright print."""
    network = barred(tmp_path, sure=0.999)
    page = printed()
    page[:16], page[:, :16] = page[20, 5], 0
    assert ModelDetector(network)(page, 75).turns == 0


def test_each_side_is_looked_at_in_the_scale_that_its_own_print_tells(tmp_path: Path) -> None:
    """Words of a page on its side are as high as they are long upright, and make it a smaller sheet."""
    network = barred(tmp_path, sure=0.999)
    upright = np.full((1200, 850, 3), 255, np.uint8)
    upright[:50] = 0
    for top, left in itertools.product(range(100, 1100, 40), range(60, 780, 40)):
        upright[top : top + 8, left : left + 24] = 0
    page = np.ascontiguousarray(np.rot90(upright))
    assert ModelDetector(network)(page).turns == 1
    views = [np.ascontiguousarray(np.rot90(page, view)) for view in range(4)]
    small = [page_input(view, None, pixel_mm=network.config.pixel_mm)[0] for view in views]
    sizes = [padded(one, network.config.multiple).shape[:2] for one in small]
    assert network.sizes == sizes
    assert sizes[0] != sizes[1][::-1], "this print tells another scale on its side"


def test_a_page_that_looks_upright_is_looked_at_once(tmp_path: Path) -> None:
    network = barred(tmp_path, sure=0.96)
    found = ModelDetector(network)(page_with_a_bar(), 75)
    assert (found.turns, network.looks) == (0, 1)
    np.testing.assert_array_equal(found.boxes, open_detector(tmp_path / "blind")(page_with_a_bar(), 75).boxes)


@pytest.mark.parametrize("sure", [0.27, 0.94])
def test_a_page_that_is_not_clear_or_upright_after_all_stays_as_it_lies(sure: float, tmp_path: Path) -> None:
    network = barred(tmp_path, sure=sure)
    page = page_with_a_bar() if sure > 0.5 else np.ascontiguousarray(np.rot90(page_with_a_bar()))
    found = ModelDetector(network)(page, 75)
    assert (found.turns, network.looks) == (0, 4)


def test_looks_that_do_not_fit_each_other_turn_no_page(tmp_path: Path) -> None:
    """A network that calls each view a page on its side does not know which way is up, however sure it is."""
    network = random_network(seed=4, shape=TINY_LITE)
    assert isinstance(network, LiteNet)
    torch.nn.init.zeros_(network.turns.weight)
    torch.nn.init.constant_(network.turns.bias, -9)
    with torch.no_grad():
        network.turns.bias[1] = 9
    write_detector(network, tmp_path, least_heat=0.3, least_turn=0.9, stride=network.stride)
    assert open_detector(tmp_path)(blotted_page(240, 160), 50).turns == 0
