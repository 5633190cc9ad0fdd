"""The command `doctor`: looks at both directions, and says what is not well and what to do about it."""

from __future__ import annotations

import json
import os
from collections import Counter
from typing import TYPE_CHECKING

from backend.doctor.examination import Examination
from backend.doctor.findings import Finding, State
from backend.doctor.words import this_many
from backend.settings import Settings
from backend.setup.running import address_of

if TYPE_CHECKING:
    import argparse

__all__ = ["add_arguments", "run"]

_STATES = 7  # letters of the longest
_NAMES = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `doctor`."""
    parser.add_argument("--project", default="", metavar="ID|TITLE", help="which; digits alone are an id")
    parser.add_argument("--url", help="this backend's address as Label Studio reaches it (HOST and PORT)")
    parser.add_argument("--from-here", metavar="URL", help="the same as this machine reaches it, where that differs")
    parser.add_argument("--json", action="store_true", help="one JSON document")


def run(args: argparse.Namespace) -> int:
    """Looks, changes nothing, and prints each finding with its remedy; gives 1 where something failed.

    Raises:
        SettingsError: A setting has a value that cannot be used.
    """
    settings = Settings.from_environment(os.environ)
    url = (args.url or address_of(settings)).rstrip("/")
    here = (args.from_here or url).rstrip("/")
    found: list[Finding] = []
    for finding in Examination(settings=settings, url=url, from_here=here, project=args.project).findings():
        found.append(finding)
        if not args.json:
            print(_line(finding), flush=True)
    counts = Counter(finding.state for finding in found)
    if args.json:
        told = {"findings": [one.as_json() for one in found], "counts": {state: counts[state] for state in State}}
        print(json.dumps(told, ensure_ascii=False))
    else:
        print(", ".join(_amount(state, counts[state]) for state in State if counts[state]))
    return 1 if counts[State.FAILURE] else os.EX_OK


def _amount(state: State, number: int) -> str:
    return this_many(number, state) if state in (State.WARNING, State.FAILURE) else f"{number} {state}"


def _line(finding: Finding) -> str:
    """What people read: the state, the name, what was found; and below it, the remedy."""
    indent = " " * (_STATES + _NAMES + 2)
    remedy = f"\n{indent}→ {finding.remedy}" if finding.remedy else ""
    return f"{finding.state:<{_STATES}} {finding.name:<{_NAMES}} {finding.found}{remedy}"
