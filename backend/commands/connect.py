"""The command `connect`: a Label Studio project, its label config, this backend and its webhook."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from backend.commands.connecting import Wish, connect
from backend.commands.running_backend import address_of, takes_webhooks
from backend.errors import SettingsError, SetupError
from backend.escaping import printable
from backend.labelstudio.client import LabelStudio
from backend.labelstudio.connections import ask_for_token
from backend.labelstudio.tabs import SCORE_MEANS
from backend.labelstudio.webhooks import webhook_headers
from backend.server.callers import WebhookSecret
from backend.settings import Settings
from backend.terminal import advise

if TYPE_CHECKING:
    import argparse

__all__ = ["add_arguments", "run"]

_AGREE = "set WEBHOOK_SECRET for `serve` and for `connect`"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `connect`."""
    parser.add_argument(
        "--project",
        required=True,
        metavar="ID|TITLE",
        help="the project, by number or title; a new title makes a new project",
    )
    parser.add_argument(
        "--pages",
        action="store_true",
        default=None,
        help="each task is a document of several pages (default: a single page)",
    )
    parser.add_argument("--url", help="this backend's address as Label Studio reaches it (HOST and PORT)")
    parser.add_argument(
        "--from-here", metavar="URL", help="this backend's address as this machine reaches it, if that differs"
    )
    parser.add_argument(
        "--replace-config",
        action="store_true",
        help="replace a label config that does not fit, if nobody annotated yet",
    )
    parser.add_argument(
        "--queue",
        action="store_true",
        help="also change a project that was connected before: doubtful tasks first, and the tabs of a new project",
    )
    parser.add_argument("--dry-run", action="store_true", help="change nothing; only say what would be changed")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Connects, and prints what was changed.

    Raises:
        SettingsError: There is no token.
        SetupError: The backend is not running, or the project's label config neither fits nor may be replaced.
        LabelStudioError: Label Studio refused or did not answer.
    """
    ask_for_token(settings, "connect")
    user = settings.basic_auth_user
    known = WebhookSecret(settings)
    here = args.from_here or args.url or address_of(settings)
    # HTTP Basic lets webhooks in as well; without either, whoever reaches the port could send any.
    kept = _kept(known, dry_run=args.dry_run)
    secret = kept or ("" if user else known.make())
    if secret:
        _check_secret(here, secret, settings)
    wish = Wish(
        project=args.project,
        url=args.url or address_of(settings),
        from_here=args.from_here or "",
        paged=args.pages,
        replace_config=args.replace_config,
        queue=args.queue,
        basic_auth=(user, settings.basic_auth_pass) if user else None,
        webhook_secret=secret,
    )
    with LabelStudio(settings.label_studio_url, settings.label_studio_api_key) as studio:
        connected = connect(studio, wish, dry_run=args.dry_run)
    notes = [*connected.notes]
    if secret != kept and not args.dry_run:
        # Last: from here on, webhooks without it are refused.
        known.keep(secret)
        if takes_webhooks(here):
            notes.append(f"the backend at {here} has another DATA_DIR, so that webhooks need no secret: {_AGREE}")
    for note in notes:
        print(f"contract-marks: {printable(note)}", file=sys.stderr)
    for change in connected.changes:
        print(f"{'would change: ' if args.dry_run else ''}{printable(change)}")
    if not connected.changes:
        print("nothing to change")
    if connected.project is not None:
        print(f"{studio.base_url}/projects/{connected.project} is served by {printable(connected.version)}")
        print(SCORE_MEANS)
        if connected.changes and not args.dry_run:
            named = f"--project {connected.project}"
            advise(f"`import FOLDER {named}` brings contracts in; `doctor {named}` checks both directions")
    return os.EX_OK


def _kept(known: WebhookSecret, *, dry_run: bool) -> str:
    """The secret that webhooks bring; another at once where its file holds none, for until then none is let in."""
    try:
        return known.current()
    except SettingsError:
        if dry_run:
            raise
        known.keep(known.make())
        return known.current()


def _check_secret(url: str, secret: str, settings: Settings) -> None:
    """Refuses to give webhooks a secret that the running backend would not let in.

    Raises:
        SetupError: It asks for another one, or is not running.
    """
    basic = (settings.basic_auth_user, settings.basic_auth_pass) if settings.basic_auth_user else None
    if not takes_webhooks(url, headers=webhook_headers(basic_auth=basic, secret=secret)):
        raise SetupError(
            f"the backend at {url} asks webhooks for a secret that is not known here: {_AGREE}, or run `connect` "
            "with the backend's DATA_DIR"
        )
