"""One ledger is of one Label Studio: another one gives the same numbers to other projects, tasks and annotations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

from backend.corrections.belonging import NO_SUCH_PROJECT, Belonging, claim, when_made
from backend.corrections.counts import count
from backend.corrections.crop_store import CropStore
from backend.corrections.database import writing
from backend.corrections.journal import Journal
from backend.corrections.reconciling import sync
from backend.corrections.tables import annotation, project_made, studio_address
from backend.corrections.worker import Worker
from backend.errors import LabelStudioError, OtherLabelStudio
from backend.labelstudio.protocol import PredictRequest, SetupRequest, project_told
from tests.corrections.annotating import A, drawn, iso, page_of, samples, saved, send, show
from tests.corrections.conftest import opened_copy
from tests.corrections.studio import Studio
from tests.server.conftest import payload

HERE, THERE = "http://labels.test:8080", "http://others.test:8080"
MADE, LATER = 1_795_343_096, 1_795_400_000


@pytest.fixture
def engine(migrated_file: Path, tmp_path: Path) -> Iterator[Engine]:
    yield from opened_copy(migrated_file, tmp_path)


def silent(_: int) -> None:
    """A Label Studio that tells nothing: there is no token, or no answer."""


def told(**projects: int) -> Callable[[int], int]:
    """A Label Studio with projects that were made at these moments."""
    return lambda project: projects.get(f"p{project}", NO_SUCH_PROJECT)


def process(engine: Engine, address: str = HERE, made: Callable[[int], int | None] = silent) -> Belonging:
    """One that has just started."""
    found = Belonging(engine, address=address, made=made)
    found.read()
    return found


def known(engine: Engine) -> tuple[dict[int, int], set[str]]:
    with engine.connect() as connection:
        projects = {row.id: row.made for row in connection.execute(select(project_made))}
        return projects, set(connection.execute(select(studio_address.c.address)).scalars())


@pytest.fixture
def first(engine: Engine) -> Belonging:
    """A process of the Label Studio that the ledger is of; it has seen project 1."""
    found = process(engine)
    found.admit(1, MADE)
    found.look()
    return found


def test_what_the_first_one_says_is_in_the_ledger(engine: Engine, first: Belonging) -> None:
    assert first.is_ours
    assert known(engine) == ({1: MADE}, {HERE})


@pytest.mark.parametrize("address", [HERE, THERE])
def test_a_project_of_the_same_number_that_was_made_at_another_moment_is_refused(
    engine: Engine, first: Belonging, address: str
) -> None:
    """Another Label Studio, or the same one after it was set up anew."""
    second = process(engine, address)
    with pytest.raises(OtherLabelStudio, match=r"project 1 was made on .* a DATA_DIR .* of its own"):
        second.admit(1, LATER)
    with pytest.raises(OtherLabelStudio):
        first.admit(1, LATER)
    first.admit(1, MADE)


@pytest.mark.parametrize("made", [silent, told(p1=LATER, p2=LATER), told(p2=LATER)])
def test_at_another_address_nothing_is_done_that_the_ledger_would_take_for_its_own(
    engine: Engine, first: Belonging, made: Callable[[int], int | None]
) -> None:
    second = process(engine, THERE, made)
    second.look()
    assert not second.is_ours
    for project, moment in ((2, LATER), (2, None), (1, None)):
        with pytest.raises(OtherLabelStudio, match="if it has only moved"):
            second.admit(project, moment)
    with pytest.raises(OtherLabelStudio):
        second.require()
    assert known(engine) == ({1: MADE}, {HERE}), f"{first} is still the only one"


def test_an_address_that_was_mistyped_at_first_binds_nothing(engine: Engine) -> None:
    wrong = process(engine, "http://localhost:8080")
    wrong.look()
    right = process(engine)
    right.admit(1, MADE)
    right.look()
    assert known(engine) == ({1: MADE}, {HERE})
    assert not process(engine, "http://localhost:8080").is_ours


def test_one_that_has_only_moved_shows_it_by_a_project_of_its_own(engine: Engine, first: Belonging) -> None:
    second = process(engine, THERE)
    second.admit(1, MADE)
    assert second.is_ours
    second.look()
    assert known(engine)[1] == {HERE, THERE}
    assert first.is_ours, "both are names of it now"
    assert process(engine, THERE).is_ours


def test_one_that_has_only_moved_is_asked_where_there_is_a_token(engine: Engine, first: Belonging) -> None:
    second = process(engine, THERE, told(p1=MADE))
    second.require()
    second.admit(2, LATER)
    assert first.is_ours


@pytest.mark.parametrize(
    ("made", "hostname", "admitted"),
    [
        (told(p2=LATER), THERE, True),  # called by another name, and has it
        (silent, THERE, True),  # nobody can tell
        (told(), "", True),  # its token may not see it
        (told(), HERE, True),
        (told(), THERE, False),
        (told(p2=MADE), HERE, False),
    ],
)
def test_a_project_that_was_not_seen_before_is_asked_for_where_the_ledgers_label_studio_is(
    engine: Engine, made: Callable[[int], int | None], hostname: str, admitted: bool
) -> None:
    found = process(engine, HERE, made)
    found.admit(2, LATER, hostname=hostname)
    found.look()
    assert (2 in known(engine)[0]) == admitted
    if admitted:
        found.admit(2, LATER)
    else:
        with pytest.raises(OtherLabelStudio, match=r"is none of http://labels\.test:8080 \(LABEL_STUDIO_URL\)"):
            found.admit(2, LATER)


class Answering:
    """A Label Studio that answers a question for a project with an error."""

    def __init__(self, answered: int | None, *, has_token: bool = True) -> None:
        self.has_token = has_token
        self._answered = answered

    def project(self, project: int) -> Mapping[str, Any]:
        raise LabelStudioError(f"nothing about {project}", answered=self._answered)


@pytest.mark.parametrize(
    ("studio", "told_of_it"),
    [
        (Answering(None), None),  # it does not answer
        (Answering(401), None),
        (Answering(404, has_token=False), None),
        (Answering(404), NO_SUCH_PROJECT),
        (Studio().client(), None),  # an old release does not say when
    ],
)
def test_one_that_does_not_tell_is_no_other_one(studio: Any, told_of_it: int | None) -> None:
    assert when_made(lambda _: studio)(1) == told_of_it


def test_a_request_that_names_no_moment_passes_where_the_address_is_known(engine: Engine, first: Belonging) -> None:
    first.admit(1, None)
    first.admit(7, None)
    assert known(engine)[0] == {1: MADE}


def test_a_ledger_of_an_earlier_program_becomes_that_of_the_label_studio_that_comes_first(engine: Engine) -> None:
    with writing(engine) as connection:
        claim(connection, address=HERE, project=3, made=None)
    assert known(engine) == ({}, set())
    with writing(engine) as connection:
        claim(connection, address=HERE, project=3, made=MADE)
    assert known(engine) == ({3: MADE}, {HERE})


DAY = 86_400


@pytest.mark.parametrize(
    ("project", "made", "fits"),
    [
        (3, MADE - DAY, True),
        (9, MADE + DAY, True),
        (9, MADE - 1800, True),  # its clock was put back by half an hour
        (9, MADE - DAY, False),
        (3, MADE + DAY, False),
        (9, None, True),
    ],
)
def test_projects_are_numbered_in_the_order_in_which_they_are_made(
    engine: Engine, project: int, made: int | None, fits: bool
) -> None:
    """Without a token nobody can be asked, and yet this tells another Label Studio's projects from ours."""
    found = process(engine)
    found.admit(5, MADE)
    for _ in range(2):  # before it is in the ledger, and after
        if fits:
            found.admit(project, made)
        else:
            with pytest.raises(OtherLabelStudio, match=r"project \d was made on .* set LABEL_STUDIO_API_KEY"):
                found.admit(project, made)
        found.look()
    assert known(engine)[0].keys() == {5, *([project] if fits and made else [])}


