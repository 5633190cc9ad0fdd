"""The whole command: from samples to a candidate, its verdict and its promotion; and what it says when it cannot."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import update

from backend.cli import main
from backend.corrections.chronicle import milestones
from backend.corrections.crop_store import fingerprint
from backend.corrections.database import writing
from backend.corrections.journal import Journal
from backend.corrections.outcomes import Outcome
from backend.corrections.tables import sample
from backend.corrections.worker import Worker
from backend.errors import TrainingError
from backend.evaluation.trial import ATTEMPTS_FILE
from backend.labelstudio.annotations import Annotation
from backend.models.promotion import Models
from backend.models.published import Facts, Registry
from backend.models.publishing import documents_of
from backend.pages.page import Page
from backend.settings import Settings
from backend.training.classifier_loop import network_from
from backend.training.export import export_classifier
from backend.training.pagestore import PageStore
from backend.training.quantise import quantise_classifier
from backend.training.retraining.candidate import TENSORS_FILE
from backend.training.retraining.retraining_recipe import read_recipe
from backend.training.retraining.retraining_run import Retraining
from backend.training.retraining.starting import PRIVATE, folder_of, last_training
from backend.vision.network_config import CLASSES, MARKS, NONE, ClassifierConfig, sha256_of
from backend.vision.weights import BUNDLED, CONFIG_FILE, FLOAT_WEIGHTS_FILE, WEIGHTS_FILE, Weights
from tests.corrections.annotating import page_of, saved, send
from tests.models.test_tracking import Recorder
from tests.training.retraining.conftest import TINY
from tests.training.retraining.ledger import KINDS, Kind, open_ledger, teach
from tests.training.retraining.test_gold import named

WORDS = ("train", "--threads", "1", "--jobs", "0")
SAMPLES = 24
EASY: tuple[Kind, ...] = (KINDS[0], KINDS[3], ("stamp", None, Outcome.MOVED))
"""Nothing that was shown under another name: no hard example holds a candidate back."""
GENTLE = {
    "stages": [{"size": 224, "epochs": 1, "learning_rate": 1e-6, "head_only": True}],
    "samples": 96,
    "batch": 16,
    # As much of none as serving expects (NONE_SHARE), so that publishing moves its bias by nothing either.
    "shares": {"drawn/signature": 0.10, "drawn/stamp": 0.15, "drawn/thumb": 0.15, "drawn/none": 0.60},
    "corrections": {"drawn_pages": 11, "least_samples": 8, "factors": dict.fromkeys(MARKS, 1.0)},
}
"""Leaves the bundled weights all but what they are; of eleven drawn pages two are gold, with every class on them."""


def settle(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in settings.as_environment().items():
        monkeypatch.setenv(name, value)


def stopped(data: Path, recipe: dict, kinds: Sequence[Kind]) -> Path:
    """A data folder whose training came to a stop after its candidate was published, before the gate had spoken."""
    store = open_ledger(data)
    teach(store, SAMPLES, kinds=kinds)
    store.engine.dispose()
    (data / "recipe.json").write_text(json.dumps(recipe))
    (data / ATTEMPTS_FILE).write_text("damaged\n")
    with pytest.MonkeyPatch.context() as patch:
        settle(of(data), patch)
        assert main(WORDS) == 2
    (data / ATTEMPTS_FILE).unlink()
    ended = last_training(folder_of(data))
    assert ended is not None
    assert ended.result == "failed"
    assert "line 1, is no attempt" in ended.reason
    return data


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, drawn: Path) -> Path:
    """A candidate that learnt next to nothing waits for the gate."""
    data = tmp_path_factory.mktemp("published") / "data"
    shutil.copytree(drawn, data / "training" / "drawn")
    return stopped(data, TINY, KINDS)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A candidate as good as the bundled weights waits for the gate; what serves is slow, swaps names, shows more."""
    data = stopped(tmp_path_factory.mktemp("good") / "data", GENTLE, EASY)
    network = network_from(BUNDLED / WEIGHTS_FILE)
    swapped = [CLASSES.index(name) for name in ("stamp", "signature", "thumb", "none")]
    network.fc.weight.data, network.fc.bias.data = network.fc.weight.data[swapped], network.fc.bias.data[swapped]
    network.fc.bias.data[NONE] -= 2
    folder = data.with_name("bad")
    folder.mkdir()
    export_classifier(network, folder / WEIGHTS_FILE, half=True)  # unpooled, so that it takes longer than others do
    config = dataclasses.replace(ClassifierConfig.read(BUNDLED / CONFIG_FILE), sha256=sha256_of(folder / WEIGHTS_FILE))
    config.write(folder / CONFIG_FILE)
    promoted(data, folder)
    return data


def promoted(data: Path, folder: Path, *, parent: str | None = "bundled") -> str:
    """Publishes a folder as made of the bundled weights, and lets it serve."""
    models = Models(data / "models")
    name = models.publish(folder, Facts(source="a test", parent=parent)).name
    models.promote(name, why="a test", by="tests", force=True)
    return name


