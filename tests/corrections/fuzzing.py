"""A Label Studio that is edited at random; `fuzz_reading` says what its final state means."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

from tests.corrections.annotating import HEIGHT, WIDTH, iso
from tests.corrections.studio import PROJECT, Studio

__all__ = ["Annotators", "Box", "box_of"]

MARKS = ("signature", "stamp", "thumb")
SIDE, STEP = 60, 90
MOST_CONFIGS = 95
"""The program remembers a hundred label configs of a project; what was called by an earlier one is unknown."""
CELLS: tuple[tuple[int, float, float], ...] = tuple(
    (page, x, y) for page in (0, 1) for x in range(10, WIDTH - SIDE, STEP) for y in range(10, HEIGHT - SIDE, STEP)
)
Box = tuple[float, float, float, float]


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
        x1, y1, _, _ = box_of(region)
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


def _percent(corner: tuple[float, float]) -> dict[str, float]:
    x, y = min(corner[0], WIDTH - SIDE), min(corner[1], HEIGHT - SIDE)
    return {"x": 100 * x / WIDTH, "y": 100 * y / HEIGHT, "width": 100 * SIDE / WIDTH, "height": 100 * SIDE / HEIGHT}


def box_of(region: dict[str, Any]) -> Box:
    """A region's corners, pixels."""
    value = region["value"]
    x, y = value["x"] * WIDTH / 100, value["y"] * HEIGHT / 100
    return x, y, x + value["width"] * WIDTH / 100, y + value["height"] * HEIGHT / 100
