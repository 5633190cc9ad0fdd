"""Which regions Label Studio left out of an annotation, so that nobody deleted them."""

from __future__ import annotations

from typing import Any

import pytest

from backend.labelstudio.annotations import read_annotation
from backend.labelstudio.visibility import awaited_answers, left_out, says_nothing
from tests.labelstudio.written_configs import IMAGE, LABELS

KIND = '<Choices name="kind" toName="image"><Choice value="عقد" alias="contract"/><Choice value="Letter"/></Choices>'
MARKS = f'<RectangleLabels name="marks" toName="image">{LABELS}</RectangleLabels>'
PRINTS = '<RectangleLabels name="prints" toName="image"><Label value="thumb"/></RectangleLabels>'


def config(attributes: str, inside: str = MARKS, beside: str = "") -> str:
    return f'<View>{KIND}<View visibleWhen="{attributes}"><View>{inside}</View></View>{IMAGE}{beside}</View>'


def chosen(answer: str, control: str = "kind") -> dict[str, Any]:
    return {"id": "c", "type": "choices", "from_name": control, "to_name": "image", "value": {"choices": [answer]}}


BOX = {"id": "a", "type": "rectanglelabels", "from_name": "marks", "to_name": "image"}
ON_CONTRACT = 'choice-selected" whenTagName="kind" whenChoiceValue="عقد'


@pytest.mark.parametrize(
    ("attributes", "result", "missing"),
    [
        (ON_CONTRACT, [], True),  # nobody answered
        (ON_CONTRACT, [chosen("contract", control="other")], True),
        (ON_CONTRACT, [chosen("contract")], False),
        (ON_CONTRACT, [chosen("Letter")], False),  # the editor submits them with another answer, too
        (ON_CONTRACT, [BOX], False),
        ('choice-selected" whenTagName="kind', [], True),
        ('choice-unselected" whenTagName="kind" whenChoiceValue="Letter', [], False),
        ("region-selected", [], False),
        ("no-region-selected", [], False),
        ('choice-selected" whenTagName="gone" whenChoiceValue="x', [], False),
    ],
)
def test_a_view_that_awaits_an_answer_keeps_its_regions_back(
    attributes: str, result: list[dict[str, Any]], *, missing: bool
) -> None:
    text = config(attributes)
    assert left_out(text, result) == ({"marks"} if missing else set())
    assert says_nothing(text, result) is missing


def test_a_control_that_awaits_nothing_says_something() -> None:
    text = config(ON_CONTRACT, beside=PRINTS)
    assert left_out(text, []) == {"marks"}
    assert not says_nothing(text, [])
    assert awaited_answers(text) == {"marks": {"kind"}}


def test_nothing_is_left_out_where_no_view_awaits_an_answer_that_may_be_lacking() -> None:
    own = MARKS.replace("toName", f'visibleWhen="{ON_CONTRACT}" toName')
    repeated = f'<View>{KIND}<Repeater on="$pages">{config(ON_CONTRACT)}</Repeater></View>'
    required = config(ON_CONTRACT).replace('toName="image">', 'toName="image" required="true">', 1)
    deep = config("", inside="<View>" * 3000 + "</View>" * 3000)
    for text in (f"<View>{KIND}{IMAGE}{own}</View>", repeated, required, "<View", "", deep):
        assert left_out(text, []) == frozenset()


@pytest.mark.parametrize(("result", "skipped"), [([], True), ([chosen("contract")], False), ([BOX], False)])
def test_an_annotation_without_the_answer_says_nothing_about_marks(
    result: list[dict[str, Any]], *, skipped: bool
) -> None:
    body = {"id": 1, "task": 2, "created_at": "2026-01-01T00:00:00Z", "result": result, "parent_prediction": 3}
    read = read_annotation(body, task={"data": {"image": "/data/upload/1/a.png"}}, label_config=config(ON_CONTRACT))
    assert read.skipped is skipped
