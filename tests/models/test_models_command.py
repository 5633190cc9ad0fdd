"""The command `models`, as it is typed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from backend.cli import main
from backend.models.promotion import Models
from backend.models.published import RecordedVerdict, Registry
from tests.models.conftest import Publish
from tests.models.hub_server import LoopbackHub, serve

ROOT = Path(__file__).parents[2]
FIGURES = {
    "closed_set": {"macro": {"f1": {"value": 0.9814, "low": 0.97, "high": 0.99}}},
    "end_to_end": {"0.5": {"macro": {"f1": {"value": 0.8765, "low": 0.8, "high": 0.9}}}},
}
REFUSED = RecordedVerdict(
    passed=False,
    reasons=("thumb lost 4.1 points of recall",),
    figures={"checks": [{"name": "macro F1 gain", "figure": 0.0123}]},
)


PASSED = RecordedVerdict(passed=True, reasons=("2.1 points better",))


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.delenv("MODEL", raising=False)


def test_list_is_a_table_with_the_serving_one_marked(
    models: Models, published: Publish, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = published("stamp", metrics=FIGURES), published("thumb", verdict=REFUSED)
    models.promote(first, why="a test", by="tests", force=True)
    assert main(["models", "list"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    rows = {line[1] if line[0] == "*" else line[0]: line for line in lines[1:-1]}
    assert rows[first][0] == "*"
    assert rows[first][-5:] == ["promoted", "0.981", "0.876", "-", "training"]
    assert rows[second][-5:] == ["refused", "-", "-", "+1.2", "training"]


def test_list_as_json(models: Models, published: Publish, capsys: pytest.CaptureFixture[str]) -> None:
    name = published("stamp", metrics=FIGURES, verdict=REFUSED, parent="bundled")
    assert main(["models", "list", "--json"]) == 0
    [facts] = json.loads(capsys.readouterr().out)
    assert (facts["name"], facts["active"], facts["status"], facts["parent"]) == (name, False, "refused", "bundled")
    assert facts["metrics"] == FIGURES
    assert facts["verdict"] == {"passed": False, "reasons": ["thumb lost 4.1 points of recall"]}


def test_list_tells_the_page_figures_of_the_gates_trial(
    models: Models, published: Publish, capsys: pytest.CaptureFixture[str]
) -> None:
    name = published("stamp", metrics={"closed_set": FIGURES["closed_set"]})
    models.judge(name, RecordedVerdict(passed=True, figures={"end_to_end": FIGURES["end_to_end"]}), by="tests")
    assert main(["models", "list"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[-5:-2] == ["candidate", "0.981", "0.876"]


def test_a_tracker_is_told_of_a_model_again(
    published: Publish, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = published("stamp", parent="bundled")
    assert main(["models", "track", name]) == 2
    assert "TRACKER is empty" in capsys.readouterr().err
    (tmp_path / "writes_down.py").write_text(
        "class Tracker:\n"
        "    def __init__(self, name, facts): print(name, facts['parent'])\n"
        "    def figures(self, step, values): print(step, values)\n"
        "    def end(self, outcome): print(outcome)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("TRACKER", "writes_down:Tracker")
    assert main(["models", "track", name]) == 0
    told = capsys.readouterr().out.splitlines()
    assert [told[0], *told[-2:]] == [
        f"{name} bundled",
        "candidate",
        f"writes_down:Tracker was told of {name}: candidate",
    ]
    assert main(["models", "track", "no-such-model"]) == 2


def test_without_models_list_says_what_serves(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "list"]) == 0
    [_, bundled, _] = capsys.readouterr().out.splitlines()
    assert bundled.split()[:3] == ["*", "bundled", "unpublished"]


def test_the_bundled_model_is_listed_as_serving_until_another_is_promoted(
    models: Models, published: Publish, capsys: pytest.CaptureFixture[str]
) -> None:
    name = published("stamp")
    main(["models", "list"])
    assert serving(capsys.readouterr().out) == ["bundled"]
    models.promote(name, why="first", by="tests", force=True)
    main(["models", "list"])
    listed = capsys.readouterr().out
    assert serving(listed) == [name]
    assert "bundled" in listed


def serving(listed: str) -> list[str]:
    return [line.split()[1] for line in listed.splitlines()[:-1] if line.startswith("*")]


def test_show_prints_record_and_history(models: Models, published: Publish, capsys: pytest.CaptureFixture[str]) -> None:
    name = published("stamp", recipe={"epochs": 3}, seed=7)
    models.promote(name, why="first", by="tests", force=True)
    assert main(["models", "show", name]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["record"]["recipe"], told["record"]["seed"]) == ({"epochs": 3}, 7)
    assert [(event["what"], event["why"]) for event in told["history"]] == [
        ("published", "training"),
        ("promoted", "first"),
    ]


def test_promote_and_rollback_say_what_moved(
    folder: Path, published: Publish, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = published("stamp", verdict=PASSED), published("thumb", verdict=PASSED)
    assert main(["models", "promote", one]) == 0
    assert capsys.readouterr().out.startswith(f"promoted: {one} serves now instead of the unpublished weights\n")
    assert main(["models", "promote", two, "--why", "better on site"]) == 0
    assert f"promoted: {two} serves now instead of {one}" in capsys.readouterr().out
    assert main(["models", "rollback", "--why", "worse after all"]) == 0
    assert f"rolled back: {one} serves now instead of {two}" in capsys.readouterr().out
    assert Registry(folder).active() == one
    assert main(["models", "rollback"]) == 0
    assert "what MODEL=auto finds" in capsys.readouterr().out
    assert main(["models", "rollback"]) == 2
    assert "nothing to roll back to" in capsys.readouterr().err


def test_what_the_gate_refused_is_promoted_with_force_and_a_reason_only(
    models: Models, folder: Path, published: Publish, capsys: pytest.CaptureFixture[str]
) -> None:
    name = published("stamp", verdict=REFUSED)
    for arguments, reason in (
        ([], "thumb lost 4.1 points of recall"),
        (["--why", "I like it"], "force it and say why"),
        (["--force"], "say why, with --why"),
    ):
        assert main(["models", "promote", name, *arguments]) == 2
        assert reason in capsys.readouterr().err
    assert Registry(folder).active() is None
    assert main(["models", "promote", name, "--force", "--why", "no thumbs here"]) == 0
    assert "although the gate did not let it pass" in capsys.readouterr().out
    assert (models.events()[-1].forced, models.events()[-1].why) == (True, "no thumbs here")


def test_what_the_gate_was_never_asked_about_is_promoted_with_force_and_a_reason_only(
    models: Models, folder: Path, published: Publish, capsys: pytest.CaptureFixture[str]
) -> None:
    name = published("stamp")
    for arguments, reason in (
        ([], f"the gate was never asked about {name} (`models judge {name}` asks it)"),
        (["--why", "I like it"], "force it and say why"),
        (["--force"], "say why, with --why"),
    ):
        assert main(["models", "promote", name, *arguments]) == 2
        assert reason in capsys.readouterr().err
    assert Registry(folder).active() is None
    assert main(["models", "promote", name, "--force", "--why", "no gold pages here yet"]) == 0
    assert (models.events()[-1].forced, models.events()[-1].why) == (True, "no gold pages here yet")


def test_a_fixed_model_setting_is_pointed_out(
    published: Publish, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL", "bundled")
    assert main(["models", "promote", published(verdict=PASSED)]) == 0
    assert "MODEL is bundled" in capsys.readouterr().err


def test_push_says_what_leaves_and_pull_brings_it_back_over_the_hub_of_hf_endpoint(
    models: Models, published: Publish
) -> None:
    name = published("stamp", metrics=FIGURES)
    with serve(LoopbackHub(None)) as hub:
        # Read when the library is loaded.
        environment = {**os.environ, "HF_ENDPOINT": hub.address}

        def typed(*arguments: str) -> str:
            command = [sys.executable, "-m", "backend", "models", *arguments]
            return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout

        said = typed("push", "somebody/marks", "--model", name)
        assert f"{name} goes to somebody/marks (a new repository would be private)" in said
        for file in ("classifier.onnx", "classifier.json", "record.json", "README.md"):
            assert file in said
        assert "a candidate from huggingface:somebody/marks@" in typed("pull", "somebody/marks")
    assert [model.status for model in models.all()] == ["candidate", "candidate"]


@pytest.fixture
def gold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Options that name two drawn pages; the models are judged with the detector that looks soonest."""
    monkeypatch.setenv("DETECTOR", "colour")
    folder = tmp_path / "gold"
    assert main(["draw", "--out", str(folder), "--pages", "2", "--seed", "41", "--dpi", "60"]) == 0
    return ["--coco", str(folder / "annotations.json"), "--images", str(folder)]


