"""The refiner learns where marks end, an interruption changes nothing, and what serves computes what was trained."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from backend.errors import TrainingError
from backend.training.detector.lite_network import LiteNet
from backend.training.export import export_refiner, half_precision, state_dict_from_onnx
from backend.training.network_publishing import EarlierNetwork
from backend.training.pagestore import LabelledPage, PageStore
from backend.training.refiner.refiner_loop import (
    AVERAGE_FILE,
    CHECKPOINT_FILE,
    RefinerProgress,
    RefinerRecipe,
    fit_refiner,
    mean_overlap,
)
from backend.training.refiner.refiner_network import RefinerNet, chance_loss, place_loss, places_of
from backend.training.refiner.refiner_publishing import REFINER_CARD_FILE, REFINER_RECORD_FILE, publish_refiner
from backend.training.refiner.refiner_samples import lessons_of
from backend.vision.box_refiner import BoxRefiner, RefinerConfig
from backend.vision.network_config import MARKS, sha256_of
from backend.vision.weights import REFINER_WEIGHTS_FILE
from tests.models.detectors import TINY_LITE, random_network
from tests.training.detector.conftest import STILL, plain_scene
from tests.training.refiner.scenes import PAGES, SIDE, SIGNED_STAMP, STAMP, rng

RECIPE = RefinerRecipe(
    shape=TINY_LITE,
    side=SIDE,
    frozen=0,
    dropped=0.0,
    body_rate=1.0,
    epochs=3,
    samples=4,
    each=2,
    batch=2,
    shares={"drawn": 1.0},
    learning_rate=1e-2,
    averaging=0.5,
    changes=STILL,
)


def certain(edges: tuple[float, ...], cells: int = 40) -> torch.Tensor:
    """Logits that are nearly sure of each edge, whatever the mark."""
    middles = (torch.arange(cells) + 0.5) / cells
    return torch.stack([-(((middles - edge) * cells) ** 2) * 4 for edge in edges]).repeat(len(MARKS), 1)[None]


TRUE = torch.tensor([[[0.3, 0.25, 0.7, 0.8]] * len(MARKS)])


def only(label: int) -> torch.Tensor:
    """Whether a mark of each class is there."""
    return torch.tensor([[int(label == one) for one in range(len(MARKS))]])


def test_the_loss_is_least_for_the_true_edges() -> None:
    right = place_loss(certain((0.3, 0.25, 0.7, 0.8)), TRUE, only(STAMP))
    near, far = (
        place_loss(certain(edges), TRUE, only(STAMP)) for edges in ((0.35, 0.25, 0.7, 0.8), (0.5, 0.5, 0.9, 0.9))
    )
    assert right < near < far
    assert float(right) < 0.3


def test_another_marks_edges_do_not_count() -> None:
    logits = certain((0.3, 0.25, 0.7, 0.8))
    logits[0, :4] = 0
    assert place_loss(logits, TRUE, only(1)) == place_loss(logits, TRUE, only(2))
    assert place_loss(logits, TRUE, only(0)) > place_loss(logits, TRUE, only(1))
    assert place_loss(logits, TRUE, only(3)) == 0, "there is no mark"


@pytest.mark.parametrize(
    ("edges", "there", "right"),
    [
        ((0.3, 0.25, 0.7, 0.8), 1, 1),
        ((0.35, 0.25, 0.7, 0.8), 1, 1),
        ((0.6, 0.6, 0.9, 0.9), 1, 0),
        ((0.3, 0.25, 0.7, 0.8), 0, 0),
    ],
    ids=["it fits", "it nearly fits", "it is beside the mark", "there is none"],
)
def test_a_chance_is_that_of_a_box_that_is_right(edges: tuple[float, ...], there: int, right: int) -> None:
    losses = [
        chance_loss(torch.full((1, 3), sure), certain(edges), TRUE, torch.full((1, 3), there)) for sure in (-5.0, 5.0)
    ]
    assert losses[right] < 0.01
    assert losses[1 - right] > 4


def test_a_chance_that_nobody_knows_teaches_nothing() -> None:
    sure = torch.tensor([[5.0, -5.0, 5.0]])
    known = torch.tensor([[-1, 0, -1]])
    assert chance_loss(sure, certain((0.3, 0.25, 0.7, 0.8)), TRUE, known) < 0.01
    assert chance_loss(sure, certain((0.3, 0.25, 0.7, 0.8)), TRUE, torch.full((1, 3), -1)) == 0


def test_places_are_within_what_is_seen() -> None:
    torch.testing.assert_close(places_of(certain((0.3, 0.25, 0.7, 0.8)))[0, :4], torch.tensor([0.3, 0.25, 0.7, 0.8]))
    assert ((places_of(torch.randn(2, 12, 8) * 50) > 0) & (places_of(torch.randn(2, 12, 8) * 50) < 1)).all()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RefinerProgress]:
    """The folder of a run that nothing interrupted."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("whole")
    return folder, fit_refiner(RECIPE, PAGES, PAGES, folder)


