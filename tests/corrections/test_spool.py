"""The spool takes a line or says why not, on a full disk and in a folder that was moved, and keeps what it took."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from backend.corrections.spool import Spool
from backend.errors import LedgerError


def test_a_full_disk_refuses_the_event_and_keeps_those_before_it(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk; it belongs to a process, so this is one of its own."""
    code = """
import resource, signal, sys
from pathlib import Path
from backend.errors import LedgerError
from backend.corrections.remembering import ShownPrediction
from backend.corrections.spool import Spool
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
spool = Spool(Path(sys.argv[1]))
spool.append(b"first")
resource.setrlimit(resource.RLIMIT_FSIZE, (20, resource.RLIM_INFINITY))
try:
    spool.append(b"x" * 100)
except LedgerError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
spool.append(b"second")
print([line for lines in spool.portions() for line in lines])
"""
    done = subprocess.run(
        [sys.executable, "-B", "-c", code, str(tmp_path / "spool")], capture_output=True, text=True, check=True
    )
    refused, kept = done.stdout.splitlines()
    assert "is its disk full" in refused
    assert kept == "[b'first', b'second']"


def test_a_disk_that_is_well_again_is_found_well_without_another_event(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk; it belongs to a process, so this is one of its own."""
    code = """
import resource, signal, sys
from pathlib import Path
from backend.errors import LedgerError
from backend.corrections.spool import Spool
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
folder = Path(sys.argv[1])
spool = Spool(folder)
spool.append(b"first")
spool.check()
print("well")
resource.setrlimit(resource.RLIMIT_FSIZE, (20, resource.RLIM_INFINITY))
try:
    spool.append(b"x" * 100)
except LedgerError as error:
    print(error)
for _ in range(10):
    try:
        spool.check()
    except LedgerError as error:
        print(error)
print(len(list(folder.iterdir())))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
spool.check()
print("well")
spool.append(b"second")
print([line for lines in spool.portions() for line in lines])
"""
    done = subprocess.run(
        [sys.executable, "-B", "-c", code, str(tmp_path / "spool")], capture_output=True, text=True, check=True
    )
    before, *refused, files, after, kept = done.stdout.splitlines()
    assert (before, after) == ("well", "well")
    assert len(refused) == 11
    assert all("is its disk full" in line for line in refused), "as long as it is not"
    assert files == "1", "looking leaves nothing behind"
    assert kept == "[b'first', b'second']"


def test_a_folder_that_was_made_anew_in_the_place_of_a_moved_one_takes_no_event(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    spool = Spool(data / "spool")
    spool.append(b"1")
    data.rename(tmp_path / "moved")
    data.mkdir()
    for _ in range(2):
        with pytest.raises(LedgerError, match="put DATA_DIR back"):
            spool.append(b"2")
    data.rmdir()
    (tmp_path / "moved").rename(data)
    spool.append(b"3")
    assert sorted(line for lines in spool.portions() for line in lines) == [b"1", b"3"]
