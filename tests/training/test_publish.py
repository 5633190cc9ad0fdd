"""Publishing: the files agree with each other, and what is measured is what serves."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn.functional import avg_pool2d
from torchvision.models import resnet18

from backend.errors import TrainingError
from backend.models.publishing import DOCUMENTS_FILE, add_documents, documents_of
from backend.training.classifier_loop import BEST_FILE, ClassifierProgress, Epoch
from backend.training.classifier_publishing import CARD_FILE, NONE_SHARE, RECORD_FILE, publish
from backend.training.classifier_recipe import Recipe, Stage
from backend.training.crops import CropFolder
from backend.training.export import export_classifier, half_precision, state_dict_from_onnx
from backend.vision.engine import Network
from backend.vision.network_config import CLASSES, ClassifierConfig, sha256_of
from backend.vision.weights import Weights

RECIPE = Recipe(pool=2, stages=(Stage(size=112, epochs=1, learning_rate=1e-3),))
LINE = Epoch(stage=0, epoch=0, loss=1.0, score=0.5, by_domain={"drawn": 0.5}, seconds=60.0)


@pytest.fixture(scope="module")
def published(store: CropFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run, out = tmp_path_factory.mktemp("run"), tmp_path_factory.mktemp("published")
    torch.manual_seed(5)
    save_file(resnet18(num_classes=len(CLASSES)).state_dict(), run / BEST_FILE)
    progress = ClassifierProgress(recipe=RECIPE.digest, stage=1, history=(LINE,))
    measured = publish(run, progress, RECIPE, store, out, command="python -m backend train --bundled-recipe")
    assert {title: report.count for title, report in measured.items()} == {
        "Drawn documents": 16,
        "Drawn documents: marks alone": 12,
        "Real documents": 16,
        "Real documents: marks alone": 12,
    }
    return out


def test_what_is_published_can_serve(published: Path) -> None:
    weights = Weights.open(published, name="bundled")
    logits, embedding = Network(weights.path, weights.config).run(np.zeros((2, 3, 224, 224), np.float32))
    assert logits.shape == (2, len(CLASSES))
    assert embedding.shape == (2, 512)
    assert weights.path.stat().st_size < 25e6
    assert weights.config.temperature > 0


def test_the_pooled_file_equals_the_network_on_averaged_pixels(tmp_path: Path) -> None:
    torch.manual_seed(2)
    network = resnet18(num_classes=len(CLASSES)).eval()
    export_classifier(network, tmp_path / "classifier.onnx", half=True, pool=2)
    network.load_state_dict(half_precision(network.state_dict()))
    pixels = torch.rand(2, 3, 224, 224)
    with torch.inference_mode():
        expected = network(avg_pool2d(pixels, 2)).numpy()
    config = ClassifierConfig(sha256=sha256_of(tmp_path / "classifier.onnx"))
    logits, _ = Network(tmp_path / "classifier.onnx", config).run(pixels.numpy())
    np.testing.assert_allclose(logits, expected, atol=1e-4)


def test_the_bias_of_none_is_moved_from_the_share_of_training_to_that_of_serving(published: Path) -> None:
    torch.manual_seed(5)
    trained = half_precision(resnet18(num_classes=len(CLASSES)).state_dict())["fc.bias"]
    served = state_dict_from_onnx(published / "classifier.onnx")["fc.bias"]
    temperature = ClassifierConfig.read(published / "classifier.json").temperature
    # The recipe's shares have 33 % none: odds of .33 / .67; serving has its own.
    gain = np.log(NONE_SHARE / (1 - NONE_SHARE)) - np.log(0.33 / 0.67)
    np.testing.assert_allclose(served - trained, [0, 0, 0, gain * temperature], atol=1e-5)


def test_the_documents_that_trained_and_tuned_it_are_named_for_the_gate(published: Path, store: CropFolder) -> None:
    crops = store.read()
    gold = {crop.document for crop in crops if crop.split == "gold"}
    assert documents_of(published) == {crop.document for crop in crops} - gold
    assert gold


def test_what_the_other_network_saw_stays_noted(tmp_path: Path) -> None:
    add_documents(tmp_path, ["a lease", "its page"])
    add_documents(tmp_path, ["another", "a lease"])
    assert (tmp_path / DOCUMENTS_FILE).read_text() == "a lease\nanother\nits page\n"


def test_the_record_holds_recipe_data_versions_and_figures(published: Path, store: CropFolder) -> None:
    record = json.loads((published / RECORD_FILE).read_text())
    assert record["recipe"]["stages"] == [
        {"size": 112, "epochs": 1, "learning_rate": 1e-3, "head_only": False, "shares": None}
    ]
    assert record["data"] == {"sha256": store.checksum(), "crops": 96, "documents": 24}
    assert set(record["versions"]) >= {"torch", "onnxruntime"}
    assert record["seconds"] == 60
    assert record["measured"]["Real documents"]["accuracy"] == pytest.approx(0.25, abs=0.25)


def test_the_card_names_the_file_the_data_and_the_command(published: Path, store: CropFolder) -> None:
    card = (published / CARD_FILE).read_text()
    assert ClassifierConfig.read(published / "classifier.json").sha256 in card
    assert store.checksum() in card
    assert "python -m backend train --bundled-recipe" in card
    assert "### Real documents\n\n16 crops: accuracy" in card
    assert re.search(r"12 crops: accuracy 0\.\d{3} \[0\.\d{3}, [01]\.\d{3}\], macro F1", card), "with their intervals"
    assert "| real | Apache-2.0 | gold | 4 | 4 | 4 | 4 |" in card


def test_a_run_that_never_reached_the_serving_resolution_is_not_published(store: CropFolder, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no epoch of the last stage"):
        publish(tmp_path, ClassifierProgress(recipe=RECIPE.digest), RECIPE, store, tmp_path / "out", command="")
    assert not (tmp_path / "out").exists()
