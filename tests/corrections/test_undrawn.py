"""What the editor cannot have drawn was not deleted: images and controls of the label config are renamed or exchanged.

As seen in Label Studio 1.23.2, whose editor leaves out a region of an image that has another name now. One of a renamed
control loses its label, and is handed back under another control of that image.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from backend.corrections.crop_store import CropStore
from backend.corrections.journal import Journal
from backend.corrections.remembering import Proposals, ShownPrediction
from backend.corrections.worker import Worker
from backend.labelstudio.project_annotations import task_parent
from backend.labelstudio.vocabulary import DrawnBy, could_show
from tests.corrections import annotating
from tests.corrections.annotating import CONFIG, A, B, drawn, samples, saved, send, shown
from tests.corrections.studio import PROJECT, Studio

TAGS = DrawnBy(control="mark", image="page", kind="rectanglelabels")
IMAGE = CONFIG.replace('"page"', '"scan"')
CONTROL = CONFIG.replace('"mark"', '"box"')
LABEL_TOO = CONTROL.replace('"Seal"', '"Siegel"')
BRUSH = CONFIG.replace("RectangleLabels", "BrushLabels").replace('"mark"', '"paint"')
PARTED = CONFIG.replace("<RectangleLabels", '<Rectangle name="rect" toName="page"/><Labels').replace(
    "</RectangleLabels", "</Labels"
).replace('"mark"', '"kinds"')  # fmt: skip


@pytest.mark.parametrize(
    ("config", "drawn_there"),
    [
        (CONFIG, True),
        (IMAGE, False),
        (CONTROL, True),
        (LABEL_TOO, True),
        (BRUSH, False),  # nothing there draws rectangles
        (BRUSH.replace('"paint"', '"mark"'), True),  # the name is there
        (PARTED, True),
        ("<View", False),
    ],
)
def test_which_regions_the_editor_draws(config: str, *, drawn_there: bool) -> None:
    assert could_show(config, TAGS) is drawn_there


@pytest.mark.parametrize("flag", ["{{idx}}", "{{n}}", "IDX"])
def test_a_repeater_numbers_its_names(flag: str) -> None:
    repeated = (
        f'<View><Repeater on="$pages" indexFlag="{flag}"><Image name="page_{flag}" value="$pages[{flag}].url"/>'
        f'<RectangleLabels name="mark_{flag}" toName="page_{flag}"><Label value="stamp"/></RectangleLabels></Repeater>'
        "</View>"
    )
    for tags, drawn_there in {
        ("mark_3", "page_3"): True,
        ("mark_12", "page_12"): True,
        ("kind_0", "page_0"): True,  # it goes to the control that is there now
        ("mark_x", "page_x"): False,
        ("mark_", "page_"): False,
        ("mark", "page"): False,
    }.items():
        one = DrawnBy(control=tags[0], image=tags[1], kind="rectanglelabels")
        assert could_show(repeated, one) is drawn_there, tags


class Ledger:
    """One that remembered what was shown, or that asks Label Studio for it."""

    def __init__(self, engine: Engine, folder: Path, *, remembered: bool) -> None:
        self.engine = engine
        self.studio = Studio()
        boxes = {"a": ("stamp", A), "b": ("signature", B)}
        if remembered:
            proposals = [
                dataclasses.replace(shown(name, label, box), drawn_by=TAGS) for name, (label, box) in boxes.items()
            ]
            Proposals(engine, clock=lambda: 900.0).remember(
                ShownPrediction(task=7, project=PROJECT, version="v1", proposals=proposals)
            )
        else:
            stored = [drawn(name, label, box) for name, (label, box) in boxes.items()]
            made = {"id": 1, "model_version": "v1", "created_at": annotating.iso(900), "result": stored}
            self.studio.predictions[7] = [made]
        self.worker = Worker(
            engine=engine,
            journal=Journal(engine),
            crops=CropStore(str(folder)),
            page_of=annotating.page_of,
            parent_of=task_parent(lambda _: self.studio.client()),
        )

    def outcomes(self, config: str, *left: dict[str, Any]) -> dict[str, tuple[str, str, str | None]]:
        send(self.worker.journal, saved(1, task=7, at=950, result=left, config=config))
        self.worker.work()
        return samples(self.engine)


@pytest.fixture(params=[True, False], ids=["remembered", "asked for"])
def ledger(engine: Engine, tmp_path: Path, request: pytest.FixtureRequest) -> Ledger:
    if not request.param:
        # The names that its prediction was made under are known by an event of before.
        send(Journal(engine), {"action": "PROJECT_UPDATED", "project": {"id": PROJECT, "label_config": CONFIG}})
    return Ledger(engine, tmp_path, remembered=request.param)


def of_control(region: dict[str, Any], control: str, **more: Any) -> dict[str, Any]:
    return {**region, "from_name": control, "origin": "prediction", **more}


@pytest.mark.parametrize("config", [IMAGE, BRUSH], ids=["another image", "another kind of control"])
def test_what_the_editor_leaves_out_is_rejected_by_nobody(ledger: Ledger, config: str) -> None:
    assert ledger.outcomes(config) == {}


def test_what_is_drawn_anew_there_is_still_compared(ledger: Ledger) -> None:
    again = drawn("n", "stamp", A, origin="manual", to_name="scan")
    assert ledger.outcomes(IMAGE, again)["n"][:2] == ("accepted", "stamp")


def test_what_was_left_out_by_hand_under_the_names_of_today_is_rejected(ledger: Ledger) -> None:
    kept = drawn("a", "stamp", A, origin="prediction")
    assert ledger.outcomes(CONFIG, kept) == {
        "a": ("accepted", "stamp", None),
        "b": ("rejected", "none", "signature"),
    }


@pytest.mark.parametrize("config", [CONTROL, LABEL_TOO], ids=["control", "control and label"])
def test_boxes_that_lost_their_labels_with_their_control_are_what_they_were_shown_as(
    ledger: Ledger, config: str
) -> None:
    nameless = [of_control(drawn("a", "stamp", A), "box"), of_control(drawn("b", "signature", B), "box")]
    for one in nameless:
        del one["value"]["rectanglelabels"]
    assert ledger.outcomes(config, *nameless) == {
        "a": ("accepted", "stamp", None),
        "b": ("accepted", "signature", None),
    }


def test_a_label_that_was_taken_off_by_hand_says_nothing(ledger: Ledger) -> None:
    nameless = of_control(drawn("a", "stamp", A), "mark")
    del nameless["value"]["rectanglelabels"]
    assert ledger.outcomes(CONFIG, nameless) == {"b": ("rejected", "none", "signature")}


def test_a_box_of_a_renamed_control_that_is_deleted_is_rejected(ledger: Ledger) -> None:
    nameless = of_control(drawn("a", "stamp", A), "box")
    del nameless["value"]["rectanglelabels"]
    assert ledger.outcomes(CONTROL, nameless) == {
        "a": ("accepted", "stamp", None),
        "b": ("rejected", "none", "signature"),
    }
