"""Annotators' pages teach the detector, drawn ones beside: what they moved and added, and what they left alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors.torch import load_file

from backend.models.publishing import carry_refiner
from backend.training.detector.detector_loop import AVERAGE_FILE, DetectorProgress, fit_detector
from backend.training.detector.detector_publishing import DETECTOR_RECORD_FILE
from backend.training.detector.detector_recipe import build_network
from backend.training.detector.scenes import load_stock
from backend.training.export import export_detector, state_dict_from_onnx
from backend.training.network_publishing import blended
from backend.training.pagestore import JoinedPages, PageStore
from backend.training.quantise import IN_FLOAT, quantise_network
from backend.training.retraining.material import CORRECTED_PAGE, draw_replay
from backend.training.training_loop import Tell, nobody, save
from backend.training.training_pages import shared
from backend.training.training_record import write_record
from backend.vision.network_config import sha256_of
from backend.vision.network_detector import padded, page_input
from backend.vision.weights import DETECTOR_CONFIG_FILE, DETECTOR_WEIGHTS_FILE

if TYPE_CHECKING:
    from backend.training.classifier_recipe import Corrections
    from backend.training.detector.detector_recipe import DetectorRecipe
    from backend.training.retraining.base_weights import DetectorBase

__all__ = ["DETECTOR_TENSORS_FILE", "PageLessons", "page_lessons", "teach", "write_taught"]

DETECTOR_TENSORS_FILE = "detector.safetensors"
_SHOWINGS = 2.0
"""How often an epoch shows a page that was left as it was shown; a corrected one `hard_times` times as often."""
_MOST = 0.5
"""Most of an epoch that annotators' pages make."""
_JUDGED = 60
_CALIBRATION_PAGES = 48


@dataclass(frozen=True, kw_only=True)
class PageLessons:
    """What a detector learns, and from where.

    Attributes:
        pages: Annotators' pages, on all sides but gold.
        replay: Drawn pages that teach the detector alone.
        base: What it goes on from.
        recipe: What to do.
    """

    pages: PageStore
    replay: PageStore
    base: DetectorBase
    recipe: DetectorRecipe


def page_lessons(
    store: PageStore,
    recipe: DetectorRecipe,
    plan: Corrections,
    base: DetectorBase,
    *,
    folder: Path,
    say: Callable[[str], None],
) -> PageLessons | None:
    """What annotators' pages teach a detector; None, with the reason told, where they cannot teach one.

    Args:
        store: The pages.
        recipe: Its base, shape and shares follow from the rest.
        plan: How often corrected pages are shown, and how many pages a training is worth.
        base: What it goes on from.
        folder: Keeps drawn pages.
        say: Tells a person.
    """
    pages = [page for page in store.read() if page.split == "train"]
    if len(pages) < plan.least_pages:
        say(f"the detector stays as it is: {len(pages)} annotated pages to learn from, {plan.least_pages} are needed")
        return None
    groups = [f"real/{page.source}" for page in pages]
    hard = {f"real/{CORRECTED_PAGE}": plan.hard_times}
    shares = shared(
        {"drawn": 1.0},
        ["drawn", *groups],
        set(groups),
        samples=recipe.samples,
        showings=_SHOWINGS,
        most=_MOST,
        times=hard,
    )
    recipe = dataclasses.replace(recipe, base=base.name, shape=base.shape, shares=shares)
    if not build_network(base.shape).tells_turns:
        recipe = dataclasses.replace(recipe, changes=dataclasses.replace(recipe.changes, turn=0.0))
    corrected = sum(page.source == CORRECTED_PAGE for page in pages)
    part = round(100 * (1 - shares["drawn"] / sum(shares.values())))
    say(f"the detector learns from {len(pages)} annotated pages, {corrected} of them corrected: {part} % of an epoch")
    replay = draw_replay(folder / "replay", pages=plan.replay_pages)
    return PageLessons(pages=store, replay=replay, base=base, recipe=recipe)


def teach(
    lessons: PageLessons, drawn: PageStore, folder: Path, *, workers: int = 0, tell: Tell = nobody
) -> DetectorProgress:
    """Trains, or goes on; `folder` keeps the checkpoint.

    Args:
        lessons: Annotators' pages and the recipe.
        drawn: Drawn pages, lest it forget; those that validate tell after each epoch how well it does, beside
            annotators' own.
        folder: Made when missing.
        workers: Processes that change pages.
        tell: Is told after each epoch how far it is.

    Raises:
        TrainingError: A page is missing.
    """
    both = JoinedPages((drawn, lessons.replay, lessons.pages))
    pages = both.read()
    judges = [page for page in pages if page.split == "validation" and page.complete]
    ours = [page for page in judges if page.domain == "drawn"][:_JUDGED]
    train = load_stock(both, [page for page in pages if page.split == "train"])
    judge = load_stock(both, [page for page in judges if page.domain != "drawn"] + ours)
    base = state_dict_from_onnx(lessons.base.path)
    return fit_detector(lessons.recipe, train, judge, folder, base=base, workers=workers, tell=tell)


def write_taught(
    run: Path, progress: DetectorProgress, lessons: PageLessons, drawn: PageStore, out: Path, *, whole_numbers: bool
) -> None:
    """Writes the trained detector to `out` as it serves, its tensors, and the record of the run.

    Args:
        run: The folder that `teach` wrote.
        progress: What `teach` gave.
        lessons: Their base's config is kept, but for what is about the weights themselves.
        drawn: Some of these and of annotators' pages calibrate a detector of whole numbers.
        out: Made when missing.
        whole_numbers: Writes it as such, since what serves is of such: it could not take its place otherwise, being
            slower.
    """
    out.mkdir(parents=True, exist_ok=True)
    network = build_network(lessons.recipe.shape)
    state = blended(state_dict_from_onnx(lessons.base.path), load_file(run / AVERAGE_FILE), lessons.recipe.blend)
    network.load_state_dict(state)
    save(state, out / DETECTOR_TENSORS_FILE, {"recipe": lessons.recipe.digest})
    weights = out / DETECTOR_WEIGHTS_FILE
    note = {"base": lessons.base.name, "recipe": lessons.recipe.digest}
    if whole_numbers:
        plain = run / "plain.onnx"
        export_detector(network.eval(), plain)
        both = JoinedPages((drawn, lessons.pages))
        pages = [page for page in both.read() if page.split == "train"]
        some = pages[:: max(1, len(pages) // _CALIBRATION_PAGES)]
        looked_at = (padded(page_input(both.pixels(page), page.dpi)[0], lessons.base.config.multiple) for page in some)
        quantise_network(plain, weights, (page[None] for page in looked_at), in_float=IN_FLOAT)
        note |= {"numbers": f"int8, calibrated on {len(some)} pages"}
    else:
        export_detector(network.eval(), weights)
    dataclasses.replace(lessons.base.config, sha256=sha256_of(weights), provenance=note).write(
        out / DETECTOR_CONFIG_FILE
    )
    carry_refiner(lessons.base.folder, out)
    write_record(
        out / DETECTOR_RECORD_FILE,
        progress,
        recipe=lessons.recipe.as_json(),
        pages={
            f"annotated {side}": sum(page.split == side for page in lessons.pages.read())
            for side in ("train", "validation")
        },
    )