def of(data: Path) -> Settings:
    return Settings(
        data_dir=data,
        model="auto",
        detector="colour",
        retrain_recipe=str(data / "recipe.json"),
        label_studio_url="http://127.0.0.1:9",
        model_threads=1,
    )


def copied(data: Path, to: Path) -> Path:
    """A copy of a data folder; what is changed in place is not shared."""
    shutil.copytree(data, to, copy_function=os.link)
    for name in ("ledger.sqlite3", "models/history.jsonl", "training/state.json", "training/lock", ATTEMPTS_FILE):
        if (data / name).exists():
            text = (data / name).read_bytes()
            (to / name).unlink()
            (to / name).write_bytes(text)
    return to


@pytest.fixture
def data(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, and the environment that names it."""
    copy = copied(published, tmp_path / "data")
    settle(of(copy), monkeypatch)
    return copy


@pytest.fixture
def waiting(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same of the good one."""
    copy = copied(good, tmp_path / "data")
    settle(of(copy), monkeypatch)
    return copy


@pytest.fixture(scope="module")
def judged(good: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The good one after the gate let it pass, and before it is promoted."""
    data = copied(good, tmp_path_factory.mktemp("judged") / "data")
    with pytest.MonkeyPatch.context() as patch:
        settle(of(data), patch)
        assert main([*WORDS, "--no-promote"]) == 0
    return data


@pytest.fixture
def passed(judged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, and the environment that names it."""
    copy = copied(judged, tmp_path / "data")
    settle(of(copy), monkeypatch)
    return copy


def candidate_of(data: Path) -> str:
    """Name of the model that a retraining made."""
    [name] = [one.name for one in Models(data / "models").all() if one.record and one.record.source == "retraining"]
    return name


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
    seen = documents_of(folder)
    assert seen is not None
    drawn = PageStore(published / "training" / "drawn" / "pages").read()
    for page in drawn:
        assert (page.document in seen) is (page.split != "gold")


def test_the_real_gate_is_asked_and_its_no_is_kept_and_told(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKER", f"{Recorder.__module__}:{Recorder.__name__}")
    assert main(WORDS) == 1
    told = list(Recorder.told)
    history = json.loads((data / "models" / candidate_of(data) / "training.json").read_text())["history"]
    assert told[0][0] == candidate_of(data)
    assert [step for step, _ in told[1:-1]] == list(range(len(history)))
    assert told[-1] == "refused"
    Recorder.told.clear()
    said = capsys.readouterr().out
    assert "original card" in said
    assert "gold pages: 0 of annotators' documents, 1 drawn" in said
    assert "FAIL" in said
    assert "refused: " in said
    [model] = Models(data / "models").all()
    assert model.status == "refused"
    assert model.verdict is not None
    assert any("one document alone gives no interval" in reason for reason in model.verdict.reasons)
    [want] = [reason for reason in model.verdict.reasons if "the gold set has 1 document, and about 20 would" in reason]
    assert "annotators' documents: 0, drawn ones: 1; annotate about 130 more" in want
    assert want in said.splitlines()[-1], "the last line is not cut"
    assert main(["models", "show", model.name]) == 0
    told_again = [one["verdict"]["reasons"] for one in json.loads(capsys.readouterr().out)["history"] if one["verdict"]]
    assert [want in reasons for reasons in told_again] == [True]
    assert [want in one.reason for one in milestones(Models(data / "models"))] == [True]
    assert Registry(data / "models").pointed() is None
    ended = last_training(folder_of(data))
    assert ended is not None
    assert (ended.result, ended.model, ended.why) == ("refused", model.name, "by hand")
    assert not list((data / "training").glob("run-*"))
    assert not (data / "training" / PRIVATE).exists()
    # Nothing has changed: the same again would be the same, and another look at the same gold pages.
    assert main(WORDS) == 0
    assert f"nothing new: {model.name}" in capsys.readouterr().out
    assert len(Models(data / "models").all()) == 1
    assert Recorder.told == [], "no training, nothing to tell"


def test_what_passes_the_gate_serves_and_the_same_samples_do_not_train_again(
    waiting: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(WORDS) == 0
    name = candidate_of(waiting)
    model = Models(waiting / "models").get(name)
    assert (model.active, model.status) == (True, "promoted")
    said = capsys.readouterr().out
    assert f"promoted: {name}: " in said
    assert "a candidate, trained for" not in said, "it was there already, made of the same"
    assert model.verdict is not None
    assert model.verdict.figures["end_to_end"]["0.5"]["macro"]["f1"]["value"] > 0
    assert main(WORDS) == 0
    assert f"nothing new: {name}: the same samples made it before" in capsys.readouterr().out


def test_no_promote_leaves_it_a_candidate(good: Path, judged: Path) -> None:
    model = Models(judged / "models").get(candidate_of(judged))
    assert (model.active, model.status) == (False, "candidate")
    assert model.verdict is not None
    assert model.verdict.passed
    assert Registry(judged / "models").pointed() == Registry(good / "models").pointed() is not None


def test_a_promotion_that_was_cut_off_is_made_up_for(passed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Killed between the verdict and the promotion, or not to promote the first time: the gate is not asked again."""
    name = candidate_of(passed)
    attempts = (passed / ATTEMPTS_FILE).read_text()
    assert main([*WORDS, "--no-promote"]) == 0
    assert f"it passed the gate and waits: `models promote {name}`" in capsys.readouterr().out
    assert main(WORDS) == 0
    assert f"promoted: {name}: " in capsys.readouterr().out
    assert Registry(passed / "models").pointed() == name
    assert (passed / ATTEMPTS_FILE).read_text() == attempts
    # Somebody's rollback is not undone.
    Models(passed / "models").rollback(why="a test", by="tests")
    assert main(WORDS) == 0
    assert Registry(passed / "models").pointed() != name


def test_a_promotion_that_was_cut_off_waits_where_another_model_serves_by_now(passed: Path) -> None:
    other = promoted(passed, BUNDLED)
    assert main(WORDS) == 0
    ended = last_training(folder_of(passed))
    assert ended is not None
    assert ended.result == "candidate"
    assert f"but by now {other} serves where MODEL is `auto`" in ended.reason
    assert Registry(passed / "models").pointed() == other


def test_what_passed_beside_a_model_that_serves_no_more_waits(waiting: Path, good: Path) -> None:
    """While the gold pages are fetched, somebody promotes another model."""
    store = open_ledger(waiting)
    journal = Journal(store.engine)
    payload = saved(900, task=900, at=9000.0, result=[])
    payload["task"]["data"]["document"] = named("gold")
    send(journal, payload)
    Worker(engine=store.engine, journal=journal, crops=store.crops, page_of=page_of).work()
    others: list[str] = []

    def meanwhile(annotation: Annotation, index: int) -> Page:
        if not others:
            others.append(promoted(waiting, BUNDLED))
        white = np.full((600, 400, 3), 255, np.uint8)
        return Page(pixels=white, reference=annotation.references[index], index=0)

    result = Retraining(
        settings=of(waiting),
        store=store,
        page_of=meanwhile,
        folder=folder_of(waiting),
        recipe=read_recipe(waiting / "recipe.json"),
        threads=1,
    ).run(promote=True)
    store.engine.dispose()
    [other] = others
    assert result.outcome == "candidate"
    assert f"but by now {other} serves where MODEL is `auto`" in result.reason
    assert Registry(waiting / "models").pointed() == other
    model = Models(waiting / "models").get(result.model)
    assert model.verdict is not None
    assert model.verdict.passed


def test_beside_whole_numbers_a_candidate_is_of_whole_numbers_and_a_leak_is_told(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "int8"
    folder.mkdir()
    crops = np.random.default_rng(1).random((8, 3, 224, 224), np.float32)
    quantise_classifier(Weights.open(BUNDLED, name="bundled"), folder, crops, note="int8, for a test")
    parent = promoted(data, folder)
    # Other samples, one of which is on the gold page, so that training has seen that.
    drawn = PageStore(data / "training" / "drawn" / "pages")
    [gold] = [page for page in drawn.read() if page.split == "gold"]
    store = open_ledger(data)
    teach(store, 10, first=100)
    with writing(store.engine) as connection:
        seen = sample.c.split == "train"
        connection.execute(update(sample).where(seen).values(page_sha256=fingerprint(drawn.pixels(gold))))
    store.engine.dispose()
    assert main(WORDS) == 1
    assert f"it was trained on 1 of the 1 gold documents: {gold.document}" in capsys.readouterr().out
    models = Models(data / "models")
    [made] = [one for one in models.all() if one.record and one.record.parent == parent]
    assert made.record is not None
    place = data / "models" / made.name
    assert b"QuantizeLinear" in (place / WEIGHTS_FILE).read_bytes()
    assert b"QuantizeLinear" not in (place / FLOAT_WEIGHTS_FILE).read_bytes()
    assert ClassifierConfig.read(place / CONFIG_FILE).provenance["numbers"].startswith("int8, calibrated on")
    assert made.record.recipe["base"].startswith("bundled@"), "the root of what serves"


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
        ('{"stages": [{"size": 224, "epochs": 0, "learning_rate": 1e-3}]}', "epochs is 0: a whole number above 0"),
        ('{"batch": 0}', "batch is 0"),
        ('{"samples": "3200"}', "samples is '3200'"),
        ('{"base": "auto"}', "each training would go on from the last"),
        ('{"base": 3}', "base is no name of weights"),
        ('{"colour": 1}', "unexpected keyword argument 'colour'"),
        ('{"pool": 2}', "pool follows from the weights that are started from"),
        ('{"corrections": {"hard_share": 0.9}}', "hard_share is 0.9"),
        ("[]", "it is no object with the recipe's fields"),
        ('{"detector": "off"}', "detector is no object with fields to replace"),
        ('{"detector": {"changes": 1}}', "changes is no object with fields to replace"),
    ],
)
def test_a_recipe_that_cannot_be_used_is_refused_by_name(text: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(text)
    with pytest.raises(TrainingError, match=reason):
        read_recipe(tmp_path / "mine.json")
