"""Label configs as people have them, each in the real editor: marks come in, are submitted, and are understood."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from backend.cli import main
from backend.commands.demo.demo_projects import connect
from backend.commands.running_backend import version_for
from backend.labelstudio.annotations import read_annotation
from backend.labelstudio.client import LabelStudio
from backend.vision.network_config import MARKS
from tests.end_to_end.conftest import CONFIG, PAGES_CONFIG, ROOT, VIEWPORT, DrawnFile, Server, retrieved
from tests.end_to_end.editor import REGIONS, Editor

pytestmark = [pytest.mark.label_studio, pytest.mark.browser]

PICTURES = ROOT / "out" / "end_to_end"
LABELS = '<Label value="التوقيع"/><Label value="أختام"/><Label value="بصمة"/>'
IMAGE = '<Image name="image" value="$image"/>'


@dataclass(frozen=True, kw_only=True)
class Config:
    """A label config, and the data of a task for it."""

    xml: str
    data: Callable[[list[str]], dict[str, Any]] = lambda references: {"image": references[0]}
    pages: int = 1
    words: frozenset[str] = frozenset({"التوقيع", "أختام", "بصمة"})


CONFIGS = {
    # the program's own
    "label_config": Config(xml=CONFIG, words=frozenset(MARKS)),
    "label_config_pages": Config(
        xml=PAGES_CONFIG, data=lambda references: {"pages": references}, pages=2, words=frozenset(MARKS)
    ),
    # as people write it: a namespace, Views in Views, entities, aliases, mapped labels, keys of an Arabic keyboard
    "written by hand": Config(
        xml='<View xmlns="https://labelstud.io/config"><Header value="Marks &amp; more"/><View style="display: flex">'
        f'<View>{IMAGE}</View><View><RectangleLabels name="label" toName="image" showInline="false">'
        '<Label value="&#1578;&#1614;&#1608;&#1618;&#1602;&#1616;&#1610;&#1593; (Signature)" hotkey="ت"/>'
        '<Label value="Siegel &amp; Stempel" alias="Siegel" predicted_values="stamp,seal" hotkey="خ"/>'
        '<View><Label value="Thumb_print(s)" hotkey="ب"/></View><Label value="شعار"/></RectangleLabels></View></View>'
        '<View visibleWhen="region-selected"><TextArea name="note" toName="image" perRegion="true"/></View></View>',
        words=frozenset({"تَوْقِيع (Signature)", "Siegel & Stempel", "Thumb_print(s)"}),
    ),
    # Label Studio's template for optical character recognition, with labels of ours
    "ocr": Config(
        xml=f'<View>{IMAGE}<Labels name="label" toName="image">{LABELS}</Labels>'
        '<Rectangle name="bbox" toName="image" strokeWidth="3"/><Polygon name="poly" toName="image"/>'
        '<TextArea name="transcription" toName="image" editable="true" perRegion="true"/></View>'
    ),
    "polygon": Config(xml=f'<View>{IMAGE}<PolygonLabels name="label" toName="image">{LABELS}</PolygonLabels></View>'),
    "brush": Config(xml=f'<View>{IMAGE}<BrushLabels name="label" toName="image">{LABELS}</BrushLabels></View>'),
    "turned": Config(
        xml=f'<View>{IMAGE}<RectangleLabels name="label" toName="image" canRotate="true">'
        f"{LABELS}</RectangleLabels></View>"
    ),
    # two controls of one Image, which both have a label for stamps
    "two controls": Config(
        xml=f'<View>{IMAGE}<RectangleLabels name="first" toName="image"><Label value="التوقيع"/><Label value="أختام"/>'
        '</RectangleLabels><View><RectangleLabels name="second" toName="image"><Label value="أختام"/>'
        '<Label value="بصمة"/></RectangleLabels></View></View>'
    ),
    # both sides of a sheet, with the tags of the template for optical character recognition for both of them
    "two images": Config(
        xml='<View><Image name="image" value="$front"/><Image name="back" value="$back"/><Labels name="label" '
        f'toName="image,back">{LABELS}</Labels><Rectangle name="box" toName="image,back"/></View>',
        data=lambda references: {"front": references[0], "back": references[1]},
        pages=2,
    ),
    "repeater": Config(
        xml='<View><Repeater on="$images" indexFlag="{{idx}}" mode="pagination"><View>'
        '<Image name="page_{{idx}}" value="$images[{{idx}}].url"/>'
        f'<RectangleLabels name="labels_{{{{idx}}}}" toName="page_{{{{idx}}}}">{LABELS}</RectangleLabels>'
        "</View></Repeater></View>",
        data=lambda references: {"images": [{"url": one} for one in references]},
        pages=2,
    ),
}


def project_of(running: Running, title: str, xml: str) -> int:
    made = running.studio.create_project(title, xml, show_collab_predictions=True)
    running.studio.create_tab(made, "Default")
    connect(running.studio, made, running.url, version=version_for(running.url, xml))
    return made


def doctor(running: Running, project: int) -> dict[str, Any]:
    environment = {
        "LABEL_STUDIO_URL": running.server.url,
        "LABEL_STUDIO_API_KEY": running.server.login.token,
        "DATA_DIR": str(running.server.folder / "backend"),
        "MODEL": "bundled",
    }
    found: dict[str, Any] = told(environment, "doctor", "--project", str(project), "--url", running.url, "--json")
    return found


def told(environment: Mapping[str, str], *arguments: str) -> Any:
    """The JSON that a command prints."""
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed):
        for name, value in environment.items():
            patch.setenv(name, value)
        main(arguments)
    return json.loads(printed.getvalue())


@dataclass(frozen=True, kw_only=True)
class Running:
    """Label Studio and the backend that is to be connected."""

    server: Server
    studio: LabelStudio
    url: str


@pytest.fixture
def running(server: Server, studio: LabelStudio, backend_url: str, version: str) -> Running:
    assert version, "the model is loaded"
    return Running(server=server, studio=studio, url=backend_url)


@pytest.mark.parametrize("name", CONFIGS)
def test_marks_are_drawn_submitted_and_read_back(
    name: str, annotator: Page, running: Running, drawn: list[DrawnFile]
) -> None:
    server, studio = running.server, running.studio
    config = CONFIGS[name]
    project = project_of(running, f"config {name}", config.xml)
    files = drawn[: config.pages]
    # A project whose tasks name several files takes no upload itself.
    home = studio.create_project(f"files of {name}", f"<View>{IMAGE}</View>")
    data = config.data([studio.upload(home, file.name, file.data) for file in files])
    [task] = studio.import_tasks(project, [data])
    [prediction] = retrieved(studio, project, [task])
    body = {"id": task, "project": project, "data": data}
    labelled = {one["id"] for one in prediction["result"] if one["type"].endswith("labels")}
    assert len(labelled) >= 3 * config.pages
    places = [(one["to_name"], one["value"].get("x"), one["value"].get("y")) for one in prediction["result"]]
    assert name != "two controls" or len(set(places)) == len(places), "no mark stands twice"

    editor = Editor(annotator, server.url)
    # The editor's list has only as many rows as there is room for.
    annotator.set_viewport_size({**VIEWPORT, "height": VIEWPORT["height"] * config.pages})
    editor.open(project, task, regions=len(labelled))
    assert set(annotator.locator(REGIONS).all_inner_texts()) <= config.words
    annotator.screenshot(path=PICTURES / f"config-{name}.png")
    stored = editor.submit()
    annotator.set_viewport_size(VIEWPORT)

    sizes = {place: (file.width, file.height) for place, file in enumerate(files)}
    left = read_annotation(stored, task=body, label_config=config.xml).regions(sizes)
    assert {region.id for region in left} == labelled
    assert {region.page for region in left} == set(range(config.pages))
    assert {region.label for region in left} == {"signature", "stamp", "thumb"}
    for place, file in enumerate(files):
        clear = [mark.box for mark in file.clear]
        near = [box for box in clear if any(overlap(box, one.box) > 0.5 for one in left if one.page == place)]
        assert len(near) >= len(clear) / 2
    for finding in doctor(running, project)["findings"]:
        assert finding["state"] == "ok", finding


CHOICES = (
    '<Choices name="state" toName="image" choice="single" showInline="true"><Choice value="موقّع"/>'
    '<Choice value="مختوم"/><Choice value="Both" alias="signed-and-stamped" predicted_values="both"/>'
    '<Choice value="None"/></Choices>'
)


def test_choices_beside_the_boxes_are_filled_submitted_and_reported(
    annotator: Page, running: Running, drawn: list[DrawnFile]
) -> None:
    server, studio = running.server, running.studio
    xml = f'<View>{IMAGE}{CHOICES}<RectangleLabels name="label" toName="image">{LABELS}</RectangleLabels></View>'
    project = project_of(running, "config choices", xml)
    task = studio.import_tasks(
        project, [{"image": studio.upload(project, file.name, file.data), "document": file.name} for file in drawn[:1]]
    )[0]
    [prediction] = retrieved(studio, project, [task])
    boxes = [one for one in prediction["result"] if one["type"] == "rectanglelabels"]
    assert {one["value"]["rectanglelabels"][0] for one in boxes} >= {"التوقيع", "أختام"}

    editor = Editor(annotator, server.url)
    editor.open(project, task, regions=len(boxes))
    both = annotator.get_by_role("checkbox", name="Both")
    expect(both).to_be_checked()
    annotator.screenshot(path=PICTURES / "config-choices.png")
    for one in [one for one in boxes if one["value"]["rectanglelabels"] == ["أختام"]]:
        editor.delete(one)
    stored = editor.submit()
    answers = [one["value"]["choices"] for one in stored["result"] if one["type"] == "choices"]
    assert answers == [["signed-and-stamped"]]

    # The annotator forgot to change the answer.
    access = {"LABEL_STUDIO_URL": server.url, "LABEL_STUDIO_API_KEY": server.login.token}
    [contract] = told(access, "report", "--project", str(project), "--json")["contracts"]
    assert (contract["state"], contract["chosen"], contract["doubt"]) == ("signed", ["both"], 1.0)
    assert contract["contradictions"]
    for finding in doctor(running, project)["findings"]:
        assert finding["state"] == "ok", finding


def test_what_the_editor_leaves_out_for_want_of_an_answer_was_not_deleted(
    annotator: Page, running: Running, drawn: list[DrawnFile]
) -> None:
    kind = '<Choices name="kind" toName="image"><Choice value="عقد"/><Choice value="Letter"/></Choices>'
    view = '<View visibleWhen="choice-selected" whenTagName="kind" whenChoiceValue="عقد">'
    marks = f'{view}<View><RectangleLabels name="label" toName="image">{LABELS}</RectangleLabels></View></View>'
    xml = f"<View>{IMAGE}{marks}{kind}</View>"
    project = project_of(running, "config awaiting", xml)
    data = {"image": running.studio.upload(project, drawn[0].name, drawn[0].data)}
    tasks = running.studio.import_tasks(project, [data, data])
    editor = Editor(annotator, running.server.url)
    stored = []
    for task, answer in zip(tasks, (None, "Letter"), strict=True):
        [prediction] = retrieved(running.studio, project, [task])
        editor.open(project, task, regions=len(prediction["result"]))
        if answer:
            annotator.get_by_role("checkbox", name=answer).click()
        stored.append(read_annotation(editor.submit(), task={"id": task, "data": data}, label_config=xml))
    assert [(bool(one.region_ids()), one.skipped) for one in stored] == [(False, True), (True, False)]
    [found] = [one for one in doctor(running, project)["findings"] if one["state"] != "ok"]
    assert (found["name"], found["state"]) == ("label config", "warning")
    assert 'awaits an answer to "kind"' in found["found"]


def overlap(one: Any, other: Any) -> float:
    wide = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    high = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    area = (one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1]) - wide * high
    return wide * high / area


@pytest.mark.parametrize(("xml", "paged"), [(CONFIG, False), (PAGES_CONFIG, True)], ids=["page", "document"])
def test_nothing_of_a_page_is_hidden_in_a_small_window(
    xml: str, paged: bool, annotator: Page, running: Running, drawn: list[DrawnFile]
) -> None:
    server, studio = running.server, running.studio
    project = project_of(running, f"small window {paged}", xml)
    references = [studio.upload(project, file.name, file.data) for file in drawn[:2]]
    [task] = studio.import_tasks(project, [{"pages": references} if paged else {"image": references[0]}])
    retrieved(studio, project, [task])
    before = annotator.viewport_size
    assert before is not None
    annotator.set_viewport_size({"width": 1366, "height": 768})
    try:
        annotator.goto(f"{server.url}/projects/{project}/data?task={task}")
        expect(annotator.locator(REGIONS).first).to_be_visible()
        picture = annotator.locator("img[alt=image]").first
        expect(picture).to_be_visible()
        Editor(annotator, server.url).settle()
        annotator.screenshot(path=PICTURES / f"small-window-{'pages' if paged else 'page'}.png")
        page, bar = picture.bounding_box(), annotator.locator(".lsf-bottombar").bounding_box()
        assert page is not None
        assert bar is not None
        assert page["height"] > 500
        assert page["y"] + page["height"] <= bar["y"]
        labels = annotator.locator(".lsf-label").all()
        for label in labels:
            place = label.bounding_box()
            assert place is not None
            assert place["x"] + place["width"] <= page["x"]
        assert len(labels) == 3
        # The keys that the labels show choose them.
        annotator.keyboard.press("2")
        expect(annotator.locator(".lsf-label_selected")).to_have_text("stamp2")
    finally:
        annotator.set_viewport_size(before)


def test_label_studios_dialog_shows_the_remedy_for_a_wrong_config_as_it_is(
    studio: LabelStudio, annotator: Page, server: Server, backend_url: str
) -> None:
    xml = f'<View>{IMAGE}<RectangleLabels name="l" toName="image"><Label value="عقد"/></RectangleLabels></View>'
    project = studio.create_project("wrong config", xml)
    annotator.goto(f"{server.url}/projects/{project}/settings/ml")
    annotator.get_by_role("button", name="Add machine learning model").click()
    annotator.locator("input[name=title]").fill("marks")
    annotator.locator("input[name=url]").fill(backend_url)
    annotator.get_by_role("button", name="Save machine learning form").click()
    said = annotator.locator("body")
    expect(said).to_contain_text("No label of the label config stands for signature, stamp or thumb")
    expect(said).to_contain_text('predicted_values="stamp"')
    annotator.screenshot(path=PICTURES / "wrong-config.png")
