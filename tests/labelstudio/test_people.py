"""Initials of annotators: asked for now and then, never more than initials, and the old ones where nobody answers."""

from __future__ import annotations

import httpx2
import pytest

from backend.labelstudio.client import LabelStudio
from backend.labelstudio.probing import Initials, initials_of

ADA = {"id": 3, "initials": "al", "email": "ada@example.org", "first_name": "Ada"}


class Reach:
    """A Label Studio that answers what it is told."""

    def __init__(self, *answers: httpx2.Response) -> None:
        self._answers = list(answers)
        self.asked = 0

    def studio(self, _: str) -> LabelStudio:
        return LabelStudio("http://studio.test", "token", transport=httpx2.MockTransport(self._answer))

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        assert request.url.path == "/api/users/"
        self.asked += 1
        return self._answers.pop(0)


@pytest.mark.parametrize("body", [[ADA], {"results": [ADA]}])
def test_initials_by_id_and_nothing_else(body: object) -> None:
    assert initials_of(Reach(httpx2.Response(200, json=body)).studio("1")) == {3: "AL"}


def test_they_are_kept_for_a_while_and_when_nobody_answers() -> None:
    now = [0.0]
    reach = Reach(httpx2.Response(200, json=[ADA]), httpx2.Response(500), httpx2.Response(200, json=[]))
    initials = Initials(reach, projects=list, clock=lambda: now[0])
    assert (initials(), initials(), reach.asked) == ({3: "AL"}, {3: "AL"}, 1)
    now[0] = 1000.0
    assert (initials(), reach.asked) == ({3: "AL"}, 2)
    now[0] = 2000.0
    assert initials() == {}
