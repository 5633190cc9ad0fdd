"""The demo's Label Studio: whose log-in it is, and what it is told."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from backend.commands.demo.services import Login, label_studio_service
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
