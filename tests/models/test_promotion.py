"""A published model is whole, stays as it is, and serves when it is promoted; every move can be taken back."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from backend.errors import BadWeights, PointerMoved, RegistryError
from backend.models.promotion import Models
from backend.models.published import FOUND, RECORD_FILE, RESERVED, Beside, Facts, Record, RecordedVerdict, Registry
from backend.vision.weights import CONFIG_FILE, WEIGHTS_FILE
from tests.models.conftest import Publish, leftovers
from tests.models.tiny import says

ROOT = Path(__file__).parents[2]
REFUSED = RecordedVerdict(passed=False, reasons=("thumb lost 4.1 points of recall",), figures={"thumb": -0.041})


def promote(models: Models, name: str) -> None:
    models.promote(name, why="a test", by="tests", force=True)


class TestPromotion:
    def test_moves_the_pointer_and_says_so(self, models: Models, folder: Path, published: Publish) -> None:
        first, second = published("stamp"), published("thumb")
        promote(models, first)
        event = models.promote(second, why="two points better", by="retraining", force=True)
        assert Registry(folder).active() == second
        assert (event.model, event.before, event.why, event.by) == (second, first, "two points better", "retraining")
        assert [model.name for model in models.all() if model.active] == [second]
        assert [model.status for model in models.all()] == ["promoted", "promoted"]

    def test_rollback_goes_back_step_by_step_to_before_the_first(
        self, models: Models, folder: Path, published: Publish
    ) -> None:
        one, two, three = published("stamp"), published("thumb"), published("signature")
        for name in (one, two, three, three):
            promote(models, name)
        for expected in (two, one, None):
            assert models.rollback(why="worse on site", by="tests").model == expected
            assert Registry(folder).active() == expected
        with pytest.raises(RegistryError, match="nothing to roll back to"):
            models.rollback(why="again", by="tests")

    def test_after_a_rollback_a_promotion_starts_from_there(
        self, models: Models, folder: Path, published: Publish
    ) -> None:
        one, two, three = published("stamp"), published("thumb"), published("signature")
        promote(models, one)
        promote(models, two)
        models.rollback(why="worse", by="tests")
        promote(models, three)
        assert models.rollback(why="worse, too", by="tests").model == one, "not to the one that was taken back"

    def test_a_rollback_that_was_cut_off_leaves_the_way_back_as_it_was(
        self, models: Models, folder: Path, published: Publish
    ) -> None:
        one, two = published("stamp"), published("thumb")
        for name in (one, two, one):
            promote(models, name)
        models.rollback(why="killed before the pointer moved", by="tests")
        Registry(folder).pointer.write_text(f"{one}\n")
        for expected in (two, one, None):
            assert models.rollback(why="worse on site", by="tests").model == expected

    def test_of_what_the_gate_refused_needs_force_and_a_reason(
        self, models: Models, folder: Path, published: Publish
    ) -> None:
        name = published(verdict=REFUSED)
        assert models.get(name).status == "refused"
        with pytest.raises(RegistryError, match=r"thumb lost 4\.1 points of recall.*force it and say why"):
            models.promote(name, why="I like it", by="tests")
        with pytest.raises(RegistryError, match="say why"):
            models.promote(name, why="", by="tests", force=True)
        assert Registry(folder).active() is None
        assert models.promote(name, why="no thumbs at this customer", by="tests", force=True).forced
        assert models.events()[-1].why == "no thumbs at this customer"

    def test_of_what_the_gate_was_never_asked_about_needs_force_and_a_reason(
        self, models: Models, folder: Path, published: Publish
    ) -> None:
        name = published()
        with pytest.raises(RegistryError, match=rf"never asked about {name}.*force it and say why"):
            models.promote(name, why="it looks good", by="tests")
        with pytest.raises(RegistryError, match="say why"):
            models.promote(name, why="", by="tests", force=True)
        assert Registry(folder).active() is None
        models.judge(name, RecordedVerdict(passed=True), by="evaluate")
        assert not models.promote(name, why="it passed", by="tests").forced

    def test_of_what_served_before_needs_none(self, models: Models, folder: Path, published: Publish) -> None:
        one, two = published("stamp", verdict=RecordedVerdict(passed=True, beside=Beside(None))), published("thumb")
        models.promote(one, why="it passed", by="tests")
        promote(models, two)
        assert not models.promote(one, why="better after all", by="tests").forced

    def test_of_what_was_forced_before_needs_force_again(self, models: Models, published: Publish) -> None:
        name = published(verdict=REFUSED)
        promote(models, name)
        models.rollback(why="it was bad", by="tests")
        with pytest.raises(RegistryError, match=f"the gate refused {name}"):
            models.promote(name, why="", by="tests")

    def test_of_what_was_refused_since_needs_force(self, models: Models, published: Publish) -> None:
        name = published(verdict=RecordedVerdict(passed=True, beside=Beside(None)))
        models.promote(name, why="it passed", by="tests")
        models.judge(name, REFUSED, by="evaluate")
        models.rollback(why="a test", by="tests")
        with pytest.raises(RegistryError, match=f"the gate refused {name}"):
            models.promote(name, why="", by="tests")

    def test_by_name_asks_what_the_verdict_was_beside(self, models: Models, folder: Path, published: Publish) -> None:
        """Two were judged beside the same model: the second was never seen beside the first."""
        one, two = (
            published(label, verdict=RecordedVerdict(passed=True, beside=Beside(None))) for label in ("stamp", "thumb")
        )
        models.promote(one, why="it passed", by="tests")
        with pytest.raises(PointerMoved, match=f"{two} was judged beside the unpublished weights, but by now {one}"):
            models.promote(two, why="it passed", by="tests")
        assert Registry(folder).active() == one
        assert models.promote(two, why="I know better", by="tests", force=True).forced

    @pytest.mark.parametrize("first", [None, "stamp"])
    def test_after_a_verdict_beside_another_model_does_not_come_about(
        self, first: str | None, models: Models, folder: Path, published: Publish
    ) -> None:
        serves, other = published("stamp"), published("thumb")
        if first:
            promote(models, serves)
        judged = published("signature", verdict=RecordedVerdict(passed=True))
        pointed = Registry(folder).pointed()
        promote(models, other)
        with pytest.raises(PointerMoved, match=rf"judged beside .*, but by now {other} serves where MODEL is `auto`"):
            models.promote(judged, why="it passed the gate", by="tests", beside=Beside(pointed))
        assert Registry(folder).active() == other
        models.promote(judged, why="it passed the gate", by="tests", beside=Beside(other))
        assert Registry(folder).active() == judged

    @pytest.mark.parametrize("beside", [None, Beside(None), Beside("a-model")])
    def test_a_verdict_says_beside_what_also_in_older_files(self, beside: Beside | None) -> None:
        verdict = RecordedVerdict(passed=True, reasons=("better",), figures={"f1": 0.9}, beside=beside)
        facts = json.loads(json.dumps(dataclasses.asdict(verdict)))
        assert RecordedVerdict.from_json(facts) == verdict
        if beside is not None:
            facts["figures"]["beside"] = facts.pop("beside")["model"]
            assert RecordedVerdict.from_json(facts) == verdict

    def test_what_a_training_was_told_is_read_also_in_older_records(
        self, models: Models, folder: Path, published: Publish
    ) -> None:
        file = folder / published() / RECORD_FILE
        facts = json.loads(file.read_text())
        assert Record.read(file.parent).told is None
        facts["metrics"]["told"] = "0f" * 32
        del facts["told"]
        file.chmod(0o600)
        file.write_text(json.dumps(facts))
        record = Record.read(file.parent)
        assert record.told == "0f" * 32
        assert "told" not in record.metrics

    def test_the_last_verdict_counts(self, models: Models, published: Publish) -> None:
        name = published()
        models.judge(name, REFUSED, by="evaluate")
        assert models.get(name).status == "refused"
        models.judge(name, RecordedVerdict(passed=True), by="evaluate")
        assert models.get(name).verdict == RecordedVerdict(passed=True)
        assert models.get(name).status == "candidate"

    @pytest.mark.parametrize(
        ("damage", "reason"),
        [
            (lambda file: file.write_bytes(file.read_bytes()[:-1]), "was damaged or changed"),
            (lambda file: file.unlink(), "cannot be read"),
        ],
    )
    @pytest.mark.parametrize("file", [WEIGHTS_FILE, CONFIG_FILE, "notes.txt"])
    def test_of_a_damaged_model_is_refused_with_the_reason(
        self, damage, reason: str, file: str, models: Models, tmp_path: Path
    ) -> None:
        folder, candidate = tmp_path / "models", says("stamp", tmp_path / "candidate")
        (candidate / "notes.txt").write_text("of any kind")
        good = models.publish(candidate, Facts(source="training")).name
        bad = models.publish(candidate, Facts(source="training")).name
        promote(models, good)
        (folder / bad / file).chmod(0o644)
        damage(folder / bad / file)
        with pytest.raises(BadWeights, match=reason):
            promote(models, bad)
        assert Registry(folder).active() == good

    @pytest.mark.parametrize("record", ["", "[]", '{"files": {}}', '{"files": {"../../etc/passwd": "0"}}'])
    def test_a_record_that_is_none_keeps_a_model_from_serving(
        self, record: str, models: Models, folder: Path, published: Publish
    ) -> None:
        name = published()
        path = folder / name / RECORD_FILE
        path.chmod(0o644)
        path.write_text(record)
        with pytest.raises(BadWeights, match="promote another, or publish it anew"):
            Registry(folder).folder_of(name)
        with pytest.raises(RegistryError, match="is no record of a model"):
            promote(models, name)

    def test_rollback_to_a_model_that_is_gone_is_refused(
        self, models: Models, folder: Path, published: Publish
    ) -> None:
        one, two = published("stamp"), published("thumb")
        promote(models, one)
        promote(models, two)
        shutil.rmtree(folder / one)
        with pytest.raises(RegistryError, match=f"no model '{one}'"):
            models.rollback(why="worse", by="tests")
        assert Registry(folder).active() == two

    @pytest.mark.parametrize("name", ["typo", "../models", ".lock", ""])
    def test_of_what_is_not_there_is_refused(self, name: str, models: Models, published: Publish) -> None:
        published()
        with pytest.raises(RegistryError, match="`models list` names them"):
            promote(models, name)

    @pytest.mark.parametrize("name", RESERVED)
    def test_a_word_of_the_setting_is_told_from_a_model(self, name: str, models: Models) -> None:
        with pytest.raises(
            RegistryError, match=f"'{name}' is no published model, but a word of MODEL: MODEL={name} serves"
        ):
            models.get(name)

    def test_a_folder_put_there_by_hand_can_be_promoted_and_has_no_record(self, models: Models, folder: Path) -> None:
        says("stamp", folder / "by-hand")
        promote(models, "by-hand")
        model = models.get("by-hand")
        assert (model.record, model.status, model.active) == (None, "promoted", True)


class TestHistory:
    def test_is_only_added_to(self, models: Models, folder: Path, published: Publish) -> None:
        path = folder / "history.jsonl"
        before = b""
        one, two = published("stamp"), published("thumb")
        steps = [
            lambda: promote(models, one),
            lambda: promote(models, two),
            lambda: models.judge(two, REFUSED, by="evaluate"),
            lambda: models.rollback(why="worse", by="tests"),
        ]
        for step in steps:
            step()
            assert path.read_bytes().startswith(before)
            before = path.read_bytes()
        told = [(event["what"], event["before"], event["model"]) for event in map(json.loads, before.splitlines())]
        assert told == [
            ("published", None, one),
            ("published", None, two),
            ("promoted", None, one),
            ("promoted", one, two),
            ("judged", None, two),
            ("rolled back", two, one),
        ]

    def test_a_line_that_was_cut_off_is_none_and_goes_with_the_next(
        self, models: Models, folder: Path, published: Publish
    ) -> None:
        name = published()
        with (folder / "history.jsonl").open("a") as file:
            file.write('{"when": "2026-')
        assert [event.what for event in models.events()] == ["published"]
        promote(models, name)
        assert [event.what for event in models.events()] == ["published", "promoted"]

    def test_a_line_that_is_no_event_is_named(self, models: Models, folder: Path, published: Publish) -> None:
        published()
        with (folder / "history.jsonl").open("a") as file:
            file.write("hello\n")
        with pytest.raises(RegistryError, match=r"history\.jsonl, line 2 is no event"):
            models.all()

    def test_a_pointer_edited_by_hand_is_noted_and_can_be_taken_back(
        self, models: Models, folder: Path, published: Publish
    ) -> None:
        one, two = published("stamp"), published("thumb")
        promote(models, one)
        (folder / "active").write_text(two)
        assert models.get(two).active
        models.rollback(why="who was that?", by="tests")
        assert Registry(folder).active() == one
        found = next(event for event in models.events() if event.what == FOUND)
        assert (found.before, found.model) == (one, two)


FULL = """
import resource, sys
from pathlib import Path
from backend.errors import BackendError
from backend.models.promotion import Models
from backend.models.published import Facts
models, candidate, name, limit = Models(Path(sys.argv[1])), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    if name:
        models.promote(name, why="a long reason " * 20, by="tests", force=True)
    else:
        models.publish(candidate, Facts(source="training"))
