"""The command `dataset`: freezes corrected pages as versions, shows, compares, measures and hands them out."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from backend.dataset.dataset_report import html_report
from backend.dataset.exporting import FORMATS, export
from backend.dataset.freezing import Frozen, datasets, freeze, freeze_known
from backend.dataset.manifest import SPLITS, difference
from backend.dataset.statistics import SLICES, Statistics, statistics, wants
from backend.dataset.store import Version
from backend.errors import DatasetError
from backend.escaping import printable
from backend.evaluation.truth import read_coco
from backend.files import ask_for_place, write_private
from backend.labelstudio.client import LabelStudio
from backend.labelstudio.connections import ask_for_token
from backend.settings import Settings
from backend.terminal import advise
from backend.vision.network_config import MARKS

__all__ = ["add_arguments", "run"]

_DIGITS = 12
_COLUMNS = ("documents", "pages", "pages_without_marks", *MARKS, "samples")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `dataset`."""
    actions = parser.add_subparsers(title="actions", dest="action", required=True, metavar="ACTION")
    one = actions.add_parser("freeze", help="make a version that never changes")
    one.add_argument("name", help="the version's name")
    source = one.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--project", nargs="+", metavar="ID|TITLE", help="pages of these projects, as annotators left them"
    )
    source.add_argument(
        "--coco", type=Path, metavar="FILE", help="pages whose marks are known, such as those of `draw`"
    )
    one.add_argument("--images", type=Path, metavar="DIR", help="folder of the images that FILE names")
    one.add_argument(
        "--allow-missing",
        action="store_true",
        help="leave out tasks whose pages cannot be fetched (default: freeze nothing then)",
    )
    one = actions.add_parser("export", help="write a version in a format of other programs")
    one.add_argument("name", help="the version's name")
    one.add_argument("--format", choices=tuple(FORMATS), required=True, help="format of the files")
    one.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder for the files")
    one = actions.add_parser("list", help="list all versions")
    one.add_argument("--json", action="store_true", help="print one JSON document for each version, one a line")
    one = actions.add_parser("show", help="show what is in a version")
    one.add_argument("name", help="the version's name")
    one.add_argument("--json", action="store_true", help="print the whole manifest")
    one = actions.add_parser("verify", help="read every page of a version, and say which are damaged")
    one.add_argument("name", help="the version's name")
    one = actions.add_parser("diff", help="show what changed from one version to another")
    one.add_argument("before", help="the earlier version's name")
    one.add_argument("after", help="the later version's name")
    one.add_argument("--json", action="store_true", help="print one JSON document")
    one = actions.add_parser("stats", help="count what a version is made of; say what to collect next")
    one.add_argument("name", help="the version's name")
    one.add_argument("--json", action="store_true", help="print one JSON document")
    one.add_argument("--html", type=Path, metavar="FILE", help="write a report with plots and pictures here")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Does what is asked; gives the exit code: 1 where pages are damaged, or are missing from a version.

    Raises:
        BackendError: It cannot be done.
    """
    return int(_ACTIONS[args.action](args, settings))


def _freeze(args: argparse.Namespace, settings: Settings) -> int:
    frozen = _of_coco(args, settings) if args.coco else _of_projects(args, settings)
    version = frozen.version
    for line in frozen.missing:
        print(f"left out: {printable(line)}", file=sys.stderr)
    for line in frozen.unknown:
        print(f"left open: {printable(line)}; map it by predicted_values, and freeze again", file=sys.stderr)
    print(f"{version.name} {version.id}{'' if frozen.new else ': frozen already, with the same content'}")
    print(_table(version.manifest.counts()))
    if frozen.unannotated:
        print(f"{frozen.unannotated} tasks are not in it: nobody annotated them, or they were skipped")
    name = version.name
    advise(f"`dataset stats {name}` says what to collect next; `dataset export {name} --help` how to hand it out")
    return 1 if frozen.missing else os.EX_OK


def _of_projects(args: argparse.Namespace, settings: Settings) -> Frozen:
    ask_for_token(settings, "dataset freeze")
    with (
        LabelStudio(settings.label_studio_url, settings.label_studio_api_key) as studio,
        tqdm(unit="task", desc="freeze", disable=None, file=sys.stderr) as bar,
    ):
        return freeze(
            args.name,
            projects=args.project,
            studio=studio,
            settings=settings,
            allow_missing=args.allow_missing,
            progress=bar.update,
        )


def _of_coco(args: argparse.Namespace, settings: Settings) -> Frozen:
    if args.images is None:
        raise DatasetError("--coco needs --images: the folder of the images that FILE names")
    truth = read_coco(args.coco, args.images)
    with tqdm(total=len(truth.pages), unit="page", desc="freeze", disable=None, file=sys.stderr) as bar:
        return freeze_known(args.name, truth, settings=settings, progress=bar.update)


def _export(args: argparse.Namespace, settings: Settings) -> int:
    version = datasets(settings).open(args.name)
    export(version, args.format, args.out)
    print(f"{args.out}: {len(version.manifest.pages)} pages of {version.name} as {args.format}; confidential")
    return os.EX_OK


def _list(args: argparse.Namespace, settings: Settings) -> int:
    held = datasets(settings)
    names = held.names()
    if not names and not args.json:
        print("no data set yet: `dataset freeze NAME --project ID` makes one of what annotators left")
    for name in names:
        version = held.open(name)
        if args.json:
            print(json.dumps(_facts(version)))
        else:
            totals = {key: sum(row[key] for row in version.manifest.counts().values()) for key in _COLUMNS}
            counted = ", ".join(f"{totals[key]} {key.replace('_', ' ')}" for key in _COLUMNS if totals[key])
            print(f"{name}  {version.id[:_DIGITS]}  {printable(version.made.get('frozen'))}  {counted}")
    return os.EX_OK


def _show(args: argparse.Namespace, settings: Settings) -> int:
    version = datasets(settings).open(args.name)
    if args.json:
        print(version.manifest.text.decode())
        return os.EX_OK
    for key, value in _facts(version).items():
        if key != "counts":
            print(f"{key}: {printable(value)}")
    print(_table(version.manifest.counts()))
    return os.EX_OK


def _verify(args: argparse.Namespace, settings: Settings) -> int:
    version = datasets(settings).open(args.name)
    total = len(version.manifest.pages)
    bad = [
        reason
        for _, reason in tqdm(version.damage(), total=total, unit="page", disable=None, file=sys.stderr)
        if reason is not None
    ]
    for reason in bad:
        print(printable(reason))
    print(f"{version.name} {version.id}: {total - len(bad)} of {total} pages are as they were frozen")
    return 1 if bad else os.EX_OK


def _diff(args: argparse.Namespace, settings: Settings) -> int:
    held = datasets(settings)
    found = difference(held.open(args.before).manifest, held.open(args.after).manifest)
    if args.json:
        print(json.dumps(found.as_json()))
        return os.EX_OK
    for kind, names in (("added", found.pages_added), ("removed", found.pages_removed)):
        print(f"pages {kind}: {len(names)}" + "".join(f"\n  {printable(name)}" for name in names))
    if found.changed_sides:
        example = printable(found.changed_sides[0])
        print(f"pages on another side of the split: {len(found.changed_sides)}, such as {example}")
    print("marks: " + ", ".join(f"{found.count(kind)} {kind}" for kind in ("added", "removed", "moved", "relabelled")))
    for change in found.changes:
        print(f"  {printable(change)}")
    print(_table(found.before), _table(found.after), sep="\n\n")
    return os.EX_OK


def _stats(args: argparse.Namespace, settings: Settings) -> int:
    ask_for_place(args.html)
    version = datasets(settings).open(args.name)
    with tqdm(total=len(version.manifest.pages), unit="page", disable=None, file=sys.stderr) as bar:
        found = statistics(version, bar.update)
    if args.json:
        facts = [{"what": one.what, "have": one.have, "want": one.want} for one in wants(found)]
        print(json.dumps({**_facts(version), **found.as_json(), "wants": facts}))
    else:
        _print_statistics(found)
    if args.html:
        write_private(args.html, html_report(version, found))
        print(f"{args.html}: confidential, it shows parts of the pages; only you can read it", file=sys.stderr)
    return os.EX_OK


def _print_statistics(found: Statistics) -> None:
    print(_table(found.counts))
    for kind in SLICES:
        print(f"\nby {kind}")
        for label, row in found.slices(kind).items():
            groups = ", ".join(
                f"{printable(group)} {count}" for group, count in sorted(row.items(), key=lambda one: -one[1])
            )
            print(f"  {printable(label):<10} {groups or 'none'}")
    if found.without_dpi:
        print(f"\n{found.without_dpi} pages do not tell their resolution: taken for A4")
    print("\nto collect next" + "".join(f"\n  {one}" for one in wants(found)[:12]))


def _facts(version: Version) -> dict[str, Any]:
    return {
        "name": version.name,
        **version.made,
        "source": version.manifest.source,
        "counts": version.manifest.counts(),
    }


def _table(counts: Any) -> str:
    """Counts by split as lines of a table."""
    heads = [key.replace("_", " ") for key in _COLUMNS]
    rows = [["", *heads], *([split, *(str(counts[split][key]) for key in _COLUMNS)] for split in SPLITS)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(heads) + 1)]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(wide) for cell, wide in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    )


_ACTIONS = {
    "freeze": _freeze,
    "export": _export,
    "list": _list,
    "show": _show,
    "verify": _verify,
    "diff": _diff,
    "stats": _stats,
}
