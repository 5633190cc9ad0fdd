"""A few small drawn pages, and a pipeline with random weights, both real."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import pytest

from backend.commands.draw import add_arguments, run
from backend.settings import Settings
from tests.end_to_end.conftest import missing


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `draw` leaves it: five pages at 60 dpi with their COCO file."""
    folder = tmp_path_factory.mktemp("drawn")
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    run(parser.parse_args(["--out", str(folder), "--pages", "5", "--seed", "41", "--dpi", "60"]), Settings())
    return folder


@pytest.fixture
def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
    if found is None:
        missing("no Chromium is installed (on Debian: apt-get install chromium)")
    return str(found)
