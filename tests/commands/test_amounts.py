"""Numbers that an option cannot mean are refused where they are typed, before anything is done."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.cli import main


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (["draw", "--out", "pages", "--pages", "-1"], "'-1' is no whole number: write 0 or more"),
        (["draw", "--out", "pages", "--seed", "-1"], "'-1' is no whole number"),
        (["draw", "--out", "pages", "--marks", "-1"], "'-1' is no whole number"),
        (["draw", "--out", "pages", "--marks", "two"], "'two' is no whole number"),
        (["draw", "--out", "pages", "--dpi", "0"], "'0' is no number above 0"),
        (["draw", "--out", "pages", "--dpi", "nan"], "'nan' is no number above 0"),
        (["draw", "--out", "pages", "--dpi", "inf"], "'inf' is no number above 0"),
        (["draw", "--out", "pages", "--jobs", "0"], "'0' is no whole number above 0"),
        (["models", "quantise", "--pages", "0"], "'0' is no whole number above 0"),
        (["samples", "--most", "-5"], "'-5' is no whole number above 0"),
        (["train", "--bundled-recipe", "--minutes", "-1"], "'-1' is no number: write 0 or more"),
        (["train", "--bundled-recipe", "--minutes", "nan"], "'nan' is no number: write 0 or more"),
        (["train", "--bundled-recipe", "--jobs", "-1"], "'-1' is no whole number: write 0 or more"),
        (["train", "--bundled-recipe", "--threads", "0"], "'0' is no whole number above 0"),
        (["import", "x.pdf", "--project", "1", "--last", "0"], "'0' is no whole number above 0"),
    ],
)
def test_a_number_that_cannot_be_meant_is_bad_use(
    command: list[str],
    reason: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(command)
    assert stopped.value.code == 2
    assert reason in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
