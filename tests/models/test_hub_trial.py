"""The Hub's checkpoint is tried before it serves: what tells nothing apart never does, and the verdict is kept."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from backend.commands.doctor.check_model import check_weights
from backend.commands.doctor.findings import Severity
from backend.errors import BadWeights
from backend.models.original_model import BROKEN, SERVES, VERDICT_FILE, WORSE, Hub, HubVerdict, pairing
from backend.models.serving import Serving, Sources
from backend.settings import Settings
from backend.training.classifier_loop import network_from
from backend.training.hub_trial import hub_trial
from backend.vision.engine import DetectorConfig
from backend.vision.network_config import MARKS
from backend.vision.weights import BUNDLED, CONFIG_FILE, DETECTOR_CONFIG_FILE, WEIGHTS_FILE
from tests.models.hub_server import LoopbackHub, serve
from tests.models.models import checkpoint, random_model, write_weights

PAGES = 8
"""Drawn pages of a trial here: thirty marks, and two pages without. They tell what is broken."""
MORE_PAGES = 16
"""They tell what is worse, too."""
NOWHERE = "http://127.0.0.1:9"


def of_three(network: nn.Module) -> nn.Module:
    """A network's body with a head that cannot say `none`."""
    state = dict(network.state_dict())
    state |= {name: state[name][: len(MARKS)] for name in ("fc.weight", "fc.bias")}
    model = resnet18(num_classes=len(MARKS)).eval()
    model.load_state_dict(state)
    return model


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return network_from(BUNDLED / WEIGHTS_FILE)


