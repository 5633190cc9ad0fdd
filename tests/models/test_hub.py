"""A model goes to the Hub without anything that shows a contract, and comes back whole, as a candidate."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.errors import BadWeights, RegistryError, WeightsUnavailable
from backend.models.hub import CARD_FILE, measured, pull, push, upload
from backend.models.hub_files import same_place
from backend.models.original_model import REPOSITORY
from backend.models.promotion import Models
from backend.models.published import RECORD_FILE, Facts, RecordedVerdict, Registry
from backend.vision.network_config import ClassifierConfig
from backend.vision.weights import CONFIG_FILE, WEIGHTS_FILE, Weights
from tests.models.hub_server import COMMIT, LoopbackHub, serve
from tests.models.tiny import says

# What the Hub's own client does when it uploads a large file (huggingface_hub 2.4).
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

OURS = "somebody/contract-marks"
FIGURES = {
    "version": "2026-11-22-cafe.ink-1",
    "closed_set": {"macro": {"f1": {"value": 0.981, "low": 0.97, "high": 0.99}}},
    "end_to_end": {"0.5": {"macro": {"f1": {"value": 0.9, "low": None, "high": None}}, "confusion": [[3, 0], [1, 2]]}},
    "mistakes": [{"page": "lease-of-Mr-Smith.pdf", "crop": "iVBORw0KGgo="}],
    "slices": [{"name": "pages of Mr Smith", "marks": 3}],
}


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)


@pytest.fixture
def hub() -> Iterator[LoopbackHub]:
    with serve(LoopbackHub(None)) as server:
        yield server


@pytest.fixture
def trained(models: Models, tmp_path: Path) -> str:
    """A model with everything beside it that a training may leave there."""
    candidate = says("stamp", tmp_path / "candidate")
    said = {"data": "/srv/leases-of-Mr-Smith", "numbers": "int8"}
    dataclasses.replace(ClassifierConfig.read(candidate / CONFIG_FILE), provenance=said).write(candidate / CONFIG_FILE)
    (candidate / "report.html").write_text("<img src='data:image/png;base64,crop'>")
    (candidate / "notes.txt").write_text("trained on the leases of Mr Smith")
    facts = Facts(
        source="training",
        recipe={"base": "/home/mr-smith/seed.pt", "stages": [{"size": 64, "head_only": False}], "pool": 2},
        seed=7,
        versions={"torch": "2.14.1", "ours": "of /home/mr-smith"},
        dataset="d" * 64,
        seconds=12.5,
        metrics=FIGURES,
        verdict=RecordedVerdict(passed=True, reasons=("better on the lease of Mr Smith",)),
    )
    return models.publish(candidate, facts).name


def pushed(models: Models, folder: Path, name: str, hub: LoopbackHub, **options: bool) -> dict[str, bytes]:
    what = upload(models.get(name), Registry(folder).folder_of(name), OURS)
    assert push(what, endpoint=hub.address, **options) == f"{hub.address}/{OURS}/commit/{COMMIT}"
    return hub.pushed[OURS]


def test_a_push_brings_weights_card_and_figures_and_nothing_else(
    models: Models, folder: Path, trained: str, hub: LoopbackHub
) -> None:
    files = pushed(models, folder, trained, hub)
    assert sorted(files) == sorted([WEIGHTS_FILE, CONFIG_FILE, RECORD_FILE, CARD_FILE])
    assert files[WEIGHTS_FILE] == (folder / trained / WEIGHTS_FILE).read_bytes()
    record = json.loads(files[RECORD_FILE])
    assert record["metrics"]["closed_set"] == FIGURES["closed_set"]
    assert record["metrics"]["end_to_end"]["0.5"]["confusion"] == [[3, 0], [1, 2]]
    assert record["recipe"] == {"stages": [{"size": 64, "head_only": False}], "pool": 2}
    assert record["gate"] == {"passed": True}
    assert record["versions"] == {"torch": "2.14.1"}
    assert json.loads(files[CONFIG_FILE])["provenance"] == {"numbers": "int8"}
    assert "0.981 (0.970 to 0.990)" in files[CARD_FILE].decode()
    everything = b"".join(files.values()).lower()
    for person in (b"smith", b"ivborw", b"lease", b"/home"):
        assert person not in everything
    assert any(path.startswith("PUT /storage/") for path in hub.asked), "weights go the way of large files"


@pytest.mark.parametrize(("options", "visibility"), [({}, "private"), ({"private": False}, "public")])
def test_a_repository_is_private_unless_it_shall_not_be(
    options: dict[str, bool], visibility: str, models: Models, trained: str, hub: LoopbackHub
) -> None:
    pushed(models, models.folder, trained, hub, **options)
    assert hub.created[OURS]["visibility"] == visibility


def test_a_push_bears_the_librarys_token_and_a_refusal_says_so(
    models: Models, folder: Path, trained: str, hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.token = "hf_right"
    with pytest.raises(WeightsUnavailable, match=f"{OURS} on {hub.address}: .*401"):
        pushed(models, folder, trained, hub)
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    assert pushed(models, folder, trained, hub)


def test_the_page_figures_of_a_trial_are_pushed_and_its_sentences_stay_here(
    models: Models, folder: Path, hub: LoopbackHub, tmp_path: Path
) -> None:
    facts = Facts(source="retraining", metrics={"closed_set": FIGURES["closed_set"]})
    name = models.publish(says("stamp", tmp_path / "candidate"), facts).name
    pages = {"0.5": {"macro": {"f1": {"value": 0.871, "low": 0.8, "high": 0.93}}}}
    checks = [{"name": "documents unseen", "sentence": "it was trained on the lease of Mr Smith"}]
    figures = {"end_to_end": pages, "documents": 12, "pages": 30, "marks": 88, "gold": "a" * 64, "checks": checks}
    models.judge(name, RecordedVerdict(passed=True, reasons=("better",), figures=figures), by="train")
    files = pushed(models, folder, name, hub)
    metrics = json.loads(files[RECORD_FILE])["metrics"]
    assert metrics == {
        "closed_set": FIGURES["closed_set"],
        "end_to_end": pages,
        "documents": 12,
        "pages": 30,
        "marks": 88,
    }
    assert "| macro F1 on pages at IoU .5 (end to end) | 0.871 (0.800 to 0.930) |" in files[CARD_FILE].decode()
    assert b"smith" not in b"".join(files.values()).lower()


def test_what_was_put_there_by_hand_is_not_pushed(models: Models, folder: Path) -> None:
    says("stamp", folder / "by-hand")
    with pytest.raises(RegistryError, match="has no record"):
        upload(models.get("by-hand"), folder / "by-hand", OURS)


def test_what_was_pushed_is_pulled_as_a_candidate_without_its_verdict(
    models: Models, folder: Path, trained: str, hub: LoopbackHub, tmp_path: Path
) -> None:
    pushed(models, folder, trained, hub)
    elsewhere = Models(tmp_path / "elsewhere")
    record = pull(elsewhere, OURS, scratch=tmp_path / "scratch", endpoint=hub.address)
    model = elsewhere.get(record.name)
    assert (model.status, model.active, model.verdict) == ("candidate", False, None)
    assert record.source == f"huggingface:{OURS}@{COMMIT}"
    assert (record.seed, record.dataset, record.metrics["closed_set"]) == (7, "d" * 64, FIGURES["closed_set"])
    made = Registry(tmp_path / "elsewhere").folder_of(record.name)
    assert (made / WEIGHTS_FILE).read_bytes() == (folder / trained / WEIGHTS_FILE).read_bytes()
    assert list((tmp_path / "scratch").iterdir()) == []
    assert measured(record, None)["end_to_end"] == record.metrics["end_to_end"]
    ours = {"0.5": {"macro": {"f1": {"value": 0.5}}}}
    assert measured(record, RecordedVerdict(passed=False, figures={"end_to_end": ours}))["end_to_end"] == ours, (
        "of our pages"
    )


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        # weights of another model
        (lambda files: files.update({WEIGHTS_FILE: b"damaged"}), "damaged on its way"),
        # a record that wants more than weights
        (
            lambda files: files.update({RECORD_FILE: b'{"files": {"../../evil.onnx": "0"}}'}),
            r"names '\.\./\.\./evil\.onnx', which is not there or no weights",
        ),
        (
            lambda files: files.update({"run.py": b"", RECORD_FILE: b'{"files": {"run.py": "0"}}'}),
            "which is not there or no weights",
        ),
        (lambda files: files.update({RECORD_FILE: b"[]"}), "is no record of a model"),
    ],
)
def test_a_damaged_or_hostile_repository_publishes_nothing(
    damage, reason: str, models: Models, trained: str, hub: LoopbackHub
) -> None:
    folder = models.folder
    damage(pushed(models, folder, trained, hub))
    with pytest.raises(BadWeights, match=reason):
        pull(models, OURS, scratch=folder.parent / "scratch", endpoint=hub.address)
    assert Registry(folder).names() == [trained]


def test_the_seeds_checkpoint_is_pulled_converted_and_published(models: Models, folder: Path, tmp_path: Path) -> None:
    from tests.models.models import checkpoint, random_model  # loads torch, which no other test here needs

    with serve(LoopbackHub(checkpoint(random_model(outputs=3, seed=3)))) as server:
        record = pull(models, REPOSITORY, scratch=tmp_path / "scratch", endpoint=server.address)
    assert record.source == f"huggingface:{REPOSITORY}@{COMMIT}"
    weights = Weights.open(Registry(folder).folder_of(record.name), name=record.name)
    assert not weights.config.knows_none
    assert Registry(folder).active() is None


@pytest.mark.parametrize(
    ("repository", "files", "reason"),
    [
        ("nobody/nothing", {}, "nobody/nothing on .*404"),
        (OURS, {"README.md": b""}, r"holds neither record\.json nor pytorch_model\.bin"),
        ("no name at all", {}, "Repo id"),
    ],
)
def test_what_is_not_there_is_said(
    repository: str, files: dict[str, bytes], reason: str, models: Models, hub: LoopbackHub
) -> None:
    if files:
        hub.pushed[repository] = files
    with pytest.raises(WeightsUnavailable, match=reason):
        pull(models, repository, scratch=models.folder / ".scratch", endpoint=hub.address)


def test_a_hub_whose_answers_are_packed_again_and_again_is_not_unpacked(models: Models, hub: LoopbackHub) -> None:
    hub.pushed[OURS] = {"record.json": b"{}"}
    hub.packing = "gzip, gzip, gzip"
    with pytest.raises(WeightsUnavailable, match="packed as gzip, gzip, gzip"):
        pull(models, OURS, scratch=models.folder / ".scratch", endpoint=hub.address)


@pytest.mark.parametrize(
    ("target", "own"),
    [
        ("https://hub.example/a/resolve/b", True),
        ("http://hub.example/a/resolve/b", False),  # in the clear
        ("https://hub.example:444/a", False),
        ("https://cdn.hub.example/a", False),
        ("https://hub.example@evil.example/a", False),
    ],
)
def test_the_token_goes_to_the_hub_itself_alone_and_as_safely(target: str, own: bool) -> None:
    assert same_place(target, "https://hub.example/api/models/a") is own
