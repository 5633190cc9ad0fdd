"""What the demo does before it starts anything."""

from __future__ import annotations

import argparse
import io
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from backend.commands.demo import demo_command
from backend.commands.demo.demo_command import Steps, add_arguments
from backend.commands.demo.demo_projects import document_pages, single_pages
from backend.commands.demo.services import Login
from backend.errors import DemoError

ROOT = Path(__file__).parents[3]


def prepared(folder: Path, stack: ExitStack, *, fresh: bool = False) -> Path:
    return demo_command._folder(folder, stack, fresh=fresh)


def test_a_folder_with_other_files_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with ExitStack() as stack, pytest.raises(DemoError, match="not the demo's"):
        prepared(tmp_path, stack, fresh=True)
    assert (tmp_path / "thesis.txt").exists()


def test_fresh_forgets_what_earlier_runs_made(tmp_path: Path) -> None:
    login = Login.of(tmp_path)
    (tmp_path / "contracts").mkdir()
    with ExitStack() as stack:
        prepared(tmp_path, stack, fresh=True)
    assert not any(tmp_path.iterdir())
    assert Login.of(tmp_path) != login


def test_two_demos_do_not_share_a_folder(tmp_path: Path) -> None:
    with ExitStack() as first, ExitStack() as second:
        prepared(tmp_path, first)
        with pytest.raises(DemoError, match="running"):
            prepared(tmp_path, second)
    with ExitStack() as third:
        assert prepared(tmp_path, third) == tmp_path


def test_nothing_needs_to_be_said_to_start_it() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    args = parser.parse_args([])
    assert (args.port, args.backend_port, args.fresh) == (None, None, False)
    assert args.label_studio.parts[-3:] == (".venv-label-studio", "bin", "label-studio")


def address(wanted: int | None, usual: int, out: io.StringIO) -> str:
    return demo_command._address(Steps(out), wanted, usual, name="Label Studio", option="--port")


def test_a_taken_port_is_named_and_only_the_usual_one_is_replaced() -> None:
    out = io.StringIO()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        found = address(None, taken, out)
        assert not found.endswith(f":{taken}")
        assert f"Port {taken} is taken" in out.getvalue()
        assert found.rpartition(":")[2] in out.getvalue()
        with pytest.raises(DemoError, match=f"port {taken} is taken by another program.*--port"):
            address(taken, 8080, out)
    said = out.getvalue()
    assert address(taken, 8080, out) == f"http://127.0.0.1:{taken}"
    assert out.getvalue() == said


def test_the_end_of_a_log_is_shown_line_by_line(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    Login.of(folder)
    (folder / "contracts").mkdir()
    for page in (*single_pages(folder / "contracts"), *document_pages(folder / "contracts")):
        page.touch()  # drawn already
    broken = tmp_path / "label-studio"
    broken.write_text("#!/bin/sh\necho one\necho 'the port is on fire'\nexit 7\n")
    broken.chmod(0o755)
    command = [sys.executable, "-m", "backend", "demo", "--folder", folder, "--label-studio", broken, "--port", "0"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    said = ended.stderr.splitlines()
    assert ended.returncode == 2
    assert said[0].endswith("Label Studio ended with exit code 7")
    assert said[-2:] == ["    one", "    the port is on fire"]
