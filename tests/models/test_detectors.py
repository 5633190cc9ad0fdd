"""The gate judges a detector by what pages look like with it: a worse one is refused and told why, a better serves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backend.cli import main
from backend.evaluation.trial import MORE_GOLD
from backend.models.promotion import Models
from backend.models.published import Facts, Registry
from backend.models.publishing import DOCUMENTS_FILE, carry_refiner, documents_of
from backend.models.serving import Serving
from backend.pages.source import from_path
from backend.settings import Settings
from backend.vision.box_refiner import RefinerConfig
from backend.vision.engine import Fusion
from backend.vision.finders import build_detector
from backend.vision.network_config import sha256_of
from backend.vision.pipeline import Marks
from backend.vision.weights import (
    BUNDLED,
    CONFIG_FILE,
    DETECTOR_WEIGHTS_FILE,
    REFINER_CONFIG_FILE,
    REFINER_WEIGHTS_FILE,
    WEIGHTS_FILE,
)
from tests.models.detectors import ink_detector, write_refiner
from tests.models.tiny import says

INKS = {"signature": (0, 255, 255), "stamp": (255, 0, 255), "thumb": (255, 255, 0)}
PALE = (255, 230, 255)
HEIGHT, WIDTH, DPI = 576, 416, 50  # the resolution that detectors look at
SIDE, CELL = 40, 8
DOCUMENTS = 6
REACH = SIDE / 2
SMALL = REACH / 2
FUSION = Fusion(classified=0.0, seen=1.0, biases=(0.5, 0.5, 0.5))
"""The detector alone decides, so that what the gate says is about it."""


@pytest.fixture
def gold(tmp_path: Path) -> Path:
    """A folder of pages, each a document: a mark in each ink, pale and full in the middle, and two pale spots."""
    folder = tmp_path / "gold"
    folder.mkdir()
    rng = np.random.default_rng(3)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number in range(DOCUMENTS):
        page = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
        for top in (80, 240):
            page[top : top + 3 * CELL, 360 : 360 + 3 * CELL] = PALE
        for place, ink in enumerate(INKS.values()):
            left, top = 40 + 120 * place, 40 + CELL * int(rng.integers(0, 55))
            middle = (SIDE - CELL) // 2
            page[top : top + SIDE, left : left + SIDE] = 255 - (255 - np.array(ink)) // 10
            page[top + middle : top + middle + CELL, left + middle : left + middle + CELL] = ink
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": place,
                    "bbox": [left, top, SIDE, SIDE],
                }
            )
        Image.fromarray(page).save(folder / f"{number}.png", dpi=(DPI, DPI))
        images.append({"id": number, "file_name": f"{number}.png", "width": WIDTH, "height": HEIGHT})
    categories = [{"id": place, "name": name} for place, name in enumerate(INKS)]
    coco = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "gold.json").write_text(json.dumps(coco))
    return folder


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    given = Settings(data_dir=tmp_path / "data", model="auto", detector="model", model_threads=1)
    for name, value in given.as_environment().items():
        monkeypatch.setenv(name, value)
    return given


@pytest.fixture
def champion(settings: Settings, tmp_path: Path) -> str:
    """What serves: its boxes around thumbs are too small.

    It looks at three times as many pixels of a page as the others of these tests, so that it takes longer than they do:
    whatever else the machine has to do, latency is not what they are refused for.
    """
    folder = says("stamp", tmp_path / "champion")
    reach = [[one * 0.508 / 0.3] * 4 for one in (REACH, REACH, SMALL)]
    ink_detector(folder, reach, fusion=FUSION, pixel_mm=0.3)
    (folder / DOCUMENTS_FILE).write_text("the classifier's contract\n")
    models = Models(settings.data_dir / "models")
    record = models.publish(folder, Facts(source="a test"))
    models.promote(record.name, why="a test", by="tests", force=True)
    return record.name


def detector(
    folder: Path, *, stamp: float = REACH, documents: str | None = "another contract\n", **facts: object
) -> Path:
    """A folder with a detector alone; its boxes around signatures and thumbs are right."""
    ink_detector(folder, [[REACH] * 4, [stamp] * 4, [REACH] * 4], **{"fusion": FUSION, **facts})
    if documents is not None:
        (folder / DOCUMENTS_FILE).write_text(documents)
    return folder


def publish(folder: Path, settings: Settings) -> str:
    before = set(Registry(settings.data_dir / "models").names())
    assert main(["models", "publish", str(folder)]) == 0
    [name] = set(Registry(settings.data_dir / "models").names()) - before
    return name


def judge(name: str, gold: Path, *more: str) -> int:
    return main(["models", "judge", name, "--coco", str(gold / "gold.json"), "--images", str(gold), *more])


def shown(marks: Marks) -> dict[str, list[float]]:
    return {name: box.round().tolist() for name, box in zip(marks.names, marks.boxes, strict=True)}


@pytest.mark.parametrize(
    ("facts", "reasons"),
    [
        # Its boxes around stamps are too small, those around thumbs are right: as many are won as are lost.
        ({"stamp": SMALL}, ("recall of stamp 1.000 → 0.000",)),
        # It finds no mark at all.
        ({"least_heat": 0.999}, ("no gain", "recall of signature 1.000 → 0.000")),
        # It takes the pale spots for marks, too.
        ({"least_heat": 0.05, "fusion": Fusion(classified=0.0, seen=1.0, biases=(5.0, 5.0, 5.0))}, ("false boxes",)),
        # It learnt from two of the pages that it is judged on.
        ({"documents": "3\n5\n"}, ("trained on 2 of the 6 gold documents: 3, 5",)),
        # Nobody knows what it learnt from.
        ({"documents": None}, ("nobody says which documents",)),
    ],
)
def test_a_worse_detector_is_refused_and_told_why(  # noqa: PLR0917  pytest hands them over by name
    facts: dict[str, object],
    reasons: tuple[str, ...],
    champion: str,
    gold: Path,
    settings: Settings,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = publish(detector(tmp_path / "worse", **facts), settings)  # type: ignore[arg-type]
    assert judge(name, gold, "--promote") == 1
    model = Models(settings.data_dir / "models").get(name)
    assert (model.status, model.active) == ("refused", False)
    assert model.verdict is not None
    said, printed = "; ".join(model.verdict.reasons), capsys.readouterr().out
    assert all(reason in said for reason in reasons), said
    assert all(reason in printed for reason in reasons[:1])
    too_few = model.verdict.figures["needs"] is not None
    assert (MORE_GOLD in printed, MORE_GOLD in said) == (too_few, too_few)
    assert main(["models", "promote", name]) == 2
    assert f"the gate refused {name}" in capsys.readouterr().err
    assert Registry(settings.data_dir / "models").active() == champion


def test_a_better_detector_is_promoted_and_serves_the_next_page(
    champion: str, gold: Path, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    serving = Serving(settings)
    serving.load()
    page = next(from_path(gold / "0.png", settings))
    before = serving.pipeline().marks(page)
    better = publish(detector(tmp_path / "better"), settings)
    assert judge(better, gold, "--promote") == 0
    assert "recall of thumb 0.000 → 1.000" in capsys.readouterr().out
    serving.look()
    after = serving.pipeline().marks(page)
    old, new = shown(before), shown(after)
    assert set(old) == set(new) == set(INKS)
    for name in ("signature", "stamp"):
        assert old[name] == pytest.approx(new[name], abs=CELL)
    left, top, right, bottom = new["thumb"]
    assert (right - left, bottom - top) == (SIDE, SIDE)
    assert old["thumb"][2] - old["thumb"][0] == SIDE / 2
    # Both networks have their part in the version: that of the classifier, which is the same, and the detector's own.
    classifier, network = after.version.removeprefix(better).split(".model-")
    assert before.version.removeprefix(champion).split(".model-")[0] == classifier
    assert network != before.version.split(".model-")[1]
    assert serving.state()["model_version"] == after.version
    model = Models(settings.data_dir / "models").get(better)
    assert model.verdict is not None
    assert model.verdict.figures["challenger"] == after.version


def test_a_detector_alone_goes_with_the_classifier_that_serves(
    champion: str, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = publish(detector(tmp_path / "new"), settings)
    assert f"with {WEIGHTS_FILE} and {CONFIG_FILE} of {champion}" in capsys.readouterr().out
    made, served = (settings.data_dir / "models" / one for one in (name, champion))
    assert sha256_of(made / WEIGHTS_FILE) == sha256_of(served / WEIGHTS_FILE)
    assert sha256_of(made / DETECTOR_WEIGHTS_FILE) == sha256_of(tmp_path / "new" / DETECTOR_WEIGHTS_FILE)
    record = Models(settings.data_dir / "models").get(name).record
    assert record is not None
    assert set(record.files) == {WEIGHTS_FILE, CONFIG_FILE, DETECTOR_WEIGHTS_FILE, "detector.json", DOCUMENTS_FILE}


def test_a_refiner_of_its_own_goes_with_the_detector_and_with_what_is_made_of_it(
    champion: str, settings: Settings, tmp_path: Path
) -> None:
    new = detector(tmp_path / "new", refined=True)
    write_refiner(new)
    name = publish(new, settings)
    own = RefinerConfig.read(settings.data_dir / "models" / name / REFINER_CONFIG_FILE)
    assert build_detector("model", settings.data_dir / "models" / name).facts["refiner"] == own.digest
    Models(settings.data_dir / "models").promote(name, why="a test", by="tests", force=True)
    later = settings.data_dir / "models" / publish(says("signature", tmp_path / "later"), settings)
    assert sha256_of(later / REFINER_WEIGHTS_FILE) == own.sha256
    whole = tmp_path / "whole"
    whole.mkdir()
    carry_refiner(later, whole)
    carry_refiner(settings.data_dir / "models" / champion, whole)  # it has none: what is there stays
    carry_refiner(BUNDLED, whole)  # the program's own comes with the program
    assert RefinerConfig.read(whole / REFINER_CONFIG_FILE) == own


def test_a_refiner_that_is_not_whole_is_refused(
    champion: str, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del champion, settings
    new = detector(tmp_path / "new", refined=True)
    write_refiner(new)
    (new / REFINER_WEIGHTS_FILE).write_bytes(b"")
    assert main(["models", "publish", str(new)]) == 2
    assert "refiner.onnx" in capsys.readouterr().err


def test_a_classifier_alone_goes_with_the_detector_that_serves(
    champion: str, settings: Settings, tmp_path: Path
) -> None:
    name = publish(says("signature", tmp_path / "new"), settings)
    made, served = (settings.data_dir / "models" / one for one in (name, champion))
    assert sha256_of(made / DETECTOR_WEIGHTS_FILE) == sha256_of(served / DETECTOR_WEIGHTS_FILE)
    assert sha256_of(made / WEIGHTS_FILE) != sha256_of(served / WEIGHTS_FILE)


def test_a_folder_without_a_network_and_one_with_half_of_one_are_refused(
    champion: str, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["models", "publish", str(tmp_path / "empty")]) == 2
    assert f"holds no {WEIGHTS_FILE} and no {DETECTOR_WEIGHTS_FILE}" in capsys.readouterr().err
    half = detector(tmp_path / "half")
    (half / DETECTOR_WEIGHTS_FILE).unlink()
    assert main(["models", "publish", str(half)]) == 2
    assert Registry(settings.data_dir / "models").names() == [champion]


def test_a_link_is_not_followed(champion: str, settings: Settings, tmp_path: Path) -> None:
    folder = detector(tmp_path / "linked")
    (tmp_path / "secret").write_text("somebody's")
    (folder / "notes.txt").symlink_to(tmp_path / "secret")
    assert main(["models", "publish", str(folder)]) == 2
    assert Registry(settings.data_dir / "models").names() == [champion]


def test_what_serves_is_not_judged_beside_itself(champion: str, gold: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert judge(champion, gold) == 2
    assert f"{champion} serves already" in capsys.readouterr().err


def test_documents_may_be_named_by_hand(champion: str, gold: Path, settings: Settings, tmp_path: Path) -> None:
    name = publish(detector(tmp_path / "better", documents=None), settings)
    (tmp_path / "seen.txt").write_text("4\n")
    assert judge(name, gold, "--seen", str(tmp_path / "seen.txt")) == 1
    (tmp_path / "seen.txt").write_text("another contract\n")
    assert judge(name, gold, "--seen", str(tmp_path / "seen.txt"), "--why", "they say so") == 0
    models = Models(settings.data_dir / "models")
    assert models.get(name).status == "candidate"
    assert models.events()[-1].why == "1 documents that its training saw were named by hand: they say so"
    (tmp_path / "seen.txt").write_text("\n")
    assert judge(name, gold, "--seen", str(tmp_path / "seen.txt")) == 2


def test_what_is_named_by_hand_takes_nothing_from_what_is_known(
    champion: str, gold: Path, settings: Settings, tmp_path: Path
) -> None:
    name = publish(detector(tmp_path / "leaked", documents="3\n"), settings)
    (tmp_path / "seen.txt").write_text("another contract\n")
    for said in (str(tmp_path / "seen.txt"), "none"):
        assert judge(name, gold, "--seen", said, "--why", "somebody's word") == 1
        verdict = Models(settings.data_dir / "models").get(name).verdict
        assert verdict is not None
        assert any("trained on 1 of the 6 gold documents: 3" in reason for reason in verdict.reasons)


@pytest.mark.parametrize("known", [True, False])
def test_what_the_other_networks_training_saw_is_known_or_nothing_is(
    known: bool, champion: str, settings: Settings, tmp_path: Path
) -> None:
    served = settings.data_dir / "models" / champion / DOCUMENTS_FILE
    if not known:
        served.parent.chmod(0o755)
        served.unlink()
        record = served.with_name("record.json")
        record.chmod(0o644)
        facts = json.loads(record.read_text())
        del facts["files"][DOCUMENTS_FILE]
        record.write_text(json.dumps(facts))
    name = publish(detector(tmp_path / "new"), settings)
    assert documents_of(settings.data_dir / "models" / name) == (
        {"another contract", "the classifier's contract"} if known else None
    )


def test_what_passed_beside_another_model_than_auto_serves_does_not_take_that_ones_place(  # noqa: PLR0917  as above
    champion: str,
    gold: Path,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    better = publish(detector(tmp_path / "better"), settings)
    folder = says("stamp", tmp_path / "other")
    ink_detector(folder, [[2 * SMALL] * 4] * 3, fusion=FUSION, pixel_mm=0.254)
    other = Models(settings.data_dir / "models").publish(folder, Facts(source="a test"))
    monkeypatch.setenv("MODEL", other.name)
    assert judge(better, gold, "--promote") == 2
    assert f"{better} was judged beside {other.name}, but by now {champion} serves" in capsys.readouterr().err
    assert Registry(settings.data_dir / "models").active() == champion
    monkeypatch.setenv("MODEL", "auto")
    assert judge(better, gold, "--promote") == 0
    assert Registry(settings.data_dir / "models").active() == better
