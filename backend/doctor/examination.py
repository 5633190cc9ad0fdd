"""All checks in their order, and which of them rest on which."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from backend.doctor import (
    connection,
    crops,
    database,
    delivery,
    extras,
    folder,
    images,
    journal,
    labels,
    model,
    project,
    running,
    server,
    tokens,
    webhook,
)
from backend.doctor.findings import after, skipped
from backend.labelstudio.client import LabelStudio

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from backend.doctor.findings import Checked, Fields, Finding
    from backend.doctor.labels import Bindings
    from backend.doctor.tokens import Kind
    from backend.settings import Settings

__all__ = ["Examination"]


@dataclass(frozen=True, kw_only=True)
class Examination:
    """What is looked at.

    Attributes:
        settings: Those of `serve`.
        url: The backend's address as Label Studio reaches it.
        from_here: The same as this process reaches it.
        project: A project's id or title; empty for none.
    """

    settings: Settings
    url: str
    from_here: str
    project: str = ""

    def findings(self) -> Iterator[Finding]:
        """Each finding as soon as it is there: of this machine, the backend, Label Studio, and the project."""
        ledger = yield from self._machine()
        serves = yield from self._backend()
        hosts = images.check_hosts(self.settings)
        yield hosts.finding
        address, key = self.settings.label_studio_url, self.settings.label_studio_api_key
        with LabelStudio(address, "") as anybody, LabelStudio(address, key) as studio:
            there = server.check_server(anybody)
            yield there.finding
            accepted = after(tokens.NAME, lambda _: tokens.check_token(studio, key), there)
            yield accepted.finding
            found, bindings = yield from self._project(studio, accepted)
            connected = yield from self._connection(studio, found, bindings, serves)
            yield from self._webhook(studio, found, connected, ledger)
            pages = after(images.NAME, partial(images.find_pages, studio), found, bindings)
            yield pages.finding
            for kind, sheet in (pages.value or {}).items():
                look = partial(images.check_page, kind=kind, sheet=sheet, studio=studio)
                yield after(images.name_of(kind), look, hosts).finding

    def _machine(self) -> Generator[Finding, None, Checked[Engine]]:
        """Where everything is kept; gives the way into the database."""
        place = folder.check_folder(self.settings.data_dir)
        yield place.finding
        yield after(folder.SPACE, folder.check_space, place).finding
        ledger = database.check_database(self.settings)
        yield ledger.finding
        yield after(journal.NAME, journal.check_journal, ledger).finding
        if self.settings.storage_url:
            yield crops.check_crops(self.settings.storage_url).finding
        return ledger

    def _backend(self) -> Generator[Finding, None, Checked[str]]:
        """The model, and the backend as it runs; gives the version that it serves."""
        settings = self.settings
        weights = model.check_weights(settings)
        yield weights.finding
        classifier = after(model.CLASSIFIER, partial(model.check_classifier, settings), weights)
        yield classifier.finding
        detector = after(model.DETECTOR, partial(model.check_detector, settings), weights)
        yield detector.finding
        yield extras.check_training(settings.retrain_after).finding
        if self._basic_auth is not None:
            yield running.check_credentials(self._basic_auth).finding
        serves = running.check_backend(self.from_here, basic_auth=self._basic_auth)
        yield serves.finding
        same = partial(running.check_same, settings=settings)
        yield after(running.SAME, same, serves, classifier, detector).finding
        return serves

    def _project(
        self, studio: LabelStudio, accepted: Checked[Kind]
    ) -> Generator[Finding, None, tuple[Checked[Fields], Checked[Bindings]]]:
        """The project; gives its fields, and the places for marks in its label config."""
        if self.project:
            found = after(project.NAME, lambda _: project.check_project(studio, self.project), accepted)
        else:
            found = skipped(project.NAME, "--project names the one to look at")
        yield found.finding
        bindings = after(labels.NAME, partial(labels.check_labels, confidence=self.settings.confidence), found)
        yield bindings.finding
        return found, bindings

    def _connection(
        self, studio: LabelStudio, found: Checked[Fields], bindings: Checked[Bindings], serves: Checked[str]
    ) -> Generator[Finding, None, Checked[Fields]]:
        """What is between the project and the backend; gives the connection."""
        look = partial(running.check_version, url=self.from_here, basic_auth=self._basic_auth)
        version = after(running.VERSION, lambda state, *_: look(state), found, bindings, serves)
        yield version.finding
        look_for = partial(connection.check_connection, studio, url=self.url, serves=serves.value)
        connected = after(connection.NAME, look_for, found)
        yield connected.finding
        yield after(connection.WAY, partial(connection.check_way, studio), found, connected).finding
        title = after(connection.TITLE, connection.check_title, found, connected, version)
        yield title.finding
        shown = after(project.SHOWN, lambda state, _, name: project.check_shown(state, name), found, title, version)
        yield shown.finding
        return connected

    def _webhook(
        self,
        studio: LabelStudio,
        found: Checked[Fields],
        connected: Checked[Fields],
        ledger: Checked[Engine],
    ) -> Iterator[Finding]:
        """The way of the corrections."""
        hook = after(webhook.NAME, partial(webhook.check_webhook, studio), found, connected)
        yield hook.finding
        let_in = partial(webhook.check_credentials, basic_auth=self._basic_auth, secret=self.settings.webhook_secret)
        yield after(webhook.CREDENTIALS, let_in, found, connected, hook).finding
        yield after(webhook.THROUGH, partial(webhook.check_let_through, studio), found, hook).finding
        yield after(delivery.NAME, partial(delivery.check_delivery, studio), found, hook, ledger).finding

    @property
    def _basic_auth(self) -> tuple[str, str] | None:
        user = self.settings.basic_auth_user
        return (user, self.settings.basic_auth_pass) if user else None
