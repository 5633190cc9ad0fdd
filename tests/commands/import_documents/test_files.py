"""Which files a command means, and what it leaves alone and says so."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from backend.commands.import_documents.document_files import find, name_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "named"
    for name in ("b.pdf", "a.TIFF", "notes.txt", ".hidden.pdf", "deeper/c.jpg", ".git/d.png"):
        path = made / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"content")
    return made


def names(folder: Path, *, recursive: bool = False) -> list[str]:
    return [str(path.relative_to(folder)) for path in find([folder], recursive=recursive).files]


def left_out(folder: Path, *, recursive: bool = False) -> dict[str, str]:
    return {str(one.path.relative_to(folder)): one.reason for one in find([folder], recursive=recursive).left_out}


def test_a_folder_stands_for_its_documents_sorted(folder: Path) -> None:
    assert names(folder) == ["a.TIFF", "b.pdf"]


def test_folders_inside_are_looked_into_when_asked(folder: Path) -> None:
    assert names(folder, recursive=True) == ["a.TIFF", "b.pdf", "deeper/c.jpg"]
    assert "--recursive" in left_out(folder)["deeper"]


def test_what_is_left_out_is_said(folder: Path) -> None:
    assert left_out(folder, recursive=True) == {
        ".git": "hidden",
        ".hidden.pdf": "hidden",
        "notes.txt": "its name ends like no document's or image's",
    }


def test_links_out_of_a_folder_and_links_to_folders_are_not_followed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.pdf").write_bytes(b"not named")
    (folder / "out.pdf").symlink_to(tmp_path / "secret.pdf")
    (folder / "up").symlink_to(tmp_path)
    (folder / "in.pdf").symlink_to(folder / "b.pdf")
    assert names(folder, recursive=True) == ["a.TIFF", "b.pdf", "deeper/c.jpg", "in.pdf"]
    assert left_out(folder)["out.pdf"] == "a link out of the folder"
    assert left_out(folder)["up"] == "a link to a folder"


def test_a_file_that_is_named_is_taken_whatever_it_is_called(folder: Path) -> None:
    (folder / "link").symlink_to(folder / "b.pdf")
    named = [folder / "notes.txt", folder / ".hidden.pdf", folder / "link", folder / "missing.pdf"]
    assert find(named, recursive=False).files == tuple(named)


def test_a_file_that_is_named_twice_is_taken_once(folder: Path) -> None:
    assert find([folder / "b.pdf", folder, folder], recursive=False).files == (folder / "b.pdf", folder / "a.TIFF")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("عقد.pdf", "عقد.pdf"),
        # bytes of another encoding, which JSON could not carry
        (os.fsdecode(b"caf\xe9.pdf"), "caf\ufffd.pdf"),
    ],
)
def test_a_documents_name_is_text(name: str, shown: str) -> None:
    assert name_of(Path("folder") / name) == shown
