"""A loopback server that speaks as Label Studio does of projects, tasks, annotations and uploads."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import numpy as np
from PIL import Image

from tests.corrections.annotating import CONFIG, iso

TOKEN = "0123456789abcdef"
PROJECT, TITLE = 7, "Leases"


class Studio:
    """What the server has; tests fill it. Uploads are files by their reference."""

    def __init__(self) -> None:
        self.url = ""
        self.label_config = CONFIG
        self.tasks: list[dict[str, Any]] = []
        self.uploads: dict[str, bytes] = {}

    def task(self, task: int, pages: Sequence[bytes], *annotations: Mapping[str, Any], **data: Any) -> None:
        """A task of these files, uploaded; `annotations` as `annotation` makes them."""
        references = [f"/data/upload/{PROJECT}/t{task}p{index}" for index in range(len(pages))]
        self.uploads.update(zip(references, pages, strict=True))
        self.tasks.append(
            {
                "id": task,
                "project": PROJECT,
                "data": {"pages": references, **data},
                "annotations": [{**one, "task": task, "project": PROJECT} for one in annotations],
                "predictions": [{"id": 50, "model_version": "model-1"}],
                "updated_at": iso(9e8),
            }
        )


def annotation(identity: int, *regions: Mapping[str, Any], at: float = 1000.0, **fields: Any) -> dict[str, Any]:
    return {
        "id": identity,
        "result": list(regions),
        "was_cancelled": False,
        "created_at": iso(at),
        "updated_at": iso(at),
        "completed_by": 4711,
        "parent_prediction": 50,
        **fields,
    }


def region(
    identity: str,
    label: str,
    box: Sequence[float],
    size: tuple[int, int],
    *,
    item: int = 0,
    rotation: float = 0.0,
    original: tuple[int, int] | None = None,
) -> dict[str, Any]:
    """A rectangle whose box, before it is turned, is x1, y1, x2, y2 on an upright page of `size` pixels."""
    (width, height), (x1, y1, x2, y2) = size, box
    across, down = original or size
    return {
        "id": identity,
        "type": "rectanglelabels",
        "from_name": "mark",
        "to_name": "page",
        "item_index": item,
        "original_width": across,
        "original_height": down,
        "image_rotation": 0,
        "value": {
            "x": 100 * x1 / width,
            "y": 100 * y1 / height,
            "width": 100 * (x2 - x1) / width,
            "height": 100 * (y2 - y1) / height,
            "rotation": rotation,
            "rectanglelabels": ["Seal" if label == "stamp" else label],
        },
    }


def page(seed: int, *dark: Sequence[int], size: tuple[int, int] = (240, 320)) -> np.ndarray:
    """A pale page like no other, (H, W, 3), with dark places; coarse enough to stay itself when it is compressed."""
    width, height = size
    rng = np.random.default_rng(seed)
    pale = rng.integers(170, 256, (height // 20, width // 20, 3), dtype=np.uint8)
    pixels = np.kron(pale, np.ones((20, 20, 1), np.uint8))
    for x1, y1, x2, y2 in dark:
        pixels[y1:y2, x1:x2] = (20, 20, 60)
    return pixels


def file_of(pixels: np.ndarray, kind: str = "PNG", *, orientation: int = 1) -> bytes:
    """An image file whose EXIF orientation makes these pixels of what it stores."""
    stored = Image.fromarray(pixels)
    if orientation == 6:  # readers turn it clockwise
        stored = stored.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    stored.save(file, kind, exif=exif, **({"quality": 95} if kind == "JPEG" else {}))
    return file.getvalue()


@contextmanager
def serving(studio: Studio) -> Iterator[Studio]:
    handler = type("StudioHandler", (_Handler,), {"studio": studio})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    studio.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield studio
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    studio: ClassVar[Studio]

    def do_GET(self) -> None:
        path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        if self.headers.get("Authorization") != f"Token {TOKEN}":
            self._answer(401, b"{}")
        elif path in self.studio.uploads:
            self._answer(200, self.studio.uploads[path])
        elif path == "/api/version":
            self._json({"release": "1.23.2"})
        elif path == "/api/projects/":
            self._json({"results": [{"id": PROJECT, "title": TITLE}] if query["title"] == [TITLE] else []})
        elif path == f"/api/projects/{PROJECT}/":
            self._json(
                {
                    "id": PROJECT,
                    "title": TITLE,
                    "label_config": self.studio.label_config,
                    "task_number": len(self.studio.tasks),
                }
            )
        elif path == "/api/tasks/":
            self._json(self._listed(query))
        else:
            self._answer(404, b"{}")

    def _listed(self, query: dict[str, list[str]]) -> dict[str, Any]:
        """A page of the tasks that fulfil the Data Manager's conditions, in its order."""
        wanted = json.loads(query.get("query", ["{}"])[0])
        found = list(self.studio.tasks)
        for row in wanted.get("filters", {}).get("items", ()):
            column = row["filter"].removeprefix("filter:tasks:")
            assert (row["operator"], row["type"]) == ("greater", "Number")
            found = [one for one in found if _column(one, column) > row["value"]]
        if wanted.get("ordering") == ["tasks:id"]:
            found.sort(key=lambda one: one["id"])
        size, number = int(query["page_size"][0]), int(query["page"][0])
        return {"tasks": found[size * (number - 1) : size * number], "total": len(found)}

    def _json(self, value: Any) -> None:
        self._answer(200, json.dumps(value).encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the name is the base class's
        """Says nothing."""


def _column(task: Mapping[str, Any], name: str) -> int:
    """As Label Studio counts, skipped annotations are none."""
    if name == "id":
        return int(task["id"])
    assert name == "total_annotations"
    return sum(not one["was_cancelled"] for one in task["annotations"])
