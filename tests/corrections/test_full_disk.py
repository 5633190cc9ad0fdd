"""A disk that gets full anywhere between a webhook and its samples: refused or late, and nothing acknowledged is lost.

Each trial leaves so much room that the shortage strikes a little later than in the one before: at the spool, its file's
name, the ledger's log, a page's memory, a crop or its folder. Then there is room again, and all that was acknowledged
must become samples. Run as a program in a namespace and a process of its own: `KIND FOLDER MIGRATED_FILE`.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError

from backend.corrections.crop_store import CropStore, cut
from backend.corrections.database import open_database
from backend.corrections.intake import Intake
from backend.corrections.journal import Journal
from backend.corrections.spool import Spool
from backend.corrections.tables import annotation, event, sample
from backend.corrections.worker import Worker
from backend.errors import BackendError, LedgerError
from backend.files import write_private
from backend.labelstudio.annotations import Annotation
from backend.labelstudio.protocol import without_secrets
from backend.pages.encoding import png_bytes
from backend.pages.page import Limits, Page
from backend.pages.source import decode
from tests.corrections.annotating import HEIGHT, WIDTH, drawn, saved
from tests.patience import SECONDS

ROOT = Path(__file__).parents[2]
BOXES = ((10.0, 10.0, 60.0, 60.0), (100.0, 20.0, 150.0, 80.0))
EVENTS = 3
STEP = 4096
LIMITS = Limits(max_bytes=10_000_000, max_pixels=10_000_000, max_pages=4, seconds=SECONDS)


class SmallDisk:
    """A file system in memory, of which a file takes all but some pieces of 4 kB."""

    def __init__(self, folder: Path) -> None:
        mount(folder, "size=8m")
        self._filler = folder / "filler"
        self._folder = folder

    def fill(self, room: int) -> None:
        found = os.statvfs(self._folder)
        with self._filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, found.f_bavail * found.f_frsize - room * STEP)

    def empty(self) -> None:
        self._filler.unlink()


class FewNames:
    """A file system in memory that has room for some more files and folders, however small."""

    def __init__(self, folder: Path) -> None:
        mount(folder, "size=64m,nr_inodes=200")
        self._fillers = folder / "fillers"
        self._folder = folder

    def fill(self, room: int) -> None:
        self._fillers.mkdir()
        for number in range(os.statvfs(self._folder).f_favail - room):
            (self._fillers / str(number)).touch()

    def empty(self) -> None:
        shutil.rmtree(self._fillers)


class ShortFiles:
    """A limit on the size of files, of this process and of those that it starts meanwhile."""

    def __init__(self, _: Path) -> None:
        pass

    def fill(self, room: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room * STEP, resource.RLIM_INFINITY))

    def empty(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


DISKS = {disk.__name__: disk for disk in (SmallDisk, FewNames, ShortFiles)}
ROOMS = {
    "SmallDisk": (*range(8), *range(8, 200, 7)),
    "FewNames": (*range(12), 16, 20, 24),
    "ShortFiles": (*range(8), *range(8, 48, 5), 1000, 10_000),
}


def mount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)


def page_of(annotation: Annotation, index: int) -> Page:
    """A page of noise that a decoder process decodes."""
    noise = np.random.default_rng(annotation.id).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    [page] = decode(png_bytes(noise), reference=annotation.references[index], limits=LIMITS, dpi=72)
    return page


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What takes an event from its sender to its samples, over one data folder."""

    engine: Engine
    intake: Intake
    worker: Worker

    @classmethod
    def over(cls, folder: Path, clock: Callable[[], float]) -> Parts:
        engine = open_database(f"sqlite:///{folder / 'ledger.sqlite3'}")
        intake = Intake(engine, folder / "spool")
        worker = Worker(
            engine=engine,
            journal=Journal(engine, clock=clock),
            crops=CropStore(str(folder)),
            page_of=page_of,
            clock=clock,
            gather=intake.move,
        )
        return cls(engine=engine, intake=intake, worker=worker)


def trial(disk: SmallDisk | FewNames | ShortFiles, folder: Path, room: int) -> tuple[str, Counter[str]]:
    """How far the events came while there was so little room, and what is amiss when there is room again."""
    moment = [time.time()]
    parts = Parts.over(folder, lambda: moment[0])
    acknowledged = []
    disk.fill(room)
    for number in range(1, EVENTS + 1):
        result = [drawn(f"r{number}-{place}", "stamp", box) for place, box in enumerate(BOXES)]
        body = saved(number, task=number, at=950, result=result, pages=1)
        try:
            parts.intake.append(body["action"], project=1, body=without_secrets(body))
            acknowledged.append(number)
        except LedgerError:
            continue
        try:
            parts.worker.work()
        except SQLAlchemyError:
            continue  # the thread that does this logs it, and goes on in a moment
    reached = how_far(parts.engine, acknowledged)
    disk.empty()
    parts.intake.move()
    for _ in range(8):
        moment[0] += 7200.0
        parts.worker.work()
    amiss = faults(parts.engine, parts.worker.crops, acknowledged)
    parts.intake.close()
    parts.engine.dispose()
    amiss["left in the spool"] = len(list(folder.glob("spool/*")))
    amiss["left of crops"] = len(list(folder.glob("crops/*/*.png.*")))
    return reached, +amiss


