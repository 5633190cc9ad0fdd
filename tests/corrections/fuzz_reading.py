"""What the final state of an edited Label Studio means, by a reading of its own.

It shares no code with the program: it knows the table of `DESIGN` (accepted, moved, relabelled, rejected, duplicate,
missed, unknown), Label Studio's final state, which words have ever stood for which mark, and which of the project's
label configs the program was told of.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.corrections.fuzzing import Annotators, Box, box_of

__all__ = ["outcomes", "unaware"]

Row = tuple[str, tuple[str, str, str | None]]
Truth = dict[str, tuple[str, str, str | None]]
Marked = tuple[str | None, tuple[int, Box]]


def unaware(world: Annotators) -> set[int]:
    """Annotations that name no prediction and have none of its regions left, on tasks that something was shown on.

    Label Studio does not say what their annotators saw; clocks do, and what they lack is weak evidence.
    """
    return {
        one["id"]
        for task in world.studio.tasks.values()
        for one in task["annotations"]
        if one["parent_prediction"] is None and not _parent(world, one) and world.studio.predictions.get(one["task"])
    }


def outcomes(world: Annotators) -> Truth:
    """What Label Studio's final state teaches: outcome, label and wrong label by sample."""
    known = {word for config in world.told for word in world.meant if f'"{word}"' in config}
    found: Truth = {}
    for task in world.studio.tasks.values():
        for one in task["annotations"]:
            if not one["was_cancelled"]:
                for region, row in _read(world, one, known):
                    found[f"{one['id']}-{region}"] = row
    return found


def _read(world: Annotators, one: dict[str, Any], known: set[str]) -> Iterator[Row]:
    before = {region["id"]: region for region in _parent(world, one)}
    shown = {name: (_mark(world, region, known, {}), _place(region)) for name, region in before.items()}
    left = {region["id"]: (_mark(world, region, known, before), _place(region)) for region in one["result"]}
    left = {name: row for name, row in left.items() if row[0] is not None}
    by_hand = [region["id"] for region in one["result"] if region["origin"] == "manual" and region["id"] in left]
    marks = {name: row for name, row in left.items() if name not in by_hand}
    for name in by_hand:  # pasted once too often, it is no other mark
        if all(row[0] != left[name][0] or _iou(row[1], left[name][1]) < 0.7 for row in marks.values()):
            marks[name] = left[name]
    left = marks
    pairs = _pairs(shown, left)
    yield from (row for a, b in pairs for row in _of_pair(shown[a], b, left[b]))
    yield from (
        (b, ("missed", str(left[b][0]), None)) for b in left.keys() - {x for _, x in pairs} if left[b][0] != "?"
    )
    yield from (row for a in shown.keys() - {x for x, _ in pairs} for row in _of_gone(a, shown[a], left))


def _pairs(shown: dict[str, Marked], left: dict[str, Marked]) -> list[tuple[str, str]]:
    pairs = [(name, name) for name in sorted(shown.keys() & left.keys())]
    ranked = []
    for a, (mark_a, place_a) in shown.items():
        for b, (mark_b, place_b) in left.items():
            alike = mark_a == mark_b or "?" in (mark_a, mark_b)
            if _iou(place_a, place_b) >= (0.1 if alike else 0.5):
                ranked.append((mark_a != mark_b, -_iou(place_a, place_b), a, b))
    for _, _, a, b in sorted(ranked):
        if a not in {x for x, _ in pairs} and b not in {x for _, x in pairs}:
            pairs.append((a, b))
    return pairs


def _of_pair(shown: Marked, name: str, left: Marked) -> Iterator[Row]:
    (mark_a, place_a), (mark_b, place_b) = shown, left
    if mark_b != "?" and mark_a not in ("?", mark_b):
        # Dragged to another mark, it never was called by the wrong name there.
        there = _iou(place_a, place_b) >= 0.1
        yield name, ("relabelled", str(mark_b), mark_a) if there else ("missed", str(mark_b), None)
    elif mark_b != "?":
        yield name, ("accepted" if _iou(place_a, place_b) >= 0.5 else "moved", str(mark_b), None)


def _of_gone(name: str, shown: Marked, left: dict[str, Marked]) -> Iterator[Row]:
    mark, place = shown
    near = [(said, _iou(place, there)) for said, there in left.values() if _iou(place, there) >= 0.1]
    if mark == "?" or any(said == "?" for said, _ in near):
        return
    if any(said == mark for said, _ in near):
        yield name, ("duplicate", str(mark), None)
    else:
        covered = max(((overlap, str(said)) for said, overlap in near if overlap >= 0.5), default=(0.0, "none"))
        yield name, ("rejected", covered[1], mark)


def _parent(world: Annotators, one: dict[str, Any]) -> list[dict[str, Any]]:
    stored = world.studio.predictions.get(one["task"], [])
    named = [made for made in stored if made["id"] == one["parent_prediction"]]
    if not named and one["parent_prediction"] is None:
        taken = {region["id"] for region in one["result"] if region["origin"].startswith("prediction")}
        named = [made for made in stored if taken & {region["id"] for region in made["result"]}]
    return named[0]["result"] if named else []


def _mark(world: Annotators, region: dict[str, Any], known: set[str], before: dict[str, dict[str, Any]]) -> str | None:
    """The mark that a region stands for; "?" where nobody can know; None where it is of something else."""
    names = region["value"].get("rectanglelabels")
    word = before[region["id"]]["value"]["rectanglelabels"][0] if region["id"] in before else None
    if names:
        return world.meant[names[0]] if names[0] in known or names[0] == word else "?"
    # Nothing but a renaming, of it or its control, takes the label off a region; an untouched one is what was shown.
    return world.meant[word] if word is not None and region["origin"] == "prediction" else "?"


def _place(region: dict[str, Any]) -> tuple[int, Box]:
    return region["item_index"], box_of(region)


def _iou(one: tuple[int, Box], other: tuple[int, Box]) -> float:
    (page, (ax, ay, bx, by)), (there, (cx, cy, dx, dy)) = one, other
    across, down = min(bx, dx) - max(ax, cx), min(by, dy) - max(ay, cy)
    if page != there or across <= 0 or down <= 0:
        return 0.0
    both = across * down
    return both / ((bx - ax) * (by - ay) + (dx - cx) * (dy - cy) - both)
