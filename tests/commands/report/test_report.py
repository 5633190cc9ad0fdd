"""Contracts of a project and of files, judged and written: nobody's word is taken for what nobody looked at."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image

from backend.commands.report.contract_sources import FileContracts, ProjectContracts
from backend.commands.report.contracts import Contract, ContractPage, ContractState, Found, Judged, Told, judged
from backend.commands.report.report_command import _print, _until_stopped, add_arguments, as_csv, as_html, as_json, cell
from backend.commands.report.rules import parse_rule
from backend.corrections.shown import is_blind
from backend.errors import PageUnavailable
from backend.labelstudio.client import LabelStudio
from backend.pages.page import Page
from backend.settings import Settings
from tests.server.conftest import ToldPipeline, found

CONFIG = (
    '<View><Image name="page" value="$image"/><RectangleLabels name="mark" toName="page">'
    '<Label value="Seal" predicted_values="stamp"/><Label value="signature"/><Label value="thumb"/>'
    "</RectangleLabels></View>"
)
RULES = [parse_rule("signature"), parse_rule("stamp on last page")]


def region(label: str, *, score: float | None = None, x: float = 10.0, **extra: Any) -> dict[str, Any]:
    value = {"x": x, "y": 20.0, "width": 30.0, "height": 10.0, "rotation": 0, "rectanglelabels": [label]}
    told = {"id": f"{label}{x}", "type": "rectanglelabels", "from_name": "mark", "to_name": "page", "value": value}
    return told | {"original_width": 400, "original_height": 600} | ({} if score is None else {"score": score}) | extra


def annotated(number: int, *regions: dict[str, Any], at: str = "2026-01-01T00:00:00Z", **fields: Any) -> dict[str, Any]:
    return {"id": number, "created_at": at, "updated_at": at, "result": list(regions), "completed_by": 1} | fields


def predicted(number: int, *regions: dict[str, Any], score: float = 0.8) -> dict[str, Any]:
    return {"id": number, "result": list(regions), "score": score, "model_version": "v1"}


def task(number: int, **fields: Any) -> dict[str, Any]:
    data = {"image": f"/data/upload/1/{number}.png"} | fields.pop("data", {})
    return {"id": number, "data": data, "annotations": [], "predictions": []} | fields


class NoPages:
    """Every page is away."""

    def pages(self, reference: str, *, task_id: int | None, pages: slice | None, enough: float | None = None) -> Any:
        raise PageUnavailable(reference, "gone")


class WhitePages:
    """Every page is white but for a black box from (10, 20) to (40, 30) percent."""

    def pages(self, reference: str, *, task_id: int | None, pages: slice | None, enough: float | None = None) -> Any:
        pixels = np.full((600, 400, 3), 255, np.uint8)
        pixels[120:180, 40:160] = 0
        return iter([Page(pixels=pixels, reference=reference)])


def project(
    *tasks: dict[str, Any], blind_share: float = 0.0, pages: Any = None, config: str = CONFIG
) -> ProjectContracts:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.path == "/api/tasks/":
            after = json.loads(request.url.params["query"])["filters"]["items"][0]["value"]
            left = [one for one in tasks if one["id"] > after]
            return httpx2.Response(200, json={"tasks": left, "total": len(left)})
        return httpx2.Response(200, json={"id": 1, "label_config": config, "task_number": len(tasks)})

    studio = LabelStudio("http://studio.test", "token", transport=httpx2.MockTransport(answer))
    return ProjectContracts(studio, pages or NoPages(), 1, blind_share=blind_share)


def contracts(source: Any) -> dict[str, Contract]:
    return {one.name: one for one in source.contracts(lambda: None)}


def test_annotations_rule_over_predictions_and_the_newest_over_older_ones() -> None:
    [one] = contracts(
        project(
            task(
                1,
                predictions=[predicted(1, region("signature", score=0.9))],
                annotations=[
                    annotated(5, region("Seal"), at="2026-01-02T00:00:00Z"),
                    annotated(4, region("thumb"), at="2026-01-01T00:00:00Z"),
                    annotated(6, at="2026-01-03T00:00:00Z", was_cancelled=True),
                ],
            )
        )
    ).values()
    assert (one.state, one.told, one.doubt) == (ContractState.STAMPED, Told.ANNOTATED, 0.0)
    assert one.pages[0].marks == (Found(label="stamp", box=pytest.approx((0.1, 0.2, 0.4, 0.3)), score=None),)
    assert one.link == "http://studio.test/projects/1/data?task=1"


def test_an_annotation_whose_boxes_were_left_out_is_not_taken_for_an_empty_contract() -> None:
    kind = '<Choices name="kind" toName="page"><Choice value="Contract"/></Choices>'
    view = '<View visibleWhen="choice-selected" whenTagName="kind"><RectangleLabels'
    awaiting = CONFIG.replace("<RectangleLabels", f"{kind}{view}").replace("</View>", "</View></View>")
    stored = task(1, predictions=[predicted(1, region("Seal", score=0.9))], annotations=[annotated(5)])
    [one] = contracts(project(stored, config=awaiting)).values()
    assert (one.state, one.told) == (ContractState.STAMPED, Told.PREDICTED)


def test_the_newest_prediction_stands_where_nobody_annotated_and_its_score_is_the_doubt() -> None:
    older, newer = predicted(1, region("Seal", score=0.9)), predicted(2, region("signature", score=0.7), score=0.65)
    [one] = contracts(project(task(1, predictions=[newer, older]))).values()
    assert (one.state, one.told) == (ContractState.SIGNED, Told.PREDICTED)
    assert one.doubt == pytest.approx(0.35)
    assert one.pages[0].marks is not None
    assert one.pages[0].marks[0].score == 0.7


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "prelabel"),  # nothing looked
        ({"data": {"image": 7}, "predictions": [predicted(1)]}, "holds no reference"),
    ],
)
def test_what_nobody_looked_at_is_not_known(fields: dict[str, Any], words: str) -> None:
    [one] = contracts(project(task(1, **fields))).values()
    assert (one.state, one.told, one.doubt) == (ContractState.NOT_KNOWN, Told.NOBODY, 1.0)
    assert words in one.reasons[0]


def test_an_empty_prediction_of_a_blind_task_is_not_taken_for_an_empty_contract() -> None:
    share = 0.5
    tasks = [task(number, predictions=[predicted(number)], data={"document": f"d{number}"}) for number in range(1, 40)]
    known = {f"d{number}": is_blind(f"document d{number}", share=share) for number in range(1, 40)}
    states = {name: one.state for name, one in contracts(project(*tasks, blind_share=share)).items()}
    assert states == {name: ContractState.NOT_KNOWN if blind else ContractState.NONE for name, blind in known.items()}
    assert len(set(states.values())) == 2


CHOICES = (
    '<Choices name="state" toName="page" choice="single"><Choice value="Signed"/><Choice value="Stamped"/>'
    '<Choice value="Both"/><Choice value="None"/></Choices>'
)


def chosen(choice: str) -> dict[str, Any]:
    return {"id": "c", "type": "choices", "from_name": "state", "to_name": "page", "value": {"choices": [choice]}}


def test_what_a_person_chose_beside_the_boxes_is_told_and_where_it_contradicts_them_somebody_is_to_look() -> None:
    config = CONFIG.replace("</View>", f"{CHOICES}</View>")
    source = project(
        task(1, annotations=[annotated(1, region("signature"), chosen("Signed"))], data={"document": "agrees"}),
        task(2, annotations=[annotated(2, region("signature"), chosen("Both"))], data={"document": "contradicts"}),
        task(3, annotations=[annotated(3, region("signature"))], data={"document": "without"}),
        # What the program filled in is no person's word.
        task(4, predictions=[predicted(4, region("signature", score=0.9), chosen("Both"))], data={"document": "new"}),
        config=config,
    )
    found_ = judged(source.contracts(lambda: None), [parse_rule("signature")])
    told = {one.contract.name: (one.contract.said, one.contract.contradictions) for one in found_}
    wrong = "the annotator chose signed and stamped; a signature or a stamp is not boxed"
    assert told == {
        "agrees": (("signed",), ()),
        "contradicts": (("both",), (wrong,)),
        "without": ((), ()),
        "new": ((), ()),
    }
    assert found_[0].contract.name == "contradicts", "the doubtful come first"
    assert found_[0].contract.doubt == 1.0
    rows = {row["contract"]: row for row in csv.DictReader(io.StringIO(as_csv(found_).removeprefix("\ufeff")))}
    assert (rows["contradicts"]["chosen"], rows["contradicts"]["contradiction"]) == ("both", wrong)
    page = as_html(found_, RULES, source, what="a project", version="", now=0.0, pictured=0)
    assert page.count(wrong) == 1
    first = as_json(found_, RULES)["contracts"][0]
    assert (first["chosen"], first["contradictions"]) == (["both"], [wrong])


def test_tasks_of_one_document_are_one_contract_in_the_order_of_its_pages() -> None:
    same = {"document": "عقد.pdf", "document_sha256": "ab"}
    found_ = contracts(
        project(
            task(1, data=same | {"page_numbers": [3]}, predictions=[predicted(1, region("Seal"))]),
            task(2, data=same | {"page_numbers": [1]}, annotations=[annotated(1, region("signature"))]),
            task(3, data=same | {"page_numbers": [1]}, predictions=[predicted(2)]),  # imported twice
            task(4, data={"document": "other.pdf", "document_sha256": "cd"}, predictions=[predicted(3)]),
        )
    )
    assert list(found_) == ["عقد.pdf", "other.pdf"]
    one = found_["عقد.pdf"]
    assert (one.told, one.state) == (Told.PARTLY, ContractState.BOTH)
    assert [(page.number, page.task, dict(page.counts or {})) for page in one.pages] == [
        (1, 2, {"signature": 1}),  # a person's word before the model's
        (3, 1, {"stamp": 1}),
    ]
    assert [answer.met.value for answer in judged([one], RULES)[0].answers] == ["met", "met"]


def page(number: int = 1, *labels: str, known: bool = True, **fields: Any) -> ContractPage:
    marks = tuple(Found(label=label, box=(0.1, 0.2, 0.4, 0.3), score=0.9) for label in labels) if known else None
    return ContractPage(number=number, source="p", marks=marks, **fields)


def test_what_lacks_something_comes_first_and_the_doubtful_among_its_like() -> None:
    given = [
        Contract(name="complete", pages=(page(1, "signature", "stamp"),)),
        Contract(name="unknown", pages=(page(known=False),)),
        Contract(name="lacking, sure", pages=(page(1, "stamp"),)),
        Contract(name="lacking, doubtful", pages=(page(1, "stamp", certainty=0.6),)),
        Contract(name="complete, doubtful", pages=(page(1, "signature", "stamp", certainty=0.7),)),
    ]
    assert [one.contract.name for one in judged(given, RULES)] == [
        "lacking, doubtful",
        "lacking, sure",
        "unknown",
        "complete, doubtful",
        "complete",
    ]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("lease.pdf", "lease.pdf"),
        ('=HYPERLINK("http://x")', '\'=HYPERLINK("http://x")'),
        ("+1+cmd|' /C calc'!A0", "'+1+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("\n=1", "'\n=1"),
        ("  =1", "'  =1"),  # some spreadsheets pass over the blanks
        ("|calc", "'|calc"),
        ("عقد", "عقد"),
        (-1.5, -1.5),  # a number is one
        (0, 0),
    ],
)
def test_no_cell_is_taken_for_a_formula(value: str | float, shown: str | float) -> None:
    assert cell(value) == shown


def test_the_table_has_a_row_for_each_contract_and_its_name_survives() -> None:
    evil = "=cmd|'/C calc'!A0,\"\n"
    given = judged([Contract(name=evil, pages=(page(1, "signature"), page(2, "stamp", "stamp")))], RULES)
    text = as_csv(given)
    assert text.startswith("\ufeff")
    [row] = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")))
    assert row["contract"] == f"'{evil}"
    assert (row["state"], row["signature"], row["stamp"], row["thumb"], row["missing"]) == ("both", "1", "2", "0", "")
    assert row["marks by page"] == "1: 1 signature; 2: 2 stamp"


def test_as_json_everything_is_there() -> None:
    given = judged([Contract(name="a", pages=(page(1, "signature"), page(2, known=False, reason="gone")))], RULES)
    told = json.loads(json.dumps(as_json(given, RULES)))
    assert (told["missing"], told["not_known"], told["states"]["not known"]) == (0, 1, 1)
    [one] = told["contracts"]
    assert one["rules"] == [
        {"met": "met", "why": "signature>=1: 1 found"},
        {"met": "not known", "why": "stamp>=1 on last page: 0 found so far"},
    ]
    assert one["pages"][0]["marks"] == [{"class": "signature", "box": [0.1, 0.2, 0.4, 0.3], "score": 0.9}]
    assert (one["pages"][1]["marks"], one["pages"][1]["problem"]) == (None, "gone")


def html(given: list[Judged], source: Any, *, pictured: int = 10) -> str:
    return as_html(given, RULES, source, what="project <b>", version="", now=0.0, pictured=pictured)


def test_the_page_shows_pictures_of_the_first_contracts_and_asks_nobody_for_anything() -> None:
    source = project(
        *(task(number, predictions=[predicted(number, region("Seal"))]) for number in (1, 2)), pages=WhitePages()
    )
    given = judged(source.contracts(lambda: None), RULES)
    shown = html(given, source, pictured=1)
    assert shown.count("<img") == shown.count("data:image/jpeg;base64,") == 1
    assert "default-src &#39;none&#39;" in shown
    assert "http://studio.test/projects/1/data?task=1" in shown
    for no in ("<script", '<link rel="stylesheet', " style=", 'src="http', "@import"):
        assert no not in shown


def test_a_page_that_is_gone_leaves_the_rest_of_the_report() -> None:
    source = project(task(1, predictions=[predicted(1, region("Seal"))]))
    assert "cannot be read any more" in html(judged(source.contracts(lambda: None), RULES), source)


def test_names_and_reasons_are_text_and_no_markup() -> None:
    evil = "<img src=x onerror=alert(1)>"
    one = Contract(name=evil, pages=(page(1, known=False, reason=evil),), link='javascript:"x')
    shown = html(judged([one], RULES), NoPages())
    assert "<img" not in shown
    assert '"x"' not in shown


def test_files_are_contracts_and_a_torn_one_is_not_known(tmp_path: Path) -> None:
    sheets = [Image.new("RGB", (200, 100), "white") for _ in range(2)]
    sheets[0].save(tmp_path / "a.tif", save_all=True, append_images=sheets[1:])
    (tmp_path / "b.pdf").write_bytes(b"%PDF-1.4 torn")
    marks = found(("stamp", (20.0, 10.0, 60.0, 50.0), 0.9), certainty=0.7)
    pipeline = ToldPipeline(on_page={str(tmp_path / "a.tif"): marks})
    source = FileContracts([tmp_path / "a.tif", tmp_path / "b.pdf"], pipeline, Settings())  # type: ignore[arg-type]
    whole, torn = source.contracts(lambda: None)
    assert (whole.count("stamp"), whole.state, len(whole.pages)) == (2, ContractState.STAMPED, 2)
    assert whole.doubt == pytest.approx(0.3)
    assert whole.pages[1].marks is not None
    assert whole.pages[1].marks[0].box == (0.1, 0.1, 0.3, 0.5)
    assert source.page(whole.pages[1]).width == 200
    assert (torn.name, torn.state) == ("b.pdf", ContractState.NOT_KNOWN)
    assert torn.reasons


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("عقد إيجار 114.pdf", "<bdi>عقد إيجار 114</bdi>.pdf"),
        ("عقد 12.3.2024", "<bdi>عقد 12.3</bdi>.2024"),
        ("task 7", "<bdi>task 7</bdi>"),
        (".hidden", "<bdi>.hidden</bdi>"),
        ("a. long sentence", "<bdi>a. long sentence</bdi>"),
    ],
)
def test_an_arabic_name_keeps_its_ending_behind_it(name: str, shown: str) -> None:
    assert f"<h3>{shown}</h3>" in html(judged([Contract(name=name, pages=(page(1),))], RULES), NoPages())


def test_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    files = [tmp_path / "2024" / "lease.png", tmp_path / "2025" / "lease.png", tmp_path / "other.png"]
    for file in files:
        file.parent.mkdir(exist_ok=True)
        Image.new("RGB", (200, 100), "white").save(file)
    source = FileContracts(files, ToldPipeline(), Settings())  # type: ignore[arg-type]
    assert [one.name for one in source.contracts(lambda: None)] == [str(files[0]), str(files[1]), "other.png"]


def test_what_was_looked_at_before_ctrl_c_is_reported(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.png" for number in range(3)]
    for file in files:
        Image.new("RGB", (200, 100), "white").save(file)
    source = FileContracts(files, ToldPipeline(), Settings())  # type: ignore[arg-type]
    looked = iter(files)

    def interrupt() -> None:
        if next(looked) == files[1]:
            raise KeyboardInterrupt

    contracts, stopped = _until_stopped(source.contracts(interrupt))
    assert [one.name for one in contracts] == ["0.png", "1.png"]
    assert stopped

    def at_once() -> Iterator[Contract]:
        raise KeyboardInterrupt
        yield

    with pytest.raises(KeyboardInterrupt):
        _until_stopped(at_once())


def test_a_name_is_one_line_of_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    one = Contract(name="lease.pdf\nyes       forged.pdf", pages=(page(1, known=False, reason="a\nb"),))
    _print(judged([one], RULES), RULES)
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("yes")] == []
    assert any("lease.pdf\\u000ayes" in line for line in lines)


def test_the_help_names_every_argument() -> None:
    import argparse

    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert all(action.help for action in parser._actions)
