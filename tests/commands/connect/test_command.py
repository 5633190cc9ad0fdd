"""The command `connect`: what it prints, and the codes that scripts can rely on."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.cli import main
from backend.labelstudio.tabs import SCORE_MEANS
from tests.commands.connect.conftest import BASIC, SECRET, ServeBackend
from tests.commands.import_documents.loopback import TOKEN, Loopback
from tests.test_terminal import Terminal


@pytest.fixture
def url(studio: Loopback, serve_backend: ServeBackend, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("LABEL_STUDIO_URL", studio.url)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", TOKEN)
    monkeypatch.setenv("BASIC_AUTH_USER", BASIC[0])
    monkeypatch.setenv("BASIC_AUTH_PASS", BASIC[1])
    monkeypatch.setenv("WEBHOOK_SECRET", SECRET)
    return serve_backend(guarded=True)


def test_changes_are_printed_and_then_there_are_none(
    studio: Loopback, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["connect", "--project", "Contracts", "--pages", "--url", url]) == 0
    made = capsys.readouterr().out.splitlines()
    [project] = studio.projects
    assert made == [
        "project 'Contracts' made, for documents of several pages",
        f"backend {url} connected as told-1",
        "webhook given the header X-Webhook-Secret, the header Authorization",
        "tabs made: Doubtful first, Nothing found, Overlooked?, Done",
        f"{studio.url}/projects/{project} is served by told-1",
        SCORE_MEANS,
    ]
    assert main(["connect", "--project", "Contracts", "--url", url]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "nothing to change"


def test_who_reads_along_is_told_the_next_commands_with_the_project(
    studio: Loopback, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Terminal()
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("sys.stdout", Terminal())
    monkeypatch.setattr("sys.stderr", told)
    assert main(["connect", "--project", "Contracts", "--url", url]) == 0
    [project] = studio.projects
    said = (
        f"`import FOLDER --project {project}` brings contracts in; `doctor --project {project}` checks both directions"
    )
    assert told.getvalue().splitlines()[-1] == said


def test_a_secret_that_cannot_be_read_is_replaced_and_a_dry_run_says_so(
    studio: Loopback,
    serve_backend: ServeBackend,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in (("LABEL_STUDIO_URL", studio.url), ("LABEL_STUDIO_API_KEY", TOKEN), ("DATA_DIR", str(tmp_path))):
        monkeypatch.setenv(name, value)
    for name in ("BASIC_AUTH_USER", "BASIC_AUTH_PASS", "WEBHOOK_SECRET"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "webhook-secret"
    file.write_bytes(b"")
    connecting = ["connect", "--project", "Contracts", "--url", serve_backend(data_dir=tmp_path)]
    assert main([*connecting, "--dry-run"]) != 0
    assert "webhook-secret holds no secret" in capsys.readouterr().err
    assert main(connecting) == 0
    [webhook] = studio.webhooks.values()
    assert webhook["headers"] == {"X-Webhook-Secret": file.read_text().strip()}


def test_a_dry_run_prints_what_would_be(studio: Loopback, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["connect", "--project", "Contracts", "--url", url, "--dry-run"]) == 0
    assert all(line.startswith("would change: ") for line in capsys.readouterr().out.splitlines())
    assert studio.writes == []


def test_the_address_is_that_of_serve(
    studio: Loopback, url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORT", url.rpartition(":")[2])
    monkeypatch.setenv("HOST", "0.0.0.0")  # noqa: S104 - nothing is bound
    assert main(["connect", "--project", "Contracts"]) == 0
    [connection] = studio.connections.values()
    assert connection["url"] == url.replace("127.0.0.1", "localhost")


def test_notes_go_to_stderr(studio: Loopback, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["connect", "--project", "Contracts", "--url", url])
    [project] = studio.projects.values()
    project["show_collab_predictions"] = False
    capsys.readouterr()
    assert main(["connect", "--project", "Contracts", "--url", url]) == 0
    out, err = capsys.readouterr()
    assert "Live Predictions" in err
    assert "nothing to change" in out


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        # no token
        ("LABEL_STUDIO_API_KEY", "", "LABEL_STUDIO_API_KEY is empty"),
        # a token that Label Studio does not know
        ("LABEL_STUDIO_API_KEY", "other", "401"),
        # credentials that the backend does not know
        ("BASIC_AUTH_PASS", "other", "BASIC_AUTH_USER and BASIC_AUTH_PASS as for `serve`"),
    ],
)
def test_what_cannot_be_done_is_code_2(
    *,
    studio: Loopback,
    url: str,
    variable: str,
    value: str,
    reason: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(variable, value)
    assert main(["connect", "--project", "Contracts", "--url", url]) == 2
    assert reason in capsys.readouterr().err
    assert studio.writes == []
