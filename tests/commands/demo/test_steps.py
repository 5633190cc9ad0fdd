"""The demo says what it does: live on a terminal, one line a step elsewhere."""

from __future__ import annotations

import io
import re

import pytest

from backend.commands.demo.demo_command import Steps


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_file_gets_one_line_a_step() -> None:
    out = io.StringIO()
    with Steps(out).step("Drawing") as step:
        step.note("1 of 2")
        step.outcome = "Drawn"
    assert re.fullmatch(r"  ✓ Drawn \(\d+\.\d s\)\n", out.getvalue())


def test_a_terminal_sees_how_far_the_step_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    out = Terminal()
    with Steps(out).step("Drawing") as step:
        step.note("1 of 2")
    assert "… Drawing · 1 of 2" in out.getvalue()
    assert "✓ Drawing" in out.getvalue().rpartition("\r")[2]


def test_a_step_that_fails_is_crossed_and_its_error_goes_on() -> None:
    out = io.StringIO()
    with pytest.raises(ZeroDivisionError), Steps(out).step("Dividing"):
        1 / 0  # noqa: B018
    assert "✗ Dividing" in out.getvalue()


def test_a_terminal_sees_how_it_ended_in_colour_unless_it_asks_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    for expected in (True, False):
        out = Terminal()
        with Steps(out).step("Drawing"):
            pass
        assert ("\033[32m✓\033[0m" in out.getvalue()) is expected
        monkeypatch.setenv("NO_COLOR", "1")
