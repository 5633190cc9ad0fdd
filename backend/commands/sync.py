"""The command `sync`: asks Label Studio for what its webhooks did not tell, and turns it into samples."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from tqdm import tqdm

from backend.corrections.counts import count
from backend.corrections.journal import known_projects
from backend.corrections.reconciling import Reconciled, sync
from backend.corrections.service import Feedback, Store
from backend.errors import LabelStudioError, SettingsError
from backend.escaping import printable
from backend.labelstudio.connections import Connections, ask_for_token
from backend.labelstudio.project_annotations import project_ids
from backend.pages.source import PageSource
from backend.settings import Settings
from backend.terminal import advise

if TYPE_CHECKING:
    import argparse

    from backend.labelstudio.client import LabelStudio

__all__ = ["add_arguments", "run"]

_PAUSE = 0.1
_OF_ONE_PROJECT = (403, 404)
"""What Label Studio answers where a project was deleted, or is not the token's user's."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `sync`."""
    parser.add_argument(
        "--project",
        action="append",
        metavar="ID|TITLE",
        help="the project, by number or title; repeat it for several (default: all known projects)",
    )
    parser.add_argument(
        "--all", action="store_true", help="look at every task again, and forget what Label Studio no longer has"
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Reconciles each project and works on what that brought; gives 1 where that, or some samples, could not be done.

    A project that Label Studio does not have any more, or refuses, does not hold up the others.

    Raises:
        SettingsError: There is no token, or no project.
        LabelStudioError: Label Studio did not answer, or refused the token.
        LedgerError: The database or the crop store cannot be used.
        OtherLabelStudio: The ledger is of another one.
    """
    ask_for_token(settings, "sync")
    store = Store.open(settings)
    connections = Connections(settings, source=lambda access: PageSource(settings, access))
    if args.project:
        # With a token in the settings, all projects are reached through one.
        projects = list(project_ids(connections.studio(""), args.project))
    else:
        with store.engine.connect() as connection:
            projects = known_projects(connection)
    if not projects:
        raise SettingsError("the ledger knows no project yet: name one with --project")
    failed = 0
    for project in projects:
        try:
            found = _reconcile(store, connections.studio(str(project)), project, everything=args.all)
        except LabelStudioError as error:
            if error.answered not in _OF_ONE_PROJECT:
                raise
            print(f"project {project}: its samples stay as they are: {printable(error)}", file=sys.stderr)
            failed += 1
            continue
        print(
            f"project {project}: {found.tasks} tasks looked at, {found.saved} annotations new or newer, "
            f"{found.deleted} gone, {found.unreadable} unreadable"
        )
    feedback = Feedback(store, connections, recall_distance=0.0)
    # What the server's own worker has in hand is waited for: it is neither made yet, nor could it not be.
    while feedback.worker.work() or feedback.worker.others_at_work():
        time.sleep(_PAUSE)
    facts = count(store.engine)
    left = facts.annotations["open"] + facts.annotations["parked"]
    print(f"{facts.count()} samples; {left} annotations could not be turned into samples yet")
    if left:
        advise("the backend's page /status says why of each; when that is mended: `worker --unpark`")
    feedback.stop()
    return 1 if left or failed else os.EX_OK


def _reconcile(store: Store, studio: LabelStudio, project: int, *, everything: bool) -> Reconciled:
    """One project, with a bar over its tasks."""
    with tqdm(unit="task", desc=f"project {project}", disable=None, file=sys.stderr) as bar:

        def progress(found: Reconciled) -> None:
            bar.update(found.tasks - bar.n)

        return sync(store.engine, studio, project, address=store.studio, everything=everything, progress=progress)
