"""A checkpoint becomes weights that compute what torch computes; anything else is refused, and never run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import resnet18, resnet34

from backend.errors import BadWeights, TrainingError
from backend.training.convert import LITE0_FILE, LITE0_PACKAGE, convert, imagenet_lite, main
from backend.training.detector.lite_network import LITE0, LiteNet, body_from_imagenet
from backend.training.export import export_classifier, half_precision, state_dict_from_onnx
from backend.vision.engine import Network
from backend.vision.network_config import CLASSES, ClassifierConfig, sha256_of
from backend.vision.weights import CONFIG_FILE, WEIGHTS_FILE
from tests.models.models import checkpoint, hostile_checkpoint, random_model, write_weights

PARITY = 1e-4


@pytest.fixture(scope="module")
def crops() -> torch.Tensor:
    return torch.rand(3, 3, 224, 224, generator=torch.Generator().manual_seed(0))


def file_of(content: bytes, folder: Path) -> Path:
    path = folder / "pytorch_model.bin"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("outputs", [3, 4])
def test_serves_what_torch_computes(outputs: int, crops: torch.Tensor, tmp_path: Path) -> None:
    model = random_model(outputs=outputs, seed=5)
    config = convert(file_of(checkpoint(model), tmp_path), tmp_path)
    assert config == ClassifierConfig.read(tmp_path / CONFIG_FILE)
    assert config.classes == CLASSES[:outputs]
    logits, embeddings = Network(tmp_path / WEIGHTS_FILE, config).run(crops.numpy())
    with torch.no_grad():
        expected = model(crops).numpy()
        expected_features = nn.Sequential(*list(model.children())[:-1])(crops).flatten(1).numpy()
    assert np.abs(logits - expected).max() <= PARITY
    assert np.abs(embeddings - expected_features).max() <= PARITY
    assert np.ptp(expected) > 100 * PARITY, "outputs that hardly differ would prove nothing"


def test_half_precision_serves_the_rounded_weights(crops: torch.Tensor, tmp_path: Path) -> None:
    model = random_model(seed=6)
    config = write_weights(model, tmp_path, half=True)
    rounded = resnet18(num_classes=4).eval()
    rounded.load_state_dict(half_precision(model.state_dict()))
    logits, _ = Network(tmp_path / WEIGHTS_FILE, config).run(crops.numpy())
    with torch.no_grad():
        assert np.abs(logits - rounded(crops).numpy()).max() <= PARITY
    assert (tmp_path / WEIGHTS_FILE).stat().st_size < 25_000_000


@pytest.mark.parametrize("half", [False, True])
def test_training_starts_from_the_served_file(half: bool, tmp_path: Path) -> None:
    model = random_model(seed=7)
    export_classifier(model, tmp_path / "classifier.onnx", half=half)
    state = model.state_dict()
    expected = half_precision(state) if half else state
    again = resnet18(num_classes=4)
    again.load_state_dict(state_dict_from_onnx(tmp_path / "classifier.onnx"))
    for name, values in again.state_dict().items():
        assert torch.equal(values, expected[name]), name


def test_equal_weights_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a.onnx", "b.onnx"):
        export_classifier(random_model(seed=8), tmp_path / name, half=True)
    assert sha256_of(tmp_path / "a.onnx") == sha256_of(tmp_path / "b.onnx")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        # Another number of outputs.
        (lambda: random_model(outputs=7), "3 or 4 outputs"),
        # Another depth.
        (lambda: resnet34(num_classes=3), "names or shapes"),
        # Another kind of network.
        (lambda: nn.Linear(2, 2), "3 or 4 outputs"),
    ],
)
def test_another_architecture_is_refused(make: Callable[[], nn.Module], reason: str, tmp_path: Path) -> None:
    with pytest.raises(BadWeights, match=reason):
        convert(file_of(checkpoint(make()), tmp_path), tmp_path)
    assert not (tmp_path / WEIGHTS_FILE).exists()


@pytest.mark.parametrize("bare", [False, True])
def test_a_hostile_pickle_is_not_run(bare: bool, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    with pytest.raises(BadWeights, match="other than tensors"):
        convert(file_of(hostile_checkpoint(trace, bare=bare), tmp_path), tmp_path)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        # The download ended early.
        (lambda content: content[:1_000_000], "only a part"),
        # Nothing came.
        (lambda _: b"", "only a part"),
        # An error page in place of the file.
        (lambda _: b"<html><title>Bad gateway</title></html>", "tensors|part"),
    ],
)
def test_half_a_checkpoint_is_refused(damage: Callable[[bytes], bytes], reason: str, tmp_path: Path) -> None:
    content = damage(checkpoint(random_model(outputs=3)))
    with pytest.raises(BadWeights, match=reason):
        convert(file_of(content, tmp_path), tmp_path)


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    model = random_model(outputs=3, bias={1: float("nan")})
    with pytest.raises(BadWeights, match=r"not finite, in fc\.bias"):
        convert(file_of(checkpoint(model), tmp_path), tmp_path)


def test_the_command_says_what_is_wrong_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(file_of(b"", tmp_path)), str(tmp_path)]) == 2
    assert capsys.readouterr().err == "pytorch_model.bin is no torch checkpoint, or only a part of one\n"


def test_imagenets_weights_fit_the_detectors_body_and_are_those_that_the_card_names() -> None:
    tensors = imagenet_lite()
    network = LiteNet(LITE0)
    state = body_from_imagenet(network, tensors)
    network.load_state_dict(state)
    assert torch.equal(network.stem[0].weight, tensors["_conv_stem.weight"])
    assert torch.equal(network.stages[6][0].project[0].weight, tensors["_blocks.15._project_conv.weight"])


def test_another_file_in_the_place_of_imagenets_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / LITE0_PACKAGE
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "models" / LITE0_FILE).write_bytes(checkpoint(random_model(outputs=3)))
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(TrainingError, match="another file than 579344248a93"):
        imagenet_lite()
