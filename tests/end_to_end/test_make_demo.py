"""`make demo` in a clean clone: the first command that a newcomer types, from the Makefile to Ctrl-C."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from tests.end_to_end.conftest import ROOT, missing
from tests.end_to_end.test_demo import Demo, listens, wait
from tests.patience import SECONDS
from tests.ports import port_for_later

pytestmark = pytest.mark.label_studio

ENVIRONMENTS = (".venv-demo", ".venv-label-studio")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The files that git has, or would take, and nothing that was made of them but the environments.

    With their times: what `make` makes again of a file that changed, it would make again here.
    """
    for name in ENVIRONMENTS:
        if not (ROOT / name / "installed").exists():
            missing(f"{name} is not installed (`make {name}/installed` does it)")
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    clone = tmp_path / "clone"
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, clone / name)
    for name in ENVIRONMENTS:
        (clone / name).symlink_to(ROOT / name)
    return clone


def test_it_shows_boxed_contracts_and_ends_with_ctrl_c(clone: Path, tmp_path: Path) -> None:
    output = tmp_path / "said.txt"
    # As from a shell: what a `make` around this test says to its own children is none of its business.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    with output.open("wb") as out:
        process = subprocess.Popen(
            ["make", "demo", f"ARGS=--port {port_for_later()} --backend-port {port_for_later()}"],
            cwd=clone,
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    demo = Demo(process, output)
    try:
        said = demo.ready(seconds=1800)  # everything for the first time; on a machine of its own it takes one minute
        boxes = re.search(r"(\d+) boxes are in Label Studio", said)
        assert boxes, said
        assert int(boxes[1]) >= 12
        addresses = set(re.findall(r"http://127\.0\.0\.1:\d+", said))
        assert len(addresses) == 2
        assert all(listens(address) for address in addresses)
        assert (clone / ".demo" / "login.json").exists()
        [command] = re.findall(r"commands +(SETTINGS_FILE=.*)", said)
        words = ["sh", "-c", command]  # as a newcomer pastes it
        doctor = subprocess.run(words, cwd=clone, env=environment, capture_output=True, text=True, check=False)
        assert re.search(r"^\d+ ok$", doctor.stdout, re.MULTILINE), doctor.stdout
    finally:
        # To the whole group, as a terminal sends it.
        with suppress(ProcessLookupError):  # it ended by itself
            os.killpg(process.pid, signal.SIGINT)
        code = process.wait(SECONDS)
    # `make` waits for the demo, and then dies of the signal that it was sent, so that a shell around it stops, too.
    assert code in {0, -signal.SIGINT}, demo.said()
    last = demo.said().removeprefix(said)
    assert "Stopped" in last
    assert not re.search(r"Traceback|Error|\*\*\*", last), last
    wait(lambda: not any(listens(address) for address in addresses), seconds=SECONDS)
