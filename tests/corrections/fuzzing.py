"""A Label Studio that is edited at random, and what its final state means by a reading of its own.

The reading shares no code with the program: it knows the table of `DESIGN` (accepted, moved, relabelled, rejected,
duplicate, missed, unknown), Label Studio's final state, which words have ever stood for which mark, and which of the
project's label configs the program was told of.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from typing import Any

from tests.corrections.annotating import HEIGHT, WIDTH, iso
from tests.corrections.studio import PROJECT, Studio

__all__ = ["Annotators", "outcomes", "unaware"]

MARKS = ("signature", "stamp", "thumb")
SIDE, STEP = 60, 90
MOST_CONFIGS = 95
"""The program remembers a hundred label configs of a project; what was called by an earlier one is unknown."""
CELLS: tuple[tuple[int, float, float], ...] = tuple(
    (page, x, y) for page in (0, 1) for x in range(10, WIDTH - SIDE, STEP) for y in range(10, HEIGHT - SIDE, STEP)
)
Box = tuple[float, float, float, float]
Row = tuple[str, tuple[str, str, str | None]]
Truth = dict[str, tuple[str, str, str | None]]
Marked = tuple[str | None, tuple[int, Box]]


class Annotators:
    """Several people and programs at work on one project; each step is one edit, and gives the events of it.

    Attributes:
        studio: Label Studio as it is.
        told: Label configs that reached the program.
        meant: What each word stands for; none is ever used for another mark.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311
        self.studio = Studio()
        self.now = 1_000_000.0
        self.told: set[str] = set()
        self.meant: dict[str, str | None] = {"logo": None}
        self.words = {mark: self._word(mark) for mark in MARKS}
        self.control = "mark"
        self.classes = 0
        self.configs = 1
        self.serial = 0
        self.earlier: dict[int, list[list[dict[str, Any]]]] = {}
        self.remembered: list[tuple[dict[str, Any], int]] = []
        self._write_config()

    def step(self) -> list[dict[str, Any]]:
        """One edit."""
        self.now += self.random.uniform(0.001, 60)
        acts: list[tuple[int, Callable[[], list[dict[str, Any]]]]] = [
            (6, self._import), (14, self._open), (60, self._update), (4, self._undo), (3, self._skip),
            (3, self._delete_annotation), (1, self._delete_task), (2, self._rename), (2, self._rename_control),
            (1, self._add_class), (4, self._copy), (1, self._rename_everywhere), (1, self._put_clock_back),
        ]  # fmt: skip
        act = self.random.choices([one for _, one in acts], weights=[weight for weight, _ in acts])[0]
        if act in (self._rename, self._rename_control, self._rename_everywhere, self._add_class):
            self.configs += 1
            return act() if self.configs < MOST_CONFIGS else []
        return act()

    # The project

    def _word(self, mark: str) -> str:
        word = f"{mark} {len(self.meant)}"
        self.meant[word] = mark
        return word

    def _write_config(self) -> None:
        labels = "".join(f'<Label value="{word}" predicted_values="{mark}"/>' for mark, word in self.words.items())
        more = "".join(f'<Label value="class {number}"/>' for number in range(self.classes))
        self.meant.update({f"class {number}": None for number in range(self.classes)})
        self.studio.label_config = (
            f'<View><Image name="page" valueList="$pages"/><RectangleLabels name="{self.control}" toName="page">'
            f'{labels}<Label value="logo"/>{more}</RectangleLabels></View>'
        )

    def _rename(self) -> list[dict[str, Any]]:
        mark = self.random.choice(MARKS)
        self.words[mark] = self._word(mark)
        return self._configured()

    def _rename_control(self) -> list[dict[str, Any]]:
        self.control = f"control {self._next()}"
        return self._configured()

    def _rename_everywhere(self) -> list[dict[str, Any]]:
        """The action of the Data Manager: it changes stored annotations, not their stamps, and tells nobody of them."""
        mark = self.random.choice(MARKS)
        old, self.words[mark] = self.words[mark], self._word(mark)
        for task in self.studio.tasks.values():
            for region in (region for one in task["annotations"] for region in one["result"]):
                names = region["value"].get("rectanglelabels", [])
                names[:] = [self.words[mark] if name == old else name for name in names]
        return self._configured()

    def _put_clock_back(self) -> list[dict[str, Any]]:
        """Label Studio's; by less than what `sync` looks back."""
        self.now -= self.random.uniform(1, 600)
        return []

    def _add_class(self) -> list[dict[str, Any]]:
        self.classes += 1
        return self._configured()

    def _configured(self) -> list[dict[str, Any]]:
        self._write_config()
        return [{"action": "PROJECT_UPDATED", "project": self._project()}]

    def _project(self) -> dict[str, Any]:
        return {"id": PROJECT, "label_config": self.studio.label_config}

    # Tasks and predictions

    def _import(self) -> list[dict[str, Any]]:
        """A task, predicted by none, one or two backends; the ledger remembers what they showed, or never saw it."""
        task = self._next()
        self.studio.tasks[task] = {
            "id": task,
            "project": PROJECT,
            "data": {"pages": [f"/data/upload/1/t{task}p{page}" for page in (0, 1)]},
            "annotations": [],
            "updated_at": iso(self.now),
        }
        for version in self.random.choice([[], ["v1"], ["v1"], ["v1", "other"]]):
            self._predict(task, version)
        return []

    def _predict(self, task: int, version: str) -> None:
        result: list[dict[str, Any]] = []
        for page, x, y in self.random.sample(CELLS, self.random.randint(0, 5)):
            result.append(self._region(self.random.choice(MARKS), page, (x, y), origin="prediction"))
            if self.random.random() < 0.3:  # a second box there, of this class or another
                shift = self.random.choice([6, 18])
                result.append(self._region(self.random.choice(MARKS), page, (x + shift, y), origin="prediction"))
        made = {"id": self._next(), "model_version": version, "created_at": iso(self.now), "result": result}
        self.studio.predictions.setdefault(task, []).append(made)
        if self.random.random() < 0.5:
            self.remembered.append((made, task))

    def _region(self, mark: str, page: int, corner: tuple[float, float], *, origin: str) -> dict[str, Any]:
        return {
            "id": f"r{self._next()}",
            "type": "rectanglelabels",
            "from_name": self.control,
            "to_name": "page",
            "item_index": page,
            "origin": origin,
            "original_width": WIDTH,
            "original_height": HEIGHT,
            "value": {**_percent(corner), "rotation": 0, "rectanglelabels": [self.words[mark]]},
        }

    # Annotations

    def _open(self) -> list[dict[str, Any]]:
        """Somebody begins with a prediction, or on an empty page where there is none, and submits at once."""
        task = self._task()
        if task is None:
            return []
        stored = self.studio.predictions.get(task, [])
        parent = self.random.choice(stored) if stored else None
        result = [self._opened(region) for region in copy.deepcopy(parent["result"])] if parent else []
        annotation = {
            "id": self._next(),
            "task": task,
            "project": PROJECT,
            "was_cancelled": False,
            "created_at": iso(self.now),
            "completed_by": self.random.randint(1, 4),
            "parent_prediction": parent["id"] if parent else None,
            "result": result,
        }
        for _ in range(self.random.randint(0, 4)):
            self._edit(annotation)
        return self._save(annotation, "ANNOTATION_CREATED")

    def _copy(self) -> list[dict[str, Any]]:
        """A copy of an annotation names no prediction; its regions tell where they come from."""
        found = self._annotation()
        if found is None or not any(one["origin"].startswith("prediction") for one in found["result"]):
            return []
        one = copy.deepcopy(found) | {"id": self._next(), "created_at": iso(self.now), "parent_prediction": None}
        return self._save(one, "ANNOTATION_CREATED")

    def _update(self) -> list[dict[str, Any]]:
        one = self._annotation()
        if one is None:
            return []
        self.earlier.setdefault(one["id"], []).append(copy.deepcopy(one["result"]))
        one["result"] = [self._in_editor(region) for region in one["result"]]
        for _ in range(self.random.randint(1, 3)):
            self._edit(one)
        return self._save(one, "ANNOTATION_UPDATED")

    def _undo(self) -> list[dict[str, Any]]:
        one = self._annotation()
        if one is None or not self.earlier.get(one["id"]):
            return []
        one["result"] = self.earlier[one["id"]].pop()
        return self._save(one, "ANNOTATION_UPDATED")

    def _skip(self) -> list[dict[str, Any]]:
        one = self._annotation()
        if one is None:
            return []
        one["was_cancelled"] = not one["was_cancelled"]
        return self._save(one, "ANNOTATION_UPDATED")

    def _edit(self, one: dict[str, Any]) -> None:
        kind = self.random.choice(["create", "move", "shift", "relabel", "delete", "redraw", "foreign", "paste"])
        if kind == "create" or not one["result"]:
            page, x, y = self.random.choice(CELLS)
            one["result"].append(self._region(self.random.choice(MARKS), page, (x, y), origin="manual"))
            return
        region = self.random.choice(one["result"])
        if kind == "delete":
            one["result"].remove(region)
        elif kind == "paste":
            again = copy.deepcopy(region) | {"id": f"r{self._next()}", "origin": "manual"}
            again["value"].update(_percent(self._beside(region)[1:]))
            one["result"].append(again)
        elif kind in ("move", "shift"):
            _, x, y = self.random.choice(CELLS) if kind == "move" else self._beside(region)
            region["value"].update(_percent((x, y)))
            self._touched(region)
        elif kind in ("relabel", "foreign"):
            names = list(self.words.values()) if kind == "relabel" else ["logo"]
            region["value"]["rectanglelabels"] = [self.random.choice(names)]
            self._touched(region)
        else:
            _, x, y = self._beside(region)
            again = self._region(self.random.choice(MARKS), region["item_index"], (x, y), origin="manual")
            one["result"][one["result"].index(region)] = again

    def _beside(self, region: dict[str, Any]) -> tuple[int, float, float]:
        x1, y1, _, _ = _box(region)
        return region["item_index"], x1 + self.random.choice([0, 4, 24]), y1

    def _touched(self, region: dict[str, Any]) -> None:
        if region["origin"] == "prediction":
            region["origin"] = "prediction-changed"

    def _opened(self, region: dict[str, Any]) -> dict[str, Any]:
        """A prediction's region of a control that was renamed since loses its label and gets the new one, in 1.23.2."""
        if region["from_name"] != self.control:
            del region["value"]["rectanglelabels"]
            region["from_name"] = self.control
        return self._in_editor(region)

    def _in_editor(self, region: dict[str, Any]) -> dict[str, Any]:
        """An editor may drop a name that the label config does not have, or hand it back as it was, as 1.23.2 does."""
        names = region["value"].get("rectanglelabels")
        if names and f'"{names[0]}"' not in self.studio.label_config and self.random.random() < 0.7:
            del region["value"]["rectanglelabels"]
        return region

    def _save(self, one: dict[str, Any], action: str) -> list[dict[str, Any]]:
        one["updated_at"] = iso(self.now)
        task = self.studio.tasks[one["task"]]
        others = [other for other in task["annotations"] if other["id"] != one["id"]]
        task.update(annotations=[*others, one], updated_at=iso(self.now))
        bare = {key: value for key, value in task.items() if key != "annotations"}
        return [copy.deepcopy({"action": action, "annotation": one, "task": bare, "project": self._project()})]

    def _delete_annotation(self) -> list[dict[str, Any]]:
        one = self._annotation()
        if one is None:
            return []
        task = self.studio.tasks[one["task"]]
        task.update(annotations=[other for other in task["annotations"] if other is not one], updated_at=iso(self.now))
        return [{"action": "ANNOTATIONS_DELETED", "annotations": [{"id": one["id"]}], "project": {"id": PROJECT}}]

    def _delete_task(self) -> list[dict[str, Any]]:
        task = self._task()
        if task is None or len(self.studio.tasks) < 5:
            return []
        del self.studio.tasks[task]
        return [{"action": "TASKS_DELETED", "tasks": [{"id": task}], "project": {"id": PROJECT}}]

    def _task(self) -> int | None:
        return self.random.choice(sorted(self.studio.tasks)) if self.studio.tasks else None

    def _annotation(self) -> dict[str, Any] | None:
        found = [one for task in self.studio.tasks.values() for one in task["annotations"]]
        return self.random.choice(found) if found else None

    def _next(self) -> int:
        self.serial += 1
        return self.serial


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
    return region["item_index"], _box(region)


def _percent(corner: tuple[float, float]) -> dict[str, float]:
    x, y = min(corner[0], WIDTH - SIDE), min(corner[1], HEIGHT - SIDE)
    return {"x": 100 * x / WIDTH, "y": 100 * y / HEIGHT, "width": 100 * SIDE / WIDTH, "height": 100 * SIDE / HEIGHT}


def _box(region: dict[str, Any]) -> Box:
    value = region["value"]
    x, y = value["x"] * WIDTH / 100, value["y"] * HEIGHT / 100
    return x, y, x + value["width"] * WIDTH / 100, y + value["height"] * HEIGHT / 100


def _iou(one: tuple[int, Box], other: tuple[int, Box]) -> float:
    (page, (ax, ay, bx, by)), (there, (cx, cy, dx, dy)) = one, other
    across, down = min(bx, dx) - max(ax, cx), min(by, dy) - max(ay, cy)
    if page != there or across <= 0 or down <= 0:
        return 0.0
    both = across * down
    return both / ((bx - ax) * (by - ay) + (dx - cx) * (dy - cy) - both)
