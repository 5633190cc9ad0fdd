"""A tiny loop, whole: two rounds, two arms, real retrainings and verdicts; what it says adds up, and it goes on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from backend.corrections.database import default_url, open_database
from backend.corrections.outcomes import Outcome
from backend.corrections.tables import sample
from backend.vision.network_config import sha256_of
from backend.vision.weights import BUNDLED, DETECTOR_WEIGHTS_FILE
from benchmarks.annotator import KINDS
from benchmarks.loop import main

PAGES, HELD_OUT = 4, 2
SIZES = ("--rounds", "2", "--pages", PAGES, "--held-out", HELD_OUT, "--dpi", "72")
LEARNT = ("--epochs", "1", "--samples", "32", "--drawn-pages", "4", "--detector-epochs", "1")
RECIPE = (*LEARNT, "--detector-samples", "16", "--replay-pages", "2")
MACHINE = ("--threads", "1", "--jobs", "0")
ARMS = ("--arms", "full", "no retraining")


def run(folder: Path, *options: object) -> dict[str, Any]:
    """Runs the loop in a folder, and gives its figures."""
    words = [*SIZES, *RECIPE, *MACHINE, *ARMS, "--work", folder / "work", "--json", folder / "loop.json", *options]
    assert main([str(word) for word in words]) == 0
    report: dict[str, Any] = json.loads((folder / "loop.json").read_text())
    return report


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("loop")


@pytest.fixture(scope="module")
def report(folder: Path) -> dict[str, Any]:
    return run(folder, "--plot", folder / "loop.svg")


def rounds(report: dict[str, Any], arm: str) -> Sequence[dict[str, Any]]:
    return [one for one in report["rounds"] if one["arm"] == arm]


def test_every_round_of_every_arm_is_there(report: dict[str, Any]) -> None:
    assert [(one["arm"], one["number"]) for one in report["rounds"]] == [
        ("full", 1),
        ("no retraining", 1),
        ("full", 2),
        ("no retraining", 2),
    ]


def test_what_was_shown_less_what_was_deleted_and_with_what_was_added_are_the_marks(report: dict[str, Any]) -> None:
    for one in report["rounds"]:
        annotated = one["annotated"]
        work = annotated["work"]
        assert annotated["pages"] == PAGES
        assert annotated["shown"] - work["deleted"] + work["added"] == annotated["marks"] > 0
        assert one["corrections_a_page"] == pytest.approx(sum(work[kind] for kind in KINDS) / PAGES)


def test_all_arms_begin_with_the_same_work(report: dict[str, Any]) -> None:
    first, other = (rounds(report, arm)[0]["annotated"] for arm in ("full", "no retraining"))
    assert first == other


def test_the_ledger_learnt_what_the_annotator_did(folder: Path, report: dict[str, Any]) -> None:
    engine = open_database(default_url(folder / "work" / "full"))
    with engine.connect() as connection:
        learnt = Counter(connection.execute(select(sample.c.outcome)).scalars())
    engine.dispose()
    done = Counter[str]()
    for one in rounds(report, "full"):
        done.update(one["annotated"]["work"])
    assert learnt[Outcome.REJECTED] + learnt[Outcome.DUPLICATE] == done["deleted"]
    assert learnt[Outcome.RELABELLED] == done["relabelled"]
    assert learnt[Outcome.MISSED] == done["added"]
    # What was moved and renamed is there as renamed.
    assert learnt[Outcome.MOVED] <= done["moved"]


def test_the_detector_learns_from_corrected_pages_as_soon_as_there_are_some(
    folder: Path, report: dict[str, Any]
) -> None:
    made = folder / "work" / "full" / "models" / rounds(report, "full")[-1]["trained"]["model"]
    record = json.loads((made / "detector-training.json").read_text())
    assert record["recipe"]["base"].startswith("bundled@")
    assert record["pages"]["annotated train"] >= 4
    assert [line["epoch"] for line in record["history"]] == [0]
    assert sha256_of(made / DETECTOR_WEIGHTS_FILE) != sha256_of(BUNDLED / DETECTOR_WEIGHTS_FILE)


def test_the_gate_spoke_and_the_next_round_serves_what_it_let_pass(report: dict[str, Any]) -> None:
    first, second = rounds(report, "full")
    for one in (first, second):
        assert one["trained"]["outcome"] in ("promoted", "refused")
        assert one["trained"]["reasons"]
    assert second["annotated"]["model"] == first["trained"]["serves"]
    promoted = first["trained"]["outcome"] == "promoted"
    assert first["trained"]["serves"] == (first["trained"]["model"] if promoted else "bundled")


def test_without_retraining_the_bundled_model_serves_on(report: dict[str, Any]) -> None:
    for one in rounds(report, "no retraining"):
        assert one["annotated"]["model"] == one["trained"]["serves"] == "bundled"
        assert one["measured"]["version"] == report["plan"]["version"]


def test_held_out_figures_are_of_the_held_out_pages(report: dict[str, Any]) -> None:
    for one in (report["before"], *(row["measured"] for row in report["rounds"])):
        assert one["pages"] == HELD_OUT
        assert 0 <= one["macro_f1"] <= 1
        assert one["macro_f1"] == pytest.approx(sum(one["f1"].values()) / len(one["f1"]))


def test_the_plot_is_written(folder: Path, report: dict[str, Any]) -> None:
    assert (folder / "loop.svg").read_text().startswith("<svg")


def test_a_run_that_was_cut_off_after_its_model_was_judged_ends_with_the_same_figures(
    folder: Path, report: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    for step in ("trained", "measured"):
        (folder / "work" / "full" / "round-2" / f"{step}.json").unlink()
    assert run(folder) == report
    said = capsys.readouterr()
    assert said.err.count("retraining …") == 1, "of the second round alone"
    log = (folder / "work" / "full" / "round-2" / "train.log").read_text()
    assert log.count("a candidate, trained for") == 1, "it was made already, and judged"
    assert log.splitlines()[-1].startswith("nothing new: ")
    assert "aim, in the arm 'full'" in said.out


def test_fewer_rounds_of_the_same_folder_are_its_first_ones(
    folder: Path, report: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    shorter = run(folder, "--rounds", 1)
    assert shorter["rounds"] == [one for one in report["rounds"] if one["number"] == 1]
    said = capsys.readouterr()
    assert "retraining …" not in said.err
    assert "from round 1 to round 1" in said.out


def test_a_folder_of_another_plan_is_refused(
    folder: Path, report: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*SIZES, *RECIPE, *MACHINE, *ARMS, "--work", folder / "work", "--pages", PAGES + 1]
    assert main([str(word) for word in words]) == 2
    assert f"pages {PAGES} → {PAGES + 1}" in capsys.readouterr().err
