"""Label Studio's editor in a browser, as an annotator's mouse and keyboard reach it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import FloatRect, Locator, Page, Response, expect

__all__ = ["HOTKEYS", "REGIONS", "Editor"]

Value = Mapping[str, Any]

REGIONS = ".lsf-outliner-item__title"
HOTKEYS = {"signature": "1", "stamp": "2", "thumb": "3"}

# The boxes are drawn once the picture is loaded and fitted; before that a click would go elsewhere.
_SETTLED = """() => {
  const place = document.querySelector('img[alt=image]')?.getBoundingClientRect();
  const drawn = [...document.querySelectorAll('.konvajs-content canvas')].some((canvas) =>
    canvas.width && canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some(Boolean));
  const before = window.placeBefore;
  window.placeBefore = JSON.stringify(place);
  return drawn && place?.width > 0 && window.placeBefore === before;
}"""

_FITTED = """() => {
  const place = document.querySelector('img[alt=image]')?.getBoundingClientRect();
  const before = window.placeBefore;
  window.placeBefore = JSON.stringify(place);
  return place?.width > 0 && window.placeBefore === before;
}"""
_LOOKS_MILLISECONDS = 100
"""Between two looks at where the picture is: within a frame or two it may not have begun to move."""


class Editor:
    """One task, open in the editor; coordinates are percent of the page, as in Label Studio's regions.

    Args:
        page: Of a browser that is logged in.
        url: Address of Label Studio.
    """

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.task = 0
        self._url = url
        self._image = page.locator("img[alt=image]")

    @property
    def regions(self) -> Locator:
        """The labels in the list of regions."""
        return self.page.locator(REGIONS)

    @property
    def details(self) -> Locator:
        """The panel that shows the selected region."""
        return self.page.locator(".lsf-tabs-panel").first

    def open(self, project: int, task: int, *, regions: int) -> None:
        """Opens a task and waits for its boxes."""
        self.task = task
        with self._making():
            self.page.goto(f"{self._url}/projects/{project}/data?task={task}")
        expect(self.regions).to_have_count(regions)
        self.settle()

    def settle(self) -> None:
        """Waits until the picture and its boxes are where they stay: before that, a click would go elsewhere."""
        self._wait_for(_SETTLED)

    def open_empty(self, project: int, task: int) -> None:
        """Opens a task that has no boxes, and waits for its page."""
        self.task = task
        with self._making():
            self.page.goto(f"{self._url}/projects/{project}/data?task={task}")
        expect(self._image).to_be_visible()
        self._wait_for(_FITTED)

    def draw_smart(self, value: Value, label: str) -> None:
        """Draws a rough box with the smart tool; what becomes of it is up to the backend."""
        self.page.locator(".lsf-label", has_text=label).click()
        self.pull(value)

    def pull(self, value: Value) -> None:
        """Pulls the mouse from corner to corner of a box, under the label that is chosen."""
        x, y = value["x"], value["y"]
        self._pull(self._at(x, y), self._at(x + value["width"], y + value["height"]))

    def pick(self, region: Mapping[str, Any]) -> None:
        """Selects a region by a click on its box."""
        self.settle()
        self.page.keyboard.press("Escape")
        self.page.mouse.click(*self._middle(region["value"]))
        expect(self.details).to_contain_text(region["id"])

    def pick_in_list(self, place: int, region: Mapping[str, Any]) -> None:
        """Selects the region at this place of the list; the list is in the order of the prediction."""
        self.regions.nth(place).click()
        expect(self.details).to_contain_text(region["id"])

    def relabel(self, region: Mapping[str, Any], label: str) -> None:
        """Gives a region another label by its hotkey."""
        self.pick(region)
        self.page.keyboard.press(HOTKEYS[label])
        expect(self.details).to_contain_text(label)
        self.page.keyboard.press("Escape")

    def delete(self, region: Mapping[str, Any]) -> None:
        """Deletes a region by the key."""
        left = self.regions.count() - 1
        self.pick(region)
        self.page.keyboard.press("Backspace")
        expect(self.regions).to_have_count(left)

    def drag(self, region: Mapping[str, Any], *, across: float) -> None:
        """Drags a region to the right."""
        self.pick(region)
        x, y = self._middle(region["value"])
        self._pull((x, y), (x + across / 100 * self._place()["width"], y))
        self.page.keyboard.press("Escape")

    def draw(self, value: Value, label: str) -> None:
        """Draws a new box from corner to corner, after a click on its label."""
        more = self.regions.count() + 1
        self.page.locator(".lsf-label", has_text=label).click()
        self.pull(value)
        expect(self.regions).to_have_count(more)
        self.page.keyboard.press("Escape")

    def submit(self) -> dict[str, Any]:
        """Submits; gives the annotation as Label Studio stored it."""
        button = self.page.get_by_role("button", name="Submit current annotation")
        posted = self._answers("POST", f"/api/tasks/{self.task}/annotations")
        with self._making(), self.page.expect_response(posted) as answer:
            button.click()
        stored: dict[str, Any] = answer.value.json()
        expect(button).to_have_count(0)
        return stored

    def update(self, annotation: int) -> dict[str, Any]:
        """Saves what was changed after the submission; gives the annotation as Label Studio stored it."""
        patched = self._answers("PATCH", f"/api/annotations/{annotation}")
        with self._making(), self.page.expect_response(patched) as answer:
            self.page.get_by_role("button", name="submit").get_by_text("Update").click()
        stored: dict[str, Any] = answer.value.json()
        return stored

    def delete_annotation(self, annotation: int) -> None:
        """Deletes the whole annotation from its menu."""
        chosen = self.page.locator(".lsf-annotation-button_selected")
        chosen.locator(".lsf-annotation-button__trigger").click()
        self.page.get_by_text("Delete Annotation", exact=True).click()
        with self.page.expect_response(self._answers("DELETE", f"/api/annotations/{annotation}")):
            self.page.locator(".lsf-modal-ls_visible").get_by_role("button", name="Delete", exact=True).click()

    @contextmanager
    def _making(self) -> Iterator[None]:
        """Waits until a task's editor is made, as it is at the opening and anew after what was saved.

        Seen in 1.23.2: the old one stays on the screen until then, and loses what is begun in it.
        """
        with self.page.expect_response(self._answers("GET", "/api/label_links")):
            yield

    def _wait_for(self, condition: str) -> None:
        """Waits for what is so in two looks, one after the other."""
        self.page.evaluate("delete window.placeBefore")
        self.page.wait_for_function(condition, polling=_LOOKS_MILLISECONDS)

    def _pull(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        mouse = self.page.mouse
        mouse.move(*start)
        mouse.down()
        mouse.move(*end, steps=10)
        mouse.up()

    def _middle(self, value: Value) -> tuple[float, float]:
        return self._at(value["x"] + value["width"] / 2, value["y"] + value["height"] / 2)

    def _at(self, x: float, y: float) -> tuple[float, float]:
        """A place on the page as a place on the screen."""
        place = self._place()
        return place["x"] + place["width"] * x / 100, place["y"] + place["height"] * y / 100

    def _place(self) -> FloatRect:
        """Where the page's picture is on the screen."""
        found = self._image.bounding_box()
        assert found is not None, "the page's picture is not on the screen"
        return found

    @staticmethod
    def _answers(method: str, path: str) -> Any:
        def wanted(response: Response) -> bool:
            here = urlsplit(response.url).path.rstrip("/") == path
            return here and response.request.method == method and response.ok

        return wanted
