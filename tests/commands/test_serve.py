"""A serving process refuses an address that is taken, and gives the memory of its pages back."""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import backend
from backend.commands.serve import check_free, run
from backend.errors import SettingsError
from backend.settings import Settings

# As a server under load: threads that each make pages of 300 dpi and smaller pictures of them, and drop them again.
_LOAD = """
import threading, time
import numpy as np
from backend.commands.serve import give_back_pages

def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024

def client():
    for _ in range(3):
        page = np.ones((3508, 2480, 3), np.uint8)
        halves = page[::2, ::2].copy()
        steps = [np.ones(2**20, np.uint8) for _ in range(6)]
        del page
        time.sleep(0.01)

{prepare}
before = resident()
clients = [threading.Thread(target=client) for _ in range(16)]
for one in clients:
    one.start()
for one in clients:
    one.join()
print(resident() - before)
"""


def left_behind(prepare: str) -> float:
    """MB that are still resident when the pages of 16 threads are gone."""
    script = _LOAD.format(prepare=prepare)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return float(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells the resident memory on Linux only")
def test_the_memory_of_pages_goes_back_to_the_system() -> None:
    kept = left_behind("")
    if kept < 200:
        pytest.skip("this C library keeps little without being told")
    assert left_behind("give_back_pages()") < kept / 2


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_taken_port_is_named_with_the_way_out(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as other:
        other.bind((host, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(SettingsError, match=rf"port {port} of {host} is taken .* PORT or --port"):
            check_free(host, port)
    check_free(host, port)


def test_a_process_gives_its_signs_where_no_temporary_folder_can_be_written() -> None:
    """A container's disk that can only be read, as with errors: the data folder is on another one."""
    namespace = ["unshare", "-rm"]
    if not shutil.which("unshare") or subprocess.run([*namespace, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no mount namespaces here (unshare)")
    signs = (
        "from gunicorn.workers.workertmp import WorkerTmp; from backend.commands.serve import _Server; "
        "from backend.settings import Settings; WorkerTmp(_Server(Settings(), lambda _: None).cfg).notify()"
    )
    script = (
        "for place in /tmp /var/tmp /mnt; do [ ! -d $place ] || mount -t tmpfs -o ro tmpfs $place; done; "
        f"cd /mnt; exec \"$0\" -c '{signs}'"
    )
    root = str(Path(backend.__file__).parents[1])
    command = [*namespace, "sh", "-c", script, sys.executable]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": root})
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("host", "named"),
    [
        ("192.0.2.1", r"192\.0\.2\.1"),
        ("a\udcffb", r"'a\\udcffb'"),  # as the environment has bytes that are no text
        ("a\0b", r"'a\\x00b'"),
        ("ä" * 70, "ä"),
    ],
)
def test_an_address_of_another_machine_or_of_none_is_named(host: str, named: str) -> None:
    with pytest.raises(SettingsError, match=rf"{named}.* cannot be listened at .*HOST"):
        check_free(host, 9090)


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        ({"local_files_root": "{folder}/nowhere"}, "LOCAL_FILES_ROOT is .*nowhere', which is no folder"),
        ({"local_files_root": "{folder}/list.json"}, "LOCAL_FILES_ROOT is .*, which is no folder"),
        ({"retrain_recipe": "{folder}/nowhere.json"}, "RETRAIN_RECIPE .*nowhere.json cannot be read"),
        ({"retrain_recipe": "{folder}/list.json"}, "RETRAIN_RECIPE .* holds no object"),
        ({"tracker": "there_is_none:Tracker"}, "TRACKER is .*: there is no module 'there_is_none'; .* PYTHONPATH"),
        ({"allowed_hosts": "pages.example:99999"}, "ALLOWED_HOSTS has 'pages.example:99999'"),
        ({"allowed_client_hosts": "*.example.com"}, "ALLOWED_CLIENT_HOSTS has .*each written out"),
    ],
)
def test_what_a_setting_names_and_is_not_there_is_refused_at_the_start(
    named: dict[str, str], reason: str, tmp_path: Path
) -> None:
    (tmp_path / "list.json").write_text("[]")
    named = {name: value.replace("{folder}", str(tmp_path)) for name, value in named.items()}
    arguments = argparse.Namespace(host=None, port=0, workers=None, model="bundled")
    with pytest.raises(SettingsError, match=reason):
        run(arguments, Settings(data_dir=tmp_path / "data", **named))


def test_a_server_that_cannot_start_says_why_and_not_where_in_the_program(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("in the way")
    command = [sys.executable, "-m", "backend", "serve", "--port", "0", "--model", "bundled"]
    environment = os.environ | {"DATA_DIR": str(tmp_path / "data"), "DATABASE_URL": "", "STORAGE_URL": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "check DATA_DIR" in done.stderr
    assert "Traceback" not in done.stderr