def test_a_project_out_of_order_is_admitted_once_label_studio_says_that_it_has_it(engine: Engine) -> None:
    """Its clock was a day ahead when it made the first one."""
    found = process(engine, HERE, told(p5=MADE, p9=MADE - DAY))
    found.admit(5, MADE)
    with pytest.raises(OtherLabelStudio):
        found.admit(9, MADE - DAY)
    found.look()
    found.admit(9, MADE - DAY)
    with pytest.raises(OtherLabelStudio):
        found.admit(10, MADE - 2 * DAY)
    assert known(engine)[0] == {5: MADE, 9: MADE - DAY}


def elsewhere(event: dict[str, Any]) -> dict[str, Any]:
    """The same event out of another project: another Label Studio gives the same numbers to what is its own."""
    told = event | {"project": event["project"] | {"id": 2}}
    for key in ("annotation", "task"):
        if key in event:
            told[key] = event[key] | {"project": 2}
    return told


@pytest.mark.parametrize(
    "stranger",
    [
        elsewhere(saved(9, task=7, at=2000, result=[])),
        elsewhere(saved(1, task=700, at=2000, result=[], created=1000, action="ANNOTATION_UPDATED")),
        elsewhere({"action": "ANNOTATIONS_DELETED", "annotations": [{"id": 1}], "project": {"id": 1}}),
        elsewhere({"action": "TASKS_DELETED", "tasks": [{"id": 7}], "project": {"id": 1}}),
        # it cannot make up its mind
        saved(9, task=7, at=2000, result=[], project=2),
    ],
)
@pytest.mark.parametrize("by", ["what was shown", "what was annotated"])
def test_an_event_about_what_is_of_another_project_is_not_taken_at_its_word(
    engine: Engine, tmp_path: Path, stranger: dict[str, Any], by: str
) -> None:
    if by == "what was shown":
        show(engine)
    journal = Journal(engine)
    worker = Worker(engine=engine, journal=journal, crops=CropStore(str(tmp_path)), page_of=page_of)
    send(journal, saved(1, task=7, at=1000, result=[drawn("a", "stamp", A)]))
    worker.work()
    before = samples(engine)
    assert before
    journal.append(stranger["action"], project=stranger["project"]["id"], body=stranger)
    worker.work()
    assert samples(engine) == before
    [parked] = count(engine).parked
    assert "the event says that it is of project 2" in parked.reason
    send(journal, saved(1, task=7, at=3000, created=1000, result=[], action="ANNOTATION_UPDATED"))
    worker.work()
    assert samples(engine) != before, "and it kept nothing of ours from being learnt"


def test_sync_takes_nothing_from_another_label_studio(engine: Engine) -> None:
    ours, theirs = (Studio(saved(1, task=7, at=1000, result=[drawn(one, "stamp", A)])) for one in "ab")
    ours.made, theirs.made = iso(MADE), iso(LATER)
    assert sync(engine, ours.client(), 1, address=HERE, everything=True).saved == 1
    for address in (HERE, THERE):
        with pytest.raises(OtherLabelStudio):
            sync(engine, theirs.client(), 1, address=address, everything=True)
    with engine.connect() as connection:
        [body] = connection.execute(select(annotation.c.body)).scalars()
    assert body["result"][0]["id"] == "a"
    assert sync(engine, ours.client(), 1, address=THERE).deleted == 0, "it may have two names"


def test_label_studio_tells_one_moment_in_all_of_its_ways() -> None:
    setup, predict, event = (payload(name) for name in ("setup", "predict", "webhook_annotation_created_in_editor"))
    moments = {SetupRequest.parse(setup).made, PredictRequest.parse(predict).made, project_told(event)[1]}
    assert moments == {MADE}
