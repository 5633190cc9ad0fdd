"""Marks of pages ⇄ Label Studio's regions and predictions: percent units, ids, scores.

Why a prediction is empty, in words for the log and for whoever reads predictions as JSON.

Label Studio keeps nothing of a prediction but its result, score and version, and takes a further key without complaint.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from backend.errors import RequestError
from backend.geometry import as_boxes, clip, to_percent
from backend.labelstudio.brush import box_of_runs, runs_of_mask
from backend.vision.ink import outline, turned_box
from backend.vision.network_config import MARKS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from backend.geometry import Boxes
    from backend.labelstudio.labelling import Binding
    from backend.vision.ink import Inked
    from backend.vision.pipeline import Marks

__all__ = [
    "NOT_DONE",
    "Region",
    "as_stored",
    "drawn_box",
    "drawn_label",
    "meant_by",
    "of_pages",
    "placed",
    "prediction",
    "refined",
    "region_id",
    "regions",
    "regions_there",
    "wants_ink",
    "why_empty",
]

_MOST_PAGES = 5
Region = dict[str, Any]

# Label Studio stores nothing for it, and the task stays open for a later request.
NOT_DONE: list[Any] = []
# Enough places to give back the pixel of any page; fewer make ids of one box differ by rounding noise.
_PLACES = 4
# Percent of a page, or degrees: what is drawn may leave the page, but not by this much.
_FURTHEST = 1e6
_FEWEST_POINTS, _MOST_POINTS = 3, 100_000


def why_empty(marks: Marks, bindings: Sequence[Binding]) -> str:
    """Why a page has no region, where it has none: what was looked at, what came nearest, and what it lacked.

    Args:
        marks: What the pipeline made of the page.
        bindings: The controls on it.
    """
    if len(marks):
        return _unlabelled(marks, bindings)
    if marks.nearest is None:
        return "no candidate: nothing on the page looks like a mark"
    one = marks.nearest
    best = f"{_counted(marks.candidates, 'candidate')}, the best of them a {one.name} at {_number(one.score)}"
    return f"{best}, under {_number(one.bar)}"


def of_pages(reasons: Mapping[int, str], *, pages: int) -> str:
    """The reasons of a task's pages as one.

    Args:
        reasons: By index of the page.
        pages: How many pages the task has.
    """
    if pages == 1:
        return "".join(reasons.values())
    shown = [f"page {index + 1}: {reason}" for index, reason in sorted(reasons.items())]
    more = len(shown) - _MOST_PAGES
    return "; ".join([*shown[:_MOST_PAGES], *([f"and {more} more pages"] if more > 0 else [])])


def _unlabelled(marks: Marks, bindings: Sequence[Binding]) -> str:
    """Why none of the marks that were found is shown: the label config has no label for them, or a higher threshold."""
    bars = {mark: min(one.threshold for one in bindings if mark in one.shown) for mark in _labels(bindings)}
    found = _counted(len(marks), "mark")
    labelled = [(score, name) for name, score in zip(marks.names, marks.scores, strict=True) if name in bars]
    if not labelled:
        return f"{found} found, and no label for {', '.join(sorted(set(marks.names)))} in the label config"
    score, name = max(labelled)
    bar = _number(bars[name])
    return f"{found} found, the best with a label a {name} at {_number(score)}, under the label config's {bar}"


def _labels(bindings: Sequence[Binding]) -> set[str]:
    return {mark for binding in bindings for mark in binding.shown}


def _counted(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _number(value: float) -> str:
    return f"{round(float(value), 4):g}"


def wants_ink(bindings: Iterable[Binding]) -> bool:
    """Whether some control shows more of a mark than its upright box, so that its ink has to be known."""
    return any(binding.turns or binding.shape != "rectangle" for binding in bindings)


def regions(
    marks: Marks,
    *,
    width: int,
    height: int,
    binding: Binding,
    task: int | None,
    item: int | None,
    inks: Sequence[Inked] = (),
) -> list[Region]:
    """The marks of one page that the binding has a label for, as regions.

    Args:
        marks: What the pipeline found.
        width: Width of the upright page in pixels.
        height: Height of the upright page in pixels.
        binding: Control, image, labels and threshold of the project.
        task: The task's id, part of the regions' ids.
        item: Place of the page in a `valueList`; None for a single image.
        inks: The ink of each mark, where the control `wants_ink`.
    """
    shown = placed(marks, width=width, height=height, binding=binding, task=task, item=item, inks=inks)
    return [one for _, region in shown for one in as_stored(region, binding)]


def placed(
    marks: Marks,
    *,
    width: int,
    height: int,
    binding: Binding,
    task: int | None,
    item: int | None,
    inks: Sequence[Inked] = (),
) -> Iterator[tuple[int, Region]]:
    """The labelled regions alone, each with the place of its mark among the marks; arguments as of `regions`."""
    for place, (box, index, score) in enumerate(zip(marks.boxes, marks.labels, marks.scores, strict=True)):
        label = binding.shown.get(MARKS[index])
        if label is None or score < binding.threshold:
            continue
        ink = inks[place] if inks else None
        shape = _shape(box[None], ink, turnable=MARKS[index] == "stamp", width=width, height=height, binding=binding)
        region = _region(shape, label, float(score), width=width, height=height, binding=binding, item=item)
        yield place, {"id": region_id(task, marks.version, region), **region, **_origin(marks, place)}


def as_stored(region: Region, binding: Binding) -> list[Region]:
    """A labelled region as Label Studio stores it: where another control draws, one of that control comes before it.

    Both have one id, by which the editor makes one region of them.
    """
    if not binding.figure:
        return [region]
    value = {name: one for name, one in region["value"].items() if name != binding.kind}
    return [region | {"from_name": binding.figure, "type": binding.shape, "value": value}, region]


def refined(
    marks: Marks,
    drawn: Mapping[str, Any],
    *,
    width: int,
    height: int,
    binding: Binding,
    inks: Sequence[Inked] = (),
) -> Region:
    """Tightens what an annotator drew. The region keeps its id, page and label; its score tells the doubt.

    It gets the likeliest label only where it was drawn without one that the control has.

    Args:
        marks: The one mark inside the drawn box.
        drawn: The region as Label Studio sent it.
        width: Width of the upright page in pixels.
        height: Height of the upright page in pixels.
        binding: The control that it was drawn with.
        inks: The ink of the one mark, where the control `wants_ink`.
    """
    named: dict[str, float] = {}
    for mark, label in binding.labels.items():
        named[label] = named.get(label, 0.0) + float(marks.probabilities[0, MARKS.index(mark)])
    chosen = drawn_label(drawn, binding)
    if chosen is None:
        label = max(named, key=lambda name: named[name])
        score = named[label]
    else:
        label, stands_for = chosen, meant_by(chosen, binding)
        # Where it is none of our marks, all that is known is how little it looks like one.
        certainties = [float(marks.probabilities[0, MARKS.index(mark)]) for mark in stands_for]
        score = sum(certainties) if certainties else 1 - float(marks.scores[0])
    item = drawn.get("item_index")
    identity = drawn.get("id")
    ink = inks[0] if inks else None
    shape = _shape(marks.boxes, ink, turnable=False, width=width, height=height, binding=binding)
    region = _region(shape, label, score, width=width, height=height, binding=binding, item=item)
    kept = identity if isinstance(identity, str) and identity else region_id(marks.version, region)
    return {"id": kept, **region, **({} if chosen else _origin(marks, 0))}


def drawn_label(drawn: Mapping[str, Any], binding: Binding) -> str | None:
    """The label under which an annotator drew a region; None where it has none that the control has."""
    value = drawn.get("value")
    labels = value.get(binding.kind) if isinstance(value, dict) else None
    label = labels[0] if isinstance(labels, list) and labels else None
    return label if isinstance(label, str) and (label in binding.meanings or label in binding.labels.values()) else None


def meant_by(label: str, binding: Binding) -> tuple[str, ...]:
    """The marks that a label stands for."""
    return binding.meanings.get(label) or tuple(mark for mark, word in binding.labels.items() if word == label)


def regions_there(task: Mapping[str, Any], drawn: Mapping[str, Any], *, width: int, height: int) -> Boxes:
    """The boxes (T, 4) that an annotator has on a page beside what was just drawn, in pixels.

    They are those of the newest draft; else of the newest annotation; else of the newest prediction.
    """
    kept: Sequence[Any] = []
    for kind in ("drafts", "annotations", "predictions"):
        stored = [one for one in task.get(kind) or () if isinstance(one, dict)]
        if stored:
            newest = max(stored, key=lambda one: str(one.get("updated_at") or one.get("created_at") or ""))
            kept = newest.get("result") or []
            break
    boxes = []
    for region in kept:
        same_page = isinstance(region, dict) and (region.get("item_index") or 0) == (drawn.get("item_index") or 0)
        if same_page and region.get("to_name") == drawn.get("to_name") and region.get("id") != drawn.get("id"):
            try:
                boxes.append(drawn_box(region, width=width, height=height)[0])
            except RequestError:
                continue  # an ellipse, a choice or a text: nothing that the answer could be a copy of
    return as_boxes(boxes)


def _origin(marks: Marks, place: int) -> Region:
    """What the editor shows beside a region whose label comes from an earlier correction."""
    sample = marks.recalled[place] if marks.recalled else None
    if sample is None:
        return {}
    source = f"as corrected in annotation {sample.partition('-')[0]}"
    return {"meta": {"text": [f"{source}; `samples forget {sample}` takes that back"]}}


def _shape(
    box: Boxes, ink: Inked | None, *, turnable: bool, width: int, height: int, binding: Binding
) -> dict[str, Any]:
    """What a control draws of the mark in a (1, 4) box, in Label Studio's units."""
    if ink is not None and binding.shape == "brush":
        runs = runs_of_mask(ink.mask, left=ink.left, top=ink.top, width=width, height=height)
        return {"format": "rle", "rle": runs}
    if ink is not None and binding.shape == "polygon":
        percent = np.clip(outline(ink) * 100 / [width, height], 0, 100).round(_PLACES)
        return {"points": percent.tolist(), "closed": True}
    turned = turned_box(ink) if ink is not None and turnable and binding.turns else None
    if turned is not None:
        values = np.array([*turned.corner, *turned.size]) * 100 / [width, height, width, height]
        x, y, across, down = map(float, values.round(_PLACES))
        return {"x": x, "y": y, "width": across, "height": down, "rotation": round(turned.degrees % 360, 2)}
    [percent] = to_percent(clip(box, width=width, height=height), width=width, height=height).round(_PLACES)
    x, y, across, down = map(float, percent)
    return {"x": x, "y": y, "width": across, "height": down, "rotation": 0}


