"""Publishing a detector: its files agree with each other, and its figures are those of gold pages alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from backend.errors import TrainingError
from backend.models.publishing import DOCUMENTS_FILE, documents_of
from backend.training.detector.detector_loop import AVERAGE_FILE, DetectorEpoch, DetectorProgress
from backend.training.detector.detector_publishing import DETECTOR_CARD_FILE, DETECTOR_RECORD_FILE, publish_detector
from backend.training.detector.detector_recipe import DetectorRecipe
from backend.training.export import state_dict_from_onnx
from backend.training.network_publishing import EarlierNetwork
from backend.training.pagestore import Corners, LabelledPage, PageStore
from backend.vision.engine import DetectorConfig
from backend.vision.network_config import MARKS, sha256_of
from backend.vision.weights import DETECTOR_CONFIG_FILE, DETECTOR_WEIGHTS_FILE
from tests.models.detectors import TINY, even_network, open_detector

RECIPE = DetectorRecipe(shape=TINY, epochs=2)
LINES = tuple(
    DetectorEpoch(epoch=epoch, heat_loss=1.0, edge_loss=0.5, score={"drawn": 0.5}, seconds=60.0) for epoch in (0, 1)
)
SEEN = (20.0, 0.0, 52.0, 24.0)
"""A network that sees marks of 32 x 32 pixels everywhere boxes this place: what the cells about the first row's fifth
one say on average."""
ELSEWHERE = (300.0, 400.0, 332.0, 432.0)
WHITE = np.full((585, 413, 3), 255, np.uint8)


def page(name: str, split: str, marks: list[tuple[str, Corners]], *, source: str = "drawn") -> LabelledPage:
    return LabelledPage(
        name=name,
        document=name,
        split=split,
        domain="drawn" if source == "drawn" else "real",
        source=source,
        licence="MIT",
        dpi=75,
        boxes=tuple(box for _, box in marks),
        labels=tuple(label for label, _ in marks),
        complete=MARKS,
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> PageStore:
    """On gold pages two of three stamps and the thumb can be found; on the others nothing."""
    made = PageStore(tmp_path_factory.mktemp("pages"))
    for one in (
        page("a", "train", [("stamp", ELSEWHERE)] * 3),
        page("b", "validation", [("signature", ELSEWHERE)]),
        page("c", "gold", [("stamp", SEEN), ("stamp", ELSEWHERE)]),
        page("d", "gold", [("stamp", SEEN)]),
        page("e", "gold", [("thumb", SEEN)], source="page_full"),
        page("f", "train", [("thumb", ELSEWHERE)], source="page_full"),
        page("g", "gold", [("signature", ELSEWHERE)], source="page_stamp_only"),
    ):
        made.add(one, WHITE)
    return made


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    save_file(even_network(heat=0.6, reach=16).state_dict(), folder / AVERAGE_FILE)
    return folder


@pytest.fixture(scope="module")
def published(run: Path, store: PageStore, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    out = tmp_path_factory.mktemp("published")
    progress = DetectorProgress(recipe=RECIPE.digest, epoch=2, history=LINES)
    return out, publish_detector(run, progress, RECIPE, store, out)


def test_what_is_published_can_serve(published: tuple[Path, list[str]]) -> None:
    out, _ = published
    assert sorted(file.name for file in out.iterdir()) == sorted(
        [DETECTOR_WEIGHTS_FILE, DETECTOR_CONFIG_FILE, DETECTOR_RECORD_FILE, DETECTOR_CARD_FILE, DOCUMENTS_FILE]
    )
    config = DetectorConfig.read(out / DETECTOR_CONFIG_FILE)
    assert config.sha256 == sha256_of(out / DETECTOR_WEIGHTS_FILE)
    assert config.provenance["recipe"] == RECIPE.digest
    found = open_detector(out)(WHITE, 75)
    assert np.isclose(found.boxes, SEEN, atol=1).all(axis=1).any()


def test_the_documents_that_trained_and_tuned_it_are_named_for_the_gate(published: tuple[Path, list[str]]) -> None:
    assert documents_of(published[0]) == {"a", "b", "f"}


def test_the_lines_tell_what_was_found_on_gold_pages(published: tuple[Path, list[str]]) -> None:
    assert published[1] == [
        "Drawn pages: stamp 2 of 3",
        "Real pages with every mark boxed (`page_full`): thumb 1 of 1",
    ]


def test_the_card_gives_figures_of_gold_pages_alone(published: tuple[Path, list[str]]) -> None:
    out, _ = published
    card = (out / DETECTOR_CARD_FILE).read_text()
    drawn, real = card.split("### ")[1:]
    assert drawn.startswith("Drawn pages\n\n2 pages.")
    assert "| stamp | 3 | 0.667 | 0.667 |" in drawn
    assert "signature" not in drawn, "the signature is on a page of validation"
    assert real.startswith("Real pages with every mark boxed (`page_full`)\n\n1 pages.")
    assert "| thumb | 1 | 1.000 | 1.000 |" in real
    assert "signature |" not in real, "its page is not one on which every mark is boxed"


def test_the_card_names_the_file_the_recipe_and_the_pages(published: tuple[Path, list[str]]) -> None:
    out, _ = published
    card = (out / DETECTOR_CARD_FILE).read_text()
    assert sha256_of(out / DETECTOR_WEIGHTS_FILE) in card
    assert RECIPE.digest in card
    assert "in 2 minutes" in card
    assert "| drawn | 1 | 1 | 2 |" in card
    assert "| page_full | 1 | 0 | 1 |" in card


def test_the_record_holds_the_recipe_the_history_and_the_figures(published: tuple[Path, list[str]]) -> None:
    out, _ = published
    record = json.loads((out / DETECTOR_RECORD_FILE).read_text())
    assert record["recipe"] == json.loads(json.dumps(RECIPE.as_json()))
    assert record["seconds"] == 120
    assert [line["epoch"] for line in record["history"]] == [0, 1]
    assert record["pages"]["drawn gold"] == 2
    assert record["pages"]["real train"] == 1
    assert set(record["versions"]) >= {"torch", "onnxruntime"}
    stamp = record["measured"]["Drawn pages"]["stamp"]
    assert (stamp["true"], stamp["hit"]) == (3, [2, 2])
    assert 0 < stamp["best_f1"] < 1


def test_what_an_annotator_left_open_is_not_held_against_it(run: Path, tmp_path: Path) -> None:
    figures = []
    for name, ignored in (("strict", ()), ("lenient", ((0.0, 0.0, 413.0, 585.0),))):
        store = PageStore(tmp_path / name)
        store.add(replace(page("c", "gold", [("stamp", SEEN)]), ignored=ignored), WHITE)
        progress = DetectorProgress(recipe=RECIPE.digest, epoch=2, history=LINES)
        publish_detector(run, progress, RECIPE, store, tmp_path / f"{name}-out")
        record = json.loads((tmp_path / f"{name}-out" / DETECTOR_RECORD_FILE).read_text())
        figures.append(record["measured"]["Drawn pages"]["stamp"]["best_f1"])
    assert figures[0] < figures[1] == 1


def test_a_run_without_a_whole_epoch_is_not_published(run: Path, store: PageStore, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no whole epoch"):
        publish_detector(run, DetectorProgress(recipe=RECIPE.digest), RECIPE, store, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_goes_on_from_an_earlier_detector_keeps_a_part_of_it_and_tells_how_that_learnt(
    run: Path, store: PageStore, tmp_path: Path
) -> None:
    trained = load_file(run / AVERAGE_FILE)
    record = {"recipe": {"base": "random weights", "samples": 100}, "history": [{}, {}, {}], "seconds": 180}
    earlier = EarlierNetwork(weights={name: torch.zeros_like(one) for name, one in trained.items()}, record=record)
    recipe = replace(RECIPE, base="bundled-0123456789ab", blend=0.25)
    progress = DetectorProgress(recipe=recipe.digest, epoch=2, history=LINES)
    publish_detector(run, progress, recipe, store, tmp_path, earlier=earlier)
    made = state_dict_from_onnx(tmp_path / DETECTOR_WEIGHTS_FILE)
    assert made.keys() >= {name for name, one in trained.items() if one.is_floating_point()}
    for name, tensor in made.items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, 0.25 * trained[name], atol=1e-2, rtol=1e-2)
    card = (tmp_path / DETECTOR_CARD_FILE).read_text()
    assert "3 epochs, 300 windows of pages, in 3 minutes" in card
    assert "`bundled-0123456789ab`. From that one by recipe" in card
    assert "25% of the weights is what came out" in card
    assert json.loads((tmp_path / DETECTOR_RECORD_FILE).read_text())["earlier"] == record
