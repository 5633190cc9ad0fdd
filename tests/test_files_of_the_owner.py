"""What is written shows contracts and people: it is its owner's alone, whatever the umask, and stays whole."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from backend.corrections.crop_store import CropStore, without_credentials
from backend.corrections.service import Store
from backend.errors import LedgerError
from backend.files import copy_whole, keep_to_owner, replace_whole
from backend.settings import Settings

ROOT = Path(__file__).parents[1]


def open_to_others(folder: Path) -> list[Path]:
    """What under a folder, itself included, others than its owner may enter, read or write."""
    return [path for path in (folder, *folder.rglob("*")) if path.lstat().st_mode & 0o077]


def test_a_command_under_any_umask_leaves_nothing_to_others(tmp_path: Path) -> None:
    data = tmp_path / "data"
    sheet = tmp_path / "sheet.html"
    command = [sys.executable, "-m", "backend", "samples", "--sheet", str(sheet)]
    environment = os.environ | {"DATA_DIR": str(data), "DATABASE_URL": "", "STORAGE_URL": ""}
    subprocess.run(command, cwd=ROOT, env=environment, check=True, umask=0, stdout=subprocess.DEVNULL)
    assert (data / "ledger.sqlite3").exists()
    assert open_to_others(data) == []
    assert open_to_others(sheet) == []


def test_a_folder_that_was_open_is_closed_with_all_in_it_and_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = tmp_path / "data"
    (data / "crops" / "ab").mkdir(parents=True)
    (data / "crops" / "ab" / "crop.png").write_bytes(b"a signature")
    (data / "elsewhere").symlink_to(tmp_path / "not-ours")
    (tmp_path / "not-ours").write_text("x")
    for path in (data, data / "crops", data / "crops" / "ab", data / "crops" / "ab" / "crop.png"):
        path.chmod(0o755)
    Store.open(Settings(data_dir=data)).engine.dispose()
    assert [path for path in open_to_others(data) if not path.is_symlink() and "ledger" not in path.name] == []
    assert "was open to other users of this host: 4 files and folders are its owner's alone now" in caplog.text
    caplog.clear()
    Store.open(Settings(data_dir=data)).engine.dispose()
    assert caplog.text == ""


def test_a_folder_that_is_made_is_closed_from_the_start(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        assert keep_to_owner(tmp_path / "a" / "b") == 0
        replace_whole(tmp_path / "a" / "b" / "secret", "x")
        copy_whole(tmp_path / "a" / "b" / "secret", tmp_path / "copy")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "a" / "b" / "secret").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "copy").stat().st_mode) == 0o400


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://key:secret@bucket/folder", "s3://bucket/folder"),
        ("s3://bucket/folder?secret=x#y", "s3://bucket/folder"),
        ("/data/crops", "/data/crops"),
        ("odd://user:a@b@host/x", "odd://host/x"),
    ],
)
def test_a_storages_address_is_shown_without_what_opens_it(url: str, shown: str) -> None:
    assert without_credentials(url) == shown


def test_an_address_that_cannot_be_opened_is_told_without_its_password() -> None:
    with pytest.raises(LedgerError, match="check STORAGE_URL") as caught:
        CropStore("nosuch://user:open-sesame@host/x?token=open-sesame")
    assert "open-sesame" not in str(caught.value)