def _region(
    shape: dict[str, Any], label: str, score: float, *, width: int, height: int, binding: Binding, item: int | None
) -> Region:
    """One mark as a region, but for its id."""
    return {
        "from_name": binding.control,
        "to_name": binding.image,
        "type": binding.kind,
        "score": round(score, _PLACES),
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": {**shape, binding.kind: [label]},
        **({} if item is None else {"item_index": item}),
    }


def region_id(*parts: object) -> str:
    """Ten URL-safe characters that are the same for the same JSON values: asking twice gives the same regions."""
    digest = hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=7).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def prediction(result: list[Region], *, certainties: Iterable[float], version: str, reason: str = "") -> dict[str, Any]:
    """One task's prediction: "looked, and found this", also when that is nothing.

    Label Studio's uncertainty sampling takes the lowest score first. The score is the least certainty among all
    candidates of the task's pages, also rejected ones (`Marks.certainty`). So the doubtful task comes first. A task on
    which nothing was near a mark comes last.

    Args:
        result: The regions, and answers of Choices about them.
        certainties: Of each page that was looked at.
        version: The model version.
        reason: Why there is no region; goes along where there is none.
    """
    score = round(min(certainties, default=1.0), _PLACES)
    found: dict[str, Any] = {"result": result, "score": score, "model_version": version}
    boxed = any(region["type"] != "choices" for region in result)
    return found if boxed or not reason else found | {"reason": reason}


