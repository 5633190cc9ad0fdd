"""Choices beside the boxes: which are filled, with what, and what becomes of them when a box changes."""

from __future__ import annotations

from typing import Any

import pytest

from backend.labelstudio.labelling import Binding, bind, versioned
from backend.labelstudio.mark_words import SAYINGS
from backend.labelstudio.stating import restated, said, stated

LABELS = '<Label value="signature"/><Label value="Seal"/><Label value="ink" predicted_values="signature,stamp"/>'
FOUR = '<Choice value="Signed"/><Choice value="Stamped"/><Choice value="Both"/><Choice value="None"/>'


def config(choices: str = FOUR, *, attributes: str = 'choice="single"', image: str = 'value="$image"') -> str:
    return (
        f'<View><Image name="page" {image}/><RectangleLabels name="mark" toName="page">{LABELS}</RectangleLabels>'
        f'<Choices name="state" toName="page" {attributes}>{choices}</Choices></View>'
    )


def box(label: str, *, item: int | None = None, identity: str = "") -> dict[str, Any]:
    value = {"x": 1.0, "y": 1.0, "width": 5.0, "height": 5.0, "rectanglelabels": [label]}
    told = {"id": identity or label, "type": "rectanglelabels", "from_name": "mark", "to_name": "page", "value": value}
    return told if item is None else told | {"item_index": item}


def answers(xml: str, *labels: str) -> list[str]:
    """The choices that are taken for a page with boxes of such labels."""
    found = stated([box(label) for label in labels], [(None, bind(xml))], task=1)
    return [choice for one in found for choice in one["value"]["choices"]]


@pytest.mark.parametrize(
    ("labels", "chosen"),
    [
        ([], ["None"]),
        (["signature"], ["Signed"]),
        (["Seal"], ["Stamped"]),
        (["signature", "Seal", "Seal"], ["Both"]),
        # a label that stands for two marks tells neither of them
        (["ink"], ["None"]),
    ],
)
def test_the_choice_that_says_what_is_boxed_is_taken(labels: list[str], chosen: list[str]) -> None:
    assert answers(config(), *labels) == chosen


@pytest.mark.parametrize(
    ("choices", "attributes", "labels", "chosen"),
    [
        # signed or not: a stamp beside it changes nothing
        ('<Choice value="Signed"/><Choice value="Not signed"/>', "", ["signature", "Seal"], ["Signed"]),
        ('<Choice value="Signed"/><Choice value="Not signed"/>', "", ["Seal"], ["Not signed"]),
        # without a word for both, one choice alone would say less than is so
        ('<Choice value="Signed"/><Choice value="Stamped"/>', "", ["signature", "Seal"], []),
        ('<Choice value="Signed"/><Choice value="Stamped"/>', 'choice="multiple"', ["signature", "Seal"], None),
        ('<Choice value="Signed"/><Choice value="Stamped"/>', "", [], []),
        # Arabic, and an alias, which is what results hold
        ('<Choice value="موقّع"/><Choice value="مختوم"/><Choice value="كلاهما"/>', "", ["Seal"], ["مختوم"]),
        ('<Choice value="Signed" alias="s1"/><Choice value="غير موقع" alias="s0"/>', "", [], ["s0"]),
        # a mapping, whatever the words are
        ('<Choice value="A" predicted_values="both"/><Choice value="B"/>', "", ["signature", "Seal"], ["A"]),
        # about something else, or nobody knows about what
        ('<Choice value="Front"/><Choice value="Back"/><Choice value="Both"/><Choice value="None"/>', "", [], []),
        (FOUR, 'perRegion="true"', ["signature"], []),
        (FOUR, 'model_skip="true"', ["signature"], []),
        (FOUR, 'toName="other"', ["signature"], []),
    ],
)
def test_what_is_not_known_for_certain_is_left_to_the_annotator(
    choices: str, attributes: str, labels: list[str], chosen: list[str] | None
) -> None:
    xml = config(choices, attributes=attributes)
    if "toName" in attributes:
        xml = config(choices, attributes="").replace('toName="page" >', 'toName="other">')
    assert answers(xml, *labels) == (["Signed", "Stamped"] if chosen is None else chosen)


