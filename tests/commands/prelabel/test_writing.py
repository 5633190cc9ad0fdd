"""Predictions on their way into files: journalled once each, whatever was killed; written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fsspec
import pytest
from pyarrow import parquet

from backend.commands.prelabel.writing import RowJournal, make_sure, write_json, write_parquet
from backend.errors import OutputError, SettingsError, SetupError

FACTS = {"version": "v1", "prefix": ""}


def row(document: str, page: int = 1) -> dict[str, Any]:
    found = {"result": [{"id": "r", "value": {}}], "score": 0.5, "model_version": "v1"}
    return {"document": document, "page": page, "data": {"image": f"عقد {document}"}, "prediction": found}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "journal.jsonl"


def test_a_document_is_noted_once(file: Path) -> None:
    with RowJournal(file, FACTS) as journal:
        journal.add("a.pdf", (row("a.pdf", 1), row("a.pdf", 2)))
        journal.add("b.pdf", ())  # no page in it
        journal.add("a.pdf", (row("a.pdf", 1),))
        assert (len(journal), journal.rows) == (2, 2)
        assert [name in journal for name in ("a.pdf", "b.pdf", "c.pdf")] == [True, True, False]
        assert list(journal.read()) == [row("a.pdf", 1), row("a.pdf", 2)]


def test_a_run_that_was_killed_is_gone_on_with_but_for_the_line_that_the_kill_tore(file: Path) -> None:
    with RowJournal(file, FACTS) as journal:
        for name in ("a.pdf", "b.pdf"):
            journal.add(name, (row(name),))
    file.write_bytes(file.read_bytes()[:-9])
    with RowJournal(file, FACTS) as journal:
        assert (len(journal), journal.rows, "b.pdf" in journal) == (1, 1, False)
        journal.add("b.pdf", (row("b.pdf"),))
        assert [one["document"] for one in journal.read()] == ["a.pdf", "b.pdf"]
        journal.discard()
    assert not file.exists()


def test_even_where_it_was_killed_at_its_first_line(file: Path) -> None:
    RowJournal(file, FACTS).__exit__()
    file.write_bytes(file.read_bytes()[:5])
    with RowJournal(file, FACTS) as journal:
        journal.add("a.pdf", (row("a.pdf"),))
        assert list(journal.read()) == [row("a.pdf")]


def test_an_unfinished_run_is_not_gone_on_with_by_another_model(file: Path) -> None:
    RowJournal(file, FACTS).__exit__()
    with pytest.raises(SetupError, match=r"differs in version: finish it .* delete .*journal\.jsonl"):
        RowJournal(file, FACTS | {"version": "v2"})


def test_one_run_at_a_time(file: Path) -> None:
    with RowJournal(file, FACTS), pytest.raises(SetupError, match="another `prelabel` writes the same output"):
        RowJournal(file, FACTS)


@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("store", [True, False])
def test_label_studio_gets_an_array_of_tasks(count: int, store: bool, tmp_path: Path) -> None:
    target = "memory://out/predictions.json" if store else str(tmp_path / "predictions.json")
    write_json((row(f"{number}.pdf") for number in range(count)), target)
    with fsspec.open(target, "rb").open() as file:
        read = json.load(file)
    expected = [row(f"{number}.pdf") for number in range(count)]
    assert read == [{"data": one["data"], "predictions": [one["prediction"]]} for one in expected]
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("count", [0, 1, 2001])
def test_a_table_has_a_row_for_each_page(count: int, tmp_path: Path) -> None:
    target = tmp_path / "predictions.parquet"
    write_parquet((row(f"{number}.pdf", 2) for number in range(count)), str(target))
    table = parquet.read_table(target)
    assert table.column_names == ["document", "page", "data", "model_version", "score", "marks", "result"]
    assert table["document"].to_pylist() == [f"{number}.pdf" for number in range(count)]
    if count:
        [first] = table.slice(0, 1).to_pylist()
        assert (first["page"], first["score"], first["marks"], first["model_version"]) == (2, 0.5, 1, "v1")
        assert json.loads(first["data"]) == {"image": "عقد 0.pdf"}
        assert json.loads(first["result"]) == [{"id": "r", "value": {}}]


def test_what_was_there_stays_where_writing_is_cut_off(tmp_path: Path) -> None:
    target = tmp_path / "predictions.json"
    target.write_text("[]")

    def cut_off() -> Any:
        yield row("a.pdf")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_json(cut_off(), str(target))
    assert target.read_text() == "[]"


def test_a_place_that_cannot_be_written_is_named_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none.* cannot be written"):
        make_sure(out=str(tmp_path / "none" / "predictions.json"), parquet="")
    with pytest.raises(OutputError, match=r"none.* cannot be written"):
        write_json(iter(()), str(tmp_path / "none" / "predictions.json"))


def test_asking_whether_a_place_can_be_written_leaves_it_as_it_was(tmp_path: Path) -> None:
    target = tmp_path / "predictions.json"
    target.write_text("[]")
    make_sure(out=str(target), parquet="memory://out/predictions.parquet")
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("predictions.json", "[]")]
