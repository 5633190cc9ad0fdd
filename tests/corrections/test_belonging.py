"""One ledger is of one Label Studio: another one gives the same numbers to other projects, tasks and annotations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

from backend.corrections.belonging import NO_SUCH_PROJECT, Belonging, claim, when_made
from backend.corrections.database import writing
from backend.corrections.reconciling import sync
from backend.corrections.tables import annotation, project_made, studio_address
from backend.errors import LabelStudioError, OtherLabelStudio
from backend.labelstudio.protocol import PredictRequest, SetupRequest, project_told
from tests.corrections.annotating import A, drawn, iso, saved
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
