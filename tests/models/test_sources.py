"""MODEL chooses: promoted, then Hub, then bundled; a name that is not there is refused with a list."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from backend.errors import BadWeights, UnknownModel, WeightsUnavailable
from backend.models.original_model import SERVES, Hub, HubVerdict, pairing
from backend.models.serving import Sources
from backend.vision.weights import CONFIG_FILE, WEIGHTS_FILE, Weights


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


def sources(model: str, data_dir: Path, bundled: Path) -> Sources:
    hub = Hub(folder=data_dir / "hub", endpoint="http://127.0.0.1:9")
    return Sources(model, data_dir, hub=hub, bundled=bundled, ask_hub=True)


def add_local(data_dir: Path, name: str, weights: Path, *, active: bool = False) -> Path:
    folder = data_dir / "models" / name
    shutil.copytree(weights, folder)
    if active:
        (data_dir / "models" / "active").write_text(f"{name}\n")
    return folder


def add_hub(data_dir: Path, weights: Path, bundled: Path) -> Path:
    """The Hub's weights on this disk, after a trial that they passed."""
    folder = data_dir / "hub" / "converted" / "main"
    shutil.copytree(weights, folder)
    HubVerdict(pair=pairing(folder, bundled), state=SERVES).write(folder)
    return folder


def test_auto_prefers_promoted_then_hub_then_bundled(
    data_dir: Path, four_class_folder: Path, three_class_folder: Path
) -> None:
    auto = sources("auto", data_dir, four_class_folder)
    assert auto.at_once().name == "bundled"
    assert auto.better_later()
    add_hub(data_dir, three_class_folder, four_class_folder)
    assert auto.at_once().name == "hub"
    assert not auto.better_later()
    folder = add_local(data_dir, "2026-11-01", four_class_folder, active=True)
    assert auto.at_once() == Weights.open(folder, name="2026-11-01")
    assert not auto.better_later()


def test_a_promoted_model_keeps_the_hub_out(data_dir: Path, four_class_folder: Path) -> None:
    add_local(data_dir, "mine", four_class_folder, active=True)
    assert not sources("auto", data_dir, four_class_folder).better_later()


def test_bundled_is_bundled_whatever_else_there_is(
    data_dir: Path, four_class_folder: Path, three_class_folder: Path
) -> None:
    add_hub(data_dir, three_class_folder, four_class_folder)
    add_local(data_dir, "mine", four_class_folder, active=True)
    chosen = sources("bundled", data_dir, four_class_folder)
    assert chosen.at_once().name == "bundled"
    assert not chosen.better_later()


def test_the_hub_is_used_offline_once_it_is_here(
    data_dir: Path, four_class_folder: Path, three_class_folder: Path
) -> None:
    with pytest.raises(WeightsUnavailable, match="could not be fetched"):
        sources("hub", data_dir, four_class_folder).at_once()
    add_hub(data_dir, three_class_folder, four_class_folder)
    assert sources("hub", data_dir, four_class_folder).at_once().name == "hub"


@pytest.mark.parametrize("file", [WEIGHTS_FILE, CONFIG_FILE])
def test_a_damaged_copy_of_the_hubs_weights_is_thrown_away(
    file: str, data_dir: Path, four_class_folder: Path, three_class_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = add_hub(data_dir, three_class_folder, four_class_folder)
    (folder / file).write_bytes((folder / file).read_bytes()[:-100])
    auto = sources("auto", data_dir, four_class_folder)
    assert auto.at_once().name == "bundled"
    assert auto.better_later(), "it is fetched again"
    assert [record.message for record in caplog.records] == [f"{folder} is damaged: thrown away, to be fetched again"]
    assert not folder.exists()


def test_three_classes_take_the_bundled_gate(data_dir: Path, four_class_folder: Path, three_class_folder: Path) -> None:
    add_hub(data_dir, three_class_folder, four_class_folder)
    weights = sources("auto", data_dir, four_class_folder).at_once()
    assert weights.gate is not None
    assert weights.gate.folder == four_class_folder


def test_a_gate_must_know_none(data_dir: Path, three_class_folder: Path) -> None:
    add_hub(data_dir, three_class_folder, three_class_folder)
    with pytest.raises(BadWeights, match="cannot say `none`"):
        sources("auto", data_dir, three_class_folder).at_once()


@pytest.mark.parametrize("name", ["typo", "../../etc", "", "/"])
def test_unknown_names_are_refused_with_the_list(name: str, data_dir: Path, four_class_folder: Path) -> None:
    add_local(data_dir, "first", four_class_folder)
    add_local(data_dir, "second", four_class_folder)
    chosen = sources(name, data_dir, four_class_folder)
    for refused in (chosen.check, chosen.at_once):
        with pytest.raises(UnknownModel, match="known are auto, hub, bundled, first, second"):
            refused()


def test_a_version_serves_without_being_promoted(data_dir: Path, four_class_folder: Path) -> None:
    folder = add_local(data_dir, "second", four_class_folder)
    assert sources("second", data_dir, four_class_folder).at_once().folder == folder


def test_versions(data_dir: Path, four_class_folder: Path) -> None:
    add_local(data_dir, "mine", four_class_folder)
    (data_dir / "models" / "half-written").mkdir()
    assert sources("auto", data_dir, four_class_folder).versions() == ["hub", "bundled", "mine"]


def test_a_pointer_to_nothing_is_an_error_and_not_a_silent_bundled(data_dir: Path, four_class_folder: Path) -> None:
    add_local(data_dir, "mine", four_class_folder, active=True)
    shutil.rmtree(data_dir / "models" / "mine")
    with pytest.raises(BadWeights, match="names the model 'mine', which is not there"):
        sources("auto", data_dir, four_class_folder).at_once()


def test_missing_bundled_weights_are_named(data_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(BadWeights, match=r"classifier\.json cannot be read"):
        sources("bundled", data_dir, tmp_path).at_once()