@pytest.fixture(scope="module")
def bundled(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What serves: the bundled classifier, which looks at whole pixels here as the original one does."""
    folder = tmp_path_factory.mktemp("bundled")
    write_weights(network.eval(), folder)
    return folder


def always_signature() -> nn.Module:
    model = random_model(outputs=3, seed=4)
    with torch.no_grad():
        model.fc.bias[MARKS.index("signature")] = 1000
    return model


@dataclass(frozen=True)
class Fetched:
    """A data folder after a server with ASK_HUB=1 has looked at a Hub once."""

    settings: Settings
    serving: Serving
    log: list[str]


def fetched(content: bytes, folder: Path, bundled: Path, *, pages: int = PAGES) -> Fetched:
    settings = Settings(data_dir=folder, model_threads=1, ask_hub=1)
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    keep = Keep()
    logging.getLogger("backend").addHandler(keep)
    try:
        with serve(LoopbackHub(content)) as server:
            hub = Hub(folder=folder / "hub", endpoint=server.address, trial_pages=pages)
            serving = Serving(settings, sources=Sources("auto", folder, hub=hub, bundled=bundled, ask_hub=True))
            serving.load()
    finally:
        logging.getLogger("backend").removeHandler(keep)
    return Fetched(settings, serving, lines)


def again(model: str, folder: Path, bundled: Path) -> Sources:
    """The sources after a restart, without a way to the Hub, and with a trial that would take too long to wait for."""
    hub = Hub(folder=folder / "hub", endpoint=NOWHERE, trial_pages=1_000_000)
    return Sources(model, folder, hub=hub, bundled=bundled, ask_hub=True)


@pytest.fixture(scope="module")
def broken(bundled: Path, tmp_path_factory: pytest.TempPathFactory) -> Fetched:
    """One that guesses."""
    return fetched(checkpoint(random_model(outputs=3, seed=3)), tmp_path_factory.mktemp("data"), bundled)


class TestABrokenOne:
    def test_does_not_serve_and_the_bundled_weights_go_on(self, broken: Fetched) -> None:
        state = broken.serving.state()
        assert state["model_state"] == "ready"
        assert state["model_version"].startswith("bundled-")
        assert "does not tell marks apart" in state["model_error"]
        assert "models pull" in state["model_error"], "the way out is named"
        assert any("the Hub's weights do not serve, bundled-" in line for line in broken.log)

    def test_is_refused_after_a_restart_without_another_trial(self, broken: Fetched, bundled: Path) -> None:
        sources = again("auto", broken.settings.data_dir, bundled)
        assert not sources.better_later()
        serving = Serving(broken.settings, sources=sources)
        serving.load()
        assert serving.state()["model_version"].startswith("bundled-")
        assert "does not tell marks apart" in serving.state()["model_error"]

    def test_is_refused_to_an_operator_who_asks_for_it(self, broken: Fetched, bundled: Path) -> None:
        with pytest.raises(BadWeights, match=r"is broken: it does not tell marks apart.*MODEL=bundled"):
            again("hub", broken.settings.data_dir, bundled).at_once()


def test_one_that_says_the_same_of_everything_is_as_broken_as_one_that_guesses(bundled: Path, tmp_path: Path) -> None:
    write_weights(always_signature(), tmp_path / "weights")
    verdict = hub_trial(tmp_path / "weights", bundled, pages=PAGES, scratch=tmp_path)
    assert verdict.state == BROKEN
    assert "it names 100% of the signatures, 0% of the stamps, 0% of the thumbs rightly" in verdict.reasons[0]


def test_a_good_one_serves_with_a_fusion_of_its_own(network: nn.Module, bundled: Path, tmp_path: Path) -> None:
    found = fetched(checkpoint(of_three(network)), tmp_path, bundled, pages=MORE_PAGES)
    state = found.serving.state()
    assert state["model_version"].startswith("hub-"), found.log
    assert "model_error" not in state
    folder = tmp_path / "hub" / "converted" / "main"
    ours, theirs = (DetectorConfig.read(place / DETECTOR_CONFIG_FILE) for place in (folder, BUNDLED))
    assert ours.sha256 == theirs.sha256
    assert ours.fusion != theirs.fusion, "fitted to this classifier"
    assert again("auto", tmp_path, bundled).at_once().folder == folder, "without another trial"
    assert not list(folder.glob(".*")), "nothing half-written is left"


class TestWhatAVerdictSays:
    """Verdicts written by hand: what follows from each."""

    @pytest.fixture
    def folder(self, three_class_folder: Path, tmp_path: Path) -> Path:
        folder = tmp_path / "hub" / "converted" / "main"
        folder.mkdir(parents=True)
        for name in (CONFIG_FILE, WEIGHTS_FILE):
            (folder / name).write_bytes((three_class_folder / name).read_bytes())
        return folder

    def say(self, state: str, folder: Path) -> None:
        HubVerdict(pair=pairing(folder, BUNDLED), state=state, reasons=("as a test has it",)).write(folder)

    @pytest.mark.parametrize(
        ("model", "state", "serves"),
        [
            ("auto", SERVES, "hub"),
            ("auto", WORSE, "bundled"),
            ("auto", BROKEN, "bundled"),
            ("hub", SERVES, "hub"),
            # An operator's word counts more than a comparison.
            ("hub", WORSE, "hub"),
        ],
    )
    def test_which_weights_serve(self, model: str, state: str, serves: str, folder: Path, tmp_path: Path) -> None:
        self.say(state, folder)
        sources = again(model, tmp_path, BUNDLED)
        assert sources.at_once().name == serves
        assert (sources.refused() is None) == (serves == "hub")

    def test_doctor_says_why_the_hubs_weights_do_not_serve(self, folder: Path, tmp_path: Path) -> None:
        self.say(WORSE, folder)
        checked = check_weights(Settings(data_dir=tmp_path))
        assert checked.finding.state is Severity.WARNING
        assert "as a test has it" in checked.finding.found
        assert checked.value is not None
        assert checked.value.name == "bundled"

    def test_doctor_says_that_there_is_no_verdict_yet(self, folder: Path, tmp_path: Path) -> None:
        checked = check_weights(Settings(data_dir=tmp_path, model="hub"))
        assert checked.finding.state is Severity.WARNING
        assert "had no trial yet" in checked.finding.found

    def test_a_broken_one_is_a_failure_to_doctor_where_it_is_asked_for(self, folder: Path, tmp_path: Path) -> None:
        self.say(BROKEN, folder)
        checked = check_weights(Settings(data_dir=tmp_path, model="hub"))
        assert checked.finding.state is Severity.FAILURE
        assert "as a test has it" in checked.finding.found

    @pytest.mark.parametrize("content", ["", "{", "[]", '{"pair": 1}'])
    def test_half_a_verdict_is_none(self, content: str, folder: Path, tmp_path: Path) -> None:
        (folder / VERDICT_FILE).write_text(content)
        assert again("auto", tmp_path, BUNDLED).better_later(), "it is tried"

    def test_other_bundled_weights_ask_for_another_trial(
        self, folder: Path, tmp_path: Path, four_class_folder: Path
    ) -> None:
        self.say(SERVES, folder)
        assert not again("auto", tmp_path, BUNDLED).better_later()
        other = again("auto", tmp_path, four_class_folder)
        assert other.at_once().name == "bundled"
        assert other.better_later()

    @pytest.mark.usefixtures("without_torch")
    def test_what_was_fetched_before_there_were_trials_serves_on_where_none_can_be_held(
        self, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert again("hub", tmp_path, BUNDLED).at_once().name == "hub"
        assert "had no trial" in caplog.text
        assert "install the `train` extra" in caplog.text
        assert again("auto", tmp_path, BUNDLED).at_once().name == "bundled"
