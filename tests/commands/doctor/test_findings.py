"""A finding has a remedy exactly where one is needed, shows no credentials, and decides what later checks can do."""

from __future__ import annotations

import pytest

from backend.commands.doctor.findings import (
    Checked,
    Finding,
    Severity,
    after,
    bare,
    doubtful,
    failed,
    skipped,
    span,
    this_many,
    volume,
    well,
)
from backend.errors import LabelStudioError


@pytest.mark.parametrize(
    ("state", "remedy"),
    [(Severity.OK, "do this"), (Severity.SKIPPED, "do this"), (Severity.WARNING, ""), (Severity.FAILURE, "")],
)
def test_a_remedy_goes_with_trouble_and_with_nothing_else(state: Severity, remedy: str) -> None:
    with pytest.raises(ValueError, match="have a remedy, and nothing else has"):
        Finding(name="thing", state=state, found="so", remedy=remedy)


def test_a_check_gets_what_earlier_ones_gave() -> None:
    one, two = well("one", "so", 1), doubtful("two", "so", remedy="do", value=2)
    checked = after("sum", lambda a, b: well("sum", "so", a + b), one, two)
    assert checked.value == 3


def test_what_rests_on_a_failure_names_the_first_one() -> None:
    def never(*_: object) -> Checked[int]:
        raise AssertionError("it was called")

    token: Checked[str] = failed("token", "no", remedy="do")
    project = after("project", never, token)
    title = after("title", never, well("backend", "so", "v1"), project)
    assert [one.finding.state for one in (project, title)] == [Severity.SKIPPED] * 2
    assert [one.finding.found for one in (project, title)] == ["not looked at: it needs `token`"] * 2


def test_a_failure_that_leaves_a_value_holds_up_nothing() -> None:
    webhook = failed("webhook", "no", remedy="do", value="webhook")
    assert after("secret", lambda one: well("secret", one, 1), webhook).finding.found == "webhook"


def test_what_was_left_out_on_purpose_is_named_as_well() -> None:
    assert after("title", lambda _: well("title", "so", 1), skipped("project", "name one")).finding.found.endswith(
        "needs `project`"
    )


def test_a_label_studio_that_refuses_a_question_is_a_finding() -> None:
    def refused(_: object) -> Checked[int]:
        raise LabelStudioError("Label Studio answered 500 to GET /api/ml/", answered=500)

    finding = after("connection", refused, well("project", "so", 1)).finding
    assert (finding.name, finding.state) == ("connection", Severity.FAILURE)
    assert "answered 500" in finding.found
    assert finding.remedy


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        # a user name and a password
        ("at http://user:pass@host:8080/a it is", "at http://host:8080/a it is"),
        # those of a database
        ("postgresql://marks:secret@db/marks", "postgresql://db/marks"),
        # a signature
        ("get https://bucket.example/a.png?X-Signature=abc#d now", "get https://bucket.example/a.png now"),
        # an address in quotes
        ("'http://a/b?token=c', it says", "'http://a/b', it says"),
        # a name within Label Studio's own route is no secret
        ("/data/local-files/?d=a/b.png", "/data/local-files/?d=a/b.png"),
        # an at sign that is no password's
        ("ask admin@example.com", "ask admin@example.com"),
    ],
)
def test_addresses_are_shown_without_what_opens_them(text: str, shown: str) -> None:
    assert bare(text) == shown
    assert failed("thing", text, remedy=text).finding.found == shown
    assert failed("thing", text, remedy=text).finding.remedy == shown


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-3.0, "0 seconds"), (1.9, "1 second"), (60.0, "1 minute"), (7300.0, "2 hours"), (200_000.0, "2 days")],
)
def test_times_in_words(seconds: float, words: str) -> None:
    assert span(seconds) == words


def test_amounts_in_words() -> None:
    assert (this_many(0, "task"), this_many(1, "task")) == ("0 tasks", "1 task")
    assert (volume(1.26e9), volume(340e6)) == ("1.3 GB", "340 MB")
