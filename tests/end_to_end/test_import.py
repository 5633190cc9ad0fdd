"""Documents go into a real Label Studio by `connect` and `import`, and come back boxed, page by page, upright."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backend.cli import main
from backend.labelstudio.client import LabelStudio
from backend.labelstudio.projects import label_config
from backend.labelstudio.webhooks import webhooks
from tests.commands.import_documents.papers import marked, packed
from tests.end_to_end.conftest import DrawnFile, Server, retrieved
from tests.http_client import HTTP

pytestmark = pytest.mark.label_studio

SECRET = "for webhooks only"


@pytest.fixture(autouse=True)
def environment(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an operator sets."""
    monkeypatch.setenv("LABEL_STUDIO_URL", server.url)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", server.login.token)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("WEBHOOK_SECRET", SECRET)
    for unset in ("BASIC_AUTH_USER", "BASIC_AUTH_PASS"):
        monkeypatch.delenv(unset, raising=False)


@pytest.fixture
def contract(drawn: list[DrawnFile], tmp_path: Path) -> Path:
    """Twelve pages, the last two with marks."""
    pages = [marked(number, width=1240, height=1754) for number in range(1, 11)]
    pages += [Image.open(io.BytesIO(file.data)) for file in drawn[:2]]
    path = tmp_path / "عقد contract.pdf"
    path.write_bytes(packed(pages[0], "PDF", save_all=True, append_images=pages[1:], resolution=150))
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    """A command's lines; it succeeds."""
    code = main(list(arguments))
    out, err = capsys.readouterr()
    assert code == 0, err
    return out.splitlines()


def named(studio: LabelStudio, title: str) -> int:
    found = studio.find_project(title)
    assert found is not None
    return found


def test_connecting_twice_changes_nothing_the_second_time(
    studio: LabelStudio, backend_url: str, version: str, capsys: pytest.CaptureFixture[str]
) -> None:
    connecting = ("connect", "--project", "connected twice", "--pages", "--url", backend_url)
    foretold = run(capsys, *connecting, "--dry-run")
    assert studio.find_project("connected twice") is None
    made = run(capsys, *connecting)
    # The last two lines say where the project is, and what a task's score means.
    assert [f"would change: {line}" for line in made[:-2]] == foretold
    assert run(capsys, *connecting) == ["nothing to change", *made[-2:]]

    project = named(studio, "connected twice")
    state = studio.project(project)
    assert state["label_config"] == label_config(paged=True).strip()
    [connection] = studio.backends(project)
    assert (connection["state"], connection["is_interactive"]) == ("CO", True)
    assert connection["title"] == connection["model_version"] == state["model_version"] == version
    [webhook] = webhooks(studio, project)
    assert (webhook.url, webhook.headers) == (f"{backend_url}/webhook", {"X-Webhook-Secret": SECRET})


def test_what_has_gone_wrong_since_is_put_right(
    studio: LabelStudio, backend_url: str, version: str, capsys: pytest.CaptureFixture[str]
) -> None:
    project = studio.create_project("put right", '<View><Text name="text" value="$text"/></View>')
    connecting = ("connect", "--project", str(project), "--url", backend_url)
    assert main(list(connecting)) == 2
    assert "--replace-config" in capsys.readouterr().err
    run(capsys, *connecting, "--replace-config")
    [connection] = studio.backends(project)
    studio.rename_backend(connection["id"], project, backend_url, title="somebody's title")
    [webhook] = webhooks(studio, project)
    some = {"send_for_all_actions": False, "actions": ["TASKS_CREATED"], "is_active": False}
    studio.call("PATCH", f"/api/webhooks/{webhook.id}/", json=some)

    assert len(run(capsys, *connecting)) == 4, "the title, the webhook, where the project is, and what a score means"
    assert run(capsys, *connecting)[0] == "nothing to change"
    assert studio.backends(project)[0]["title"] == version
    [webhook] = webhooks(studio, project)
    assert webhook.active
    assert "TASKS_CREATED" in (webhook.actions or ())
    assert "ANNOTATION_UPDATED" in (webhook.actions or ())


@pytest.mark.parametrize("paged", [False, True])
def test_label_studio_accepts_the_label_configs(studio: LabelStudio, paged: bool) -> None:
    config = {"label_config": label_config(paged=paged)}
    assert studio.call("POST", "/api/projects/validate/", json=config) is None


def test_the_last_two_of_twelve_pages_become_one_boxed_task(
    studio: LabelStudio, backend_url: str, version: str, contract: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "connect", "--project", "long contracts", "--pages", "--url", backend_url)
    importing = ("import", str(contract), "--project", "long contracts", "--last", "2", "--dpi", "150")
    assert run(capsys, *importing)[1].split() == ["imported", "1", "2", "1"]
    assert "already in the project" in "".join(run(capsys, *importing))

    project = named(studio, "long contracts")
    [task] = studio.tasks(project)
    assert task["data"]["document"] == contract.name
    assert task["data"]["page_numbers"] == [11, 12]
    assert len(task["data"]["pages"]) == 2
    [prediction] = retrieved(studio, project, [task["id"]])
    assert prediction["model_version"] == version
    assert {region["item_index"] for region in prediction["result"]} == {0, 1}


def test_a_page_a_task_in_a_project_of_single_pages(
    studio: LabelStudio, backend_url: str, version: str, contract: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "connect", "--project", "single pages", "--url", backend_url)
    importing = ("import", str(contract), "--project", "single pages", "--last", "3", "--dpi", "50")
    assert run(capsys, *importing)[1].split() == ["imported", "1", "3", "3"]
    tasks = list(studio.tasks(named(studio, "single pages")))
    assert [task["data"]["page_numbers"] for task in tasks] == [[10], [11], [12]]
    assert len({task["data"]["document_sha256"] for task in tasks}) == 1
    assert [page_of(studio, task["data"]["image"]).size for task in tasks] == [(414, 585)] * 3


def test_a_scan_that_lies_on_its_side_is_shown_and_boxed_upright(
    *,
    studio: LabelStudio,
    backend_url: str,
    version: str,
    drawn: list[DrawnFile],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    upright = Image.open(io.BytesIO(drawn[0].data))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn to the right
    lying = packed(upright.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=95, exif=exif)
    (tmp_path / "scan.jpg").write_bytes(lying)
    run(capsys, "connect", "--project", "lying scans", "--url", backend_url)
    run(capsys, "import", str(tmp_path / "scan.jpg"), "--project", "lying scans")

    project = named(studio, "lying scans")
    [task] = studio.tasks(project)
    page = page_of(studio, task["data"]["image"])
    assert page.size == upright.size
    assert not page.getexif().get(0x0112)
    assert np.abs(np.asarray(page, dtype=int) - np.asarray(upright, dtype=int)).mean() < 3
    [prediction] = retrieved(studio, project, [task["id"]])
    sizes = {(region["original_width"], region["original_height"]) for region in prediction["result"]}
    assert sizes == {upright.size}


def page_of(studio: LabelStudio, reference: str) -> Any:
    """A page as a browser gets it."""
    answer = HTTP.get(studio.base_url + reference, headers=studio.headers()).raise_for_status()
    return Image.open(io.BytesIO(answer.content))