except BackendError as error:
    print(type(error).__name__, error)
"""


class TestAFullDisk:
    """A real limit of the system on the size of files stands for it: a write fails half-way."""

    def act(self, folder: Path, candidate: Path, *, name: str = "", limit: int) -> str:
        command = [sys.executable, "-c", FULL, str(folder), str(candidate), name, str(limit)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    def test_leaves_nothing_of_a_model_that_did_not_fit(self, models: Models, folder: Path, tmp_path: Path) -> None:
        candidate = says("stamp", tmp_path / "candidate")
        said = self.act(folder, candidate, limit=2000)
        assert "RegistryError" in said
        assert "File too large" in said
        assert leftovers(folder) == []
        assert models.publish(candidate, Facts(source="training")).name in Registry(folder).names()

    def test_leaves_pointer_and_history_as_they_were(self, models: Models, folder: Path, published: Publish) -> None:
        one, two = published("stamp"), published("thumb")
        promote(models, one)
        path = folder / "history.jsonl"
        before = path.read_bytes()
        said = self.act(folder, folder, name=two, limit=len(before) + 100)
        assert "history.jsonl cannot be written: File too large" in said
        assert path.read_bytes() == before
        assert Registry(folder).active() == one
        promote(models, two)
        assert Registry(folder).active() == two
