"""The worst mix of attacks at once, by somebody who may send whatever they like: what `benchmarks.faults` calls so.

Files that cost a decoder most, looked at for marks and, for corrections, with all their pixels; the largest bodies that
each route takes, full of values; pages within the body of a request; and a hundred senders that never finish.
"""

from __future__ import annotations

import base64
import http.client
import io
import json
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from benchmarks.faulty_server import FaultyServer, predict
from benchmarks.webhook import CONFIG
from benchmarks.webhook import event as saved
from tests.pages.hostile import HOSTILE

if TYPE_CHECKING:
    from benchmarks.loopback_pages import LoopbackPages

__all__ = ["worst_mix"]

_SECONDS = 60.0
_A3 = (7016, 9921)
_MEGABYTE = 10**6
# Those that take the most memory of each decoder's library, and of the room for files that wait.
_DEAREST = (
    "AVIF: 64 megapixels of white",
    "AVIF: a grid of 110 megapixels",
    "JPEG: 100 scans of 64 megapixels",
    "PDF: a name of 60 megabytes",
    "PDF: forms of forms of forms",
    "PNG: 120 megapixels of 16 bits",
    "PNG: 120 megapixels with transparency",
    "TIFF: 100 megapixels of zstd",
    "TIFF: a profile of 60 megabytes",
    "WebP: 120 megapixels of white",
)


def worst_mix(
    server: FaultyServer, pages: LoopbackPages, *others: Callable[[FaultyServer, LoopbackPages], None]
) -> None:
    """All of it for a minute, and what `others` do beside it."""
    pages.hostile |= {f"{number}.bin": HOSTILE[name]() for number, name in enumerate(_DEAREST)}
    pages.hostile |= {"a3.png": _scan("PNG"), "a3.jpg": _scan("JPEG", progressive=True, subsampling=0)}
    names = list(pages.hostile)
    ends = time.monotonic() + _SECONDS

    def look(first: int) -> None:
        number = 800_000 + 10_000 * first
        while time.monotonic() < ends:
            some = [names[(number + place) % len(names)] for place in range(8)]
            predict(server, {number + place: f"/hostile/{name}" for place, name in enumerate(some)})
            number += 8

    def correct(first: int) -> None:
        number = 900_000 + 10_000 * first
        while time.monotonic() < ends:
            body = json.loads(saved(number))
            body["task"]["data"]["image"] = f"/hostile/{('a3.png', 'a3.jpg', names[number % len(names)])[number % 3]}"
            _post(server.port, "/webhook", json.dumps(body).encode())
            number += 1
            time.sleep(0.2)

    def fill(path: str, body: bytes) -> None:
        while time.monotonic() < ends:
            _post(server.port, path, body)

    inline = "data:image/jpeg;base64," + base64.b64encode(pages.hostile["a3.jpg"]).decode()
    tasks = [{"id": one, "data": {"image": inline}} for one in range(max(1, 60 * _MEGABYTE // len(inline)))]
    many = {"annotation": {"result": [[1.5]] * 490_000}, "filler": "x" * 10 * _MEGABYTE}
    bodies = {
        "/predict": json.dumps({"tasks": tasks, "project": "1.1", "label_config": CONFIG, "params": {}}).encode(),
        "/webhook": json.dumps({"action": "TASKS_CREATED", **many}).encode(),
        "/setup": json.dumps({"project": "1.1", "schema": CONFIG, "extra_params": [0.5] * 700_000}).encode(),
    }
    work = [threading.Thread(target=look, args=(one,)) for one in range(3)]
    work += [threading.Thread(target=correct, args=(one,)) for one in range(2)]
    work += [threading.Thread(target=fill, args=one) for one in bodies.items() for _ in range(3)]
    work += [threading.Thread(target=one, args=(server, pages)) for one in others]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()


def _scan(kind: str, **options: object) -> bytes:
    """A3 at 600 dpi."""
    coarse = np.random.default_rng(16).integers(0, 255, (_A3[1] // 64, _A3[0] // 64, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(coarse).resize(_A3, Image.Resampling.NEAREST).save(file, kind, **options)
    return file.getvalue()


def _post(port: int, path: str, body: bytes) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=100)
    try:
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        time.sleep(0.1)  # refused while it was being sent
    finally:
        connection.close()
