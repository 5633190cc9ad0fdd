"""What single checks make of single facts."""

from __future__ import annotations

import base64
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from backend.commands.doctor.check_connection import judge_delivery
from backend.commands.doctor.check_label_studio import TokenKind, judge_release, token_kind
from backend.commands.doctor.check_model import TRAINING_MODULES, check_training
from backend.commands.doctor.check_pages import check_pages, chosen, reference_kind
from backend.commands.doctor.check_reading import unshown_kind
from backend.commands.doctor.check_storage import check_folder, judge_journal, judge_space
from backend.commands.doctor.findings import Severity
from backend.corrections.counts import LedgerCounts
from backend.corrections.unsettled import Parked
from backend.labelstudio.client import LabelStudio
from backend.labelstudio.probing import Latest
from backend.labelstudio.tasks import TaskPage
from backend.pages.references import AllowList
from backend.settings import Settings
from tests.commands.doctor.conftest import token_of
from tests.pages.files import packed, picture

ROOT = Path(__file__).parents[3]
NOW = 1_000_000.0


def saved(ago: float) -> Latest:
    return Latest(id=7, task=3, updated=NOW - ago)


@pytest.mark.parametrize(
    ("reference", "kind"),
    [
        ("/data/upload/4/4d035ba8-scan.TIF", "TIFF"),
        ("/data/local-files/?d=archive/phone.heic", "HEIC"),
        ("https://archive.example/a.jp2?version=2", "JPEG 2000"),
        ("s3://contracts/a.pdf", "PDF"),
        ("/data/upload/4/4d035ba8-page.avif", None),  # seen in 1.23.2: it is shown
        ("/data/upload/4/4d035ba8-tif.png", None),
        ("data:image/tiff;base64,AAAA.tif", None),
        ("http://[", None),
    ],
)
def test_kinds_that_browsers_do_not_show(reference: str, kind: str | None) -> None:
    assert unshown_kind(reference) == kind


@pytest.mark.parametrize(
    ("annotation", "event", "since", "state", "words"),
    [
        # nobody annotated, nothing came
        (None, None, 500, Severity.OK, "nothing is annotated yet"),
        # what was saved last came
        (60, 60, 500, Severity.OK, "annotation 7 was saved 1 minute ago; EVENT came 1 minute ago"),
        # it came, by a clock that is a minute slow
        (60, 120, 500, Severity.OK, "EVENT came 2 minutes ago"),
        # nothing ever came, and should have
        (60, None, 500, Severity.FAILURE, "no event of an annotation ever came: the webhook does not arrive"),
        # what came last came before the webhook was changed
        (60, 900, 500, Severity.FAILURE, "the webhook does not arrive"),
        # one came since, but not the last
        (60, 400, 500, Severity.WARNING, "one event at least was lost"),
        # nothing was saved since the webhook was made: nothing is known
        (900, None, 500, Severity.WARNING, "nothing was saved since the webhook was last changed"),
        # a Label Studio that does not say when that was
        (600, None, None, Severity.FAILURE, "the webhook does not arrive"),
        (60, 7200, None, Severity.WARNING, "one event at least was lost"),
    ],
)
def test_the_last_delivery(
    *, annotation: float | None, event: float | None, since: float | None, state: Severity, words: str
) -> None:
    finding = judge_delivery(
        None if annotation is None else saved(annotation),
        None if event is None else ("EVENT", NOW - event),
        project=4,
        since=None if since is None else NOW - since,
        now=NOW,
    ).finding
    assert finding.state is state
    assert words in finding.found
    assert state is Severity.OK or "sync --project 4" in finding.remedy


@pytest.mark.parametrize(
    ("facts", "state", "words"),
    [
        (LedgerCounts(), Severity.OK, "0 events, none parked"),
        # work that a server is at
        (LedgerCounts(events={("A", "open"): 2}, oldest_open=30.0), Severity.OK, "2 events"),
        # work that nobody is at
        (LedgerCounts(events={("A", "open"): 2}, oldest_open=7200.0), Severity.WARNING, "waits for 2 hours"),
        # what waits for a person
        (
            LedgerCounts(annotations={"parked": 1}, parked=(Parked(kind="annotation", id=1, reason="no page"),)),
            Severity.WARNING,
            "0 events and 1 annotation are parked, such as annotation 1: no page",
        ),
        (LedgerCounts(events={("A", "parked"): 3}), Severity.WARNING, "3 events and 0 annotations are parked"),
    ],
)
def test_the_journal(facts: LedgerCounts, state: Severity, words: str) -> None:
    finding = judge_journal(facts).finding
    assert finding.state is state
    assert words in finding.found


@pytest.mark.parametrize(
    ("free", "state"), [(10_000, Severity.FAILURE), (1_000_000_000, Severity.WARNING), (50_000_000_000, Severity.OK)]
)
def test_disk_space(free: int, state: Severity) -> None:
    assert judge_space(free).finding.state is state


