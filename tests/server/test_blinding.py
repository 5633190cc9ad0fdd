"""A share of documents is served without boxes: the same ones for ever, a fair sample, and never by mistake."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest

from backend.corrections.shown import is_blind, origin_of
from backend.corrections.splits import document_key, split_of
from backend.errors import LedgerError
from backend.labelstudio.connections import Connections
from backend.labelstudio.labelling import bind
from backend.server.predictor import Predictor
from backend.settings import Settings
from tests.server.conftest import VERSION, MemoryLedger, MemoryPages, ToldPipeline, ToldServing, found

CONFIG = (
    '<View><Image name="page" value="$image"/><RectangleLabels name="mark" toName="page">'
    '<Label value="signature"/><Label value="stamp"/><Label value="thumb"/></RectangleLabels></View>'
)
DOCUMENTS = [f"document contract {number}" for number in range(20_000)]
PINNED = [0, 5, 14, 29, 32, 40, 48, 52, 55]
STAMP = found(("stamp", (20, 20, 60, 40), 0.9), certainty=0.4)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.5, 1.0])
def test_the_share_is_kept_within_what_chance_allows(share: float) -> None:
    blind = sum(is_blind(one, share=share) for one in DOCUMENTS)
    four_sigma = 4 * math.sqrt(len(DOCUMENTS) * share * (1 - share))
    assert abs(blind - share * len(DOCUMENTS)) <= four_sigma


def test_the_choice_is_of_today_and_for_ever() -> None:
    """Another one would let somebody see boxes on a page that was blind yesterday, and the other way round."""
    assert [n for n, one in enumerate(DOCUMENTS[:60]) if is_blind(one, share=0.1)] == PINNED
    words = "import sys; from backend.corrections.shown import is_blind; "
    words += "print([n for n in range(60) if is_blind(f'document contract {n}', share=0.1)])"
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(PINNED)


def test_documents_of_a_smaller_share_are_among_those_of_a_larger() -> None:
    small, large = ({one for one in DOCUMENTS if is_blind(one, share=share)} for share in (0.05, 0.1))
    assert small < large


def test_blind_documents_are_on_all_sides_of_the_split_as_the_others_are() -> None:
    names = [f"contract {number}" for number in range(20_000)]
    blind = [name for name in names if is_blind(origin_of({"document": name}, []), share=0.1)]
    sides = [split_of(document_key(name, ())) for name in blind]
    for side, share in (("train", 0.7), ("validation", 0.15), ("gold", 0.15)):
        assert abs(sides.count(side) - share * len(sides)) <= 4 * math.sqrt(len(sides) * share * (1 - share))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        # Two parts of one document, by its content.
        ({"document_sha256": "ab", "image": "p1"}, {"document_sha256": "ab", "image": "p2"}, True),
        # The same content under another name.
        ({"document_sha256": "ab", "document": "a.pdf"}, {"document_sha256": "ab", "document": "b.pdf"}, True),
        # Two parts of one document, by its name.
        ({"document": "a.pdf", "image": "p1"}, {"document": "a.pdf", "image": "p2"}, True),
        # Nobody says of which document: each task stands for itself, whatever else its data says.
        ({"image": "p1"}, {"image": "p2"}, False),
        ({"image": "p1", "note": "read"}, {"image": "p1"}, True),
        # A name that is none.
        ({"document": "", "image": "p1"}, {"document": None, "image": "p1"}, True),
    ],
)
def test_what_a_task_is_of(one: dict, other: dict, same: bool) -> None:
    origins = [origin_of(data, [data.get("image", "")]) for data in (one, other)]
    assert (origins[0] == origins[1]) is same


def predictor(ledger: MemoryLedger, *, share: float, pages: MemoryPages | None = None) -> Predictor:
    settings = Settings(blind_share=share, confidence=0.5)
    pipeline = ToldPipeline(on_page={f"page {place}": STAMP for place in range(200)})
    connections = Connections(settings, source=pages or MemoryPages())
    return Predictor(settings, ToldServing(pipeline), connections, ledger=ledger)


def tasks(count: int) -> list[dict]:
    return [{"id": 1 + place, "data": {"image": f"page {place}"}} for place in range(count)]


def test_a_blind_task_gets_an_empty_prediction_and_the_ledger_what_was_found() -> None:
    ledger = MemoryLedger()
    version, predictions = predictor(ledger, share=0.3).predict(tasks(100), bind(CONFIG, confidence=0.5), project="1")
    chosen = [is_blind(origin_of({}, [f"page {place}"]), share=0.3) for place in range(100)]
    assert 10 < sum(chosen) < 60
    assert [not one["result"] for one in predictions] == chosen
    assert version == VERSION
    # Label Studio stores what has a result, be it empty, and asks no more; it sorts blind tasks among the others.
    assert {(one["model_version"], one["score"]) for one in predictions} == {(VERSION, 0.4)}
    assert [told["blind"] for told in ledger.shown] == chosen
    assert all(len(told["proposals"]) == 1 for told in ledger.shown)


def test_other_processes_and_other_models_choose_the_same_tasks() -> None:
    chosen = []
    for version in ("one", "two"):
        one = predictor(MemoryLedger(), share=0.3)
        one.serving.pipeline(timeout=0).version = version
        _, predictions = one.predict(tasks(100), bind(CONFIG, confidence=0.5), project="1")
        chosen.append([not prediction["result"] for prediction in predictions])
    assert chosen[0] == chosen[1]


def test_without_a_share_every_task_has_its_boxes() -> None:
    ledger = MemoryLedger()
    _, predictions = predictor(ledger, share=0).predict(tasks(100), bind(CONFIG, confidence=0.5), project="1")
    assert all(one["result"] for one in predictions)
    assert not any(told["blind"] for told in ledger.shown)


def test_what_an_annotator_draws_is_answered_on_blind_tasks_as_well() -> None:
    ledger = MemoryLedger()
    drawn = {"id": "r", "from_name": "label", "to_name": "image", "type": "rectanglelabels",
             "value": {"x": 5, "y": 5, "width": 50, "height": 50, "rectanglelabels": ["stamp"]}}  # fmt: skip
    one = predictor(ledger, share=1)
    _, prediction = one.refine(tasks(1)[0], [drawn], bind(CONFIG, confidence=0.5), project="1")
    assert [region["value"]["rectanglelabels"] for region in prediction["result"]] == [["stamp"]]
    assert [(told["drawn"], told["blind"]) for told in ledger.shown] == [(True, False)]


def test_a_task_without_an_id_is_not_hidden() -> None:
    """As in a preview: nobody could tell later that it was blind."""
    task = {"data": {"image": "page 0"}}
    _, [prediction] = predictor(MemoryLedger(), share=1).predict([task], bind(CONFIG, confidence=0.5), project="1")
    assert prediction["result"]


@pytest.mark.parametrize("share", [0, 1])
def test_a_task_that_cannot_be_remembered_is_not_done_yet(share: float) -> None:
    ledger = MemoryLedger(failure=LedgerError("the disk is full"))
    _, predictions = predictor(ledger, share=share).predict(tasks(1), bind(CONFIG, confidence=0.5), project="1")
    assert predictions == [[]]


def test_a_task_that_names_no_page_is_not_blind_but_open() -> None:
    ledger = MemoryLedger()
    _, [prediction] = predictor(ledger, share=1).predict([{"id": 1, "data": {}}], bind(CONFIG), project="1")
    assert prediction == []
    assert not ledger.shown
