"""What a retraining starts from: the root of what serves, whichever way that came about."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from safetensors.torch import save
from torchvision.models import resnet18

from backend.cli import main
from backend.errors import BadWeights, RegistryError, UnknownModel
from backend.models.promotion import Models
from backend.models.published import Facts, Registry
from backend.models.publishing import documents_of
from backend.models.serving import Sources
from backend.settings import Settings
from backend.training.detector.detector_network import ResidualShape
from backend.training.retraining.base_weights import FILENAME, Base, DetectorBase, base_of, detector_base
from backend.vision.engine import PIXEL_MM
from backend.vision.network_config import ClassifierConfig
from backend.vision.weights import BUNDLED, CONFIG_FILE, DETECTOR_WEIGHTS_FILE, FLOAT_DETECTOR_FILE, WEIGHTS_FILE
from tests.models.detectors import random_network, write_detector
from tests.models.tiny import says


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    given = Settings(data_dir=tmp_path / "data", model="auto", model_threads=1)
    for name, value in given.as_environment().items():
        monkeypatch.setenv(name, value)
    return given


def publish(settings: Settings, label: str, facts: Facts) -> str:
    """Publishes a tiny model and lets it serve."""
    models = Models(settings.data_dir / "models")
    name = models.publish(says(label, settings.data_dir / f"candidate-{label}"), facts).name
    models.promote(name, why="a test", by="tests", force=True)
    return name


def base(settings: Settings, wanted: str = "") -> Base:
    return base_of(Sources.of(settings).at_once(), settings, wanted=wanted)


def root(settings: Settings) -> str:
    return base(settings).name.partition("@")[0]


def test_unpublished_weights_are_their_own_root(settings: Settings) -> None:
    found = base(settings)
    checksum = ClassifierConfig.read(BUNDLED / CONFIG_FILE).sha256
    assert (found.name, found.path) == (f"bundled@{checksum[:12]}", BUNDLED / WEIGHTS_FILE)
    assert found.documents == documents_of(BUNDLED)


def test_of_a_retraining_it_is_the_base_that_it_names(settings: Settings) -> None:
    publish(settings, "stamp", Facts(source="retraining", parent="bundled", recipe={"base": "bundled@cafe"}))
    assert root(settings) == "bundled"
    # One judged beside a model that is gone since, and made of the same base.
    publish(settings, "thumb", Facts(source="retraining", parent="2026-01-01-gone", recipe={"base": "bundled@cafe"}))
    assert root(settings) == "bundled"


def test_of_what_was_made_of_a_retraining_it_is_that_ones(settings: Settings) -> None:
    one = publish(settings, "stamp", Facts(source="retraining", parent="bundled", recipe={"base": "bundled@cafe"}))
    publish(settings, "thumb", Facts(source="quantised", parent=one, recipe={"numbers": "int8"}))
    assert root(settings) == "bundled"


@pytest.mark.parametrize("source", ["huggingface:somebody/marks@cafe", "a folder"])
def test_a_model_from_elsewhere_is_a_root(source: str, settings: Settings) -> None:
    foreign = publish(settings, "stamp", Facts(source=source))
    assert root(settings) == foreign
    publish(settings, "thumb", Facts(source="retraining", parent=foreign, recipe={"base": f"{foreign}@cafe"}))
    assert root(settings) == foreign


def test_a_new_detector_leaves_the_classifiers_root(settings: Settings, tmp_path: Path) -> None:
    parent = publish(settings, "stamp", Facts(source="retraining", parent="bundled", recipe={"base": "bundled@cafe"}))
    (tmp_path / "detector").mkdir()
    write_detector(random_network(), tmp_path / "detector")
    assert main(["models", "publish", str(tmp_path / "detector")]) == 0
    models = Models(settings.data_dir / "models")
    [name] = set(Registry(models.folder).names()) - {parent}
    models.promote(name, why="a test", by="tests", force=True)
    assert root(settings) == "bundled"


def test_a_recipe_may_want_another_base(settings: Settings) -> None:
    foreign = publish(settings, "stamp", Facts(source="a folder"))
    taught = publish(settings, "thumb", Facts(source="retraining", parent=foreign, recipe={"base": f"{foreign}@cafe"}))
    assert base(settings, "bundled").path == BUNDLED / WEIGHTS_FILE
    assert base(settings, taught).path == settings.data_dir / "models" / taught / WEIGHTS_FILE, "itself, not its root"
    with pytest.raises(UnknownModel, match="'no-such-model'"):
        base(settings, "no-such-model")


def test_imagenets_weights_may_be_the_root(settings: Settings) -> None:
    given = settings.data_dir / "hub" / "imagenet" / FILENAME
    given.parent.mkdir(parents=True)
    given.write_bytes(save(resnet18().state_dict()))
    wanted = base(settings, "imagenet")
    assert wanted.path.parent == given.parent
    assert wanted.documents == frozenset()
    assert wanted.pool == base(settings).pool > 1, "as fast as what serves"
    publish(settings, "stamp", Facts(source="retraining", parent="bundled", recipe={"base": wanted.name}))
    assert root(settings) == "imagenet"


def test_a_way_that_ends_in_nothing_is_said(settings: Settings) -> None:
    publish(settings, "stamp", Facts(source="quantised", parent="2026-01-01-gone"))
    with pytest.raises(RegistryError, match="no model '2026-01-01-gone'"):
        root(settings)


def with_detector(settings: Settings, folder: Path, facts: Facts, **provenance: str) -> str:
    """Publishes a tiny model with a detector that says where it comes from, and lets it serve."""
    says("stamp", folder)
    write_detector(random_network(shape=ResidualShape()), folder, pixel_mm=PIXEL_MM, provenance=provenance)
    models = Models(settings.data_dir / "models")
    name = models.publish(folder, facts).name
    models.promote(name, why="a test", by="tests", force=True)
    return name


def found_base(settings: Settings) -> DetectorBase:
    return detector_base(Sources.of(settings).at_once(), settings)


def detector(settings: Settings) -> str:
    return found_base(settings).name.partition("@")[0]


def test_a_retrained_detector_goes_back_to_the_one_that_it_names(settings: Settings, tmp_path: Path) -> None:
    assert detector(settings) == "bundled"
    publish(settings, "thumb", Facts(source="retraining", parent="bundled", recipe={"base": "bundled@cafe"}))
    assert detector(settings) == "bundled", "it has none of its own"
    given = with_detector(settings, tmp_path / "one", Facts(source="a folder"), base="random weights")
    assert detector(settings) == given
    facts = Facts(source="retraining", parent=given, recipe={"base": "bundled@cafe"})
    with_detector(settings, tmp_path / "two", facts, base=found_base(settings).name)
    found = found_base(settings)
    assert found.path == settings.data_dir / "models" / given / "detector.onnx"
    assert found.name == f"{given}@{found.config.sha256[:12]}"


def test_a_detector_of_whole_numbers_goes_back_to_its_parents(settings: Settings, tmp_path: Path) -> None:
    given = with_detector(settings, tmp_path / "one", Facts(source="a folder"))
    with_detector(settings, tmp_path / "two", Facts(source="quantised", parent=given), numbers="int8")
    assert detector(settings) == given


def test_a_detector_of_whole_numbers_from_elsewhere_is_no_base(settings: Settings, tmp_path: Path) -> None:
    with_detector(settings, tmp_path / "one", Facts(source="a folder"), numbers="int8")
    with pytest.raises(BadWeights, match="it is of whole numbers"):
        detector(settings)
    # Of what came beside it, its classifier's origin, it was not made.
    with_detector(settings, tmp_path / "two", Facts(source="a folder", parent="bundled"), numbers="int8")
    with pytest.raises(BadWeights, match="it is of whole numbers"):
        detector(settings)


def test_unless_what_it_was_made_from_lies_beside_it(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    write_detector(random_network(shape=ResidualShape()), tmp_path / "plain", pixel_mm=PIXEL_MM)
    shutil.copyfile(tmp_path / "plain" / DETECTOR_WEIGHTS_FILE, tmp_path / "one" / FLOAT_DETECTOR_FILE)
    given = with_detector(settings, tmp_path / "one", Facts(source="a folder"), numbers="int8")
    assert found_base(settings).path == settings.data_dir / "models" / given / FLOAT_DETECTOR_FILE


@pytest.mark.parametrize("base", ["2026-01-01-gone@cafe", "bundled@cafe"], ids=["not here", "another of that name"])
def test_a_detector_that_was_retrained_elsewhere_is_its_own_base(base: str, settings: Settings, tmp_path: Path) -> None:
    given = with_detector(settings, tmp_path / "one", Facts(source="huggingface:somebody/marks@cafe"), base=base)
    assert detector(settings) == given


def test_a_network_of_another_kind_is_no_base(settings: Settings, tmp_path: Path) -> None:
    says("stamp", tmp_path / "one")
    write_detector(random_network(), tmp_path / "one", pixel_mm=PIXEL_MM)
    models = Models(settings.data_dir / "models")
    name = models.publish(tmp_path / "one", Facts(source="a folder")).name
    models.promote(name, why="a test", by="tests", force=True)
    with pytest.raises(BadWeights, match="not of a kind that this program trains"):
        detector(settings)
