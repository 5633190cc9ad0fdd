"""The whole command: from samples to a candidate, its verdict and its promotion; and what it says when it cannot."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from backend.cli import main
from backend.errors import EvaluationError, TrainingError
from backend.evaluation.verdict import Check, Verdict
from backend.nets.config import ClassifierConfig, sha256_of
from backend.nets.registry import Registry
from backend.registry.models import Models
from backend.settings import Settings
from backend.training.retraining import judging
from backend.training.retraining.candidate import TENSORS_FILE
from backend.training.retraining.recipe import read_recipe
from backend.training.retraining.state import folder_of, last_training

from .conftest import TINY
from .ledger import open_ledger, teach

WORDS = ("train", "--threads", "1", "--jobs", "0")
SAMPLES = 24


def settle(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in settings.as_environment().items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, drawn: Path) -> Path:
    """A data folder whose training came to a stop after its candidate was published, before the gate had spoken."""
    data = tmp_path_factory.mktemp("published") / "data"
    shutil.copytree(drawn, data / "training" / "drawn")
    store = open_ledger(data)
    teach(store, SAMPLES)
    store.engine.dispose()
    (data / "recipe.json").write_text(json.dumps(TINY))
    stop = EvaluationError("the power failed")
    with pytest.MonkeyPatch.context() as patch:
        settle(of(data), patch)
        patch.setattr(judging, "trial", _raising(stop))
        assert main(WORDS) == 2
    ended = last_training(folder_of(data))
    assert ended is not None
    assert (ended.result, ended.reason) == ("failed", "the power failed")
    return data


def of(data: Path) -> Settings:
    return Settings(
        data_dir=data,
        model="auto",
        detector="colour",
        retrain_recipe=str(data / "recipe.json"),
        label_studio_url="http://127.0.0.1:9",
        model_threads=1,
    )


def _raising(error: Exception) -> Callable[..., Verdict]:
    def trial(*_: object, **__: object) -> Verdict:
        raise error

    return trial


def _saying(*, promoted: bool) -> Callable[..., Verdict]:
    check = Check(name="macro F1 gain", figure=0.1, bound=0.0, passed=promoted, sentence="it is what it is")

    def trial(*_: object, **__: object) -> Verdict:
        return Verdict(
            promoted=promoted,
            champion="a",
            challenger="b",
            gold="0" * 64,
            documents=2,
            pages=2,
            marks=2,
            attempts=1,
            checks=(check,),
        )

    return trial


@pytest.fixture
def data(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, and the environment that names it."""
    copy = tmp_path / "data"
    shutil.copytree(published, copy, copy_function=os.link)
    # What is changed in place must not be shared.
    for name in ("ledger.sqlite3", "models/history.jsonl", "training/state.json", "training/lock"):
        text = (published / name).read_bytes()
        (copy / name).unlink()
        (copy / name).write_bytes(text)
    (copy / "gate-attempts.jsonl").unlink(missing_ok=True)
    settle(of(copy), monkeypatch)
    return copy


def test_a_candidate_has_its_weights_twice_its_record_and_its_history(published: Path) -> None:
    models = Models(published / "models")
    [model] = models.all()
    folder = published / "models" / model.name
    record = model.record
    assert record is not None
    assert (model.status, record.source, record.parent, record.seed) == ("candidate", "retraining", "bundled", 1)
    assert record.recipe["corrections"]["hard_times"] == 2.5
    assert record.recipe["base"].startswith("bundled@")
    assert record.dataset is not None
    assert len(record.dataset) == 64
    assert {"torch", "onnxruntime"} <= set(record.versions)
    config = ClassifierConfig.read(folder / "classifier.json")
    assert config.sha256 == sha256_of(folder / "classifier.onnx")
    assert record.files[TENSORS_FILE] == sha256_of(folder / TENSORS_FILE)
    assert config.temperature > 0
    assert [line["stage"] for line in json.loads((folder / "training.json").read_text())["history"]] == [0, 1]
    assert 0 <= record.metrics["closed_set"]["macro"]["f1"]["value"] <= 1
    assert record.metrics["material"]["samples"]["stamp"]["misclassified"] > 0
    assert "data" not in json.dumps(record.recipe)  # no path of this machine


def test_the_real_gate_is_asked_and_its_no_is_kept(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(WORDS) == 1
    said = capsys.readouterr().out
    assert "the seed's" in said
    assert "gold pages: 0 of annotators' documents, 1 drawn" in said
    assert "FAIL" in said
    assert "refused: " in said
    [model] = Models(data / "models").all()
    assert model.status == "refused"
    assert model.verdict is not None
    assert any("one document alone gives no interval" in reason for reason in model.verdict.reasons)
    assert Registry(data / "models").pointed() is None
    ended = last_training(folder_of(data))
    assert ended is not None
    assert (ended.result, ended.model, ended.why) == ("refused", model.name, "by hand")
    assert not list((data / "training").glob("run-*"))
    assert not list((data / "training").glob("gold-*"))
    # Nothing has changed: the same again would be the same, and another look at the same gold pages.
    assert main(WORDS) == 0
    assert f"nothing new: {model.name}" in capsys.readouterr().out
    assert len(Models(data / "models").all()) == 1


def test_what_passes_the_gate_serves(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(judging, "trial", _saying(promoted=True))
    assert main(WORDS) == 0
    [model] = Models(data / "models").all()
    assert (model.active, model.status) == (True, "promoted")
    assert f"promoted: {model.name}: it is what it is" in capsys.readouterr().out


def test_no_promote_leaves_it_a_candidate(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "trial", _saying(promoted=True))
    assert main([*WORDS, "--no-promote"]) == 0
    [model] = Models(data / "models").all()
    assert (model.active, model.status) == (False, "candidate")
    assert model.verdict is not None
    assert model.verdict.passed


def test_too_few_samples_are_refused_with_what_is_missing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = open_ledger(settings.data_dir)
    teach(store, 4)
    store.engine.dispose()
    settle(settings, monkeypatch)
    assert main(WORDS) == 2
    error = capsys.readouterr().err
    assert "samples on the training side, 8 are needed" in error
    assert "are missing" in error
    ended = last_training(folder_of(settings.data_dir))
    assert ended is not None
    assert ended.result == "failed"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("not json", "is no recipe"),
        ('{"colour": 1}', "unexpected keyword argument 'colour'"),
        ('{"base": "x"}', "base follow from the weights that serve"),
        ('{"corrections": {"hard_share": 0.9}}', "hard_share is 0.9"),
    ],
)
def test_a_recipe_that_cannot_be_used_is_refused_by_name(text: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(text)
    with pytest.raises(TrainingError, match=reason):
        read_recipe(tmp_path / "mine.json")
