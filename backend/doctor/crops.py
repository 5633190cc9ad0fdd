"""The store of crops, where it is not the data folder: whether it takes a file."""

from __future__ import annotations

from backend.doctor.findings import Checked, failed, well
from backend.errors import LedgerError
from backend.feedback.crops import CropStore

__all__ = ["check_crops"]

NAME = "crop store"


def check_crops(storage_url: str) -> Checked[bool]:
    """Whether STORAGE_URL can be written."""
    try:
        CropStore(storage_url).check()
    except LedgerError as error:
        return failed(
            NAME,
            str(error),
            remedy="set STORAGE_URL to a folder or bucket that this user can write; empty: DATA_DIR",
        )
    return well(NAME, "STORAGE_URL can be written", value=True)