def same(first: Path, second: Path) -> bool:
    one, other = load_file(first), load_file(second)
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_that_was_stopped_ends_with_the_same_weights(whole: tuple[Path, RefinerProgress], tmp_path: Path) -> None:
    torch.set_num_threads(1)
    fit_refiner(RECIPE, PAGES, PAGES, tmp_path, stop_after=1)
    torch.rand(5)  # another process begins anywhere
    progress = fit_refiner(RECIPE, PAGES, PAGES, tmp_path)
    assert [line.epoch for line in progress.history] == [0, 1, 2]
    assert set(progress.history[-1].score) == {"drawn stamp"}
    assert same(tmp_path / CHECKPOINT_FILE, whole[0] / CHECKPOINT_FILE)
    assert same(tmp_path / AVERAGE_FILE, whole[0] / AVERAGE_FILE)


def test_a_folder_of_another_recipe_is_refused(whole: tuple[Path, RefinerProgress]) -> None:
    other = dataclasses.replace(RECIPE, epochs=4)
    with pytest.raises(TrainingError, match="belongs to recipe"):
        fit_refiner(other, PAGES, PAGES, whole[0])


def test_it_learns_where_a_mark_ends(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    recipe = dataclasses.replace(RECIPE, epochs=12, samples=32, batch=8, averaging=0.8)
    progress = fit_refiner(recipe, PAGES, PAGES, tmp_path)
    losses = [line.loss for line in progress.history]
    assert losses[-1] < 0.7 * losses[0]
    lessons = lessons_of(PAGES.scenes[0], most=8, side=SIDE, margin=0.5, mirrored=False, rng=rng(5))
    untrained = RefinerNet(SIDE, TINY_LITE).eval()
    trained = RefinerNet(SIDE, TINY_LITE).eval()
    trained.load_state_dict(load_file(tmp_path / AVERAGE_FILE))
    assert mean_overlap(trained, lessons) > mean_overlap(untrained, lessons) + 0.3


def test_a_new_run_begins_with_what_it_has_in_common_with_a_detector(tmp_path: Path) -> None:
    detector = random_network(shape=TINY_LITE)
    assert isinstance(detector, LiteNet)
    still = dataclasses.replace(RECIPE, learning_rate=0.0, epochs=1)
    fit_refiner(still, PAGES, PAGES, tmp_path, base=detector.state_dict())
    begun = load_file(tmp_path / CHECKPOINT_FILE)
    known = {name: tensor for name, tensor in detector.state_dict().items() if name.startswith("stages")}
    assert known
    for name, tensor in known.items():
        if "running" not in name and "num_batches" not in name:
            [own] = [begun[key] for key in begun if key.endswith(name) and key.startswith("network")]
            torch.testing.assert_close(own, tensor)


@pytest.mark.parametrize("seed", range(3))
def test_what_serves_computes_what_was_trained(seed: int, tmp_path: Path) -> None:
    seen = rng(seed).integers(0, 256, (2, SIDE, SIDE, 3), np.uint8)
    torch.manual_seed(seed)
    network = RefinerNet(SIDE, TINY_LITE).eval()
    torch.nn.init.normal_(network.position)
    for part in (network.borders[-1].weight, network.borders[-1].bias, network.chances.weight):
        torch.nn.init.normal_(part, std=100)
    network.load_state_dict(half_precision(network.state_dict()))
    path = tmp_path / REFINER_WEIGHTS_FILE
    export_refiner(network, path)
    refiner = BoxRefiner(path, RefinerConfig(sha256=sha256_of(path), side=SIDE, trust=0.5), threads=1)
    with torch.no_grad():
        logits, chances = network(torch.from_numpy(seen).permute(0, 3, 1, 2).float() / 255)
    expected = places_of(logits).view(2, len(MARKS), 4).numpy()
    assert np.ptp(expected) > 0.05, "a network that says the same everywhere would prove nothing"
    edges, told = refiner.look(seen)
    np.testing.assert_allclose(edges, expected, atol=1e-3)
    np.testing.assert_allclose(told, chances.sigmoid().numpy(), atol=1e-3)


def test_a_finished_run_becomes_files_that_serve(whole: tuple[Path, RefinerProgress], tmp_path: Path) -> None:
    folder, progress = whole
    store = PageStore(tmp_path / "pages")
    page = LabelledPage(
        name="one", document="one", split="gold", domain="drawn", source="drawn", licence="ours", dpi=75,
        boxes=((40, 60, 120, 140),), labels=("stamp",), complete=MARKS,
    )  # fmt: skip
    store.add(page, plain_scene([("stamp", (40.0, 60.0, 120.0, 140.0))]).pixels)
    out = tmp_path / "out"
    [said] = publish_refiner(folder, progress, RECIPE, store, out)
    assert said.startswith("drawn stamp: 4 candidates, mean IoU 0.")
    refiner = BoxRefiner.open(out, threads=1)
    assert refiner.config.provenance["recipe"] == RECIPE.digest
    boxes, chances = refiner(np.full((90, 90, 3), 255, np.uint8), np.array([[20.0, 20, 60, 60]]), np.array([1]))
    assert (boxes.shape, chances.shape) == ((1, 4), (1, 3))
    assert refiner.config.trust > 0
    assert (chances > 0).all()
    assert (chances < 1).all()
    card = (out / REFINER_CARD_FILE).read_text()
    assert refiner.config.sha256 in card
    assert "| drawn stamp | 4 |" in card
    assert json.loads((out / REFINER_RECORD_FILE).read_text())["measured"]["drawn stamp"]["candidates"] == 4


def test_a_part_of_the_base_stays_in_what_is_published(whole: tuple[Path, RefinerProgress], tmp_path: Path) -> None:
    folder, progress = whole
    store = PageStore(tmp_path / "pages")
    recipe = dataclasses.replace(RECIPE, base="refiner@0123456789ab", blend=0.25)
    trained = load_file(folder / AVERAGE_FILE)
    nothing = {name: torch.zeros_like(tensor) for name, tensor in trained.items()}
    record = {"recipe": {"base": "refiner@ba9876543210", "samples": 50, "each": 2}, "history": [{}] * 3, "seconds": 180}
    earlier = EarlierNetwork(weights=nothing, record=record)
    publish_refiner(folder, progress, recipe, store, tmp_path / "out", earlier=earlier)
    made = state_dict_from_onnx(tmp_path / "out" / REFINER_WEIGHTS_FILE)
    floats = {name for name, tensor in trained.items() if tensor.is_floating_point()}
    assert made.keys() >= floats
    for name in floats:
        torch.testing.assert_close(made[name], 0.25 * trained[name], atol=1e-2, rtol=1e-2)
    card = (tmp_path / "out" / REFINER_CARD_FILE).read_text()
    assert "`refiner@ba9876543210`, which learnt on for 3 epochs, 300 candidates, in 3 minutes, and became" in card
    assert "`refiner@0123456789ab`. From that one by recipe" in card
    assert "25% of the weights is what came out" in card
    assert json.loads((tmp_path / "out" / REFINER_RECORD_FILE).read_text())["earlier"] == record


def test_the_card_tells_how_well_a_signature_is_found_from_its_stamp(
    whole: tuple[Path, RefinerProgress], tmp_path: Path
) -> None:
    folder, progress = whole
    store = PageStore(tmp_path / "pages")
    page = LabelledPage(
        name="one", document="one", split="gold", domain="drawn", source="drawn", licence="ours", dpi=75,
        boxes=((100, 100, 200, 200), (130, 140, 170, 160)), labels=("stamp", "signature"), complete=MARKS,
    )  # fmt: skip
    store.add(page, SIGNED_STAMP.pixels)
    publish_refiner(folder, progress, RECIPE, store, tmp_path / "out")
    measured = json.loads((tmp_path / "out" / REFINER_RECORD_FILE).read_text())["measured"]
    assert {title: fit["candidates"] for title, fit in measured.items()} == {
        "drawn signature": 4,
        "drawn signature from the box of an overlapping stamp": 1,
        "drawn stamp": 4,
    }


def test_a_run_without_a_whole_epoch_is_not_published(tmp_path: Path) -> None:
    nothing = RefinerProgress(recipe=RECIPE.digest)
    with pytest.raises(TrainingError, match="no whole epoch"):
        publish_refiner(tmp_path, nothing, RECIPE, PageStore(tmp_path / "pages"), tmp_path / "out")