def test_a_data_folder_that_is_still_to_be_made(tmp_path: Path) -> None:
    checked = check_folder(tmp_path / "far" / "away")
    assert checked.value == tmp_path
    assert "not there yet" in checked.finding.found
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("release", "state", "words"),
    [
        ("1.23.2", Severity.OK, "Label Studio 1.23.2"),
        ("1.9.0", Severity.WARNING, "tested with 1.23"),
        ("1.24.0rc1", Severity.OK, "newer than 1.23"),
        ("2.0", Severity.OK, "newer"),
    ],
)
def test_releases(release: str, state: Severity, words: str) -> None:
    checked = judge_release(release, "http://studio")
    assert (checked.finding.state, checked.value) == (state, release)
    assert words in checked.finding.found


@pytest.mark.parametrize(
    ("token", "kind"),
    [
        ("", TokenKind.NONE),
        ("0123456789abcdef0123456789abcdef01234567", TokenKind.LEGACY),
        (token_of("refresh", expires=NOW), TokenKind.PERSONAL),
        (token_of("access", expires=NOW), TokenKind.BEARER),
        # a JWT that says nothing of itself
        ("a.b.c", TokenKind.PERSONAL),
        ("a.WzFd.c", TokenKind.PERSONAL),
    ],
)
def test_kinds_of_tokens(token: str, kind: TokenKind) -> None:
    assert token_kind(token) is kind


@pytest.mark.parametrize(
    ("reference", "kind"),
    [
        ("/data/upload/1/a.png", "upload"),
        ("http://studio:8080/ls/data/upload/1/a.png", "upload"),
        ("/data/local-files/?d=a.png", "local file"),
        ("http://studio:8080/ls/data/local-files/?d=a.png", "local file"),
        ("https://elsewhere/a.png", "http"),
        ("HTTP://elsewhere:8080/data/local-files/?d=a", "http"),
        ("http://[bad", "http"),
        ("s3://bucket/a.png", "cloud"),
        ("azure-blob://box/a.png", "cloud"),
        ("data:image/png;base64,AA==", "data URI"),
    ],
)
def test_kinds_of_references(reference: str, kind: str) -> None:
    assert reference_kind(reference, own=AllowList(base_url="http://studio:8080/ls", allowed_hosts="")) == kind


def named(*references: str) -> list[TaskPage]:
    """Pages of tasks that are numbered from 1."""
    return [
        TaskPage(place=0, task=number, item=None, reference=reference, bindings=())
        for number, reference in enumerate(references, 1)
    ]


@pytest.mark.parametrize(
    "odd",
    [
        "/data/local-files/?d=docs/my contract.jpg",
        "/data/local-files/?d=docs/my%20contract.jpg",
        "/data/local-files/?d=docs/عقد.jpg",
        "/data/local-files/?d=docs/Übergabe.jpg",
        "/data/local-files/?d=docs/a+b.jpg",
        "/data/local-files/?d=docs/a#b.jpg",
        "/data/local-files/?d=docs/scan7.AVIF",
        "http://other.example/data/local-files/?d=docs/scan7.jpg",
    ],
)
@pytest.mark.parametrize("place", [0, 77, 311, 500])
def test_of_each_manner_of_name_one_is_read(odd: str, place: int) -> None:
    references = [f"/data/local-files/?d=docs/scan{number}.jpg" for number in range(500)]
    references.insert(place, odd)
    read = [one.reference for one in chosen(named(*references))]
    assert odd in read
    assert {references[0], references[-1]} <= set(read)
    assert len(read) == len(set(read)) <= 24
    assert len(chosen(named(*references[:20]))) == 20


def test_names_that_are_all_of_different_manners_are_read_in_part() -> None:
    read = chosen(named(*(f"https://host{number}.example/page.png" for number in range(100))))
    assert len(read) <= 24
    assert [read[0].task, max(one.task or 0 for one in read)] == [1, 100]


def test_training_needs_its_modules_only_where_it_is_wanted() -> None:
    assert check_training(100, modules=["json"]).finding.state is Severity.OK
    lacking = check_training(100, modules=["json", "no_such_module"]).finding
    assert (lacking.state, "no_such_module" in lacking.found) == (Severity.WARNING, True)
    assert "RETRAIN_AFTER=0" in lacking.remedy
    assert check_training(0, modules=["no_such_module"]).finding.state is Severity.OK


def test_the_modules_are_those_of_the_train_extra() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    wanted = {line.split(">")[0] for name in ("train", "synthetic", "evaluate") for line in extras[name]}
    wanted -= {line for line in wanted if line.startswith("contract-marks[")}
    made = {name for module in TRAINING_MODULES for name in packages_distributions()[module]}
    assert made == wanted


def test_a_page_that_is_not_all_there_is_to_be_waited_for() -> None:
    whole = packed(picture(), "PNG")
    cut = "data:image/png;base64," + base64.b64encode(whole[: len(whole) // 2]).decode()
    studio = LabelStudio("http://localhost:8080", "")
    finding = check_pages(Settings(), kind="upload", pages=named(cut), studio=studio).finding
    assert finding.state is Severity.FAILURE
    assert "cut short" in finding.found
    assert finding.remedy.startswith("wait until its upload or copy is whole")
