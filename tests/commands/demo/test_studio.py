"""The demo's Label Studio: whose log-in it is, and what it is told."""

from __future__ import annotations

import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from backend.commands.demo.services import Login, check_whole, label_studio_service
from backend.errors import DemoError


def test_a_log_in_is_drawn_once_for_a_folder(tmp_path: Path) -> None:
    assert Login.of(tmp_path / "one") == Login.of(tmp_path / "one")
    assert Login.of(tmp_path / "one") != Login.of(tmp_path / "other")


def test_the_log_in_is_for_its_owner_alone(tmp_path: Path) -> None:
    login = Login.of(tmp_path)
    assert stat.S_IMODE((tmp_path / "login.json").stat().st_mode) == 0o600
    assert login.password not in repr(login)
    assert login.token not in repr(login)


def test_a_label_studio_that_is_not_installed_is_told_how_to_get(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="make label-studio"):
        label_studio_service(tmp_path / "label-studio", tmp_path, login=Login(), port=1)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"email": 1, "pass": 2}', b"\xff"])
def test_a_damaged_log_in_says_what_to_do(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "login.json").write_bytes(content)
    with pytest.raises(DemoError, match=r"login.json cannot be used .*--fresh.*--folder"):
        Login.of(tmp_path)


def test_a_damaged_database_says_what_to_do(tmp_path: Path) -> None:
    database = tmp_path / "label_studio.sqlite3"
    check_whole(database, tmp_path)
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE task (data TEXT)")
        connection.executemany("INSERT INTO task VALUES (?)", [("x" * 500,)] * 100)
        connection.commit()
    check_whole(database, tmp_path)
    whole = database.read_bytes()
    for damaged in (b"no database at all", whole[:6000], whole[:4096] + b"\x55" * 8192 + whole[12288:]):
        database.write_bytes(damaged)
        with pytest.raises(DemoError, match=r"label_studio.sqlite3 cannot be used .*--fresh.*--folder"):
            check_whole(database, tmp_path)
