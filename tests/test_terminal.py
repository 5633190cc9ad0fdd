"""Colour is for terminals, and for people who did not ask for none."""

from __future__ import annotations

import io

import pytest

from backend.terminal import painted


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "environment", "coloured"),
    [
        (Terminal(), {}, True),
        # a file, a pipe
        (io.StringIO(), {}, False),
        # no-color.org: any value that is not empty
        (Terminal(), {"NO_COLOR": "1"}, False),
        (Terminal(), {"NO_COLOR": ""}, True),
        (Terminal(), {"TERM": "dumb"}, False),
    ],
)
def test_where_text_is_painted(
    stream: io.StringIO, environment: dict[str, str], coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert painted("ok", "green", stream) == ("\033[32mok\033[0m" if coloured else "ok")
