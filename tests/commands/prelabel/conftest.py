"""A Label Studio on loopback over small pages, and a model of a few kilobytes that calls each candidate a stamp."""

from __future__ import annotations

import io
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from backend.models.promotion import Models
from backend.models.published import Facts
from benchmarks.loopback_studio import LoopbackStudio
from tests.forked import Command, load
from tests.models.tiny import says
from tests.patience import SECONDS
from tests.vision.drawing import RED, paper, ring

ROOT = Path(__file__).resolve().parents[3]
CONFIG = (ROOT / "label_config.xml").read_text()
DPI = 40
load("backend.commands.prelabel.prelabel_command", "backend.commands.prelabel.prelabel_files", "onnxruntime")


def stamped(*, at: float = 4.0) -> bytes:
    """A PNG of a small page with one red stamp."""
    page = paper(dpi=DPI)
    ring(page, (at, 5.0), 0.8, RED, dpi=DPI)
    file = io.BytesIO()
    Image.fromarray(page).save(file, format="PNG", dpi=(DPI, DPI))
    return file.getvalue()


def asker(connection: socket.socket) -> int:
    """The process at the other end of a connection to a server of this process.

    The other end's port alone may belong to several connections, to other servers or ended ones. And for a moment, a
    process that was just started holds all that its parent holds.
    """
    ends = [f"{port:04X}" for _, port in (connection.getpeername(), connection.getsockname())]
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    [inode] = [row[9] for row in rows if [row[1][-4:], row[2][-4:]] == ends]
    holders: dict[int, int] = {}
    for handle in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):  # ended meanwhile
            if handle.readlink() == Path(f"socket:[{inode}]"):
                process = int(handle.parts[2])
                holders[process] = parent(process)
    [eldest] = [one for one, starter in holders.items() if starter not in holders]
    return eldest


def parent(process: int) -> int:
    """The process that started another."""
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where `prelabel` runs: a data folder with a published model, and the environment that names all."""

    folder: Path
    environment: dict[str, str]
    studio: LoopbackStudio
    url: str

    def run(self, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        """The command, until it has ended."""
        with self.start(*arguments, **changes) as command:
            out, err = command.communicate(timeout=SECONDS)
            assert command.returncode is not None
            return subprocess.CompletedProcess(arguments, command.returncode, out, err)

    def start(self, *arguments: str, **changes: str) -> Command:
        return Command("prelabel", *arguments, environment=self.environment | changes)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A data folder with a published model, and the model's name."""
    folder = tmp_path_factory.mktemp("prelabel")
    weights = says("stamp", folder / "weights")
    name = Models(folder / "data" / "models").publish(weights, Facts(source="training")).name
    return folder / "data", name


@pytest.fixture
def studio() -> LoopbackStudio:
    return LoopbackStudio(CONFIG, tasks=6, pages=(stamped(), stamped(at=3.0)))


@pytest.fixture
def place(studio: LoopbackStudio, models: tuple[Path, str], tmp_path: Path) -> Iterator[Place]:
    (tmp_path / "models").symlink_to(models[0] / "models")
    with studio.serving() as url:
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
        environment = kept | {
            "DATA_DIR": str(tmp_path),
            "MODEL": models[1],
            "DETECTOR": "colour",
            "RECALL_DISTANCE": "0",
            "FETCH_TIMEOUT": str(SECONDS),
            "LABEL_STUDIO_URL": url,
            "LABEL_STUDIO_API_KEY": "token",
            "OMP_NUM_THREADS": "1",
            "MODEL_THREADS": "1",
        }
        yield Place(folder=tmp_path, environment=environment, studio=studio, url=url)
