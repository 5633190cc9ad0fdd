"""A published model is whole, has a name of its own, says how it was made, and does not serve yet."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from backend.errors import BadWeights, RegistryError
from backend.models.promotion import Models
from backend.models.published import RECORD_FILE, Facts, Record, RecordedVerdict, Registry
from backend.vision.network_config import sha256_of
from backend.vision.weights import CONFIG_FILE, WEIGHTS_FILE
from tests.models.conftest import Publish, leftovers
from tests.models.tiny import finds_nothing, says


class TestPublishing:
    def test_copies_every_file_with_its_checksum_and_says_how_it_was_made(
        self, models: Models, folder: Path, tmp_path: Path
    ) -> None:
        candidate = finds_nothing(says("stamp", tmp_path / "candidate"))
        (candidate / ".scratch").write_text("stays here")
        (candidate / "epochs").mkdir()
        facts = Facts(
            source="training",
            parent="2026-11-01-cafe",
            recipe={"epochs": 3},
            seed=7,
            versions={"torch": "2.14.1"},
            dataset="d" * 64,
            seconds=12.5,
            metrics={"closed_set": {"macro_f1": 0.98}},
            verdict=RecordedVerdict(passed=True, reasons=("2.1 points better",)),
        )
        record = models.publish(candidate, facts)
        made = folder / record.name
        assert sorted(path.name for path in made.iterdir()) == sorted([*record.files, RECORD_FILE])
        assert set(record.files) == {WEIGHTS_FILE, CONFIG_FILE, "detector.onnx", "detector.json"}
        assert record.files == {name: sha256_of(made / name) for name in record.files}
        assert (
            Record.read(made)
            == record
            == Record.of(facts, name=record.name, published=record.published, files=record.files)
        )
        assert {path.stat().st_mode & 0o777 for path in made.iterdir()} == {0o400}

    def test_is_not_promoting(self, models: Models, folder: Path, published: Publish) -> None:
        name = published()
        assert Registry(folder).names() == [name]
        assert Registry(folder).active() is None
        assert models.get(name).status == "candidate"

    def test_never_gives_a_name_twice(self, models: Models, folder: Path, published: Publish) -> None:
        first, second = published(), published()
        assert re.fullmatch(r"\d{4}-\d\d-\d\d-[0-9a-f]{8}", first)
        assert second == f"{first}-2"
        shutil.rmtree(folder / second)
        assert published() == f"{first}-3", "one that was deleted may still be in somebody's records"

    def test_of_chosen_files_takes_no_other(self, models: Models, folder: Path, tmp_path: Path) -> None:
        candidate = says("stamp", tmp_path / "candidate")
        (candidate / "worst-mistakes.html").write_text("crops of contracts")
        record = models.publish(candidate, Facts(source="training"), files=[WEIGHTS_FILE, CONFIG_FILE])
        assert not (folder / record.name / "worst-mistakes.html").exists()

    @pytest.mark.parametrize(
        ("damage", "error", "reason"),
        [
            # nothing that could serve
            (lambda folder: (folder / WEIGHTS_FILE).unlink(), BadWeights, "holds no ONNX file"),
            # the weights are not those of the config
            (lambda folder: (folder / WEIGHTS_FILE).write_bytes(b"damaged"), BadWeights, "SHA-256"),
            # weights that nothing describes
            (lambda folder: (folder / CONFIG_FILE).unlink(), BadWeights, r"classifier\.json cannot be read"),
            # a detector that is not that of its config, or has none
            (lambda folder: (finds_nothing(folder) / "detector.onnx").write_bytes(b""), BadWeights, "SHA-256"),
            (lambda folder: (finds_nothing(folder) / "detector.json").unlink(), BadWeights, "cannot be read"),
            # a pickle beside them
            (lambda folder: (folder / "model.pt").write_bytes(b""), RegistryError, "is pickled"),
            # a name that leads elsewhere, or may be odd to others
            (lambda folder: (folder / "a b").write_bytes(b""), RegistryError, "cannot be published"),
            (lambda folder: (folder / "link").symlink_to("/etc/hostname"), RegistryError, "no plain file"),
            (shutil.rmtree, RegistryError, "is no folder"),
        ],
    )
    def test_what_cannot_serve_is_refused_and_leaves_nothing(
        self, damage, error, reason, models: Models, tmp_path: Path
    ) -> None:
        candidate = says("stamp", tmp_path / "candidate")
        damage(candidate)
        with pytest.raises(error, match=reason):
            models.publish(candidate, Facts(source="training"))
        assert leftovers(tmp_path / "models") == []
        assert models.events() == []

    def test_figures_that_are_no_numbers_are_refused(self, models: Models, folder: Path, tmp_path: Path) -> None:
        candidate = says("stamp", tmp_path / "candidate")
        with pytest.raises(RegistryError, match="cannot be written as JSON"):
            models.publish(candidate, Facts(source="training", metrics={"f1": float("nan")}))
        assert leftovers(folder) == []
