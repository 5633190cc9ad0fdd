"""What pre-annotation saves: one page of five marks, and the crops of the wall, corrected in the editor by a script.

    python -m benchmarks.clicks --pages 6

A scripted annotator who knows the truth works in the real editor of a real Label Studio. First a page of five marks:
with boxes of which one is misnamed and one is lacking, and without any box. Then the pages of `benchmarks.wall`, one
task after the other in the editor alone. Each key takes `--pause` seconds and each way of the mouse `--point` seconds
more than the machine does: 1.1 s to point is the mean of Card, Moran and Newell (1980). A box is two ways: to its
corner, and across it. How long a person looks is not measured.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image
from playwright.sync_api import Page, expect

from backend.commands.demo.services import Login, wait_for_model
from backend.labelstudio.client import LabelStudio
from backend.synthetic.drawn_page import draw_page
from backend.vision.network_config import MARKS
from benchmarks.wall import ROOT, Truth, browser_page, fill, servers, truly
from tests.end_to_end.editor import HOTKEYS, Editor

_PATIENCE = 240_000
_VERSION = "scripted"
_SEED = 9_300
_MARKS = 5

Value = Mapping[str, float]


@dataclass
class Effort:
    """What the annotator did on some pages.

    Attributes:
        keys: Pressed.
        clicks: Of the mouse.
        drags: Boxes drawn.
        seconds: From the first sight of a page's boxes until its annotation is stored.
        waited: Until the editor showed the page.
    """

    keys: int = 0
    clicks: int = 0
    drags: int = 0
    seconds: float = 0.0
    waited: float = 0.0

    def __str__(self) -> str:
        done = f"{self.keys} keys, {self.clicks} clicks, {self.drags} boxes drawn"
        return f"{done}; {self.seconds:.1f} s (and {self.waited:.1f} s until the editor showed it)"


class Hand:
    """A mouse and a keyboard that take a person's time, over one page in the editor.

    Args:
        editor: Shows the task.
        pause: Seconds of a key.
        point: Seconds of a way of the mouse.
        effort: Is added to.
    """

    def __init__(self, editor: Editor, *, pause: float, point: float, effort: Effort) -> None:
        self._editor = editor
        self._pause, self._point = pause, point
        self.effort = effort

    def key(self, name: str) -> None:
        self._editor.page.keyboard.press(name)
        self.effort.keys += 1
        time.sleep(self._pause)

    def pick(self, region: Mapping[str, Any]) -> None:
        """Chooses a box by a click."""
        time.sleep(self._point)
        self._editor.pick(region)
        self.effort.clicks += 1

    def draw(self, value: Value, label: str) -> None:
        """Chooses a label by its key and draws a box."""
        more = self._editor.regions.count() + 1
        self.key(HOTKEYS[label])
        time.sleep(2 * self._point)
        self._editor.pull(value)
        self.effort.drags += 1
        expect(self._editor.regions).to_have_count(more)
        self.key("Escape")

    def submit(self) -> None:
        time.sleep(self._point)
        self._editor.submit()
        self.effort.clicks += 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=6, help="pages of the wall (default: %(default)s)")
    parser.add_argument("--pause", type=float, default=0.25, help="seconds of a key (default: %(default)s)")
    parser.add_argument("--point", type=float, default=1.1, help="seconds of a way of the mouse (default: %(default)s)")
    args = parser.parse_args()
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder, servers(Path(folder)) as (studio, url):
        version = wait_for_model(url, seconds=_PATIENCE / 1000)
        project, truth = fill(studio, url, version=version, pages=args.pages)
        with browser_page(width=1600, height=2000) as page:
            log_in(page, studio.base_url, Login.of(Path(folder)))
            editor = Editor(page, studio.base_url)
            print(f"a page of {_MARKS} marks")
            print(f"  with boxes, one misnamed and one lacking: {five_marks(studio, editor, args, shown=True)}")
            print(f"  without boxes:                            {five_marks(studio, editor, args, shown=False)}")
            crops, wrong, effort = the_walls_pages(studio, editor, project, truth, args)
    minute = 60 * crops / effort.seconds
    through = 60 * crops / (effort.seconds + effort.waited)
    print(
        f"{args.pages} pages of the wall in the editor alone: {crops} crops, {wrong} of them called wrongly; {effort}"
    )
    print(f"  {minute:.0f} crops a minute; {through:.0f} with the waiting")
    return 0


def five_marks(studio: LabelStudio, editor: Editor, args: argparse.Namespace, *, shown: bool) -> Effort:
    """A page of five marks, with four boxes of which one is misnamed, or without boxes."""
    drawn = next(
        one
        for one in (draw_page(seed, dpi=110, marks=_MARKS) for seed in range(_SEED, _SEED + 1000))
        if len(one.marks) == _MARKS and not any(mark.overlaps for mark in one.marks)
    )
    height, width = drawn.pixels.shape[:2]
    file = io.BytesIO()
    Image.fromarray(drawn.pixels).save(file, "JPEG", quality=90, dpi=(drawn.dpi, drawn.dpi))
    config = (ROOT / "label_config.xml").read_text()
    project = studio.create_project(f"five marks {shown}", config, show_collab_predictions=True)
    studio.create_tab(project, "Default")
    [task] = studio.import_tasks(project, [{"image": studio.upload(project, "five.jpg", file.getvalue())}])
    values = [_percent(mark.box, width, height) for mark in drawn.marks]
    names = [mark.label for mark in drawn.marks]
    false = MARKS[(MARKS.index(names[0]) + 1) % len(MARKS)]
    regions = [
        _region(f"five-{place}", false if place == 0 else names[place], values[place], width, height)
        for place in range(_MARKS - 1)
    ]
    if shown:
        body = {"task": task, "result": regions, "score": 0.5, "model_version": _VERSION}
        studio.call("POST", "/api/predictions/", json=body)
        studio.call("PATCH", f"/api/projects/{project}/", json={"model_version": _VERSION})
    effort = Effort()
    hand = Hand(editor, pause=args.pause, point=args.point, effort=effort)
    began = time.perf_counter()
    if shown:
        editor.open(project, task, regions=len(regions))
    else:
        editor.open_empty(project, task)
    seen = time.perf_counter()
    if shown:
        hand.pick(regions[0])
        hand.key(HOTKEYS[names[0]])
        hand.key("Escape")
        hand.draw(values[-1], names[-1])
    else:
        for value, name in zip(values, names, strict=True):
            hand.draw(value, name)
    hand.submit()
    effort.waited, effort.seconds = seen - began, time.perf_counter() - seen
    [stored] = studio.call("GET", f"/api/tasks/{task}/annotations/")
    left = sorted(one["value"]["rectanglelabels"][0] for one in stored["result"])
    if left != sorted(names):
        raise SystemExit(f"clicks: the page has {sorted(names)}, and the annotation {left}")
    return effort


def the_walls_pages(
    studio: LabelStudio, editor: Editor, project: int, truth: Truth, args: argparse.Namespace
) -> tuple[int, int, Effort]:
    """The same decisions as on the wall, a task at a time; gives the crops, how many were wrong, and the effort."""
    crops = wrong = 0
    effort = Effort()
    hand = Hand(editor, pause=args.pause, point=args.point, effort=effort)
    for task in truth:
        result = studio.predictions(task)[0]["result"]
        began = time.perf_counter()
        if result:
            editor.open(project, task, regions=len(result))
        else:
            editor.open_empty(project, task)
        seen = time.perf_counter()
        for region in result:
            value, [label] = region["value"], region["value"]["rectanglelabels"]
            box = [value["x"], value["y"], value["x"] + value["width"], value["y"] + value["height"]]
            true = truly({"percent": box, "task": task}, truth)
            if true == label:
                continue
            hand.pick(region)
            hand.key(HOTKEYS.get(true, "Backspace"))
            if true in HOTKEYS:
                hand.key("Escape")
            wrong += 1
        hand.submit()
        crops += len(result)
        effort.waited += seen - began
        effort.seconds += time.perf_counter() - seen
    return crops, wrong, effort


def _percent(box: Sequence[float], width: int, height: int) -> dict[str, float]:
    x1, y1, x2, y2 = (100 * at / side for at, side in zip(box, (width, height) * 2, strict=True))
    return {"x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1}


def _region(identity: str, label: str, value: Value, width: int, height: int) -> dict[str, Any]:
    return {
        "id": identity,
        "from_name": "mark",
        "to_name": "page",
        "type": "rectanglelabels",
        "score": 0.9,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": {**value, "rotation": 0, "rectanglelabels": [label]},
    }


def log_in(page: Page, url: str, login: Login) -> None:
    page.goto(f"{url}/user/login/")
    page.fill("input[name=email]", login.email)
    page.fill("input[name=password]", login.password)
    page.click("button[type=submit]")
    page.wait_for_url(lambda there: "/user/login" not in there)


if __name__ == "__main__":
    sys.exit(main())
