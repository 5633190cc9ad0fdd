"""A challenger's trial: run beside the champion on the gold pages and on earlier hard examples, counted and judged."""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine, select

from backend.corrections.samples import teaches_hard
from backend.corrections.tables import sample
from backend.errors import EvaluationError, RegistryError
from backend.evaluation.gate import judge, seems_slower
from backend.evaluation.study import Run, fingerprints, race
from backend.files import append_line, hold, whole_lines
from backend.geometry import Boxes, as_boxes
from backend.models.published import RESERVED, Beside, RecordedVerdict, Registry
from backend.models.publishing import documents_of
from backend.models.serving import Sources, build_pipeline
from backend.vision.network_config import CLASSES, sha256_of
from backend.vision.weights import FILES, Weights, home_of

if TYPE_CHECKING:
    from backend.corrections.crop_store import CropStore
    from backend.evaluation.truth import Truth
    from backend.evaluation.verdict import Verdict
    from backend.models.promotion import Models
    from backend.settings import Settings
    from backend.vision.classifier import Classifies
    from backend.vision.pipeline import Pipeline

__all__ = [
    "ATTEMPTS_FILE",
    "MORE_GOLD",
    "HardExample",
    "alike",
    "beside",
    "hard_examples",
    "judge_model",
    "note_attempt",
    "raced",
    "reasons_of",
    "right_now",
    "trial",
]


_RACES = 20
"""So many races tell a slower challenger from a busy machine."""


@dataclass(frozen=True, kw_only=True, eq=False)
class HardExample:
    """One corrected crop.

    Attributes:
        pixels: (h, w, 3) uint8 RGB, margin included.
        box: (1, 4) the mark within them.
        label: What the annotator said, of `CLASSES`.
    """

    pixels: NDArray[np.uint8]
    box: Boxes
    label: str


def hard_examples(engine: Engine, crops: CropStore) -> Iterator[HardExample]:
    """The ledger's: what was relabelled or rejected by someone who saw it, or misnamed on a blind page, undisputed.

    Each picture is read when its turn comes: all of them together may be several GB.

    Raises:
        LedgerError: A crop cannot be read.
    """
    wanted = select(sample).where(teaches_hard()).order_by(sample.c.id)
    with engine.connect() as connection:
        rows = connection.execute(wanted).all()
    for row in rows:
        left, top = row.margin[:2]
        yield HardExample(
            pixels=crops.get(row.crop),
            box=as_boxes([row.x1 - left, row.y1 - top, row.x2 - left, row.y2 - top]),
            label=row.label,
        )


def right_now(classifier: Classifies, examples: Iterable[HardExample]) -> list[bool]:
    """Whether the classifier's likeliest class is the annotator's, for each example.

    A detector network takes no part: it looks at pages, and only the crop of an example is kept.
    """
    return [
        CLASSES[int(classifier.classify(one.pixels, one.box).probabilities[0].argmax())] == one.label
        for one in examples
    ]


ATTEMPTS_FILE = "gate-attempts.jsonl"
_DIGITS = 16
_MOST = 0.5
"""An earlier attempt counts where it saw more than this share of today's pages: gold sets grow page by page."""


def note_attempt(data_dir: Path, *, gold: str, pages: Sequence[str], challenger: str) -> int:
    """Appends an attempt, on disk before it returns; gives how many there were on these gold pages, this one included.

    An earlier attempt counts where it saw more than half of today's pages, whatever was boxed on them then. The file is
    only ever added to. Processes that write at once are counted one after the other.

    Args:
        data_dir: Made when missing; holds `gate-attempts.jsonl`.
        gold: SHA-256 of the gold pages and their marks.
        pages: SHA-256 of each page's pixels.
        challenger: Version that is judged.

    Raises:
        EvaluationError: The file cannot be written, or a line of it cannot be read.
    """
    file = data_dir / ATTEMPTS_FILE
    today = frozenset(sha256[:_DIGITS] for sha256 in pages)
    line = {
        "gold": gold,
        "challenger": challenger,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "pages": sorted(today),
    }
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with file.open("a+b", buffering=0) as lines:
            hold(lines.fileno(), seconds=math.inf)
            earlier = whole_lines(lines)
            before = sum(_same(_read(one, number, file), gold, today) for number, one in enumerate(earlier, 1))
            append_line(lines, json.dumps(line))
    except OSError as error:
        raise EvaluationError(f"{file} cannot be written ({error.strerror}): attempts have to be counted") from error
    return before + 1


def _same(line: dict[str, Any], gold: str, today: frozenset[str]) -> bool:
    """Whether an earlier attempt was on the same set, or on most of today's pages."""
    return line["gold"] == gold or len(today & set(line["pages"])) > _MOST * len(today)


def _read(line: str, number: int, file: Path) -> dict[str, Any]:
    try:
        facts: dict[str, Any] = json.loads(line)
        return {"pages": [], **facts, "gold": facts["gold"]}
    except (ValueError, KeyError, TypeError) as error:
        raise EvaluationError(
            f"{file}, line {number}, is no attempt: mend the line by hand, keep the others"
        ) from error


def raced(
    champion: Pipeline, challenger: Pipeline, gold: Truth, settings: Settings, *, races: int = _RACES
) -> tuple[Run, Run]:
    """Races both on the gold pages; where the challenger seems slower, again, until there were so many races in all.

    Raises:
        PageError: An image cannot be read.
        EvaluationError: An image has not the size that its boxes were drawn on.
    """
    runs = race(champion, challenger, gold, settings)
    while 0 < runs[0].milliseconds.size < races and seems_slower(*runs):
        again = race(champion, challenger, gold, settings)
        first, second = (
            replace(one, milliseconds=np.hstack([one.milliseconds, other.milliseconds]))
            for one, other in zip(runs, again, strict=True)
        )
        runs = first, second
    return runs


