"""ImageNet's weights come once, as safetensors, see our input as they saw theirs, and can be the base of a training."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save
from torchvision.models import ResNet, resnet18

from backend.cli import main
from backend.errors import BadWeights, WeightsUnavailable
from backend.models.promotion import Models
from backend.settings import Settings
from backend.training.classifier_loop import network_from
from backend.training.retraining.base_weights import FILENAME, REPOSITORY, REVISION, fetch_imagenet
from backend.vision.network_config import CLASSES
from tests.models.hub_server import COMMIT, LoopbackHub, serve
from tests.training.retraining.conftest import TINY
from tests.training.retraining.ledger import open_ledger, teach

NOWHERE = "http://127.0.0.1:9"
MEAN, DEVIATION = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


@pytest.fixture(scope="module")
def theirs() -> ResNet:
    """A network of a thousand classes, with statistics as a training leaves them."""
    torch.manual_seed(4)
    network = resnet18()
    with torch.no_grad():
        network.bn1.running_mean.normal_()
        network.bn1.running_var.uniform_(0.5, 2)
        network.bn1.weight.uniform_(0.5, 2)
    return network.eval()


@pytest.fixture(scope="module")
def file(theirs: ResNet) -> bytes:
    return save(theirs.state_dict())


def hub(content: bytes) -> LoopbackHub:
    return LoopbackHub(None, pushed={REPOSITORY: {FILENAME: content}})


def test_they_are_fetched_once(file: bytes, tmp_path: Path) -> None:
    with serve(hub(file)) as server:
        path = fetch_imagenet(tmp_path, endpoint=server.address)
    assert server.asked[0] == f"GET /api/models/{REPOSITORY}/revision/{REVISION}"
    assert server.asked[-1] == f"GET /{REPOSITORY}/resolve/{COMMIT}/{FILENAME}"
    assert fetch_imagenet(tmp_path, endpoint=NOWHERE) == path
    whole = load_file(path)
    part = path.read_bytes()[:1000]
    path.unlink()  # what was read of it is still mapped
    path.write_bytes(part)
    (tmp_path / FILENAME).write_bytes(file)
    assert fetch_imagenet(tmp_path, endpoint=NOWHERE) == path, "what a power cut left is made again"
    assert all(torch.equal(tensor, whole[name]) for name, tensor in load_file(path).items())
    assert len(network_from(path).fc.bias) == len(CLASSES)


def test_our_input_is_to_them_as_theirs_was(theirs: ResNet, file: bytes, tmp_path: Path) -> None:
    (tmp_path / FILENAME).write_bytes(file)
    ours = network_from(fetch_imagenet(tmp_path, endpoint=NOWHERE)).eval()
    picture = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    normalised = (picture - MEAN.reshape(3, 1, 1)) / DEVIATION.reshape(3, 1, 1)
    with torch.inference_mode():
        told = [
            network.bn1(network.conv1(seen))[..., 2:-2, 2:-2]
            for network, seen in ((ours, picture), (theirs, normalised))
        ]
    torch.testing.assert_close(*told, rtol=1e-4, atol=1e-4)
    others = [name for name in theirs.state_dict() if not name.startswith(("conv1", "bn1.running_mean", "fc"))]
    for name in others:
        torch.testing.assert_close(ours.state_dict()[name], theirs.state_dict()[name])


def test_without_a_way_to_the_hub_it_is_said_where_they_may_be_put(tmp_path: Path) -> None:
    with pytest.raises(
        WeightsUnavailable, match=rf"{REPOSITORY} could not be fetched.*put its {FILENAME} into {tmp_path}"
    ):
        fetch_imagenet(tmp_path, endpoint=NOWHERE)


@pytest.mark.parametrize("content", [b"cut", save(resnet18(num_classes=10).state_dict())], ids=["cut", "ten classes"])
def test_another_file_is_refused_and_asked_for_again(content: bytes, file: bytes, tmp_path: Path) -> None:
    given = tmp_path / FILENAME
    given.write_bytes(content)
    with pytest.raises(BadWeights, match=f"{given} is no ResNet18 of ImageNet's 1000 classes"):
        fetch_imagenet(tmp_path, endpoint=NOWHERE)
    given.write_bytes(file)
    assert fetch_imagenet(tmp_path, endpoint=NOWHERE).is_file()


def test_a_retraining_goes_on_from_them(
    settings: Settings, file: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = settings.data_dir / "hub" / "imagenet"
    folder.mkdir(parents=True)
    (folder / FILENAME).write_bytes(file)
    store = open_ledger(settings.data_dir)
    teach(store, 24)
    store.engine.dispose()
    recipe = tmp_path / "imagenet.json"
    recipe.write_text(json.dumps(TINY | {"base": "imagenet"}))
    for name, value in dataclasses.replace(settings, retrain_recipe=str(recipe)).as_environment().items():
        monkeypatch.setenv(name, value)
    assert main(["train", "--threads", "1", "--jobs", "0"]) == 1, "learnt in a minute, it is no better than what serves"
    [model] = Models(settings.data_dir / "models").all()
    assert model.record is not None
    assert model.record.recipe["base"].startswith("imagenet@")
    assert model.record.parent == "bundled"
    first = load_file(folder / f"base-{REVISION[:12]}.safetensors")
    taught = load_file(settings.data_dir / "models" / model.name / "classifier.safetensors")
    body = "layer4.1.conv2.weight"
    likeness = torch.cosine_similarity(taught[body].flatten(), first[body].flatten(), dim=0)
    assert likeness > 0.99, "it began there"
    assert not torch.equal(taught["fc.weight"], first["fc.weight"]), "and learnt"