def how_far(engine: Engine, acknowledged: list[int]) -> str:
    with engine.connect() as connection:
        events = len(connection.execute(select(event.c.id)).all())
        late = list(connection.execute(select(annotation.c.reason).where(annotation.c.turned.is_(None))).scalars())
    if len(acknowledged) < EVENTS:
        return "refused" if not acknowledged else "refused in part"
    if events < len(acknowledged):
        return "kept from the ledger"
    if late:
        why = next((reason for reason in late if reason), "")
        return "crop not written" if "crop" in why else "page not decoded" if "decode" in why else "samples not made"
    return "all made"


def faults(engine: Engine, crops: CropStore, acknowledged: list[int]) -> Counter[str]:
    found: Counter[str] = Counter()
    with engine.connect() as connection:
        bodies = list(connection.execute(select(event.c.body)).scalars())
        samples = connection.execute(select(sample.c.annotation, sample.c.region, sample.c.crop)).all()
        found["parked"] = len(connection.execute(select(annotation.c.id).where(annotation.c.parked)).all())
    events = Counter(body["annotation"]["id"] for body in bodies)
    made = Counter(row.annotation for row in samples)
    found["lost"] = sum(number not in events or made[number] < len(BOXES) for number in acknowledged)
    found["doubled"] = sum(many > 1 for many in events.values()) + sum(many > len(BOXES) for many in made.values())
    found["mixed"] = sum(not row.region.startswith(f"r{row.annotation}-") for row in samples)
    for row in samples:
        assert crops.get(row.crop).size
    return found


def trials(kind: str, place: Path, migrated: Path) -> Iterator[tuple[str, Counter[str]]]:
    place.mkdir(parents=True, exist_ok=True)
    disk = DISKS[kind](place)
    for room in ROOMS[kind]:
        folder = place / "data"
        folder.mkdir()
        shutil.copyfile(migrated, folder / "ledger.sqlite3")
        yield trial(disk, folder, room)
        shutil.rmtree(folder)


def refusals(place: Path, migrated: Path) -> tuple[dict[str, str], dict[str, str]]:
    """What is said where DATA_DIR has become read-only, and when it can be written again; by who writes there."""
    place.mkdir(parents=True)
    mount(place, "size=8m")
    folder = place / "data"
    folder.mkdir()
    shutil.copyfile(migrated, folder / "ledger.sqlite3")
    spool, crops = Spool(folder / "spool"), CropStore(str(folder))
    crop = cut(np.zeros((20, 20, 3), np.uint8), (2.0, 2.0, 9.0, 9.0))
    writes: dict[str, Callable[[], object]] = {
        "ledger": lambda: open_database(f"sqlite:///{folder / 'ledger.sqlite3'}").dispose(),
        "event": lambda: spool.append(b"{}"),
        "crop": lambda: crops.put(crop),
        "report": lambda: write_private(folder / "report.html", "x"),
    }
    told = []
    for how in ("remount,ro", "remount,rw"):
        subprocess.run(["mount", "-o", how, str(place)], check=True)
        told.append({name: outcome(write) for name, write in writes.items()})
    return told[0], told[1]


def outcome(write: Callable[[], object]) -> str:
    try:
        write()
    except BackendError as error:
        return f"{type(error).__name__}: {error}"
    return "taken"


def test_a_data_folder_that_becomes_read_only_is_said_so_and_taken_again_without_a_restart(
    tmp_path: Path, migrated_file: Path
) -> None:
    [refused, taken] = json.loads(in_namespace("ReadOnly", tmp_path / "disk", migrated_file))
    assert {name: said.partition(":")[0] for name, said in refused.items()} == {
        "ledger": "LedgerError",
        "event": "LedgerError",
        "crop": "LedgerError",
        "report": "OutputError",
    }
    assert all("Read-only file system" in said for said in refused.values()), refused
    assert set(taken.values()) == {"taken"}


def in_namespace(kind: str, place: Path, migrated: Path) -> str:
    """What this program prints in a namespace of its own, where it may mount file systems."""
    namespace = [] if kind == "ShortFiles" else ["unshare", "-rm"]
    if namespace and (
        not shutil.which("unshare") or subprocess.run([*namespace, "true"], check=False, capture_output=True).returncode
    ):
        pytest.skip("no mount namespaces here (unshare)")
    command = [*namespace, sys.executable, "-m", __name__, kind, str(place), str(migrated)]
    # Of a compiled module that finds no room, Python would keep the beginning, and fail over it for ever after.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("kind", "places"),
    [
        ("SmallDisk", {"refused", "refused in part", "kept from the ledger", "crop not written", "all made"}),
        ("FewNames", {"refused", "crop not written", "all made"}),
        ("ShortFiles", {"refused", "kept from the ledger", "page not decoded", "all made"}),
    ],
)
def test_wherever_the_disk_gets_full_nothing_acknowledged_is_lost(
    kind: str, places: set[str], tmp_path: Path, migrated_file: Path
) -> None:
    reached, amiss = json.loads(in_namespace(kind, tmp_path / "disk", migrated_file))
    assert amiss == {}
    assert places <= set(reached), reached


if __name__ == "__main__" and sys.argv[1] == "ReadOnly":
    sys.stdout.write(json.dumps(refusals(Path(sys.argv[2]), Path(sys.argv[3]))))
elif __name__ == "__main__":
    found = list(trials(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])))
    sys.stdout.write(json.dumps([Counter(reached for reached, _ in found), sum((one for _, one in found), Counter())]))