def test_each_page_of_a_document_is_told_of_apart_where_the_choices_are_per_item() -> None:
    each = bind(config(attributes='choice="single" perItem="true"', image='valueList="$pages"'))
    whole = bind(config(image='valueList="$pages"'))
    result = [box("signature", item=0), box("Seal", item=2)]

    def pages(bindings: tuple[Binding, ...]) -> list[tuple[int | None, tuple[Binding, ...]]]:
        return [(item, bindings) for item in range(3)]

    told = {one["item_index"]: one["value"]["choices"] for one in stated(result, pages(each), task=1)}
    assert told == {0: ["Signed"], 1: ["None"], 2: ["Stamped"]}
    [one] = stated(result, pages(whole), task=1)
    assert "item_index" not in one
    assert one["value"]["choices"] == ["Both"]


def test_a_box_on_another_image_of_the_same_control_says_nothing_of_this_one() -> None:
    xml = config().replace('toName="page">' + LABELS, 'toName="page,back">' + LABELS)
    bindings = bind(xml.replace("</View>", '<Image name="back" value="$back"/></View>'))
    pages = [(None, (one,)) for one in bindings]
    [told] = stated([box("signature") | {"to_name": "back"}, box("Seal")], pages, task=1)
    assert told["value"]["choices"] == ["Stamped"]


def test_choices_inside_a_repeater_are_left_alone() -> None:
    xml = (
        '<View><Repeater on="$images" indexFlag="{{idx}}"><View><Image name="page_{{idx}}" value="$images[{{idx}}]"/>'
        f'<RectangleLabels name="mark_{{{{idx}}}}" toName="page_{{{{idx}}}}">{LABELS}</RectangleLabels>'
        f'<Choices name="state_{{{{idx}}}}" toName="page_{{{{idx}}}}">{FOUR}</Choices></View></Repeater></View>'
    )
    assert [one.statements for one in bind(xml)] == [()]


def test_the_version_changes_with_the_choices_and_only_where_there_are_some() -> None:
    plain = config(choices="")
    names = {
        xml: versioned("v", bind(xml), confidence=0.5)
        for xml in (plain, config(), config(FOUR.replace("Both", "Also")))
    }
    assert len(set(names.values())) == 3
    beside = plain.replace("</View>", '<Choices name="kind" toName="page"><Choice value="Lease"/></Choices></View>')
    assert versioned("v", bind(beside), confidence=0.5) == names[plain]


def test_an_answer_that_agreed_with_the_boxes_follows_them_and_a_persons_own_stays() -> None:
    pages = [(None, bind(config()))]
    boxes = [box("signature"), box("Seal")]
    filled = [*boxes, *stated(boxes, pages, task=1)]
    left = restated(filled, [filled[0], filled[2]], pages, task=1)
    assert left[-1] == filled[-1] | {"value": {"choices": ["Signed"]}}
    own = [*boxes, filled[-1] | {"value": {"choices": ["None"]}}]
    assert restated(own, [own[0], own[2]], pages, task=1) == [own[0], own[2]]


def test_an_answer_that_no_choice_gives_any_more_is_taken_away() -> None:
    pages = [(None, bind(config('<Choice value="Signed"/><Choice value="Stamped"/>')))]
    filled = [box("signature"), *stated([box("signature")], pages, task=1)]
    assert restated(filled, [filled[1]], pages, task=1) == []


def test_answers_are_read_back_as_what_they_say() -> None:
    pages = [(None, bind(config()))]
    answer = {"id": "a", "type": "choices", "from_name": "state", "to_name": "page", "value": {"choices": ["Both"]}}
    assert said([answer], pages) == {None: ("both",)}
    assert said([answer | {"from_name": "other"}], pages) == {}
    assert said([answer | {"value": {"choices": "Both"}}], pages) == {}
    assert set(SAYINGS) == {"both", "none", "signed", "stamped", "unsigned", "unstamped"}
