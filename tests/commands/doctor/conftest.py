"""A set-up in which all is well, on loopback: Label Studio, this backend over its own model, a project, corrections."""

from __future__ import annotations

import base64
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backend.cli import main
from backend.commands.connecting import Wish, connect
from backend.corrections.database import default_url, open_database
from backend.corrections.journal import Journal
from backend.models.serving import Sources, build_pipeline
from backend.settings import Settings
from tests.commands.import_documents.loopback import TOKEN, Loopback, loopback
from tests.commands.import_documents.papers import image
from tests.corrections.conftest import migrated_file
from tests.models.tiny import says
from tests.served import serving
from tests.server.conftest import MemoryPages, ToldPipeline, ToldServing, make_app

__all__ = [
    "BASIC",
    "NEEDS_PROJECT",
    "NOBODY",
    "NO_LEDGER",
    "OTHER_PASSWORD",
    "SECRET",
    "UNSENDABLE",
    "Broken",
    "Report",
    "Setup",
    "assert_named",
    "migrated_file",
    "set_to",
    "skipped",
    "token_of",
    "unprivileged",
]

TITLE = "Contracts"
BASIC = ("annotator", "may-come-in")
SECRET = "for-webhooks-only"
NOBODY = 65534


@dataclass(frozen=True)
class Report:
    """What `doctor --json` printed, and its code."""

    code: int
    out: str
    findings: dict[str, dict[str, str]]

    def not_well(self) -> dict[str, str]:
        """The state of each thing that is not as it should be."""
        states = {name: finding["state"] for name, finding in self.findings.items()}
        return {name: state for name, state in states.items() if state != "ok"}


@dataclass
class Setup:
    """The set-up, and what a test may break of it.

    Attributes:
        url: The backend's address.
        project: Label Studio's id of the project.
        environment: What the operator set.
    """

    studio: Loopback
    url: str
    version: str
    folder: Path
    project: int
    environment: dict[str, str]
    capsys: pytest.CaptureFixture[str]
    monkeypatch: pytest.MonkeyPatch
    stack: ExitStack = field(default_factory=ExitStack)

    @property
    def state(self) -> dict:
        return self.studio.projects[self.project]

    @property
    def connection(self) -> dict:
        [one] = self.studio.connections.values()
        return one

    @property
    def webhook(self) -> dict:
        [one] = self.studio.webhooks.values()
        return one

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger.sqlite3"

    def add_task(self, reference: str | list[str], field: str = "image") -> int:
        with self.studio.client() as client:
            [task] = client.import_tasks(self.project, [{field: reference}])
        return task

    def upload(self) -> str:
        with self.studio.client() as client:
            return client.upload(self.project, "page.png", image(3))

    def annotate(self, *, ago: float = 0.0, arrives: bool = True) -> None:
        """An annotator saves an annotation of the newest task; its event arrives, or it does not."""
        moment, task = time.time() - ago, self.studio.tasks[-1]
        saved = datetime.fromtimestamp(moment, UTC).isoformat()
        task |= {"annotations": [{"id": next(self.studio.ids), "updated_at": saved}], "updated_at": saved}
        if arrives:
            engine = open_database(default_url(self.folder))
            journal = Journal(engine, clock=lambda: moment)
            journal.append("ANNOTATION_CREATED", project=self.project, body={})
            journal.take(lambda *_: None)
            engine.dispose()

    def doctor(self, *arguments: str, project: str | None = TITLE) -> Report:
        for name, value in self.environment.items():
            self.monkeypatch.setenv(name, value)
        self.capsys.readouterr()
        which = [] if project is None else ["--project", project]
        code = main(["doctor", *which, "--url", self.url, "--json", *arguments])
        out, _ = self.capsys.readouterr()
        found = json.loads(out)["findings"] if out else []
        findings = {one["name"]: one for one in found}
        assert len(findings) == len(found), "a thing is named once"
        return Report(code, out, findings)


