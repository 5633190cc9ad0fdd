"""One correction teaches at once: the next crop like a corrected one follows the annotator, and no other crop does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import Engine, select, text

from backend.commands.show_samples import story
from backend.corrections.counts import count, tables
from backend.corrections.crop_store import CropStore
from backend.corrections.database import writing
from backend.corrections.journal import Journal
from backend.corrections.memory import Memory
from backend.corrections.recall import RecallingClassifier
from backend.corrections.remembering import Proposals, ShownPrediction
from backend.corrections.service import Feedback, Store
from backend.corrections.tables import memory as memory_table
from backend.corrections.worker import Worker
from backend.errors import TrainingError
from backend.geometry import Boxes
from backend.labelstudio.annotations import Annotation
from backend.pages.page import Page
from backend.server.status_pages import exposition
from backend.vision.classifier import Classification
from backend.vision.network_config import CLASSES
from tests.corrections.annotating import HEIGHT, WIDTH, deleted, drawn, saved, send, shown

LOGO, SEAL, SEAL_AGAIN = (10.0, 10.0, 110.0, 60.0), (200.0, 300.0, 300.0, 400.0), (250.0, 450.0, 350.0, 550.0)
COLOURS = {LOGO: (200, 60, 20), SEAL: (30, 40, 190), SEAL_AGAIN: (32, 40, 190)}


def page() -> NDArray[np.uint8]:
    """White, with a logo and two seals of almost the same blue; what is cut out of them is of both seals the same."""
    pixels = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    for place, (box, colour) in enumerate(COLOURS.items()):
        x1, y1, x2, y2 = map(int, box)
        pixels[y1:y2, x1:x2] = colour
        pattern = np.random.default_rng(min(place, 1))
        for left, top, size in pattern.integers((4, 4, 4), (80, 40, 14), (24, 3)).tolist():
            pixels[y1 + top : y1 + top + size, x1 + left : x1 + left + size] = 255
    return pixels


class ColourClassifier:
    """Embeds a crop by its mean colour, and takes everything for a stamp."""

    version = "colour-1"
    thresholds = (0.0, 0.0, 0.0)

    def __init__(self, *, certainty: float = 0.9) -> None:
        self.certainty = certainty

    def classify(self, pixels: NDArray[np.uint8], boxes: Boxes) -> Classification:
        embeddings = np.zeros((len(boxes), 512), np.float32)
        for row, (x1, y1, x2, y2) in zip(embeddings, boxes.round().astype(int), strict=True):
            row[:3] = pixels[y1:y2, x1:x2].reshape(-1, 3).mean(axis=0)
        probabilities = np.full((len(boxes), 4), (1 - self.certainty) / 3)
        probabilities[:, CLASSES.index("stamp")] = self.certainty
        return Classification(probabilities, embeddings)


@pytest.fixture
def worker(engine: Engine, tmp_path: Path) -> Worker:
    def page_of(_: Annotation, index: int) -> Page:
        return Page(pixels=page(), reference="drawn", index=index)

    return Worker(engine=engine, journal=Journal(engine), crops=CropStore(str(tmp_path)), page_of=page_of)


def memory_of(worker: Worker, classifier: ColourClassifier, *, distance: float = 0.01) -> Memory:
    return Memory(
        worker.engine,
        worker.crops,
        embed=lambda pixels, boxes: classifier.classify(pixels, boxes).embeddings,
        network=classifier.version,
        distance=distance,
    )


def show(engine: Engine) -> None:
    proposals = [shown("logo", "stamp", LOGO), shown("seal", "stamp", SEAL)]
    Proposals(engine, clock=lambda: 900.0).remember(
        ShownPrediction(task=7, project=1, version="v1", proposals=proposals)
    )


def judged(classifier: RecallingClassifier) -> list[tuple[str, str | None]]:
    """What logo, seal and the second seal are called, and by whose verdict."""
    answer = classifier.classify(page(), np.array([LOGO, SEAL, SEAL_AGAIN]))
    np.testing.assert_allclose(answer.probabilities.sum(axis=1), 1)
    recalled = answer.recalled or (None,) * 3
    return [(CLASSES[row.argmax()], told) for row, told in zip(answer.probabilities, recalled, strict=True)]


def test_a_deleted_logo_is_none_from_then_on_and_the_seals_stay(engine: Engine, worker: Worker) -> None:
    show(engine)
    memory = memory_of(worker, ColourClassifier())
    recalling = RecallingClassifier(ColourClassifier(), memory)
    assert judged(recalling) == [("stamp", None)] * 3
    send(worker.journal, saved(1, task=7, at=950, result=[drawn("seal", "stamp", SEAL)]))
    worker.work()
    assert memory.refresh() == 2
    assert judged(recalling) == [("none", "1-logo"), ("stamp", None), ("stamp", None)]
    assert memory.refresh() == 0


class Nowhere:
    """Nothing in Label Studio is asked for."""

    def pages(self, project: str) -> Any:
        raise AssertionError(project)

    def studio(self, project: str) -> Any:
        raise AssertionError(project)


def feedback_of(worker: Worker, folder: Path, **fields: Any) -> Feedback:
    """The parts of a server process that starts over the ledger; its threads do not run."""
    store = Store(engine=worker.engine, crops=worker.crops, spool=folder / "spool", lookalikes=folder / "lookalikes")
    return Feedback(store, Nowhere(), recall_distance=0.01, **fields)


def test_what_is_learnt_elsewhere_is_followed_where_no_training_can_start(
    engine: Engine, worker: Worker, tmp_path: Path
) -> None:
    def broken() -> None:
        raise TrainingError("its state cannot be read")

    show(engine)
    here = feedback_of(worker, tmp_path, retrain=broken)
    recalling = here.recalling(ColourClassifier())
    send(worker.journal, saved(1, task=7, at=950, result=[drawn("seal", "stamp", SEAL)]))
    worker.work()
    with pytest.raises(TrainingError):
        here._learn()
    assert judged(recalling)[0] == ("none", "1-logo")


def test_a_server_that_starts_again_follows_what_was_learnt_from_its_first_page_on(
    engine: Engine, worker: Worker, tmp_path: Path
) -> None:
    show(engine)
    send(worker.journal, saved(1, task=7, at=950, result=[drawn("seal", "stamp", SEAL)]))
    worker.work()
    first = feedback_of(worker, tmp_path)
    assert judged(first.recalling(ColourClassifier()))[0] == ("stamp", None), "its threads have not learnt it yet"
    first.catch_up()
    again = feedback_of(worker, tmp_path)
    assert judged(again.recalling(ColourClassifier()))[0] == ("none", "1-logo")


def test_what_was_learnt_and_not_planned_before_a_kill_is_news_to_the_next_process(
    engine: Engine, worker: Worker
) -> None:
    show(engine)
    send(worker.journal, saved(1, task=7, at=950, result=[drawn("seal", "stamp", SEAL)]))
    worker.work()
    killed = memory_of(worker, ColourClassifier())
    killed.refresh()
    assert killed.news() == ("1-logo",)
    again = memory_of(worker, ColourClassifier())
    again.refresh()
    assert again.news() == ("1-logo",), "the accepted seal corrects nothing"
    again.planned(news="1-logo")
    again.refresh()
    assert (again.news(), again.undone()) == ((), ())


@pytest.mark.parametrize(
    "left",
    [
        # the box was not deleted after all
        [drawn("logo", "stamp", LOGO), drawn("seal", "stamp", SEAL)],
        # it was renamed
        [drawn("logo", "signature", LOGO), drawn("seal", "stamp", SEAL)],
    ],
)
def test_the_end_of_a_correction_is_told_until_it_is_planned(
    engine: Engine, worker: Worker, left: list[dict[str, Any]]
) -> None:
    show(engine)
    memory = memory_of(worker, ColourClassifier())
    send(worker.journal, saved(1, task=7, at=950, result=[drawn("seal", "stamp", SEAL)]))
    worker.work()
    memory.refresh()
    assert memory.undone() == ()
    send(worker.journal, saved(1, task=7, at=960, result=left))
    worker.work()
    memory.refresh()
    assert memory.undone() == ("1-logo",)
    memory.planned(undone="1-logo")
    memory.refresh()
    assert memory.undone() == ()


def test_a_ledger_that_is_away_at_the_start_keeps_no_model_from_serving(
    engine: Engine, worker: Worker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with writing(engine) as connection:
        connection.execute(text("ALTER TABLE remembered_crop RENAME TO away"))
    feedback = feedback_of(worker, tmp_path)
    recalling = feedback.recalling(ColourClassifier())
    assert "once the ledger is back" in caplog.text
    assert judged(recalling) == [("stamp", None)] * 3


def test_boxes_that_are_not_shown_because_of_a_correction_are_counted(engine: Engine, worker: Worker) -> None:
    show(engine)
    memory = memory_of(worker, ColourClassifier())
    recalling = RecallingClassifier(ColourClassifier(), memory, suppressed=memory.count_suppressed)
    send(worker.journal, saved(1, task=7, at=950, result=[drawn("seal", "stamp", SEAL)]))
    worker.work()
    memory.refresh()
    part = (10.0, 10.0, 110.0, 55.0)  # a candidate within the logo, which would have made no second box
    for _ in range(3):
        recalling.classify(page(), np.array([LOGO, part, SEAL, SEAL_AGAIN]))
    memory.refresh()
    assert count(engine).suppressed == 3
    recalling.classify(page(), np.array([SEAL]))
    doubtful = RecallingClassifier(ColourClassifier(certainty=0.4), memory, suppressed=memory.count_suppressed)
    doubtful.classify(page(), np.array([LOGO]))  # this one would not have been shown anyway
    memory.refresh()
    facts = count(engine)
    assert (facts.suppressed, facts.as_json()["suppressed"]) == (3, 3)
    assert "; recall kept 3 boxes from being shown" in tables(facts)
    assert b"contract_marks_suppressed_boxes 3.0" in exposition(engine)
    with engine.connect() as connection:
        assert "kept 3 boxes that look like it from being shown" in story(connection, "1-logo")
        assert "from being shown" not in story(connection, "1-seal")


def test_a_relabelled_mark_is_called_so_wherever_it_looks_the_same(engine: Engine, worker: Worker) -> None:
    show(engine)
    left = [drawn("logo", "stamp", LOGO), drawn("seal", "thumb", SEAL)]
    send(worker.journal, saved(1, task=7, at=950, result=left))
    worker.work()
    memory = memory_of(worker, ColourClassifier())
    memory.refresh()
    assert judged(RecallingClassifier(ColourClassifier(), memory)) == [
        ("stamp", None),
        ("thumb", "1-seal"),
        ("thumb", "1-seal"),
    ]


def test_a_retracted_correction_is_forgotten_and_a_changed_one_learnt_anew(engine: Engine, worker: Worker) -> None:
    show(engine)
    memory = memory_of(worker, ColourClassifier())
    recalling = RecallingClassifier(ColourClassifier(), memory)
    send(worker.journal, saved(1, task=7, at=950, result=[drawn("seal", "thumb", SEAL), drawn("logo", "stamp", LOGO)]))
    worker.work()
    memory.refresh()
    # the same region is moved onto the logo: same sample, same label, another crop
    moved = [drawn("seal", "thumb", LOGO), drawn("logo", "stamp", LOGO)]
    again = saved(1, task=7, at=960, created=950, result=moved[:1], action="ANNOTATION_UPDATED")
    send(worker.journal, again)
    worker.work()
    assert memory.refresh() > 0
    assert judged(recalling)[1:] == [("stamp", None), ("stamp", None)]
    assert judged(recalling)[0][0] == "thumb"
    send(worker.journal, deleted(1))
    worker.work()
    memory.refresh()
    assert judged(recalling) == [("stamp", None)] * 3
    assert len(memory) == 0


def remembered(worker: Worker) -> set[str]:
    memory = memory_of(worker, ColourClassifier())
    memory.refresh()
    with worker.engine.connect() as connection:
        return set(connection.execute(select(memory_table.c.sample)).scalars())


def test_who_never_saw_the_box_did_not_reject_it(engine: Engine, worker: Worker) -> None:
    proposals = [shown("logo", "stamp", LOGO)]
    Proposals(engine, clock=lambda: 900.0).remember(
        ShownPrediction(task=7, project=1, version="v1", proposals=proposals)
    )
    from_scratch = saved(1, task=7, at=950, result=[drawn("mine", "stamp", SEAL)], parent_prediction=None)
    send(worker.journal, from_scratch)
    worker.work()
    assert remembered(worker) == {"1-mine"}


def test_annotators_who_contradict_each_other_teach_nothing(engine: Engine, worker: Worker) -> None:
    show(engine)
    logo = drawn("logo", "stamp", LOGO)
    for annotator, label in ((1, "stamp"), (2, "thumb")):
        left = [logo, drawn("seal", label, SEAL)]
        send(worker.journal, saved(annotator, task=7, at=950, result=left, completed_by=annotator))
    worker.work()
    assert remembered(worker) == {"1-logo", "2-logo"}


def test_another_network_does_not_use_these_embeddings(engine: Engine, worker: Worker) -> None:
    show(engine)
    send(worker.journal, saved(1, task=7, at=950, result=[]))
    worker.work()
    memory_of(worker, ColourClassifier()).refresh()
    other = ColourClassifier()
    other.version = "colour-2"
    memory = memory_of(worker, other)
    assert len(memory) == 0
    assert memory.refresh() == 2


def test_what_one_process_learnt_another_takes_over_without_embedding_it_again(engine: Engine, worker: Worker) -> None:
    show(engine)
    send(worker.journal, saved(1, task=7, at=950, result=[]))
    worker.work()
    memory_of(worker, ColourClassifier()).refresh()

    def embed(*_: object) -> NDArray[np.float32]:
        raise AssertionError("it is in the table")

    second = Memory(engine, worker.crops, embed=embed, network=ColourClassifier.version, distance=0.01)
    assert second.refresh() == 0
    assert judged(RecallingClassifier(ColourClassifier(), second))[0] == ("none", "1-logo")


@pytest.mark.parametrize(("box", "looked"), [(SEAL, 0), ((200.0, 300.0, 290.0, 400.0), 1)])
def test_the_very_crop_is_not_looked_at_again_when_its_annotation_is_saved_anew(
    engine: Engine, worker: Worker, box: tuple[float, float, float, float], looked: int
) -> None:
    show(engine)
    classifier = ColourClassifier()
    memory = memory_of(worker, classifier)
    send(worker.journal, saved(1, task=7, at=950, result=[drawn("seal", "thumb", SEAL)]))
    worker.work()
    memory.refresh()
    before = stored(worker)
    seen: list[Boxes] = []

    def embed(pixels: NDArray[np.uint8], boxes: Boxes) -> NDArray[np.float32]:
        seen.append(boxes)
        return classifier.classify(pixels, boxes).embeddings

    memory = Memory(engine, worker.crops, embed=embed, network=classifier.version, distance=0.01)
    changed = saved(1, task=7, at=960, result=[drawn("seal", "signature", box)], action="ANNOTATION_UPDATED")
    copy = saved(2, task=8, at=970, result=[drawn("seal", "signature", box)])
    send(worker.journal, changed, copy)
    worker.work()
    while memory.refresh():
        pass

    assert len(seen) == looked
    assert stored(worker)["1-seal"][0] == "signature"
    assert stored(worker)["1-seal"] == stored(worker)["2-seal"]
    assert (stored(worker)["1-seal"][1:] == before["1-seal"][1:]) is (looked == 0)


def stored(worker: Worker) -> dict[str, tuple[Any, ...]]:
    """By sample: label, embedding, picture and place."""
    columns = [memory_table.c[name] for name in ("sample", "label", "embedding", "picture", "place")]
    with worker.engine.connect() as connection:
        return {name: (label, *looks) for name, label, *looks in connection.execute(select(*columns))}


@pytest.mark.parametrize(
    ("distance", "certainty", "verdict"),
    [
        (0.01, 0.9, ("thumb", "1-seal")),
        (0.0, 0.9, ("stamp", None)),  # switched off
        (1e-9, 0.9, ("stamp", None)),  # the second seal is a little different
    ],
)
def test_the_distance_decides_what_counts_as_the_same(
    engine: Engine, worker: Worker, distance: float, certainty: float, verdict: tuple[str, str | None]
) -> None:
    show(engine)
    send(worker.journal, saved(1, task=7, at=950, result=[drawn("seal", "thumb", SEAL), drawn("logo", "stamp", LOGO)]))
    worker.work()
    classifier = ColourClassifier(certainty=certainty)
    memory = memory_of(worker, classifier, distance=distance)
    memory.refresh()
    assert judged(RecallingClassifier(classifier, memory))[2] == verdict


def test_nothing_to_judge_is_nothing_to_recall(worker: Worker) -> None:
    recalling = RecallingClassifier(ColourClassifier(), memory_of(worker, ColourClassifier()))
    answer = recalling.classify(page(), np.zeros((0, 4)))
    assert (len(answer), answer.recalled) == (0, ())
