"""Colour is for terminals, and for people who did not ask for none."""

from __future__ import annotations

import io

import pytest

from backend.terminal import advise, painted


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


@pytest.mark.parametrize(
    ("out", "err", "said"),
    [
        (Terminal, Terminal, True),
        # what is printed goes into a file, or through a pipe
        (io.StringIO, Terminal, False),
        (Terminal, io.StringIO, False),
    ],
)
def test_what_comes_next_is_said_to_who_reads_along(
    out: type[io.StringIO], err: type[io.StringIO], said: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("sys.stdout", out())
    told = err()
    monkeypatch.setattr("sys.stderr", told)
    advise("next: \u202eevil")
    assert told.getvalue() == ("next: \\u202eevil\n" if said else "")
