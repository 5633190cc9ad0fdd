"""Hands a frozen version out in a format that others read; the folder is there whole, or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from backend.dataset import format_coco, format_crops, format_huggingface, format_voc, format_yolo
from backend.dataset.store import Version
from backend.errors import DatasetError

__all__ = ["FORMATS", "export"]

FORMATS: Mapping[str, Callable[[Version, Path], None]] = {
    "coco": format_coco.save,
    "yolo": format_yolo.save,
    "voc": format_voc.save,
    "crops": format_crops.save,
    "huggingface": format_huggingface.save,
}
"""Name: writes a version into an empty folder."""


def export(version: Version, kind: str, out: Path) -> None:
    """Writes a version to a new folder, which only its owner may read: it shows contracts.

    Args:
        version: The frozen version; each of its pages is checked on the way.
        kind: One of `FORMATS`.
        out: Does not exist yet, or is empty.

    Raises:
        DatasetError: The folder is in use, cannot be written, or the version is damaged.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DatasetError(f"{out} is there already: name a new folder, so that two versions are never mixed")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
        try:
            FORMATS[kind](version, aside)
            os.rename(aside, out)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        raise DatasetError(f"{out} cannot be written ({error.strerror})") from error