def drawn_box(region: Mapping[str, Any], *, width: int, height: int) -> Boxes:
    """The upright box, (1, 4) pixels, around what an annotator drew: a rectangle or an ellipse, an outline, a mask.

    Label Studio turns a rectangle clockwise about its top left corner, and an ellipse about its centre.

    Raises:
        RequestError: The region is none of them.
    """
    value = region.get("value")
    if not isinstance(value, dict):
        value = {}
    if isinstance(value.get("rle"), list):
        covered = box_of_runs(value["rle"], width=width, height=height)
        corners = np.array(covered or (0, 0, 0, 0), float).reshape(2, 2)
    elif "points" in value:
        corners = _points(value["points"]) * [width, height] / 100
    elif "radiusX" in value:
        corners = _extremes(value, width=width, height=height)
    else:
        corners = _corners(value, width=width, height=height)
    box = np.concatenate([corners.min(axis=0), corners.max(axis=0)])
    return clip(as_boxes(box), width=width, height=height)


def _points(points: Any) -> NDArray[np.float64]:
    """Corners of an outline, (N, 2) percent."""
    found = points if isinstance(points, list) and len(points) <= _MOST_POINTS else []
    pairs = [one for one in found if isinstance(one, list) and len(one) == 2 and all(map(_measured, one))]
    if len(pairs) < _FEWEST_POINTS or len(pairs) != len(points):
        raise RequestError("a region is no rectangle, and no outline of three points or more (x and y in percent)")
    return np.array(pairs, float)


