"""The command `models`: which there are and which serves; candidates, the gate, promotion, rollback, the Hub.

The gate asked from the command line: pages whose marks are known, what a model's training saw, and its word.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend.commands.amounts import one_or_more
from backend.corrections.service import Store
from backend.errors import EvaluationError, SettingsError, TrainingError
from backend.escaping import printable
from backend.evaluation.trial import MORE_GOLD, hard_examples, judge_model
from backend.evaluation.truth import read_coco
from backend.models.hub import gain, macro_f1, measured, pull, push, upload
from backend.models.hub_files import HubWay
from backend.models.original_model import REPOSITORY
from backend.models.promotion import Model, Models
from backend.models.published import Facts, Registry
from backend.models.publishing import DOCUMENTS_FILE, add_documents, complete, documents_of
from backend.models.serving import Sources
from backend.models.tracking import track, tracker_named
from backend.settings import Settings
from backend.vision.weights import NETWORKS, WEIGHTS_FILE, Weights

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from backend.evaluation.truth import Truth
    from backend.models.published import ModelEvent

__all__ = ["add_arguments", "run"]

_NOTHING = "none"
_BY = "command line"
_CALIBRATION_PAGES = 40
_LEGEND = "* serves where MODEL is `auto`; F1: macro, on pages at IoU .5; gain: on pages, in points, by the gate"


def _add_judging(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """Adds what the gate needs to be asked.

    Args:
        parser: Of a command that asks it.
        required: Whether it always does; else only where pages are named.
    """
    parser.add_argument(
        "--coco", type=Path, required=required, metavar="FILE", help="annotations of the gold pages, COCO format"
    )
    parser.add_argument(
        "--images", type=Path, required=required, metavar="DIR", help="folder of the images that FILE names"
    )
    parser.add_argument(
        "--seen",
        metavar="FILE",
        help=f"more documents that its training saw, one a line, besides those in {DOCUMENTS_FILE} beside its weights; "
        f"`{_NOTHING}`: you know that it saw no others (needs --why)",
    )
    parser.add_argument("--why", default="", help="reason, for the history")
    parser.add_argument("--promote", action="store_true", help="let it serve if it passes")


def _check_judging(args: argparse.Namespace) -> bool:
    """Whether the gate is to be asked.

    Raises:
        SettingsError: Arguments are missing.
    """
    if args.seen == _NOTHING and not args.why:
        raise SettingsError(f"--seen {_NOTHING} is your word for it: say how you know, with --why")
    if (args.coco is None) != (args.images is None):
        raise SettingsError("--coco FILE and --images DIR go together")
    if args.coco is None and (args.seen or args.promote):
        raise SettingsError("to have it judged, name the gold pages with --coco FILE --images DIR")
    return args.coco is not None


def _ask_gate(
    models: Models,
    name: str,
    args: argparse.Namespace,
    settings: Settings,
    *,
    tell: Callable[[ModelEvent, Settings], None],
) -> int:
    """Asks the gate about a published model, and promotes it where that is wanted and it passes.

    Args:
        models: The registry.
        name: Which model.
        args: Those of `_add_judging`.
        settings: Which weights serve, and where the ledger is.
        tell: Says what was promoted.

    Returns:
        The exit code: 1 where the gate refused.

    Raises:
        RegistryError: There is no such model, it serves already, or another one was promoted meanwhile.
        EvaluationError: The pages, or the file of documents, cannot be used.
        BackendError: A model or the ledger cannot be used.
    """
    seen = _seen(args.seen)
    gold = read_coco(args.coco, args.images)
    store = Store.open(settings)
    try:
        hard = hard_examples(store.engine, store.crops)
        judgement = judge_model(
            models,
            name,
            gold,
            settings=settings,
            hard=hard,
            trained_on=seen,
            by=_BY,
            why=_why(args.seen, seen, args.why),
        )
    finally:
        store.engine.dispose()
    print(judgement)
    if not judgement.promoted:
        if judgement.want:
            print(MORE_GOLD)
        return 1
    if args.promote:
        verdict = models.get(name).verdict
        beside = verdict.beside if verdict else None
        tell(models.promote(name, why=args.why or "it passed the gate", by=_BY, beside=beside), settings)
    return os.EX_OK


def _seen(given: str | None) -> list[str] | None:
    """Documents that a training saw besides what stands beside the weights; None where nothing is said."""
    if given is None or given == _NOTHING:
        return None if given is None else []
    try:
        found = [line.strip() for line in Path(given).read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise EvaluationError(f"{given} cannot be read: {error}") from error
    if not found:
        raise EvaluationError(f"{given} names no document: say --seen {_NOTHING}, with --why, if you know that")
    return found


def _why(given: str | None, seen: list[str] | None, why: str) -> str:
    """What goes into the history: what somebody said, and what that rests on."""
    if given is None:
        return why
    said = f"{len(seen or ())} documents that its training saw were named by hand"
    return ": ".join(part for part in ("its training saw no other" if given == _NOTHING else said, why) if part)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the subcommands of `models`."""
    acts = parser.add_subparsers(title="actions", dest="act", metavar="ACTION", required=True)
    one = acts.add_parser("list", help="list all models, the newest first")
    one.add_argument("--json", action="store_true", help="print one JSON document")
    one = acts.add_parser("show", help="print a model's record, the gate's verdict and its history, as JSON")
    one.add_argument("name", help="the model's name, as `models list` has it")
    one = acts.add_parser("track", help="tell TRACKER again of the training of a model")
    one.add_argument("name", help="the model's name, as `models list` has it")
    one = acts.add_parser("publish", help="make a candidate of a folder's weights: a classifier, a detector or both")
    one.add_argument("folder", type=Path, help="folder of the weights; what it lacks is taken from those that serve")
    one.add_argument("--source", default="a folder", help="where they are from, in words, for the model's record")
    one = acts.add_parser("quantise", help="turn the weights that serve into whole numbers (int8), as a candidate")
    one.add_argument(
        "--pages", type=one_or_more, default=_CALIBRATION_PAGES, help="pages to draw for it (default: %(default)s)"
    )
    one.add_argument("--real", type=Path, metavar="DIR", help="folder with a manifest.json of real pages and crops")
    one.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS, help="turn only these (default: all)")
    one.add_argument("--coco", type=Path, metavar="FILE", help="annotations of pages to compare both on, COCO format")
    one.add_argument("--images", type=Path, metavar="DIR", help="folder of the images that FILE names")
    one = acts.add_parser("judge", help="ask the gate about a model, on pages whose marks are known")
    one.add_argument("name", help="the model's name, as `models list` has it")
    _add_judging(one, required=True)
    one = acts.add_parser("promote", help="let a model serve")
    one.add_argument("name", help="the model's name, as `models list` has it")
    one.add_argument("--why", default="", help="reason, for the history")
    one.add_argument(
        "--force", action="store_true", help="promote it although the gate refused it or was never asked; needs --why"
    )
    one = acts.add_parser("rollback", help="let the model serve that served before the last promotion")
    one.add_argument("--why", default="", help="reason, for the history")
    one = acts.add_parser(
        "pull", help="take a model from the Hugging Face Hub as a candidate, and ask the gate about it"
    )
    one.add_argument("repository", nargs="?", default=REPOSITORY, help=f"which one (default: {REPOSITORY})")
    one.add_argument("--revision", default="main", help="branch, tag or commit (default: main)")
    _add_judging(one, required=False)
    one = acts.add_parser("push", help="upload weights, card and figures of a model to the Hugging Face Hub")
    one.add_argument("repository", help="repository on the Hub, such as organisation/name")
    one.add_argument("--model", help="the model's name (default: the promoted one)")
    access = one.add_mutually_exclusive_group()
    access.add_argument("--private", action="store_true", default=True, help="make a private repository (default)")
    access.add_argument("--public", dest="private", action="store_false", help="make one that anybody can read")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Does one of them; gives the exit code: 1 where the gate refused.

    Raises:
        RegistryError: There is no such model, or it may not be promoted, or it cannot be written.
        BadWeights: A model is damaged.
        WeightsUnavailable: The Hub does not answer, or refused.
        SettingsError: The arguments do not go together.
        EvaluationError: The pages to judge on cannot be used.
        TrainingError: What quantising needs is not installed or not there.
    """
    models = Models(settings.data_dir / "models")
    if args.act == "list":
        _list(models, settings, as_json=args.json)
    elif args.act == "show":
        print(json.dumps(_story(models, models.get(args.name)), indent=1, ensure_ascii=False))
    elif args.act == "track":
        _track(models, args.name, settings)
    elif args.act == "publish":
        _publish(models, args.folder, settings, facts=Facts(source=args.source))
    elif args.act == "quantise":
        _quantise(models, args, settings)
    elif args.act == "judge":
        _check_judging(args)
        return _ask_gate(models, args.name, args, settings, tell=_tell_move)
    elif args.act == "promote":
        if args.force and not args.why:
            raise SettingsError("--force overrules the gate, or does without it: say why, with --why")
        _tell_move(models.promote(args.name, why=args.why, by=_BY, force=args.force), settings)
    elif args.act == "rollback":
        _tell_move(models.rollback(why=args.why, by=_BY), settings)
    elif args.act == "pull":
        return _pull(models, args, settings)
    else:
        _push(models, args, settings)
    return os.EX_OK


def _track(models: Models, name: str, settings: Settings) -> None:
    if not settings.tracker:
        raise SettingsError("TRACKER is empty: name a class as module:Class (docs/trackers.md has some)")
    model = models.get(name)
    track(model, models.folder / name, tracker_named(settings.tracker))
    print(f"{settings.tracker} was told of {name}: {model.status}")


def _pull(models: Models, args: argparse.Namespace, settings: Settings) -> int:
    judged = _check_judging(args)
    way = HubWay(proxy=settings.hub_proxy)
    record = pull(models, args.repository, scratch=settings.data_dir / "hub", revision=args.revision, way=way)
    asks = "" if judged else f"; `models judge {record.name}` asks the gate about it"
    print(f"{record.name}: a candidate from {printable(record.source)}{asks}")
    return _ask_gate(models, record.name, args, settings, tell=_tell_move) if judged else os.EX_OK


def _publish(models: Models, folder: Path, settings: Settings, *, facts: Facts) -> None:
    serving = Sources.of(settings).at_once()
    with tempfile.TemporaryDirectory() as place:
        taken = complete(folder, serving, Path(place))
        if WEIGHTS_FILE in taken:
            # What it names marks with goes back to where that of the serving weights does.
            facts = dataclasses.replace(facts, parent=serving.name)
        record = models.publish(Path(place), facts, by=_BY)
    if taken:
        print(f"with {' and '.join(taken)} of {serving.name}")
    print(f"{record.name}: a candidate; `models judge {record.name}` asks the gate about it")


def _quantise(models: Models, args: argparse.Namespace, settings: Settings) -> None:
    try:
        from backend.training.parity import compare, drawn_truth  # noqa: PLC0415  a serving install has none of these
        from backend.training.quantise import calibration, quantise  # noqa: PLC0415
        from backend.training.training_record import versions  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise TrainingError(
            f"quantising needs {error.name}: install this program with its `train` extra (requirements/train.txt)"
        ) from error
    if (args.coco is None) != (args.images is None):
        raise SettingsError("--coco FILE and --images DIR go together")
    serving = Sources.of(settings).at_once()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        seen = calibration(serving, pages=args.pages, real=args.real, threads=settings.model_threads)
        quantise(serving, folder, seen, networks=args.networks)
        known = documents_of(serving.folder)
        if known is not None:  # else nobody can say it of these either
            add_documents(folder, {*seen.documents, *known})
        whole = Weights.open(folder, name="int8")
        truth = _truth(args) or drawn_truth(folder / "pages", pages=args.pages)
        compared = compare(serving, whole, seen, truth, settings)
        print(compared)
        recipe = {"numbers": "int8", "of": sorted(args.networks), "pages": len(seen.pages), "crops": len(seen.crops)}
        facts = Facts(
            source="quantised",
            parent=serving.name,
            recipe=recipe,
            versions=versions(),
            metrics={"parity": compared.as_json()},
        )
        _publish(models, folder, settings, facts=facts)


def _truth(args: argparse.Namespace) -> Truth | None:
    return None if args.coco is None else read_coco(args.coco, args.images)


def _list(models: Models, settings: Settings, *, as_json: bool) -> None:
    found = models.all()
    if as_json:
        print(json.dumps([_facts(model) for model in found]))
        return
    print(_table([*(_row(model) for model in found), *_unpublished(settings)]))


def _unpublished(settings: Settings) -> list[tuple[str, ...]]:
    """The weights that serve where no model is promoted: the Hub's, where they are here, and the program's own."""
    serving = Sources("auto", settings.data_dir).at_once().name
    origins = {"hub": f"{REPOSITORY} on the Hub", "bundled": "this program"}
    return [
        ("*" if name == serving else "", name, "", "unpublished", "-", "-", "-", origin)
        for name, origin in origins.items()
        if name in (serving, "bundled")
    ]


def _facts(model: Model) -> dict[str, Any]:
    """A model as `list --json` tells of it."""
    record, verdict = model.record, model.verdict
    return {
        "name": model.name,
        "active": model.active,
        "status": model.status,
        "published": record and record.published,
        "promoted": model.promoted,
        "source": record and record.source,
        "parent": record and record.parent,
        "dataset": record and record.dataset,
        "metrics": measured(record, verdict),
        "verdict": verdict and {"passed": verdict.passed, "reasons": list(verdict.reasons)},
    }


def _row(model: Model) -> tuple[str, ...]:
    record, gained = model.record, gain(model.verdict)
    figures = measured(record, model.verdict)
    crops, pages = (macro_f1(figures, what) for what in ("closed_set", "end_to_end"))
    return (
        "*" if model.active else "",
        model.name,
        printable(record.published[:16].replace("T", " ")) if record else "",
        model.status,
        f"{crops['value']:.3f}" if crops else "-",
        f"{pages['value']:.3f}" if pages else "-",
        f"{100 * gained:+.1f}" if gained is not None else "-",
        printable(record.source) if record else "put there by hand",
    )


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    table = [("", "model", "published (UTC)", "status", "F1 crops", "F1 pages", "gain", "from"), *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    return "\n".join([*lines, _LEGEND])


def _story(models: Models, model: Model) -> dict[str, Any]:
    """Everything about one model."""
    own = [event.as_json() for event in models.events() if model.name in (event.model, event.before)]
    record = model.record.as_json() if model.record else None
    return {"name": model.name, "status": model.status, "active": model.active, "record": record, "history": own}


def _tell_move(move: ModelEvent, settings: Settings) -> None:
    after = move.model or "what MODEL=auto finds without a promoted model"
    forced = ", although the gate did not let it pass" if move.forced else ""
    print(f"{move.what}: {after} serves now instead of {move.before or 'the unpublished weights'}{forced}")
    print("servers with MODEL=auto pick it up within a second")
    if settings.model != "auto":
        print(f"here MODEL is {settings.model}: such a server goes on with that", file=sys.stderr)


def _push(models: Models, args: argparse.Namespace, settings: Settings) -> None:
    registry = Registry(settings.data_dir / "models")
    name = args.model or registry.active()
    if name is None:
        raise SettingsError("no model is promoted: name one with --model")
    what = upload(models.get(name), registry.folder_of(name), args.repository)
    access = "private" if args.private else "public"
    print(f"{name} goes to {args.repository} (a new repository would be {access}):")
    for file, size in what.sizes().items():
        print(f"  {file:<24}{size:>12,} bytes")
    print(push(what, private=args.private, way=HubWay(proxy=settings.hub_proxy)))