def test_what_is_pulled_is_judged_at_once_by_what_its_puller_says_it_has_seen(
    models: Models, published: Publish, gold: list[str], tmp_path: Path
) -> None:
    name = published("stamp")
    (tmp_path / "seen.txt").write_text("page-00042\nanother\n")
    verdicts = {}
    with serve(LoopbackHub(None)) as hub:
        environment = {**os.environ, "HF_ENDPOINT": hub.address}

        def typed(*arguments: str) -> subprocess.CompletedProcess[str]:
            command = [sys.executable, "-m", "backend", "models", *arguments]
            return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

        assert typed("push", "somebody/marks", "--model", name).returncode == 0
        for seen in ((), ("--seen", str(tmp_path / "seen.txt")), ("--seen", "none", "--why", "they say so")):
            before = {model.name for model in models.all()}
            done = typed("pull", "somebody/marks", *gold, *seen)
            assert done.returncode == 1, done.stderr
            [pulled] = [model for model in models.all() if model.name not in before]
            assert pulled.status == "refused", "it calls everything a stamp"
            assert pulled.verdict is not None
            verdicts[seen[1:2]] = next(
                check for check in pulled.verdict.figures["checks"] if check["name"] == "documents unseen"
            )
        refused = typed("pull", "somebody/marks", *gold, "--seen", "none")
        assert refused.returncode == 2
        assert "say how you know, with --why" in refused.stderr
    nobody, named, none = verdicts.values()
    assert (nobody["passed"], named["passed"], none["passed"]) == (False, False, True)
    assert "nobody says which documents" in nobody["sentence"]
    assert "trained on 1 of the 2 gold documents: page-00042" in named["sentence"]
    assert models.events()[-1].why == "its training saw no other: they say so"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--coco", "a.json"], "--coco FILE and --images DIR go together"),
        (["--seen", "none", "--why", "so"], "name the gold pages with --coco FILE --images DIR"),
        (["--promote"], "name the gold pages with --coco FILE --images DIR"),
    ],
)
def test_options_that_do_not_go_together_are_refused_before_anything_is_pulled(
    options: list[str], reason: str, models: Models, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "pull", "somebody/marks", *options]) == 2
    assert reason in capsys.readouterr().err
    assert models.all() == []


def test_push_needs_a_model(published: Publish, capsys: pytest.CaptureFixture[str]) -> None:
    published()
    assert main(["models", "push", "somebody/marks"]) == 2
    assert "no model is promoted: name one with --model" in capsys.readouterr().err
