"""What there is to look at: files of folders and stores, tasks of lists, in order and one by one."""

from __future__ import annotations

import json
import os
from pathlib import Path

import fsspec
import pytest

from backend.commands.prelabel.archive import Item, content, items
from backend.errors import LimitExceeded, PageUnavailable, SettingsError

FILES = ("b/2.TIF", "b/10.png", "a.pdf", "notes.txt", "scan.bmp", "stamp.GIF", "z.jpeg")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    return tmp_path / "in"


def test_a_folder_gives_its_pages_under_the_names_that_label_studio_has_for_them(folder: Path) -> None:
    found = list(items([str(folder)], prefix="/data/local-files/?d="))
    assert [one.reference for one in found] == [
        f"/data/local-files/?d={name}" for name in ("a.pdf", "scan.bmp", "stamp.GIF", "z.jpeg", "b/10.png", "b/2.TIF")
    ]
    assert found[4].name == str(folder / "b" / "10.png")
    assert not any(one.remote for one in found)
    # What is named itself is taken, whatever it is called.
    [one] = items([str(folder / "notes.txt")], prefix="")
    assert one.reference == "notes.txt"


@pytest.mark.parametrize("store", ["memory", "file"])
def test_an_object_store_gives_urls(store: str, folder: Path) -> None:
    url = f"file://{folder}" if store == "file" else "memory://archive/in"
    for name in FILES:
        with fsspec.open(f"{url}/{name}", "wb").open() as file:
            file.write(b"")
    found = list(items([url], prefix="unused"))
    names = [one.name.partition("/in/")[2] for one in found]
    assert names == ["a.pdf", "scan.bmp", "stamp.GIF", "z.jpeg", "b/10.png", "b/2.TIF"]
    assert all(one.remote and one.reference == one.name for one in found)
    assert [one.name for one in items([found[0].name], prefix="")] == [found[0].name]


@pytest.mark.parametrize("store", ["file://", ""])
def test_what_is_left_out_of_a_folder_is_said(store: str, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    list(items([f"{store}{folder}"], prefix=""))
    [told] = [record.getMessage() for record in caplog.records if record.name == "backend.commands.prelabel.archive"]
    assert "left out 1 files" in told
    assert "notes.txt" in told
    caplog.clear()
    (folder / "notes.txt").unlink()
    list(items([f"{store}{folder}"], prefix=""))
    assert not caplog.records


@pytest.mark.parametrize("kind", [".json", ".jsonl"])
def test_a_list_gives_tasks_without_what_is_not_needed(kind: str, tmp_path: Path) -> None:
    tasks = [{"id": 4, "data": {"image": "a.png"}, "annotations": [{}]}, {"data": {"image": "b.png"}}]
    text = json.dumps(tasks) if kind == ".json" else "\n".join(map(json.dumps, tasks))
    file = tmp_path / f"tasks{kind}"
    file.write_text(text)
    found = list(items([str(file)], prefix=""))
    assert [one.task for one in found] == [{"id": 4, "data": {"image": "a.png"}}, {"data": {"image": "b.png"}}]
    assert len({one.name for one in found}) == 2
    assert [Item.from_json(one.to_json()) for one in found] == found


def test_lines_are_read_as_they_are_used(tmp_path: Path) -> None:
    file = tmp_path / "tasks.jsonl"
    file.write_text('{"data": {"image": "a.png"}}\nno JSON\n')
    listed = items([str(file)], prefix="")
    assert next(listed).task == {"data": {"image": "a.png"}}
    with pytest.raises(SettingsError, match="no list of tasks"):
        next(listed)


@pytest.mark.parametrize(
    ("named", "text", "reason"),
    [
        ("none", None, "neither a folder nor a file"),
        ("memory://none", None, "neither a folder nor a file"),
        ("nothing-like-it://bucket", None, "cannot be listed"),
        ("none.json", None, "no list of tasks"),
        ("tasks.json", '{"data": 1', "no list of tasks"),
        ("tasks.json", '[{"data": {}}, {"id": 3}]', "entry 1 is no task"),
        ("tasks.jsonl", "7", "entry 0 is no task"),
        ("tasks.json", "[" * 100_000, "no list of tasks"),
        ("tasks.jsonl", '{"data": ' * 100_000, "no list of tasks"),
        ("tasks.json", f'[{{"id": {"9" * 5000}, "data": {{}}}}]', "no list of tasks"),
    ],
)
def test_what_cannot_be_read_is_said(named: str, text: str | None, reason: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / named).write_text(text)
    place = named if "://" in named else str(tmp_path / named)
    with pytest.raises(SettingsError, match=reason):
        list(items([place], prefix=""))


@pytest.mark.parametrize(
    "name", ["data:a.png", "zip::a.png", "a::b.png", "~root.png", "a*[b]?.png", "memory:a.png", "عقد #1 & 2.png"]
)
def test_a_files_name_is_no_address_whatever_it_is(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may put a file into a folder must not have something else read in its place."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(b"its own")
    [item] = items(["."], prefix="")
    assert content(item, max_bytes=100) == b"its own"
    with pytest.raises(LimitExceeded):
        content(item, max_bytes=3)


def test_what_is_no_plain_file_of_a_folder_holds_up_no_other(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to("/dev/zero")
    (tmp_path / "c.png").symlink_to(tmp_path / "c.png")
    (tmp_path / "d").symlink_to(tmp_path)  # a circle
    (tmp_path / "e.png").write_bytes(b"e")
    read = []
    for item in items([str(tmp_path)], prefix=""):
        try:
            read.append(content(item, max_bytes=100))
        except PageUnavailable:
            continue
    assert read == [b"e"]