@pytest.fixture
def healthy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, migrated_file: Path
) -> Iterator[Setup]:
    """Everything is well."""
    folder = tmp_path / "data"
    says("stamp", folder / "models" / "random")
    shutil.copyfile(migrated_file, folder / "ledger.sqlite3")
    settings = Settings(data_dir=folder, model="random", detector="colour")
    version = build_pipeline(Sources.of(settings).at_once(), settings).version
    guard = Settings(basic_auth_user=BASIC[0], basic_auth_pass=BASIC[1], webhook_secret=SECRET)
    app = make_app(guard, serving=ToldServing(ToldPipeline(version=version)), pages=MemoryPages())
    with loopback() as studio, studio.client() as client, ExitStack() as stack:
        url = stack.enter_context(serving(app))
        connect(client, Wish(project=TITLE, url=url, basic_auth=BASIC, webhook_secret=SECRET))
        studio.asks_backends = True
        setup = Setup(
            studio=studio,
            url=url,
            version=version,
            folder=folder,
            project=next(iter(studio.projects)),
            environment={
                "LABEL_STUDIO_URL": studio.url,
                "LABEL_STUDIO_API_KEY": TOKEN,
                "DATA_DIR": str(folder),
                "MODEL": "random",
                "DETECTOR": "colour",
                "BASIC_AUTH_USER": BASIC[0],
                "BASIC_AUTH_PASS": BASIC[1],
                "WEBHOOK_SECRET": SECRET,
            },
            capsys=capsys,
            monkeypatch=monkeypatch,
            stack=stack,
        )
        setup.add_task(setup.upload())
        setup.annotate()
        yield setup


@contextmanager
def unprivileged(*, holding: Path | None = None) -> Iterator[Path]:
    """A folder that this process may read and not write: as somebody else than root, who may write everywhere.

    Args:
        holding: A folder whose files it gets.
    """
    folder = Path(tempfile.mkdtemp())
    was = os.geteuid()
    try:
        if holding is not None:
            shutil.copytree(holding, folder, dirs_exist_ok=True)
        paths = [folder, *folder.rglob("*")]
        for path in paths:
            path.chmod(0o555 if path.is_dir() else 0o444)
        if was == 0:
            os.seteuid(NOBODY)
        yield folder
    finally:
        os.seteuid(was)
        for path in paths:
            path.chmod(0o755)
        shutil.rmtree(folder)


def token_of(kind: str, *, expires: float) -> str:
    """A JWT as Label Studio makes them, signed by nobody."""
    body = base64.urlsafe_b64encode(json.dumps({"token_type": kind, "exp": expires}).encode()).decode().rstrip("=")
    return f"e30.{body}.signature"


OTHER_PASSWORD = "another pässword"
UNSENDABLE = "kľúčik"
NEEDS_PROJECT = (
    "label config",
    "version",
    "connection",
    "way to the backend",
    "title",
    "shown boxes",
    "webhook",
    "webhook credentials",
    "webhook address",
    "last delivery",
    "pages",
)


def skipped(*names: str) -> dict[str, str]:
    return dict.fromkeys(names, "skipped")


NO_LEDGER = skipped("journal", "last delivery")


@dataclass(frozen=True, kw_only=True)
class Broken:
    """A way to break a set-up, and what is said of it: of which thing, in which words, with which remedy."""

    how: Callable[[Setup], object]
    named: str
    found: str
    remedy: str
    state: str = "failure"
    also: dict[str, str] = field(default_factory=dict)


def assert_named(setup: Setup, broken: Broken) -> None:
    broken.how(setup)
    report = setup.doctor()
    finding = report.findings[broken.named]
    assert broken.found in finding["found"]
    assert broken.remedy in finding["remedy"]
    assert report.not_well() == {broken.named: broken.state} | broken.also
    assert report.code == (1 if "failure" in report.not_well().values() else 0)
    _assert_nothing_secret(setup, report)


def _assert_nothing_secret(setup: Setup, report: Report) -> None:
    secrets = [SECRET, BASIC[1], OTHER_PASSWORD, UNSENDABLE, TOKEN, "sésame-ouvre", "signature=secret"]
    key = setup.environment["LABEL_STUDIO_API_KEY"]
    for secret in [*secrets, key] if key else secrets:
        assert secret not in report.out
        assert secret.encode("unicode_escape").decode() not in report.out


def set_to(**environment: str) -> Callable[[Setup], object]:
    return lambda setup: setup.environment.update(environment)
