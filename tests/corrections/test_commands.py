"""The commands `samples`, `worker` and `sync`, as they are typed."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import Engine, select, update

from backend.cli import main
from backend.commands import sync as sync_command
from backend.corrections.crop_store import CropStore
from backend.corrections.database import default_url, open_database, writing
from backend.corrections.journal import Journal, ask
from backend.corrections.memory import acting_verdicts
from backend.corrections.remembering import Proposals, ShownPrediction
from backend.corrections.tables import annotation, event, sample
from backend.corrections.worker import Worker
from backend.errors import RequestError
from backend.labelstudio.protocol import without_secrets
from tests.corrections import annotating
from tests.corrections.annotating import A, B, C, drawn, saved, shown
from tests.corrections.studio import TITLE
from tests.corrections.test_service import Told, regions
from tests.patience import SECONDS, eventually

ROOT = Path(__file__).parents[2]
MOVED_B = (260.0, 300.0, 360.0, 360.0)


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """The ledger that the commands open."""
    for name in ("DATABASE_URL", "STORAGE_URL", "LABEL_STUDIO_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    engine = open_database(default_url(tmp_path))
    yield engine
    engine.dispose()


@pytest.fixture
def corrected(ledger: Engine, tmp_path: Path) -> Engine:
    """One annotation: a stamp that is a signature, a signature moved, a thumb that is nothing, a thumb missed."""
    proposals = [shown("a", "stamp", A), shown("b", "signature", B), shown("c", "thumb", C)]
    Proposals(ledger, clock=lambda: 900.0).remember(
        ShownPrediction(task=7, project=1, version="v1", proposals=proposals)
    )
    left = [
        drawn("a", "signature", A),
        drawn("b", "signature", MOVED_B),
        drawn("n", "thumb", (300.0, 10.0, 380.0, 90.0)),
    ]
    journal = Journal(ledger)
    body = saved(1, task=7, at=950, result=left, completed_by=4, lead_time=12.0)
    journal.append(body["action"], project=1, body=without_secrets(body))
    crops = CropStore(str(tmp_path))
    Worker(engine=ledger, journal=journal, crops=crops, page_of=annotating.page_of).work()
    return ledger


def test_samples_counts_by_class_outcome_and_split_beside_the_seeds(
    corrected: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["samples"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == [
        "accepted",
        "moved",
        "relabelled",
        "rejected",
        "duplicate",
        "missed",
        "all",
        "misnamed",
        "original",
    ]
    assert lines[1] == ["signature", "0", "1", "1", "0", "0", "0", "2", "1", "29"]
    assert lines[2] == ["stamp", "0", "0", "0", "0", "0", "0", "0", "0", "27"]
    assert lines[3] == ["thumb", "0", "0", "0", "0", "0", "1", "1", "0", "61"]
    assert lines[4] == ["none", "0", "0", "0", "1", "0", "0", "1"]
    assert lines[5] == ["all", "0", "1", "1", "1", "0", "1", "4", "1", "117"]
    assert lines[6][0] == "misnamed:"
    assert lines[8] == ["train", "validation", "gold"]
    assert sum(map(int, lines[13][1:])) == 4


def test_samples_as_json(corrected: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["samples", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["hard_examples"] == {"signature": 1}
    assert {one["outcome"]: one["count"] for one in facts["samples"]} == {
        "moved": 1,
        "relabelled": 1,
        "rejected": 1,
        "missed": 1,
    }


def test_a_samples_story(corrected: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["samples", "show", "1-a"]) == 0
    told = capsys.readouterr().out
    for fact in (
        "sample 1-a: signature, relabelled",
        "project 1, task 7, page 1, x 10 to 110, y 10 to 110 of 400 x 600 px",
        "1970-01-01 00:15:00 UTC as stamp by v1",
        "signature 70.0%, stamp 10.0%, thumb 10.0%, none 10.0%",
        "1970-01-01 00:15:50 UTC in annotation 1 by annotator 4, after 12 s of work",
        "stamp → signature",
    ):
        assert fact in told
    assert main(["samples", "show", "1-n"]) == 0
    assert "nothing was proposed there" in capsys.readouterr().out


def test_exact_copies_are_named_in_the_story(
    corrected: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = Journal(corrected)
    body = saved(2, task=7, at=960, result=[drawn("again", "signature", A)], completed_by=5)
    journal.append(body["action"], project=1, body=without_secrets(body))
    Worker(engine=corrected, journal=journal, crops=CropStore(str(tmp_path)), page_of=annotating.page_of).work()
    assert main(["samples", "show", "1-a"]) == 0
    assert "copies     to the pixel: 2-again" in capsys.readouterr().out
    assert main(["samples"]) == 0
    # of the four marks and the three: `a` was renamed by both, and `c` rejected by both
    assert ", 2 exact copies;" in capsys.readouterr().out


def test_the_words_of_the_command(corrected: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["samples", "list"]) == 0
    assert "1-a  stamp → signature  task 7, 0 boxes renamed, 0 not shown" in capsys.readouterr().out
    assert main(["samples", "forget", "1-a"]) == 0
    assert "`samples restore 1-a` undoes that" in capsys.readouterr().out
    assert main(["samples", "list"]) == 0
    assert "0 not shown, taken back" in capsys.readouterr().out
    assert main(["samples", "restore", "1-a"]) == 0
    with corrected.connect() as connection:
        assert not any(one.forgotten for one in acting_verdicts(connection, most=10))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["show", "9-z"], "there is no sample '9-z'"),
        (["show"], "samples takes `show ID`"),
        (["forget"], "samples takes `show ID`"),
        (["forget", "9-z"], "there is no sample '9-z'"),
        (["list", "1-a"], "samples takes `show ID`"),
        (["tell", "1-a"], "samples takes `show ID`"),
        (["--sheet", "sheet.pdf"], "an .html page or a .png image"),
        (["--sheet", "no/such/folder/sheet.png"], "cannot be written"),
    ],
)
def test_samples_says_what_it_cannot_do(
    corrected: Engine, capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str
) -> None:
    assert main(["samples", *arguments]) == 2
    assert reason in capsys.readouterr().err


def test_a_contact_sheet_as_one_page(corrected: Engine, tmp_path: Path) -> None:
    file = tmp_path / "sheet.html"
    assert main(["samples", "--sheet", str(file)]) == 0
    page = file.read_text()
    assert page.count("data:image/png;base64,") == 4
    assert "<s>stamp</s> → <b>signature</b>" in page
    assert "<s>thumb</s> → <b>none</b>" in page
    assert page.index("relabelled") < page.index("rejected") < page.index("missed") < page.index("moved")
    elsewhere = [place for place in re.findall(r'(?:src|href)="([^"]*)"', page) if not place.startswith(("data:", "#"))]
    assert elsewhere == [], "the page is whole by itself"
    assert "@import" not in page
    assert "url(" not in page


def test_a_contact_sheet_as_one_image(corrected: Engine, tmp_path: Path) -> None:
    file = tmp_path / "sheet.png"
    assert main(["samples", "--sheet", str(file)]) == 0
    with Image.open(file) as sheet:
        colours = sheet.convert("RGB").resize((64, 64)).getcolors(64 * 64)
    assert colours is not None
    assert len(colours) > 100  # crops of noise, not a white sheet


def test_an_empty_ledger_has_a_table_and_a_sheet(
    ledger: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["samples"]) == 0
    assert "117" in capsys.readouterr().out
    assert main(["samples", "--sheet", str(tmp_path / "sheet.png")]) == 0
    assert main(["samples", "--sheet", str(tmp_path / "sheet.html")]) == 0
    assert "There are no samples yet." in (tmp_path / "sheet.html").read_text()


def test_worker_does_what_is_open_and_says_what_it_could_not(
    ledger: Engine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(ledger)
    bodies = [saved(number, task=number, at=950, result=[drawn("a", "stamp", A)]) for number in (1, 2)]
    for body in bodies:
        journal.append(body["action"], project=1, body=without_secrets(body))
    monkeypatch.setattr("backend.commands.run_worker.Connections", lambda *_, **__: Told(*bodies))
    assert main(["worker", "--once"]) == 0
    assert capsys.readouterr().out.startswith("2 samples, 0 annotations to be tried again, 0 parked")
    with writing(ledger) as connection:
        connection.execute(update(annotation).where(annotation.c.id == 1).values(parked=True, turned=None))
    assert main(["worker", "--once"]) == 1
    assert "1 parked" in capsys.readouterr().out
    assert main(["worker", "--once", "--unpark"]) == 0
    assert "1 annotations and 0 events get another chance" in capsys.readouterr().err


def test_worker_tries_parked_events_again_and_then_lets_them_be(
    ledger: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = Journal(ledger)
    journal.append("ANNOTATION_CREATED", project=1, body={"action": "ANNOTATION_CREATED"})
    assert main(["worker", "--once"]) == 1
    assert main(["worker", "--once"]) == 1
    body = without_secrets(saved(1, task=1, at=950, result=[]))
    journal.append("ANNOTATION_CREATED", project=1, body={})
    journal.take(lambda *_: "as an older release said")
    with writing(ledger) as connection:
        connection.execute(update(event).where(event.c.id == 2).values(body=body))  # the newer one can read it
    capsys.readouterr()
    assert main(["worker", "--once", "--unpark"]) == 0
    said = capsys.readouterr()
    assert "0 annotations and 2 events get another chance" in said.err
    assert "0 parked" in said.out
    assert journal.counts() == {("ANNOTATION_CREATED", "done"): 1, ("ANNOTATION_CREATED", "ignored"): 1}
    assert main(["worker", "--once", "--unpark"]) == 0


def test_a_worker_process_works_until_it_is_told_to_stop(ledger: Engine) -> None:
    journal = Journal(ledger)
    with subprocess.Popen(
        [sys.executable, "-m", "backend", "worker"], cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as process:
        body = saved(1, task=1, at=950, result=[])  # nothing was left on its pages: no page is needed
        journal.append(body["action"], project=1, body=without_secrets(body))
        eventually(lambda: journal.counts() == {("ANNOTATION_CREATED", "done"): 1})
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    assert "Traceback" not in said


def test_sync_reconciles_works_and_reports(
    ledger: Engine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told(saved(1, task=7, at=950, result=[drawn("a", "stamp", A)]), saved(2, task=8, at=960, result=[]))
    monkeypatch.setattr(sync_command, "Connections", lambda *_, **__: told)
    assert main(["sync", "--project", "1"]) == 2
    assert "LABEL_STUDIO_API_KEY" in capsys.readouterr().err
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "token")
    assert main(["sync"]) == 2
    assert "--project" in capsys.readouterr().err
    assert main(["sync", "--project", "1"]) == 0
    said = capsys.readouterr().out
    assert "project 1: 2 tasks looked at, 2 annotations new or newer, 0 gone, 0 unreadable" in said
    assert "1 samples" in said
    assert regions(ledger) == {"a"}
    assert main(["sync", "--all"]) == 0  # by now the project is known
    assert "2 tasks looked at, 0 annotations new or newer" in capsys.readouterr().out
    assert main(["sync", "--project", TITLE]) == 0
    assert "project 1: " in capsys.readouterr().out
    assert main(["sync", "--project", "Deeds"]) == 2
    assert "no project with the title 'Deeds'" in capsys.readouterr().err


def test_a_project_that_was_deleted_does_not_hold_up_the_others(
    ledger: Engine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told(saved(1, task=7, at=950, result=[drawn("a", "stamp", A)]))
    monkeypatch.setattr(sync_command, "Connections", lambda *_, **__: told)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "token")
    with writing(ledger) as connection:
        for project in (0, 1, 2):  # only 1 is there
            ask(connection, project, at=1.0)
    assert main(["sync", "--all"]) == 1
    said = capsys.readouterr()
    assert "project 1: 1 tasks looked at, 1 annotations new or newer" in said.out
    left = [line.split(":")[0] for line in said.err.splitlines() if "its samples stay as they are" in line]
    assert left == ["project 0", "project 2"]
    assert regions(ledger) == {"a"}


def test_an_annotation_without_a_page_is_reported(
    ledger: Engine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told(saved(1, task=7, at=950, result=[drawn("a", "stamp", A)]))
    told.source.kept["/data/upload/1/t7p0"] = RequestError("no such page")
    monkeypatch.setattr(sync_command, "Connections", lambda *_, **__: told)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "token")
    assert main(["sync", "--project", "1"]) == 1
    assert "1 annotations could not be turned into samples yet" in capsys.readouterr().out


def test_everything_that_is_known_of_each_sample_as_json_lines(
    corrected: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["samples", "--json-lines"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    with corrected.connect() as connection:
        stored = {row.id: row for row in connection.execute(select(sample))}
    assert {one["id"] for one in told} == set(stored)
    assert {one["outcome"] for one in told} == {"relabelled", "moved", "rejected", "missed"}
    [renamed] = [one for one in told if one["outcome"] == "relabelled"]
    assert (renamed["shown_as"], renamed["label"], renamed["task"], renamed["page"]) == ("stamp", "signature", 7, 1)
    assert renamed["box"] == list(A)
    assert renamed["annotated"] == "1970-01-01T00:15:50+00:00"
    assert sum(renamed["probabilities"].values()) == pytest.approx(1)
    assert renamed["recall"] == {"renamed": 0, "suppressed": 0, "taken_back": False}
    [missed] = [one for one in told if one["outcome"] == "missed"]
    assert (missed["shown_as"], missed["shown"], missed["probabilities"]) == (None, None, None)
    # Nothing of the ledger's sample is left out.
    renames = {"wrong": "shown_as", "x1": "box", "y1": "box", "x2": "box", "y2": "box", "margin": "crop_box"}
    renames |= {"page_width": "page_size", "page_height": "page_size", "version": "model_version"}
    assert {renames.get(column.name, column.name) for column in sample.columns} <= set(renamed)
    main(["samples", "forget", renamed["id"]])
    capsys.readouterr()
    main(["samples", "--json-lines"])
    again = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["id"] for one in again if one["recall"]["taken_back"]] == [renamed["id"]]
