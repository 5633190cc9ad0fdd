"""The original checkpoint comes from the Hub once, whole and unharmful, or a clear error says why not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from backend.errors import BadWeights, WeightsUnavailable
from backend.models.original_model import FILENAME, REPOSITORY, Hub
from backend.vision.engine import Network
from backend.vision.network_config import MARKS, ClassifierConfig
from backend.vision.weights import CONFIG_FILE, WEIGHTS_FILE
from tests.models.hub_server import COMMIT, LoopbackHub, serve
from tests.models.models import checkpoint, hostile_checkpoint, random_model

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def seed_checkpoint() -> bytes:
    return checkpoint(random_model(outputs=3, seed=3))


def test_the_checkpoint_is_fetched_and_converted(seed_checkpoint: bytes, tmp_path: Path) -> None:
    with serve(LoopbackHub(seed_checkpoint)) as server:
        hub = Hub(folder=tmp_path, endpoint=server.address)
        folder = hub.pull()
    config = ClassifierConfig.read(folder / CONFIG_FILE)
    assert config.classes == MARKS
    assert config.provenance == {
        "source": f"huggingface:{REPOSITORY}",
        "revision": COMMIT,
        "checkpoint_sha256": server.checksum,
    }
    Network(folder / WEIGHTS_FILE, config)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name], "no scratch is left behind"
    # The original model card asks for model_info before the download: it helps the Hub's count.
    assert server.asked[0] == f"GET /api/models/{REPOSITORY}/revision/main"
    assert server.asked[-1] == f"GET /{REPOSITORY}/resolve/{COMMIT}/{FILENAME}"


def test_hf_endpoint_names_the_hub(seed_checkpoint: bytes, tmp_path: Path) -> None:
    """In a process of its own: the Hub's client reads the variable when it is imported."""
    program = "import pathlib, sys; from backend.models import original_model as hub\n"
    program += "print(hub.Hub(folder=pathlib.Path(sys.argv[1])).pull())"
    with serve(LoopbackHub(seed_checkpoint)) as server:
        done = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path)],
            cwd=ROOT,
            env={**os.environ, "HF_ENDPOINT": server.address},
            check=False,
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr
    config = ClassifierConfig.read(Path(done.stdout.strip()) / CONFIG_FILE)
    assert config.provenance["checkpoint_sha256"] == server.checksum
    assert server.asked[-1] == f"GET /{REPOSITORY}/resolve/{COMMIT}/{FILENAME}"


def test_nobody_there(tmp_path: Path) -> None:
    hub = Hub(folder=tmp_path, endpoint="http://127.0.0.1:9")
    with pytest.raises(WeightsUnavailable, match=rf"{REPOSITORY} could not be fetched from http://127.0.0.1:9"):
        hub.pull()
    assert not hub.converted.exists()


def test_no_such_repository(tmp_path: Path) -> None:
    with serve(LoopbackHub(None)) as server, pytest.raises(WeightsUnavailable, match="could not be fetched"):
        Hub(folder=tmp_path, endpoint=server.address).pull()


def test_a_connection_that_breaks_leaves_nothing_that_serves(seed_checkpoint: bytes, tmp_path: Path) -> None:
    with serve(LoopbackHub(seed_checkpoint, cut=100_000)) as server:
        hub = Hub(folder=tmp_path, endpoint=server.address)
        with pytest.raises(WeightsUnavailable, match="could not be fetched"):
            hub.pull()
        assert not hub.converted.exists()


def test_damage_on_the_way_is_seen_and_thrown_away(seed_checkpoint: bytes, tmp_path: Path) -> None:
    damaged = seed_checkpoint[:-1000] + b"\0" * 1000
    with serve(LoopbackHub(seed_checkpoint, sent=damaged)) as server:
        hub = Hub(folder=tmp_path, endpoint=server.address)
        with pytest.raises(BadWeights, match="damaged on its way or replaced"):
            hub.pull()
        server.sent = None
        assert hub.pull() == hub.converted, "the next try fetches it anew"


def test_a_pin_refuses_another_file(seed_checkpoint: bytes, tmp_path: Path) -> None:
    with serve(LoopbackHub(seed_checkpoint)) as server, pytest.raises(BadWeights, match="not 00000000"):
        Hub(folder=tmp_path, endpoint=server.address, checksum="0" * 64).pull()


def test_a_hostile_checkpoint_is_fetched_but_never_run(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    with serve(LoopbackHub(hostile_checkpoint(trace))) as server, pytest.raises(BadWeights, match="other than tensors"):
        Hub(folder=tmp_path / "hub", endpoint=server.address).pull()
    assert not trace.exists()


@pytest.mark.usefixtures("without_torch")
def test_without_torch_it_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(WeightsUnavailable, match=r"needs torch, torchvision, onnx: install the `train` extra"):
        Hub(folder=tmp_path, endpoint="http://127.0.0.1:9").pull()
