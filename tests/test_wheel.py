"""A wheel stands on its own: all that the program reads is in it, and what its page says leads somewhere."""

from __future__ import annotations

import email
import re
import shutil
import subprocess
import sys
import zipfile
from email.message import Message
from pathlib import Path

import pytest

from backend import __version__, cli

ROOT = Path(__file__).resolve().parents[1]
_BUILD = (
    "import os, sys; from setuptools.build_meta import build_wheel; os.chdir(sys.argv[1]); build_wheel(sys.argv[2])"
)
PARTS = ("pyproject.toml", "LICENSE", "NOTICE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy: building leaves folders beside the sources."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT / "backend", source / "backend", ignore=shutil.ignore_patterns("__pycache__"))
    for name in PARTS:
        shutil.copy(ROOT / name, source)
    subprocess.run([sys.executable, "-c", _BUILD, source, out], check=True, capture_output=True, text=True)
    [found] = out.glob("*.whl")
    return found


def told(wheel: Path) -> Message:
    """What the wheel says of itself."""
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return email.message_from_bytes(archive.read(name))


def test_all_that_the_program_reads_is_in_it_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    files = (file for file in (ROOT / "backend").rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    assert {file.relative_to(ROOT).as_posix() for file in files} == {one for one in names if ".dist-info/" not in one}
    licences = {Path(name).name for name in names if ".dist-info/licenses/" in name}
    assert {"LICENSE", "NOTICE", "OFL.txt", "Apache-2.0.txt"} <= licences


def test_its_page_needs_no_file_beside_it_and_names_commands_that_there_are(wheel: Path) -> None:
    page = str(told(wheel).get_payload(decode=True), "utf-8")
    assert page.strip() == (ROOT / "backend" / "README.md").read_text(encoding="utf-8").strip()
    assert [link for link in re.findall(r"\]\(([^)]*)\)", page) if not link.startswith("https://")] == []
    named = set(re.findall(r"contract-marks ([a-z]+)", page))
    assert {"predict", "serve", "connect", "doctor"} <= named <= set(cli._COMMANDS)


def test_its_addresses_are_addresses(wheel: Path) -> None:
    addresses = [line.partition(", ")[2] for line in told(wheel).get_all("Project-URL", [])]
    assert addresses
    assert all(re.match(r"https://\w", address) for address in addresses)


def test_it_runs_where_there_is_no_checkout(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    run = [sys.executable, "-P", "-c", "import sys; from backend.cli import main; sys.exit(main())"]
    for arguments, expected in ((["--version"], f"contract-marks {__version__}"), (["samples"], "signature")):
        environment = {"PYTHONPATH": str(tmp_path / "site"), "DATA_DIR": str(tmp_path / "data"), "PATH": ""}
        done = subprocess.run(
            [*run, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        assert expected in done.stdout
    assert (tmp_path / "data" / "ledger.sqlite3").exists(), "the ledger's migrations are in the package"
