"""`prelabel FOLDER` as it is typed: every page once, in both files, whatever was killed, damaged or deadly."""

from __future__ import annotations

import io
import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pyarrow import parquet

from benchmarks.loopback_studio import LoopbackStudio
from tests.commands.prelabel.conftest import Place, asker, stamped
from tests.forked import Command

KILLS = 3
CONFIG = (
    '<View><Image name="scan" value="$scan"/><RectangleLabels name="what" toName="scan">'
    '<Label value="Seal" predicted_values="stamp"/></RectangleLabels></View>'
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures, one of them lying on its side, a document of two pages, and one that is damaged."""
    (tmp_path / "in" / "deep").mkdir(parents=True)
    page = Image.open(io.BytesIO(stamped()))
    page.save(tmp_path / "in" / "a.png", dpi=page.info["dpi"])
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = page.transpose(Image.Transpose.ROTATE_90)
    lying.save(tmp_path / "in" / "deep" / "lying.jpg", quality=95, exif=exif, dpi=page.info["dpi"])
    page.save(tmp_path / "in" / "two.pdf", save_all=True, append_images=[page], resolution=40)
    (tmp_path / "in" / "damaged.pdf").write_bytes(b"%PDF-1.7 no more")
    return tmp_path / "in"


def tasks_in(file: Path) -> list[Any]:
    return list(json.loads(file.read_text(encoding="utf-8")))


def tasks_of(count: int, file: Path) -> str:
    """A list of tasks whose pages Label Studio holds."""
    with file.open("w", encoding="utf-8") as lines:
        for number in range(count):
            data = {"image": f"/data/upload/1/{number}.png", "number": number}
            lines.write(json.dumps({"id": number, "data": data}) + "\n")
    return str(file)


@pytest.mark.parametrize("store", [False, True])
def test_every_page_of_a_folder_is_in_both_files_and_what_failed_is_told(
    place: Place, folder: Path, tmp_path: Path, store: bool
) -> None:
    before = "file://" if store else ""
    out, table, report = tmp_path / "out.json", tmp_path / "out.parquet", tmp_path / "report.jsonl"
    done = place.run(
        *(f"{before}{folder}", "--out", f"{before}{out}", "--parquet", f"{before}{table}"),
        *("--report", str(report), "--processes", "2", "--batch", "1"),
    )
    assert done.returncode == 1, done.stderr
    assert "4 predictions by" in done.stdout
    assert "failed: 1 CutShort" in done.stderr
    [failed] = map(json.loads, report.read_text().splitlines())
    assert failed["failed"].endswith("damaged.pdf")

    tasks = tasks_in(out)
    named = "file://" + str(folder) + "/" if store else "/data/local-files/?d="
    expected = [("a.png", 1), ("deep/lying.jpg", 1), ("two.pdf", 1), ("two.pdf", 2)]
    assert sorted((task["data"]["image"], task["data"]["page_numbers"][0]) for task in tasks) == [
        (f"{named}{name}", page) for name, page in expected
    ]
    for task in tasks:
        [prediction] = task["predictions"]
        [region] = prediction["result"]
        # All show the same upright page with the same stamp.
        assert region["value"]["x"] == pytest.approx(100 * 3.2 / 8.27, abs=2)
        assert region["value"]["y"] == pytest.approx(100 * 4.2 / 11.69, abs=2)
    rows = parquet.read_table(table).to_pylist()
    assert [{"data": json.loads(row["data"]), "result": json.loads(row["result"])} for row in rows] == [
        {"data": task["data"], "result": task["predictions"][0]["result"]} for task in tasks
    ]
    assert {row["marks"] for row in rows} == {1}


def test_killed_on_the_way_it_goes_on_and_every_task_is_there_once(
    place: Place, studio: LoopbackStudio, tmp_path: Path
) -> None:
    count, every = 60, 15
    running: list[Command] = []
    asked = since = 0
    asking = threading.Lock()

    def kill(*_: object) -> None:
        nonlocal asked, since
        with asking:  # each connection has a thread
            asked += 1
            since += 1
            if running and since >= every:
                running[-1].kill()

    studio.before_page = kill
    out = tmp_path / "out.json"
    arguments = (tasks_of(count, tmp_path / "tasks.jsonl"), "--out", str(out), "--batch", "2")
    for _ in range(KILLS):
        with place.start(*arguments) as process:
            with asking:
                running.append(process)
                since = 0
            _, said = process.communicate(timeout=600)
        assert process.returncode == -signal.SIGKILL, said
        assert not out.exists()
    running.clear()
    done = place.run(*arguments)
    assert done.returncode == 0, done.stderr
    assert sorted(task["data"]["number"] for task in tasks_in(out)) == list(range(count))
    # What was done before a kill was not done again, but for the portions that the kills cut off.
    assert count <= asked <= count + KILLS * 4
    assert "0 items of an earlier run" not in done.stdout
    assert not list((tmp_path / "prelabel").iterdir())


def test_a_page_that_kills_whoever_looks_at_it_is_told_and_holds_nothing_up(
    place: Place, studio: LoopbackStudio, tmp_path: Path
) -> None:
    studio.before_page = lambda number, by: os.kill(asker(by), signal.SIGKILL) if number == 3 else None
    done = place.run(tasks_of(5, tmp_path / "tasks.jsonl"), "--out", str(tmp_path / "out.json"))
    assert done.returncode == 1, done.stderr
    assert "failed: 1 WorkerDied" in done.stderr
    assert "SIGKILL" in done.stderr
    assert sorted(task["data"]["number"] for task in tasks_in(tmp_path / "out.json")) == [0, 1, 2, 4]


def test_regions_bear_the_names_of_a_label_config_that_is_named(place: Place, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.xml").write_text(CONFIG)
    out = tmp_path / "out.json"
    done = place.run(
        *(str(folder / "a.png"), "--out", str(out)),
        *("--label-config", str(tmp_path / "config.xml"), "--prefix", "s3://bucket/"),
    )
    assert done.returncode == 0, done.stderr
    [task] = tasks_in(out)
    assert task["data"]["scan"] == "s3://bucket/a.png"
    [region] = task["predictions"][0]["result"]
    assert (region["from_name"], region["value"]["rectanglelabels"]) == ("what", ["Seal"])


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("none", "--out", "{tmp}/out.json"), "neither a folder nor a file"),
        (("{tmp}", "--out", "{tmp}/out.json", "--replace"), "are for a --project"),
        (("{tmp}", "--out", "{tmp}/out.json", "--label-config", "none.xml"), "none.xml cannot be read"),
        (("{tmp}", "--out", "{tmp}/out.json", "--report", "{tmp}/none/report"), "name another --report"),
        (("{tmp}", "--out", "{tmp}/none/out.json"), "none/out.json cannot be written"),
        (("{tmp}", "--parquet", "nothing-like-it://bucket/out.parquet"), "out.parquet cannot be written"),
    ],
)
def test_what_cannot_be_done_is_said(place: Place, arguments: tuple[str, ...], reason: str, tmp_path: Path) -> None:
    done = place.run(*(one.format(tmp=tmp_path) for one in arguments))
    assert done.returncode == 2
    assert reason in done.stderr
    assert "Traceback" not in done.stderr
