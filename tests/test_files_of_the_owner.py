"""What is written shows contracts and people: it is its owner's alone, whatever the umask, and stays whole."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

from backend.corrections.crop_store import CropStore
from backend.corrections.database import in_words, open_database
from backend.corrections.service import Store
from backend.errors import LedgerError, OutputError
from backend.escaping import hidden, without_credentials
from backend.files import ask_for_place, copy_whole, keep_to_owner, replace_whole, write_private
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


def test_a_file_that_cannot_be_put_in_its_place_leaves_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="it is a folder; name a file"):
        ask_for_place(tmp_path / "folder")
    with pytest.raises(OutputError, match="cannot be written"):
        write_private(tmp_path / "folder", "x")
    with pytest.raises(OutputError, match="is no folder that you may write to"):
        ask_for_place(tmp_path / "none" / "file")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_long_name_and_a_pipe_are_written_to(tmp_path: Path) -> None:
    long = tmp_path / f"{'ع' * 120}.html"
    write_private(long, "x")
    assert long.read_text() == "x"
    # As /dev/stdout is: what stands there must not be replaced by a file.
    reading, writing = os.pipe()
    pipe = Path(f"/dev/fd/{writing}")
    ask_for_place(pipe)
    write_private(pipe, "عقد")
    os.close(writing)
    with open(reading, encoding="utf-8") as file:
        assert file.read() == "عقد"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://key:secret@bucket/folder", "s3://bucket/folder"),
        ("s3://bucket/folder?secret=x#y", "s3://bucket/folder"),
        ("/data/crops", "/data/crops"),
        ("odd://user:a@b@host/x", "odd://host/x"),
        ("ann:secret@host/crops", "host/crops"),
    ],
)
def test_a_storages_address_is_shown_without_what_opens_it(url: str, shown: str) -> None:
    assert without_credentials(url) == shown


def test_an_address_that_cannot_be_opened_is_told_without_its_password() -> None:
    with pytest.raises(LedgerError, match="check STORAGE_URL") as caught:
        CropStore("nosuch://user:open-sesame@host/x?token=open-sesame")
    assert "open-sesame" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "told", "shown"),
    [
        ("ftp://ann:s3cret@host/a", "530 ann may not log in with s3cret", "530 *** may not log in with ***"),
        ("ftp://ann:a%40b@host/a", "refused a@b", "refused ***"),  # as the library has it
        (
            "abfs://box/a?sig=s3cret&v=1",
            "GET https://box.example/a?v=1&sig=s3cret",
            "GET https://box.example/a?v=1&sig=***",
        ),
        ("odd://ann:s3cret@host/a", "odd://ann:s3cret@host/a is away", "odd://host/a is away"),
        ("s3://bucket/a", "NoSuchBucket", "NoSuchBucket"),
    ],
)
def test_what_a_storages_library_says_is_told_without_what_opens_it(url: str, told: str, shown: str) -> None:
    assert hidden(OSError(told), url) == shown


@pytest.mark.parametrize(
    "url",
    [
        "ann:open-sesame@host/ledger",  # without a scheme
        "postgresql://ann:open-sesame@host:port/ledger",  # a port that is none
        "postgresql://host/ledger?user=ann&password=open-sesame",
        "postgresql://ann:open-sesame@127.0.0.1:1/ledger?connect_timeout=1",
        "nosuch://ann:open-sesame@host/ledger",
    ],
)
def test_a_database_that_cannot_be_opened_is_told_without_its_password(url: str) -> None:
    assert "open-sesame" not in in_words(url)
    with pytest.raises(LedgerError) as caught:
        open_database(url + ("&connect_timeout=1" if "?user" in url else ""))
    assert "check DATABASE_URL" in str(caught.value)
    assert "open-sesame" not in "".join(traceback.format_exception(caught.value))


FULL = """
import resource, sys
from pathlib import Path
from backend.errors import OutputError
from backend.files import append_line, copy_whole, replace_whole, write_private, write_synced
folder = Path(sys.argv[1])
big = folder / "big"
big.write_bytes(b"b" * 9000)
writes = {
    "report": lambda file: write_private(file, "n" * 9000),
    "pointer": lambda file: replace_whole(file, "n" * 9000),
    "record": lambda file: (file.unlink(), write_synced(file, "n" * 9000)),
    "weights": lambda file: (file.unlink(), copy_whole(big, file)),
    "journal": lambda file: append_line(file.open("r+b", buffering=0), "n" * 9000),
}
for limit in (0, 1, 4096, 8999):
    for name, write in writes.items():
        place = folder / f"{name}-{limit}"
        place.mkdir()
        (place / "file").write_text("old\\n")
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            write(place / "file")
        except (OSError, OutputError) as error:
            print(type(error).__name__, name, {one.name: one.read_text() for one in place.iterdir()})
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
"""


def test_on_a_full_disk_a_file_stays_as_it_was_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk; it strikes at the first byte, and at the last one."""
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    kept = "{'file': 'old\\n'}"
    told = {"report": ("OutputError", kept), "pointer": ("OSError", kept), "journal": ("OSError", kept)}
    told |= {"record": ("OSError", "{}"), "weights": ("OSError", "{}")}
    expected = [f"{error} {name} {left}" for name, (error, left) in told.items()]
    assert sorted(done.stdout.splitlines()) == sorted(expected * 4)
