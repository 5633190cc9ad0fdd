"""Networks of whole numbers say what they said before, are smaller, serve without onnx, and a training can go on."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from backend.cli import main
from backend.errors import BadWeights, TrainingError
from backend.models.promotion import Models
from backend.models.published import Registry
from backend.models.publishing import add_documents, check_loads, documents_of
from backend.settings import Settings
from backend.synthetic.drawn_page import draw_page
from backend.training.bundled import into_whole_numbers
from backend.training.export import export_classifier, export_refiner
from backend.training.parity import compare, drawn_truth
from backend.training.quantise import (
    CALIBRATION_SEED,
    IN_FLOAT,
    CalibrationInputs,
    calibration,
    quantise,
    quantise_network,
)
from backend.training.refiner.refiner_network import RefinerNet
from backend.training.retraining.base_weights import read_base
from backend.vision.box_refiner import BoxRefiner, RefinerConfig
from backend.vision.classifier import load_classifier
from backend.vision.engine import DetectorConfig, DetectorNetwork, Fusion
from backend.vision.finders import build_detector
from backend.vision.network_config import ClassifierConfig, sha256_of
from backend.vision.weights import (
    CONFIG_FILE,
    DETECTOR_CONFIG_FILE,
    DETECTOR_WEIGHTS_FILE,
    FLOAT_DETECTOR_FILE,
    FLOAT_REFINER_FILE,
    FLOAT_WEIGHTS_FILE,
    REFINER_CONFIG_FILE,
    REFINER_WEIGHTS_FILE,
    WEIGHTS_FILE,
    Weights,
)
from tests.models.detectors import REFINER_SIDE, TINY_LITE, random_network, write_detector
from tests.models.models import random_model

ROOT = Path(__file__).parents[2]
PAGES = 2
BESIDE = {
    WEIGHTS_FILE: FLOAT_WEIGHTS_FILE,
    DETECTOR_WEIGHTS_FILE: FLOAT_DETECTOR_FILE,
    REFINER_WEIGHTS_FILE: FLOAT_REFINER_FILE,
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    """Random weights in floating point, all three networks."""
    folder = tmp_path_factory.mktemp("float")
    export_classifier(random_model(), folder / WEIGHTS_FILE, half=True, pool=4)
    ClassifierConfig(sha256=sha256_of(folder / WEIGHTS_FILE), temperature=1.3).write(folder / CONFIG_FILE)
    write_detector(random_network(), folder, fusion=Fusion(seen=0.5), refined=True)
    torch.manual_seed(1)
    export_refiner(RefinerNet(REFINER_SIDE, TINY_LITE).eval(), folder / REFINER_WEIGHTS_FILE)
    refiner = RefinerConfig(sha256=sha256_of(folder / REFINER_WEIGHTS_FILE), side=REFINER_SIDE, margin=0.25, trust=0.5)
    refiner.write(folder / REFINER_CONFIG_FILE)
    return Weights.open(folder, name="float")


@pytest.fixture(scope="module")
def seen(weights: Weights) -> CalibrationInputs:
    return calibration(weights, pages=PAGES, threads=1)


@pytest.fixture(scope="module")
def whole(weights: Weights, seen: CalibrationInputs, tmp_path_factory: pytest.TempPathFactory) -> Weights:
    """The same in whole numbers."""
    folder = tmp_path_factory.mktemp("int8")
    quantise(weights, folder, seen)
    return Weights.open(folder, name="int8")


def test_calibrates_on_pages_that_nothing_else_draws(seen: CalibrationInputs) -> None:
    assert seen.documents == tuple(f"drawn-{CALIBRATION_SEED + number}" for number in range(PAGES))
    assert all(page.dtype == np.uint8 and page.shape[0] == 1 and page.shape[3] == 3 for page in seen.pages)
    assert len(seen.crops) > 0
    assert seen.crops.shape[1:] == (3, 224, 224)
    assert 0 <= seen.crops.min() <= seen.crops.max() <= 1
    assert seen.looks is not None
    assert seen.looks.shape == (len(seen.crops), REFINER_SIDE, REFINER_SIDE, 3)
    assert seen.looks.min() < seen.looks.max()


def test_needs_a_page(weights: Weights) -> None:
    with pytest.raises(TrainingError, match="at least one is needed"):
        calibration(weights, pages=0)


def test_the_classifier_says_nearly_the_same(weights: Weights, whole: Weights) -> None:
    page = draw_page(31, dpi=100)
    sides = np.random.default_rng(1).uniform(40, 200, (24, 4))
    boxes = np.concatenate([sides[:, :2], sides[:, :2] + sides[:, 2:]], axis=1)
    before, after = (load_classifier(one, threads=1).classify(page.pixels, boxes) for one in (weights, whole))
    assert np.abs(before.probabilities - after.probabilities).max() < 0.1
    assert (before.probabilities.argmax(axis=1) == after.probabilities.argmax(axis=1)).mean() > 0.8
    along = (before.embeddings * after.embeddings).sum(axis=1)
    lengths = np.linalg.norm(before.embeddings, axis=1) * np.linalg.norm(after.embeddings, axis=1)
    assert (along / lengths).min() > 0.95


def test_what_changed_is_told_in_figures(
    weights: Weights, whole: Weights, seen: CalibrationInputs, tmp_path: Path
) -> None:
    settings = Settings(data_dir=tmp_path, model_threads=1)
    truth = drawn_truth(tmp_path / "pages", pages=2)
    same = compare(weights, weights, seen, truth, settings)
    assert (same.mean, same.largest, same.same, same.heat_mean, same.heat_largest) == (0, 0, 1, 0, 0)
    assert (same.edges_mean, same.edges_largest) == (0, 0)
    assert same.f1[0] == same.f1[1]
    assert same.pages == 2
    differs = compare(weights, whole, seen, truth, settings)
    assert 0 < differs.mean < differs.largest < 0.1
    assert 0 < differs.heat_mean < differs.heat_largest
    assert differs.edges_mean is not None
    assert differs.edges_largest is not None
    assert 0 < differs.edges_mean < differs.edges_largest < 0.1
    assert 0.8 < differs.same <= 1
    assert differs.crops == len(seen.crops)
    assert min(differs.milliseconds) > 0


def test_the_detector_sees_nearly_the_same(weights: Weights, whole: Weights, seen: CalibrationInputs) -> None:
    maps = []
    for one in (weights, whole):
        config = DetectorConfig.read(one.folder / DETECTOR_CONFIG_FILE)
        maps.append(DetectorNetwork(one.folder / DETECTOR_WEIGHTS_FILE, config, threads=1).run(seen.pages[0][0]))
    (heat, edges), (whole_heat, whole_edges) = [(one.heat, one.edges) for one in maps]
    assert heat.shape == whole_heat.shape
    assert np.abs(heat - whole_heat).mean() < 0.05
    assert np.abs(edges - whole_edges).mean() < 0.1 * np.abs(edges).mean()
    for coarse in (*whole_heat, *whole_edges):
        assert len(np.unique(coarse)) > 256, "what comes out has no steps"


def test_the_detectors_first_and_last_layers_stay_in_floating_point(tmp_path: Path) -> None:
    write_detector(random_network(shape=TINY_LITE), tmp_path)
    page = np.random.default_rng(1).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    quantise_network(tmp_path / DETECTOR_WEIGHTS_FILE, tmp_path / "whole.onnx", [page], in_float=IN_FLOAT)
    nodes = onnx.load(tmp_path / "whole.onnx").graph.node
    kernels = {node.name: node.input[1] for node in nodes if node.op_type == "Conv"}
    exact = {name for name, kernel in kernels.items() if kernel.endswith(".weight")}
    first = {name for name in kernels if re.match(r"stem\.|stages\.[01]\.", name)}
    assert len(first) > 3
    assert exact == first | {"heat.last", "edges.last"}


def test_the_refiner_sees_nearly_the_same(weights: Weights, whole: Weights, seen: CalibrationInputs) -> None:
    assert seen.looks is not None
    exact, coarse = (BoxRefiner.open(one.folder, threads=1).look(seen.looks) for one in (weights, whole))
    for said, whole_numbers in zip(exact, coarse, strict=True):
        assert 0 < np.abs(said - whole_numbers).max() < 0.05
    before, after = (RefinerConfig.read(one.folder / REFINER_CONFIG_FILE) for one in (weights, whole))
    assert (after.side, after.margin, after.trust) == (before.side, before.margin, before.trust)
    assert after.digest != before.digest, "another version"
    facts = [build_detector("model", one.folder, threads=1).facts for one in (weights, whole)]
    assert [one["refiner"] for one in facts] == [before.digest, after.digest]


def test_a_detector_whose_boxes_are_not_refined_gets_no_refiner(weights: Weights, tmp_path: Path) -> None:
    for name in (WEIGHTS_FILE, CONFIG_FILE):
        shutil.copyfile(weights.folder / name, tmp_path / name)
    write_detector(random_network(), tmp_path)
    plain = Weights.open(tmp_path, name="plain")
    seen = calibration(plain, pages=1, threads=1)
    assert seen.looks is None
    quantise(plain, tmp_path / "whole", seen)
    assert not (tmp_path / "whole" / REFINER_WEIGHTS_FILE).exists()
    same = compare(plain, plain, seen, drawn_truth(tmp_path / "pages", pages=1), Settings(model_threads=1))
    assert (same.edges_mean, same.edges_largest) == (None, None)
    assert "refiner" not in str(same)


def test_files_are_smaller_and_configs_keep_everything_but_the_checksum(weights: Weights, whole: Weights) -> None:
    assert whole.path.stat().st_size < 0.6 * weights.path.stat().st_size  # of the tiny detector the names are most
    before, after = (ClassifierConfig.read(one.folder / CONFIG_FILE) for one in (weights, whole))
    assert (after.temperature, after.thresholds, after.classes) == (1.3, before.thresholds, before.classes)
    assert after.sha256 == sha256_of(whole.path) != before.sha256
    assert after.provenance["numbers"].startswith(f"int8, calibrated on {PAGES} pages")
    detector = DetectorConfig.read(whole.folder / DETECTOR_CONFIG_FILE)
    assert detector.fusion == Fusion(seen=0.5)
    assert after.digest != before.digest, "another version"


def test_training_goes_on_from_floating_point(weights: Weights, whole: Weights) -> None:
    base = read_base(whole)
    assert base.path == whole.folder / FLOAT_WEIGHTS_FILE
    assert sha256_of(base.path) == weights.config.sha256
    assert read_base(weights).path == weights.path
    for name, kept in BESIDE.items():
        assert sha256_of(whole.folder / kept) == sha256_of(weights.folder / name)


def test_networks_that_are_not_named_stay_as_they_are(
    weights: Weights, seen: CalibrationInputs, tmp_path: Path
) -> None:
    quantise(weights, tmp_path / "one", seen, networks=["refiner"])
    quantise(Weights.open(tmp_path / "one", name="one"), tmp_path / "two", seen, networks=["detector"])
    for folder, changed in (("one", {REFINER_WEIGHTS_FILE}), ("two", {REFINER_WEIGHTS_FILE, DETECTOR_WEIGHTS_FILE})):
        check_loads(tmp_path / folder)
        for name, kept in BESIDE.items():
            before, now = sha256_of(weights.folder / name), sha256_of(tmp_path / folder / name)
            assert (now != before) == (name in changed)
            assert name not in changed or sha256_of(tmp_path / folder / kept) == before


def test_the_bundled_networks_can_be_put_into_whole_numbers_where_they_lie(weights: Weights, tmp_path: Path) -> None:
    folder = tmp_path / "bundled"
    shutil.copytree(weights.folder, folder)
    checksum = sha256_of(weights.folder / DETECTOR_WEIGHTS_FILE)
    (folder / "DETECTOR_CARD.md").write_text(f"| SHA-256 | `{checksum}` |\n")
    said = into_whole_numbers(folder, real=None, threads=1, pages=1)
    assert re.search(r"^edges of the refiner differ by 0\.\d{4}, at most 0\.\d{3}$", "\n".join(said), re.MULTILINE)
    for name, kept in BESIDE.items():
        assert b"QuantizeLinear" in (folder / name).read_bytes()
        assert sha256_of(folder / kept) == sha256_of(weights.folder / name)
    check_loads(folder)
    card = (folder / "DETECTOR_CARD.md").read_text()
    assert f"| SHA-256 | `{sha256_of(folder / DETECTOR_WEIGHTS_FILE)}` |" in card
    assert f"Its SHA-256 is `{checksum}`." in card, "of what it was made from"
    assert documents_of(folder) == {f"drawn-{CALIBRATION_SEED}"}


def test_whole_numbers_are_not_quantised_again(whole: Weights, seen: CalibrationInputs, tmp_path: Path) -> None:
    with pytest.raises(BadWeights, match="whole numbers already"):
        quantise(whole, tmp_path / "again", seen)


def test_serving_them_needs_no_onnx(whole: Weights) -> None:
    code = (
        "import sys; from pathlib import Path; from backend.vision.weights import Weights; "
        "from backend.models.serving import build_pipeline; from backend.settings import Settings; "
        f"build_pipeline(Weights.open(Path({str(whole.folder)!r}), name='int8'), Settings(model_threads=1)); "
        "assert not {'onnx', 'torch'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_the_command_makes_a_candidate_of_what_serves(
    weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(data_dir=tmp_path / "data", model="auto", model_threads=1)
    for name, value in settings.as_environment().items():
        monkeypatch.setenv(name, value)
    models = Models(settings.data_dir / "models")
    shutil.copytree(weights.folder, tmp_path / "float")
    add_documents(tmp_path / "float", ["a lease"])
    assert main(["models", "publish", str(tmp_path / "float"), "--source", "a test"]) == 0
    [parent] = Registry(models.folder).names()
    models.promote(parent, why="a test", by="tests", force=True)
    assert main(["models", "quantise", "--pages", "1"]) == 0
    [name] = set(Registry(models.folder).names()) - {parent}
    said = capsys.readouterr().out
    assert f"{name}: a candidate" in said
    assert re.search(
        r"^\d+ crops: probabilities differ by 0\.\d{4}, at most 0\.\d{3}; \d+\.\d% keep", said, re.MULTILINE
    )
    assert re.search(r"^heat of the detector differs by 0\.\d{4}, at most 0\.\d{3}$", said, re.MULTILINE)
    # The one page that is drawn for this has no mark, so that there is no F1 to tell.
    assert re.search(r"^1 pages: macro F1 none → none; \d+ → \d+ ms a page$", said, re.MULTILINE)
    model = models.get(name)
    assert model.record is not None
    assert (model.status, model.record.source, model.record.parent) == ("candidate", "quantised", parent)
    assert model.record.recipe["pages"] == 1
    assert model.record.recipe["of"] == ["classifier", "detector", "refiner"]
    assert model.record.metrics["parity"]["pages"] == 1
    folder = Registry(models.folder).folder_of(name)
    assert documents_of(folder) == {f"drawn-{CALIBRATION_SEED}", "a lease"}, "what it was made of had seen a lease"
    assert {*BESIDE, *BESIDE.values()} < set(model.record.files)