def _extremes(value: Mapping[str, Any], *, width: int, height: int) -> NDArray[np.float64]:
    """The top left and the bottom right of an ellipse, (2, 2) pixels."""
    numbers = [value.get("rotation") or 0, *(value.get(side) for side in ("x", "y", "radiusX", "radiusY"))]
    if not all(map(_measured, numbers)):
        raise RequestError("a region is no ellipse (x, y, radiusX, radiusY in percent)")
    turn, x, y, across, down = np.array(numbers, float) * [1, width / 100, height / 100, width / 100, height / 100]
    cosine, sine = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    reach = np.array([math.hypot(across * cosine, down * sine), math.hypot(across * sine, down * cosine)])
    return np.asarray(np.array([x, y]) + np.array([-reach, reach]))


def _corners(value: Mapping[str, Any], *, width: int, height: int) -> NDArray[np.float64]:
    """Corners of a rectangle, (4, 2) pixels."""
    numbers = [value.get("rotation") or 0, *(value.get(side) for side in ("x", "y", "width", "height"))]
    if not all(map(_measured, numbers)):
        raise RequestError("a region is no rectangle (x, y, width, height in percent)")
    turn, x, y, across, down = np.array(numbers, float) * [1, width / 100, height / 100, width / 100, height / 100]
    angle = math.radians(turn)
    right = np.array([math.cos(angle), math.sin(angle)]) * across
    below = np.array([-math.sin(angle), math.cos(angle)]) * down
    return np.asarray(np.array([x, y]) + np.array([0 * right, right, below, right + below]))


def _measured(value: Any) -> bool:
    """Whether it is a number of percent or degrees. Compared, not converted: whole numbers may exceed any float."""
    return isinstance(value, int | float) and -_FURTHEST < value < _FURTHEST