def alike(champion: Weights, challenger: Weights, settings: Settings) -> Pipeline | None:
    """The champion, with each network in floating point that is in whole numbers with it alone; None without such ones.

    A challenger in floating point is not worse for it: `models quantise` puts it into whole numbers, too. So its speed
    is compared with what the champion was made of.

    Raises:
        BadWeights: A network cannot be loaded.
    """
    plain = _whole_numbers(champion) - _whole_numbers(challenger)
    if not plain:
        return None
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for network, files in FILES.items():
            home, copy = home_of(network, champion.folder), folder / files.weights
            shutil.copyfile(home / (files.floating if network in plain else files.weights), copy)
            facts = json.loads((home / files.config).read_text()) | {"sha256": sha256_of(copy)}
            (folder / files.config).write_text(json.dumps(facts))
        return build_pipeline(Weights.open(folder, name=champion.name), settings)


def _whole_numbers(weights: Weights) -> set[str]:
    """The networks that compute in whole numbers where these weights serve."""
    return {
        network for network, files in FILES.items() if (home_of(network, weights.folder) / files.floating).is_file()
    }


def trial(
    champion: Pipeline,
    challenger: Pipeline,
    gold: Truth,
    *,
    paced: Pipeline | None = None,
    trained_on: Collection[str] | None,
    hard: Iterable[HardExample],
    settings: Settings,
) -> Verdict:
    """Judges whether `challenger` may take the place of `champion`.

    Args:
        champion: What serves, without recalled corrections.
        challenger: What would serve.
        gold: Pages that no training saw.
        paced: Whose speed the challenger's is compared with, as `alike` gives it; None for the champion's.
        trained_on: Documents that the challenger's training or tuning saw, named as in `gold`, or SHA-256 of pixels of
            their pages; None where nobody says.
        hard: Earlier hard examples, as `hard_examples` gives them.
        settings: Limits for reading pages, and DATA_DIR, where attempts are counted.

    Raises:
        PageError: A gold page cannot be read.
        EvaluationError: Pages and boxes do not fit, or attempts cannot be counted.
    """
    # Counted before it is run: a trial that is stopped when it looks bad was a look all the same.
    pages = fingerprints(gold, settings)
    attempts = note_attempt(settings.data_dir, gold=gold.sha256, pages=pages, challenger=challenger.version)
    if paced is None:
        before, after = raced(champion, challenger, gold, settings)
        pace = None
    else:
        before, after = race(champion, challenger, gold, settings, twice=False)
        pace = raced(paced, challenger, gold, settings)
    right = right_now(challenger.classifier, hard)
    return judge(before, after, pace=pace, trained_on=trained_on, pages=pages, hard=right, attempts=attempts)


def beside(champion: Weights) -> Beside:
    """What a verdict says of the weights that serve."""
    return Beside(None if champion.name in RESERVED else champion.name)


MORE_GOLD = (
    "judge it again with more documents in --coco, or look at what it shows on your pages and promote it with --force"
)
"""The way out where somebody brings the gold pages, and they are too few."""


def reasons_of(judgement: Verdict, way_out: str) -> tuple[str, ...]:
    """What the registry, the log and the dashboard tell of a verdict.

    Args:
        judgement: The verdict.
        way_out: What to do where gold documents are too few to tell.
    """
    said = judgement.reasons or tuple(check.sentence for check in judgement.checks)
    want = (f"{judgement.want}: {way_out}",) if judgement.want else ()
    return (*want, *said) if judgement.undecided else (*said, *want)


def judge_model(
    models: Models,
    name: str,
    gold: Truth,
    *,
    settings: Settings,
    hard: Iterable[HardExample] = (),
    trained_on: Collection[str] | None = None,
    by: str,
    why: str = "",
) -> Verdict:
    """Runs a published model beside the one that serves, on whole pages, and notes what the gate says of it.

    The DETECTOR setting stands for both: with `colour`, no network that detects is judged.

    Args:
        models: The registry.
        name: Which model.
        gold: Pages that no training saw.
        settings: Which weights serve, how they find and select, and how pages are read.
        hard: Earlier hard examples.
        trained_on: Documents that its training saw, besides those that the file beside its weights names; None where
            there is nothing to add.
        by: Which command or program asks.
        why: Goes into the history, such as how somebody knows what it was trained on.

    Raises:
        RegistryError: There is no such model, it serves already, or its verdict cannot be noted.
        BadWeights: One of the two cannot be loaded.
        PageError: A gold page cannot be read.
        EvaluationError: Pages and boxes do not fit, or attempts cannot be counted.
    """
    models.get(name)
    champion = Sources.of(settings).at_once()
    if champion.name == name:
        raise RegistryError(f"{name} serves already: there is nothing to judge it beside")
    folder = Registry(models.folder).folder_of(name)
    known = documents_of(folder)
    challenger = Weights.open(folder, name=name)
    judgement = trial(
        build_pipeline(champion, settings),
        build_pipeline(challenger, settings),
        gold,
        paced=alike(champion, challenger, settings),
        trained_on=known if trained_on is None else frozenset(trained_on) | (known or frozenset()),
        hard=hard,
        settings=settings,
    )
    verdict = RecordedVerdict(
        passed=judgement.promoted,
        reasons=reasons_of(judgement, MORE_GOLD),
        figures=judgement.as_json(),
        beside=beside(champion),
    )
    models.judge(name, verdict, by=by, why=why)
    return judgement
