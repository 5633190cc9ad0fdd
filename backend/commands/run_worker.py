"""The command `worker`: turns corrections into samples, in a process of its own; as many of them as one likes."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

from tqdm import tqdm

from backend.corrections.counts import count
from backend.corrections.leases import unpark
from backend.corrections.service import Feedback, Store
from backend.labelstudio.connections import Connections
from backend.pages.source import PageSource
from backend.settings import Settings
from backend.training.retraining.starting import Starter

if TYPE_CHECKING:
    import argparse

__all__ = ["add_arguments", "run"]

LOOK_SECONDS = 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `worker`."""
    parser.add_argument("--once", action="store_true", help="stop when nothing is left to do")
    parser.add_argument(
        "--unpark", action="store_true", help="first try again all that is parked: what failed and waits for a person"
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Works until it is told to stop (SIGTERM, Ctrl-C), or with --once until nothing is open; 1 if something is parked.

    Raises:
        LedgerError: The database or the crop store cannot be used.
        OtherLabelStudio: The ledger is of another one than LABEL_STUDIO_URL names.
    """
    store = Store.open(settings)
    connections = Connections(settings, source=lambda access: PageSource(settings, access))
    starter = Starter(settings, store.engine)
    feedback = Feedback(store, connections, recall_distance=0.0, retrain=starter.look)
    feedback.belonging.require()
    if args.unpark:
        annotations, events = unpark(store.engine), feedback.journal.unpark()
        print(f"{annotations} annotations and {events} events get another chance", file=sys.stderr)
    return _once(feedback) if args.once else _until_told(feedback)


def _once(feedback: Feedback) -> int:
    """Does what is due, and what was put off as soon as it is due; a bar shows what is open."""
    facts = count(feedback.store.engine)
    waiting = facts.event_count(state="open") + facts.annotations["open"]
    with tqdm(total=waiting, unit="step", disable=None, file=sys.stderr) as bar:
        # When its lease ends, work of a dead worker is free. What Label Studio has to be asked again is due in a
        # moment.
        while (steps := feedback.worker.work(limit=10)) or feedback.worker.others_at_work() or feedback.worker.asks():
            bar.total = max(bar.total or 0, bar.n + steps)
            bar.update(steps)
            if not steps:
                time.sleep(LOOK_SECONDS)
    facts = count(feedback.store.engine)
    left = facts.event_count(state="open")
    parked = facts.annotations["parked"] + facts.event_count(state="parked")
    print(
        f"{facts.count()} samples, {facts.annotations['open']} annotations to be tried again, {parked} parked, "
        f"{left} events that wait for Label Studio"
    )
    feedback.stop()
    return 1 if parked or left else os.EX_OK


def _until_told(feedback: Feedback) -> int:
    """Works in the background, with a bar that shows what came and what is open."""
    told = threading.Event()
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, lambda *_: told.set())
    feedback.start()
    with tqdm(unit="sample", disable=None, file=sys.stderr) as bar:
        while not told.wait(LOOK_SECONDS):
            if bar.disable:
                continue
            facts = count(feedback.store.engine)
            bar.n = facts.count()
            bar.set_postfix(open=facts.event_count(state="open") + facts.annotations["open"], refresh=True)
    feedback.stop()
    return os.EX_OK
