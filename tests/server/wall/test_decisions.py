"""Decisions in Label Studio: what is written, under whose name, what is kept from being lost, and what comes back."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine, select

from backend.corrections.history_tables import decision as table
from backend.errors import RequestError
from backend.labelstudio.json_fields import moment
from backend.server.wall.wall_decisions import Decided, Decision, Decisions
from tests.corrections.annotating import CONFIG
from tests.server.wall.reviewed_studio import ADA, BOB, ReviewedStudio, shown_region


@pytest.fixture
def studio() -> ReviewedStudio:
    found = ReviewedStudio()
    found.add(7, shown_region("a", "stamp"), shown_region("b", "signature", x=200.0))
    return found


@pytest.fixture
def decisions(engine: Engine, studio: ReviewedStudio) -> Decisions:
    return Decisions(engine, studio=studio.client, clock=lambda: 5.0)


def decision(identity: str, region: str, was: str, label: str, **fields: Any) -> Decision:
    told = {"id": identity, "task": 7, "region": region, "was": was, "label": label, "seconds": 1.5}
    return Decision.read(told | fields)


def one(found: list[Decided]) -> tuple[str, str]:
    [only] = found
    return only.state, only.reason


def test_the_first_decision_makes_an_annotation_of_the_prediction_by_the_reviewers_name(
    decisions: Decisions, studio: ReviewedStudio
) -> None:
    [made] = decisions.make(1, [decision("1", "a", "stamp", "signature")], reviewer=BOB)
    assert made.state == "saved"
    [written] = studio.tasks[7]["annotations"]
    assert (written["completed_by"], written["parent_prediction"], written["lead_time"]) == (BOB, 1007, 1.5)
    assert studio.labels(7) == [{"a": "signature", "b": "signature"}]
    assert [region["origin"] for region in written["result"]] == ["prediction-changed", "prediction"]
    assert (made.annotation, made.updated) == (written["id"], moment(written["updated_at"]))


@pytest.mark.parametrize(
    ("label", "labels"),
    [
        ("stamp", {"a": "Seal", "b": "signature"}),  # as it is: the annotation says that somebody looked
        ("thumb", {"a": "thumb", "b": "signature"}),
        ("none", {"b": "signature"}),
    ],
)
def test_what_becomes_of_the_region(
    decisions: Decisions, studio: ReviewedStudio, label: str, labels: dict[str, str]
) -> None:
    assert one(decisions.make(1, [decision("1", "a", "stamp", label)], reviewer=ADA)) == ("saved", "")
    assert studio.labels(7) == [labels]


def test_decisions_on_one_task_are_one_annotation_and_one_write(decisions: Decisions, studio: ReviewedStudio) -> None:
    some = [decision("1", "a", "stamp", "none"), decision("2", "b", "signature", "stamp")]
    assert [made.state for made in decisions.make(1, some, reviewer=ADA)] == ["saved", "saved"]
    assert studio.labels(7) == [{"b": "Seal"}]
    assert [call for call in studio.calls if call[0] != "GET"] == [("POST", "/api/tasks/7/annotations/")]


def test_later_decisions_change_the_same_annotation(decisions: Decisions, studio: ReviewedStudio) -> None:
    [first] = decisions.make(1, [decision("1", "a", "stamp", "none")], reviewer=ADA)
    told = {"annotation": first.annotation, "updated": first.updated}
    decisions.make(1, [decision("2", "b", "signature", "thumb", **told)], reviewer=ADA)
    assert studio.labels(7) == [{"b": "thumb"}]
    # A wall that was loaded before the ledger knew of the annotation.
    decisions.make(1, [decision("3", "b", "thumb", "stamp")], reviewer=ADA)
    assert studio.labels(7) == [{"b": "Seal"}]
    assert studio.tasks[7]["annotations"][0]["lead_time"] == pytest.approx(4.5)


def test_an_annotators_annotation_is_changed_in_that_region_alone_and_stays_theirs(
    decisions: Decisions, studio: ReviewedStudio
) -> None:
    extra = {"id": "a", "type": "choices", "from_name": "legible", "to_name": "page", "value": {"choices": ["yes"]}}
    relation = {"type": "relation", "from_id": "a", "to_id": "b", "direction": "right"}
    kept = [shown_region("c", "thumb"), {"type": "textarea", "id": "t", "value": {"text": ["x"]}}]
    theirs = studio.annotate(
        7, shown_region("a", "stamp"), extra, shown_region("b", "stamp", x=200.0), relation, *kept, by=BOB
    )
    told = {"annotation": theirs["id"], "updated": moment(theirs["updated_at"])}
    assert one(decisions.make(1, [decision("1", "a", "stamp", "none", **told)], reviewer=ADA)) == ("saved", "")
    assert theirs["completed_by"] == BOB
    assert [region.get("id") for region in theirs["result"]] == ["b", "c", "t"]
    assert decisions.undo("1").state == "saved"
    assert sorted(map(str, theirs["result"])) == sorted(
        map(str, [shown_region("a", "stamp"), extra, shown_region("b", "stamp", x=200.0), relation, *kept])
    )


def test_saying_that_an_annotation_is_right_writes_nothing(decisions: Decisions, studio: ReviewedStudio) -> None:
    theirs = studio.annotate(7, shown_region("a", "stamp"))
    told = {"annotation": theirs["id"], "updated": moment(theirs["updated_at"])}
    assert one(decisions.make(1, [decision("1", "a", "stamp", "stamp", **told)], reviewer=ADA)) == ("saved", "")
    assert {method for method, _ in studio.calls} == {"GET"}


def changed(studio: ReviewedStudio) -> dict[str, Any]:
    theirs = studio.annotate(7, shown_region("a", "stamp"))
    return {"annotation": theirs["id"], "updated": moment(theirs["updated_at"]) - 1}


def annotated_meanwhile(studio: ReviewedStudio) -> dict[str, Any]:
    studio.annotate(7, shown_region("a", "stamp"))
    return {}


def deleted(studio: ReviewedStudio) -> dict[str, Any]:
    return {"annotation": 99, "updated": 1.0}


def another_is_newer(studio: ReviewedStudio) -> dict[str, Any]:
    theirs = studio.annotate(7, shown_region("a", "stamp"))
    studio.annotate(7, shown_region("a", "thumb"))
    return {"annotation": theirs["id"], "updated": moment(theirs["updated_at"])}


def skipped(studio: ReviewedStudio) -> dict[str, Any]:
    studio.annotate(7, was_cancelled=True)
    return {}


def gone(studio: ReviewedStudio) -> dict[str, Any]:
    del studio.tasks[7]
    return {}


def predicted_anew(studio: ReviewedStudio) -> dict[str, Any]:
    studio.add(7, shown_region("z", "stamp"))
    return {}


def renamed(studio: ReviewedStudio) -> dict[str, Any]:
    studio.add(7, shown_region("a", "thumb"))
    return {}


def elsewhere(studio: ReviewedStudio) -> dict[str, Any]:
    studio.tasks[7]["project"] = 2
    return {}


@pytest.mark.parametrize(
    ("meanwhile", "words"),
    [
        (changed, "meanwhile"),
        (annotated_meanwhile, "somebody annotated the task"),
        (deleted, "deleted meanwhile"),
        (another_is_newer, "meanwhile"),
        (skipped, "skipped"),
        (gone, "gone"),
        (predicted_anew, "its prediction was replaced"),
        (renamed, "it is called thumb by now"),
        (elsewhere, "gone"),
    ],
)
def test_what_is_no_longer_as_it_was_seen_is_left_alone(
    decisions: Decisions, studio: ReviewedStudio, engine: Engine, meanwhile: Any, words: str
) -> None:
    told = meanwhile(studio)
    before = str(studio.tasks)
    state, reason = one(decisions.make(1, [decision("1", "a", "stamp", "none", **told)], reviewer=ADA))
    assert state == "conflict"
    assert words in reason
    assert str(studio.tasks) == before
    with engine.connect() as connection:
        assert connection.execute(select(table)).all() == []


def test_a_label_that_the_config_lacks_is_told_of_and_the_others_are_saved(engine: Engine) -> None:
    studio = ReviewedStudio(
        '<View><Image name="page" valueList="$pages"/><RectangleLabels name="mark" toName="page">'
        '<Label value="Seal" predicted_values="stamp"/><Label value="signature"/></RectangleLabels></View>'
    )
    studio.add(7, shown_region("a", "stamp"), shown_region("b", "signature", x=200.0))
    decisions = Decisions(engine, studio=studio.client)
    some = [decision("1", "a", "stamp", "thumb"), decision("2", "b", "signature", "stamp")]
    made = {found.id: (found.state, found.reason) for found in decisions.make(1, some, reviewer=ADA)}
    assert made == {"1": ("conflict", "the label config has no label for thumb"), "2": ("saved", "")}
    assert studio.labels(7) == [{"a": "Seal", "b": "Seal"}]


def test_labels_beside_a_figure_are_labels_too(engine: Engine) -> None:
    """The OCR template: a rectangle and its labels are two entries of one id."""
    studio = ReviewedStudio(
        '<View><Image name="page" valueList="$pages"/><Rectangle name="box" toName="page"/>'
        '<Labels name="mark" toName="page"><Label value="Seal" predicted_values="stamp"/><Label value="signature"/>'
        "</Labels></View>"
    )
    drawn_ = shown_region("a", "stamp")
    place = {name: one for name, one in drawn_["value"].items() if name != "rectanglelabels"}
    box = drawn_ | {"type": "rectangle", "from_name": "box", "value": place}
    studio.add(7, box, drawn_ | {"type": "labels", "value": place | {"labels": ["Seal"]}})
    decisions = Decisions(engine, studio=studio.client)
    assert one(decisions.make(1, [decision("1", "a", "stamp", "signature")], reviewer=ADA)) == ("saved", "")
    figure, labels = studio.tasks[7]["annotations"][0]["result"]
    assert (figure["value"], labels["value"]["labels"]) == (place, ["signature"])
    assert one(decisions.make(1, [decision("2", "a", "signature", "none")], reviewer=ADA)) == ("saved", "")
    assert studio.tasks[7]["annotations"][0]["result"] == []


def test_choices_that_said_what_was_boxed_follow_the_decisions_and_come_back_with_them(engine: Engine) -> None:
    choices = '<Choices name="state" toName="page"><Choice value="Signed"/><Choice value="Both"/></Choices></View>'
    studio = ReviewedStudio(CONFIG.replace("</View>", choices))
    answer = {"id": "c", "type": "choices", "from_name": "state", "to_name": "page", "value": {"choices": ["Both"]}}
    studio.add(7, shown_region("a", "stamp"), shown_region("b", "signature", x=200.0), answer)
    decisions = Decisions(engine, studio=studio.client, clock=lambda: 5.0)

    def chosen() -> list[str]:
        [annotation] = studio.tasks[7]["annotations"]
        return [one["value"]["choices"][0] for one in annotation["result"] if one["type"] == "choices"]

    decisions.make(1, [decision("1", "b", "signature", "signature")], reviewer=BOB)
    assert chosen() == ["Both"]
    decisions.make(1, [decision("2", "a", "stamp", "none")], reviewer=BOB)
    assert chosen() == ["Signed"]
    assert decisions.undo("2").state == "saved"
    assert chosen() == ["Both"]


def test_sent_again_a_decision_is_not_made_again(decisions: Decisions, studio: ReviewedStudio) -> None:
    some = [decision("1", "a", "stamp", "none")]
    first, again = decisions.make(1, some, reviewer=ADA), decisions.make(1, some, reviewer=ADA)
    assert first == again
    assert len(studio.tasks[7]["annotations"]) == 1


@pytest.mark.parametrize(
    "trouble", [("GET", "/api/projects/1/"), ("GET", "/api/tasks/7/"), ("POST", "/api/tasks/7/annotations/")]
)
def test_where_label_studio_does_not_answer_nothing_is_noted_and_it_can_be_sent_again(
    decisions: Decisions, studio: ReviewedStudio, trouble: tuple[str, str]
) -> None:
    studio.troubles[trouble] = 503
    some = [decision("1", "a", "stamp", "none")]
    assert one(decisions.make(1, some, reviewer=ADA))[0] == "failed"
    assert one(decisions.make(1, some, reviewer=ADA)) == ("saved", "")


def test_undo_removes_an_annotation_that_was_made_here_with_its_last_decision(
    decisions: Decisions, studio: ReviewedStudio
) -> None:
    decisions.make(1, [decision("1", "a", "stamp", "none"), decision("2", "b", "signature", "thumb")], reviewer=ADA)
    [found] = [decisions.undo("2")]
    assert studio.labels(7) == [{"b": "signature"}]
    assert found.annotation is not None
    assert decisions.undo("1") == Decided(id="1", state="saved")
    assert studio.tasks[7]["annotations"] == []
    assert decisions.undo("1").state == "saved", "a second time it is no more work"


def test_undo_keeps_what_somebody_did_since(decisions: Decisions, studio: ReviewedStudio) -> None:
    decisions.make(1, [decision("1", "a", "stamp", "none")], reviewer=ADA)
    [theirs] = studio.tasks[7]["annotations"]
    studio.now += 1
    theirs["updated_at"] = "2030-01-01T00:00:00Z"
    assert decisions.undo("1").state == "conflict"
    assert studio.tasks[7]["annotations"] == [theirs]
    assert decisions.undo("nobody's").state == "failed"


@pytest.mark.parametrize(
    "told",
    [
        None,
        {},
        {"id": "1", "task": "7", "region": "a", "was": "stamp", "label": "none", "seconds": 1},
        {"id": "1", "task": True, "region": "a", "was": "stamp", "label": "none", "seconds": 1},
        {"id": "1", "task": 2**63, "region": "a", "was": "stamp", "label": "none", "seconds": 1},
        {"id": "1", "task": 7, "region": "a" * 65, "was": "stamp", "label": "none", "seconds": 1},
        {"id": "1", "task": 7, "region": "a", "was": "seal", "label": "none", "seconds": 1},
        {"id": "1", "task": 7, "region": "a", "was": "none", "label": "stamp", "seconds": 1},
        {"id": "1", "task": 7, "region": "a", "was": "stamp", "label": "<b>", "seconds": 1},
        {"id": "1", "task": 7, "region": "a", "was": "stamp", "label": "none"},
        {"id": "1", "task": 7, "region": "a", "was": "stamp", "label": "none", "seconds": float("nan")},
        {"id": "1", "task": 7, "region": "a", "was": "stamp", "label": "none", "seconds": 1, "annotation": 3},
    ],
)
def test_what_is_no_decision_is_refused(told: Any) -> None:
    with pytest.raises(RequestError):
        Decision.read(told)
