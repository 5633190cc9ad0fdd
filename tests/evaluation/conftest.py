"""A few small drawn pages, and a pipeline with random weights, both real."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from backend.commands.draw import add_arguments, run
from backend.settings import Settings


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `draw` leaves it: five pages at 60 dpi with their COCO file."""
    folder = tmp_path_factory.mktemp("drawn")
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    run(parser.parse_args(["--out", str(folder), "--pages", "5", "--seed", "41", "--dpi", "60"]), Settings())
    return folder
