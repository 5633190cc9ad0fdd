"""Nothing from outside moves a terminal's cursor or forges a line of the log, wherever it is shown."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from backend.cli import main
from backend.escaping import LONGEST_LINE, PlainFormatter, PlainStream, plain_streams, printable
from backend.settings import Settings
from tests.server.conftest import MemoryPages, ToldPipeline, ToldServing, make_app, payload

ROOT = Path(__file__).parents[1]
CONTROLS = [chr(number) for number in range(32)]
OTHERS = ["\x7f", "\x9b", "\u2028", "\u2029", "\u202e", "\ud800", "\U000e0001"]


@pytest.mark.parametrize("control", [*CONTROLS, *OTHERS], ids=lambda one: f"{ord(one):04x}")
def test_a_text_becomes_one_printable_line_that_json_reads_as_it_was(control: str) -> None:
    text = f"a{control}b"
    shown = printable(text)
    assert shown.isprintable()
    assert json.loads(f'"{shown}"') == text


def test_what_people_write_stays_as_it_is() -> None:
    for text in ("contract 7.pdf", "عقد إيجار", "Gebäude — 12 m²", "契約書", "back\\slash"):
        assert printable(text) == text


def test_a_text_without_end_is_cut_and_says_so() -> None:
    assert printable("x" * 1_000_000, most=5) == "xxxxx… (1000000 characters)"


def line_of(*arguments: object, error: Exception | None = None) -> str:
    told = (type(error), error, None) if error else None
    record = logging.LogRecord("somebody", logging.WARNING, __file__, 1, "said: %s", arguments, told)
    return PlainFormatter().format(record)


@pytest.mark.parametrize("control", [*CONTROLS, *OTHERS], ids=lambda one: f"{ord(one):04x}")
def test_a_record_of_the_log_is_one_line(control: str) -> None:
    assert line_of(f"{control}2026-01-01 00:00:00,000 ERROR backend: forged").isprintable()


def test_a_traceback_follows_in_lines_that_no_record_has() -> None:
    first, *rest = line_of("x", error=ValueError("a\n2026-01-01 00:00:00,000 ERROR backend: forged\x1b[2J")).split("\n")
    assert first.endswith("said: x")
    assert rest
    assert all(line.startswith("| ") and line.isprintable() for line in rest)


def test_a_record_of_a_million_characters_is_cut() -> None:
    assert len(line_of("x" * 1_000_000)) < LONGEST_LINE + 100


def test_a_terminal_gets_line_ends_tabs_and_the_moves_of_progress_bars_only() -> None:
    out = io.StringIO()
    stream = PlainStream(out)
    assert stream.write("a\tb\n") == 4
    stream.write("\r\x1b[K 50 %")
    stream.write("\x1b[A")
    stream.write("name \x1b]0;owned\x07 \r \x9b2J\n")
    assert out.getvalue() == "a\tb\n\r\x1b[K 50 %\x1b[Aname \\u001b]0;owned\\u0007 \\u000d \\u009b2J\n"
    assert not stream.isatty()


def test_streams_are_given_back(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout
    with plain_streams():
        print("\x1b[2J")
    assert sys.stdout is before
    assert capsys.readouterr().out == "\\u001b[2J\n"


def test_a_terminal_that_has_no_arabic_is_written_to_all_the_same() -> None:
    script = "from backend.escaping import plain_streams\nwith plain_streams():\n    print('عقد → é.pdf')"
    environment = os.environ | {"PYTHONIOENCODING": "latin-1"}
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, check=True)
    assert done.stdout.decode("latin-1") == "\\u0639\\u0642\\u062f \\u2192 é.pdf\n"


def logged(act: Callable[[], object], caplog: pytest.LogCaptureFixture) -> list[str]:
    """The lines that a log of ours would have."""
    caplog.clear()
    with caplog.at_level(logging.DEBUG):
        act()
    return [PlainFormatter().format(record) for record in caplog.records]


def requests(bad: str) -> dict[str, Callable[[], object]]:
    """Everything in a request that ends in the log, with a bad text in it."""
    app = make_app(Settings(), serving=ToldServing(ToldPipeline()), pages=MemoryPages())
    client, body = app.test_client(), payload("predict")
    config = body["label_config"]

    def task(**fields: object) -> dict[str, object]:
        return body | {"tasks": [{"id": 1, "data": {"image": "x"}} | fields]}

    return {
        "action": lambda: client.post("/webhook", json={"action": f"X{bad}"}),
        "action of an error": lambda: client.post("/webhook", json={"action": 5, bad: bad}),
        "project": lambda: client.post("/predict", json=task() | {"project": bad}),
        "task's field": lambda: client.post("/predict", json=task(data={bad: 1})),
        "reference": lambda: client.post("/predict", json=task(data={"image": f"x{bad}.pdf"})),
        "label": lambda: client.post("/setup", json={"schema": config.replace("stamp", f"x{escaped(bad)}")}),
        "threshold": lambda: client.post(
            "/setup", json={"schema": config.replace("toName", f'model_score_threshold="{escaped(bad)}" toName')}
        ),
        "no config": lambda: client.post("/setup", json={"schema": bad}),
        "hostname": lambda: client.post(
            "/setup", json={"schema": config, "hostname": f"http://{bad}", "access_token": "t", "project": bad}
        ),
        "content type": lambda: client.post("/webhook", data="{}", content_type="text/plain"),
        "path": lambda: client.post(f"/webhook?{bad!r}", data="{}"),
        "id": lambda: client.post("/predict", json=task(id=bad, data={})),
    }


def escaped(text: str) -> str:
    """As XML can spell it; those that it cannot, as they are, which is no XML."""
    return f"&#{ord(text)};" if text in "\t\n\r" else text


@pytest.mark.parametrize("control", CONTROLS, ids=lambda one: f"{ord(one):02x}")
def test_no_request_writes_more_than_lines_of_its_own(control: str, caplog: pytest.LogCaptureFixture) -> None:
    written = {name: logged(act, caplog) for name, act in requests(f"{control}2026 ERROR forged").items()}
    assert sum(map(bool, written.values())) >= 8
    for name, lines in written.items():
        for line in lines:
            assert all(part.isprintable() for part in line.split("\n| ")), (name, line)


@pytest.mark.parametrize("control", CONTROLS[1:], ids=lambda one: f"{ord(one):02x}")
def test_no_command_prints_what_a_name_holds(
    control: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "")
    bad = f"a{control}ERROR forged"
    for arguments in (
        ["models", "promote", bad],
        ["dataset", "show", bad],
        ["train", "--recipe", str(tmp_path / bad)],
        ["evaluate", "--coco", str(tmp_path / bad), "--images", str(tmp_path)],
        ["samples", "--show", "sample", bad],
        ["connect", "--project", bad],
        ["evaluate", bad],  # as a pattern for names of files may stand for one
        [bad],
    ):
        try:
            code = main(arguments)
        except SystemExit as error:
            code = int(error.code or 0)
        told = capsys.readouterr()
        assert code != 0, arguments
        shown = (told.out + told.err).replace("\n", "").replace("\t", "")
        assert shown.isprintable(), (arguments, shown)
        assert not any(line.startswith("ERROR forged") for line in told.err.splitlines() if arguments != [bad])


def test_a_setting_is_named_as_it_can_be_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CONFIDENCE", "\x1b[31m\nforged")
    assert main(["predict", "x.png"]) == 2
    assert capsys.readouterr().err.strip().isprintable()
