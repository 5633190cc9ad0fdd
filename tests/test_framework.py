"""The class that label_studio_ml's own server is given: it makes its parts from the environment, once."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.framework import ContractMarks
from backend.server import ml_backend

CONFIG = (
    '<View><Image name="page" value="$image"/><RectangleLabels name="mark" toName="page">'
    '<Label value="signature"/><Label value="stamp"/><Label value="thumb"/></RectangleLabels></View>'
)


def test_objects_share_what_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setenv("MODEL", "bundled")
    monkeypatch.setenv("CONFIDENCE", "0.7")
    one = ContractMarks(project_id="1", label_config=CONFIG)
    assert one.parts() is ContractMarks(project_id="2").parts()
    assert [binding.threshold for binding in one.bindings] == [0.7]
    assert one.fit("START_TRAINING", {"project": {"id": 1}})["status"] == "stored"
    assert (tmp_path / "ledger.sqlite3").exists()


def test_the_plain_class_says_that_it_has_no_parts() -> None:
    with pytest.raises(NotImplementedError, match="see served_by"):
        ml_backend.ContractMarks(project_id="1", label_config=CONFIG)
