"""The data folder: whether it can be written, and how much room there is."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from backend.doctor.findings import Checked, doubtful, failed, well
from backend.doctor.words import volume

__all__ = ["SPACE", "check_folder", "check_space", "judge_space"]

FOLDER = "data folder"
SPACE = "disk space"
# Below this a burst of events, or a model that is published, may find no room; and below that, the next event.
_LITTLE = 2_000_000_000
_NEXT_TO_NOTHING = 200_000_000


def check_folder(folder: Path) -> Checked[Path]:
    """Whether DATA_DIR can be written, or made; gives the folder that there is, itself or the nearest above it."""
    remedy = f"let the user that runs `serve` write {folder.absolute()}, or set DATA_DIR to a folder that it can write"
    there = folder
    try:
        there = _nearest(folder)
        # A file without a name: nothing of it is ever seen. Asking for permissions would not do: root has them all,
        # also on a file system that is mounted read-only.
        with tempfile.TemporaryFile(dir=there):
            pass
    except NotADirectoryError:
        return failed(FOLDER, f"{there} is not a folder", remedy=remedy)
    except OSError as error:
        return failed(FOLDER, f"{there} cannot be written ({error.strerror})", remedy=remedy)
    if there != folder:
        return well(FOLDER, f"{folder.absolute()} is not there yet; `serve` makes it", there)
    return well(FOLDER, f"{folder.absolute()} can be written", there)


def check_space(folder: Path) -> Checked[int]:
    """How much room the file system of a folder has."""
    return judge_space(shutil.disk_usage(folder).free)


def judge_space(free: int) -> Checked[int]:
    """Whether so many free bytes are enough for events, crops and models to come."""
    found = f"{volume(free)} are free"
    remedy = "make room, or set DATA_DIR to a larger disk and move the folder there"
    if free < _NEXT_TO_NOTHING:
        return failed(SPACE, f"{found}: events will soon be refused, and corrections lost", remedy=remedy)
    if free < _LITTLE:
        return doubtful(SPACE, f"{found}, a training needs more", remedy=remedy)
    return well(SPACE, found, free)


def _nearest(folder: Path) -> Path:
    """The folder, or what there is of its path."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())
