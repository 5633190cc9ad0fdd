"""The command `connect`: a Label Studio project, its label config, this backend and its webhook."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from backend.errors import SettingsError
from backend.labelstudio.client import LabelStudio
from backend.settings import Settings
from backend.setup.connecting import Wish, connect
from backend.setup.running import address_of

if TYPE_CHECKING:
    import argparse

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `connect`."""
    parser.add_argument(
        "--project", required=True, metavar="ID|TITLE", help="which; digits alone are an id, a new title makes one"
    )
    parser.add_argument(
        "--pages", action="store_true", default=None, help="a document of several pages a task, not a single page"
    )
    parser.add_argument("--url", help="this backend's address as Label Studio reaches it (HOST and PORT)")
    parser.add_argument("--from-here", metavar="URL", help="the same as this machine reaches it, where that differs")
    parser.add_argument(
        "--replace-config",
        action="store_true",
        help="replace a label config that does not fit, if nobody annotated yet",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be changed")


def run(args: argparse.Namespace) -> int:
    """Connects, and prints what was changed.

    Raises:
        SettingsError: There is no token.
        SetupError: The backend is not running, or the project's label config neither fits nor may be replaced.
        LabelStudioError: Label Studio refused or did not answer.
    """
    settings = Settings.from_environment(os.environ)
    if not settings.label_studio_api_key:
        raise SettingsError("LABEL_STUDIO_API_KEY is empty: `connect` uses Label Studio's API and needs a token")
    user = settings.basic_auth_user
    wish = Wish(
        project=args.project,
        url=args.url or address_of(settings),
        from_here=args.from_here or "",
        paged=args.pages,
        replace_config=args.replace_config,
        basic_auth=(user, settings.basic_auth_pass) if user else None,
        webhook_secret=settings.webhook_secret,
    )
    with LabelStudio(settings.label_studio_url, settings.label_studio_api_key) as studio:
        connected = connect(studio, wish, dry_run=args.dry_run)
    for note in connected.notes:
        print(f"contract-marks: {note}", file=sys.stderr)
    for change in connected.changes:
        print(f"would change: {change}" if args.dry_run else change)
    if not connected.changes:
        print("nothing to change")
    if connected.project is not None:
        print(f"{studio.base_url}/projects/{connected.project} is served by {connected.version}")
    return os.EX_OK
