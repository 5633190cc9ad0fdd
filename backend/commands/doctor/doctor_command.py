"""The command `doctor`: looks at both directions, and says what is not well and what to do about it.

All checks in their order, and which of them rest on which.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from backend.commands.doctor import (
    check_connection,
    check_label_studio,
    check_model,
    check_pages,
    check_reading,
    check_storage,
)
from backend.commands.doctor.findings import Finding, Severity, after, skipped, this_many
from backend.commands.running_backend import address_of
from backend.escaping import LONGEST_LINE, printable
from backend.labelstudio.client import LabelStudio
from backend.server.callers import WebhookSecret
from backend.settings import Settings
from backend.terminal import Colour, painted

if TYPE_CHECKING:
    import argparse

    from sqlalchemy import Engine

    from backend.commands.doctor.check_label_studio import Bindings, TokenKind
    from backend.commands.doctor.findings import Checked, Fields

__all__ = ["Examination", "add_arguments", "run"]

_STATES = 7  # letters of the longest
_COLOURS: dict[Severity, Colour] = {
    Severity.OK: "green",
    Severity.WARNING: "yellow",
    Severity.FAILURE: "red",
    Severity.SKIPPED: "dim",
}
_NAMES = 20


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
        hosts = check_pages.check_hosts(self.settings)
        yield hosts.finding
        address, key = self.settings.label_studio_url, self.settings.label_studio_api_key
        with LabelStudio(address, "") as anybody, LabelStudio(address, key) as studio:
            there = check_label_studio.check_server(anybody)
            yield there.finding
            accepted = after(
                check_label_studio.ACCESS_CHECK, lambda _: check_label_studio.check_token(studio, key), there
            )
            yield accepted.finding
            found, bindings = yield from self._project(studio, accepted)
            connected, version = yield from self._connection(studio, found, bindings, serves)
            yield from self._webhook(studio, found, connected, ledger)
            yield from self._reading(studio, found, bindings, version, ledger)
            pages = after(check_pages.PAGES_CHECK, partial(check_pages.find_pages, studio), found, bindings)
            yield pages.finding
            for kind, of_kind in (pages.value or {}).items():
                look = partial(check_pages.check_pages, kind=kind, pages=of_kind, studio=studio)
                yield after(check_pages.name_of(kind), look, hosts).finding

    def _machine(self) -> Generator[Finding, None, Checked[Engine]]:
        """Where everything is kept; gives the way into the database."""
        place = check_storage.check_folder(self.settings.data_dir)
        yield place.finding
        yield after(check_storage.SPACE, check_storage.check_space, place).finding
        ledger = check_storage.check_database(self.settings)
        yield ledger.finding
        yield after(check_storage.JOURNAL_CHECK, check_storage.check_journal, ledger).finding
        if self.settings.storage_url:
            yield check_storage.check_crops(self.settings.storage_url).finding
        return ledger

    def _backend(self) -> Generator[Finding, None, Checked[str]]:
        """The model, and the backend as it runs; gives the version that it serves."""
        settings = self.settings
        weights = check_model.check_weights(settings)
        yield weights.finding
        classifier = after(check_model.CLASSIFIER, partial(check_model.check_classifier, settings), weights)
        yield classifier.finding
        detector = after(check_model.DETECTOR, partial(check_model.check_detector, settings), weights)
        yield detector.finding
        yield check_model.check_training(settings.retrain_after).finding
        if self._basic_auth is not None:
            yield check_model.check_credentials(self._basic_auth).finding
        serves = check_model.check_backend(self.from_here, basic_auth=self._basic_auth)
        yield serves.finding
        same = partial(check_model.check_same, settings=settings)
        yield after(check_model.SAME, same, serves, classifier, detector).finding
        return serves

    def _project(
        self, studio: LabelStudio, accepted: Checked[TokenKind]
    ) -> Generator[Finding, None, tuple[Checked[Fields], Checked[Bindings]]]:
        """The project; gives its fields, and the places for marks in its label config."""
        if self.project:
            found = after(
                check_label_studio.PROJECT_CHECK,
                lambda _: check_label_studio.check_project(studio, self.project),
                accepted,
            )
        else:
            found = skipped(check_label_studio.PROJECT_CHECK, "--project names the one to look at")
        yield found.finding
        bindings = after(
            check_label_studio.LABELS_CHECK,
            partial(check_label_studio.check_labels, confidence=self.settings.confidence),
            found,
        )
        yield bindings.finding
        return found, bindings

    def _connection(
        self, studio: LabelStudio, found: Checked[Fields], bindings: Checked[Bindings], serves: Checked[str]
    ) -> Generator[Finding, None, tuple[Checked[Fields], Checked[str]]]:
        """What is between the project and the backend; gives the connection, and the version that is served there."""
        look = partial(check_model.check_version, url=self.from_here, basic_auth=self._basic_auth)
        version = after(check_model.VERSION, lambda state, *_: look(state), found, bindings, serves)
        yield version.finding
        look_for = partial(check_connection.check_connection, studio, url=self.url, serves=serves.value)
        connected = after(check_connection.CONNECTION_CHECK, look_for, found)
        yield connected.finding
        yield after(check_connection.WAY, partial(check_connection.check_way, studio), found, connected).finding
        title = after(check_connection.TITLE, check_connection.check_title, found, connected, version)
        yield title.finding
        shown = after(
            check_label_studio.SHOWN,
            lambda state, _, name: check_label_studio.check_shown(state, name),
            found,
            title,
            version,
        )
        yield shown.finding
        return connected, version

    def _webhook(
        self,
        studio: LabelStudio,
        found: Checked[Fields],
        connected: Checked[Fields],
        ledger: Checked[Engine],
    ) -> Iterator[Finding]:
        """The way of the corrections."""
        hook = after(check_connection.WEBHOOK_CHECK, partial(check_connection.check_webhook, studio), found, connected)
        yield hook.finding
        let_in = partial(
            check_connection.check_webhook_credentials,
            basic_auth=self._basic_auth,
            known=WebhookSecret(self.settings).current,
        )
        yield after(check_connection.CREDENTIALS, let_in, found, connected, hook).finding
        yield after(check_connection.THROUGH, partial(check_connection.check_let_through, studio), found, hook).finding
        yield after(
            check_connection.DELIVERY_CHECK, partial(check_connection.check_delivery, studio), found, hook, ledger
        ).finding

    def _reading(
        self,
        studio: LabelStudio,
        found: Checked[Fields],
        bindings: Checked[Bindings],
        version: Checked[str],
        ledger: Checked[Engine],
    ) -> Iterator[Finding]:
        """What could not be read, and what annotators' browsers do not show: said where there is something to say."""
        told = list(check_reading.check_ledger(ledger.value, found.value)) if ledger.value is not None else []
        stored = partial(check_reading.check_stored, studio)
        told.append(after(check_reading.STORED, stored, found, version))
        told.append(after(check_reading.BROWSER, partial(check_reading.check_browser, studio), found, bindings))
        yield from (one.finding for one in told if one.finding.state in (Severity.WARNING, Severity.FAILURE))

    @property
    def _basic_auth(self) -> tuple[str, str] | None:
        user = self.settings.basic_auth_user
        return (user, self.settings.basic_auth_pass) if user else None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `doctor`."""
    parser.add_argument(
        "--project",
        default="",
        metavar="ID|TITLE",
        help="the project, by number or title (default: no checks of a project)",
    )
    parser.add_argument("--url", help="this backend's address as Label Studio reaches it (HOST and PORT)")
    parser.add_argument(
        "--from-here", metavar="URL", help="this backend's address as this machine reaches it, if that differs"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of the list")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Looks, changes nothing, and prints each finding with its remedy; gives 1 where something failed.

    Raises:
        SettingsError: A setting has a value that cannot be used.
    """
    url = (args.url or address_of(settings)).rstrip("/")
    here = (args.from_here or url).rstrip("/")
    found: list[Finding] = []
    for finding in Examination(settings=settings, url=url, from_here=here, project=args.project).findings():
        found.append(finding)
        if not args.json:
            print(_line(finding), flush=True)
    counts = Counter(finding.state for finding in found)
    if args.json:
        told = {"findings": [one.as_json() for one in found], "counts": {state: counts[state] for state in Severity}}
        print(json.dumps(told, ensure_ascii=False))
    else:
        print(", ".join(_amount(state, counts[state]) for state in Severity if counts[state]))
    return 1 if counts[Severity.FAILURE] else os.EX_OK


def _amount(state: Severity, number: int) -> str:
    return this_many(number, state) if state in (Severity.WARNING, Severity.FAILURE) else f"{number} {state}"


def _line(finding: Finding) -> str:
    """What people read: the state, the name, what was found; and below it, the remedy."""
    indent = " " * (_STATES + _NAMES + 2)
    remedy = f"\n{indent}→ {printable(finding.remedy, most=LONGEST_LINE)}" if finding.remedy else ""
    state = painted(f"{finding.state:<{_STATES}}", _COLOURS[finding.state])
    return f"{state} {finding.name:<{_NAMES}} {printable(finding.found, most=LONGEST_LINE)}{remedy}"
