"""Completion: what a shell offers after a command is what the command takes."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from backend import cli
from backend.cli import main
from backend.commands.completion import SHELLS


def offered(script: str, *words: str) -> set[str]:
    """What bash offers for the last of some words, by the script."""
    line = " ".join(f"'{word}'" for word in ("contract-marks", *words))
    asked = (
        f"{script}\nCOMP_WORDS=({line}); COMP_CWORD={len(words)}; _contract_marks; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    bash = shutil.which("bash")
    assert bash is not None
    answer = subprocess.run(
        [bash, "--norc", "-c", asked],
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
        env={"PATH": "/usr/bin:/bin"},
    )
    return set(answer.stdout.split())


@pytest.fixture(scope="module")
def script() -> str:
    answer = subprocess.run(
        [sys.executable, "-m", "backend", "completion", "bash"], capture_output=True, text=True, check=True
    )
    return answer.stdout


def test_from_any_folder_the_shell_has_the_command_that_is_completed(script: str) -> None:
    bash = shutil.which("bash")
    assert bash is not None
    asked = [bash, "--norc", "-c", f"{script}\ncontract-marks --version"]
    answer = subprocess.run(asked, capture_output=True, text=True, check=True, cwd="/", env={"PATH": "/usr/bin:/bin"})
    assert answer.stdout.startswith("contract-marks ")


def test_first_the_commands(script: str) -> None:
    assert offered(script, "") == set(cli._COMMANDS)
    assert offered(script, "re") == {"redact", "report", "review"}


def test_then_options_and_subcommands_of_the_command(script: str) -> None:
    assert {"--project", "--html", "--rule"} <= offered(script, "report", "--")
    assert "--queue" not in offered(script, "report", "--")
    assert {"list", "promote", "rollback"} <= offered(script, "models", "")
    assert offered(script, "completion", "") >= set(SHELLS)


def test_after_an_option_its_values_or_files(script: str) -> None:
    exporting = offered(script, "dataset", "--format", "")
    assert {"coco", "yolo"} <= exporting
    assert offered(script, "report", "--html", "et") == {"etc"}


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_that_is_here_reads_its_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(name in script for name in cli._COMMANDS)
    if there := shutil.which(shell):
        subprocess.run([there, "-n"], input=script, text=True, check=True, capture_output=True)
