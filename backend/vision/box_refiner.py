"""A second look at each candidate: a network sees it with what lies around, and says where its edges are.

The detector says from the middle of a mark where its edges are, on the whole page at once. This network sees one
candidate at a time, so that thin strokes and a mark's ends decide. It also says how likely it is that the box is right.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.errors import BadWeights
from backend.files import write_private
from backend.geometry import Boxes, as_boxes, clip, iou
from backend.vision.candidates import log_odds
from backend.vision.engine import open_session
from backend.vision.network_config import MARKS, check_sha256
from backend.vision.weights import BUNDLED, REFINER_CONFIG_FILE, REFINER_WEIGHTS_FILE

__all__ = ["BoxRefiner", "RefinerConfig", "looked_at", "window_of"]

_MOST_MARGIN = 4.0
_AT_ONCE = 8
"""Candidates in one inference: more would take memory and no less time."""
_LEAST_SIDE = 1.0
"""Pixels below which an answer is no box."""


@dataclass(frozen=True, kw_only=True)
class RefinerConfig:
    """What a refiner's weights file promises.

    Attributes:
        sha256: Checksum of the weights file.
        side: Pixels of a side of its input.
        margin: Share of a candidate's sides that is seen beyond it, at each of them.
        again: IoU of a box before and after. Below it the box is looked at once more, from where it is now; None for
            never.
        trust: What its chances count beside the detector's heat, from 0, for a network that gives none, to 1.
        provenance: Where the weights come from, in words.
    """

    sha256: str
    side: int = 160
    margin: float = 0.5
    again: float | None = None
    trust: float = 0.0
    provenance: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_sha256(self.sha256)
        if not isinstance(self.side, int) or self.side < 1:
            raise BadWeights(f"side is {self.side}: it must be a whole number of at least 1")
        if not 0 <= self.margin <= _MOST_MARGIN:
            raise BadWeights(f"margin is {self.margin}: expected 0 to {_MOST_MARGIN:g}")
        if self.again is not None and not 0 <= self.again <= 1:
            raise BadWeights(f"again is {self.again}: expected 0 to 1, or null")
        if not 0 <= self.trust <= 1:
            raise BadWeights(f"trust is {self.trust}: expected 0 to 1")

    @property
    def facts(self) -> dict[str, Any]:
        """Everything that decides what comes out, as plain JSON."""
        own = {} if self.again is None else {"again": self.again}
        own |= {"trust": self.trust} if self.trust else {}
        return {"sha256": self.sha256, "side": self.side, "margin": self.margin} | own

    @property
    def digest(self) -> str:
        """Eight hexadecimal digits that change exactly when the weights or their reading do."""
        return hashlib.sha256(json.dumps(self.facts, sort_keys=True).encode()).hexdigest()[:8]

    @classmethod
    def read(cls, path: Path) -> RefinerConfig:
        """Reads the JSON file that `write` made.

        Raises:
            BadWeights: The file is missing, is no JSON, or lacks a field.
        """
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise BadWeights(f"{path} cannot be read: {error.strerror}") from error
        except (ValueError, TypeError, BadWeights) as error:
            raise BadWeights(f"{path} does not describe a refiner: {error}") from error

    def write(self, path: Path) -> None:
        """Writes the config as JSON."""
        write_private(path, json.dumps(dataclasses.asdict(self), indent=2) + "\n")


def window_of(box: NDArray[np.float64], margin: float) -> NDArray[np.float64]:
    """What is seen about a box (4,): it and its margins, whole pixels, (4,) xyxy; it may lie beyond the page."""
    around = margin * np.tile(np.maximum(box[2:] - box[:2], _LEAST_SIDE), 2) * [-1, -1, 1, 1]
    window = box + around
    return np.concatenate([np.floor(window[:2]), np.maximum(np.ceil(window[2:]), np.floor(window[:2]) + 1)])


def looked_at(pixels: NDArray[np.uint8], window: NDArray[np.float64], side: int) -> NDArray[np.uint8]:
    """The (H, W, 3) page within the window, resized to `side` x `side`; beyond the page there is more of its edge."""
    height, width = pixels.shape[:2]
    left, top, right, bottom = (int(value) for value in window)
    rows = slice(min(max(top, 0), height - 1), max(min(bottom, height), 1))
    columns = slice(min(max(left, 0), width - 1), max(min(right, width), 1))
    seen = pixels[rows, columns]
    beyond = (max(-top, 0), max(bottom - height, 0), max(-left, 0), max(right - width, 0))
    if any(beyond):
        seen = np.asarray(cv2.copyMakeBorder(seen, *beyond, cv2.BORDER_REPLICATE), np.uint8)
    shrinks = seen.shape[0] * seen.shape[1] > side * side
    flags = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(seen, (side, side), interpolation=flags), np.uint8)


class BoxRefiner:
    """The network in memory, safe to share between threads: one page's candidates are looked at at a time.

    Args:
        path: The ONNX file.
        config: What it promises.
        threads: Threads one inference may use; 0 for as many as there are cores.

    Raises:
        BadWeights: The file's checksum, inputs or outputs differ from its config, or it is no ONNX model.
    """

    def __init__(self, path: Path, config: RefinerConfig, *, threads: int = 0) -> None:
        self.config = config
        self._session = open_session(path, config.sha256, threads=threads)
        self._lock = threading.Lock()
        rows = (*self._session.get_inputs(), *self._session.get_outputs())
        found = {row.name: (row.type, tuple(row.shape[1:])) for row in rows}
        wanted = {
            "pixels": ("tensor(uint8)", (config.side, config.side, 3)),
            "edges": ("tensor(float)", (4 * len(MARKS),)),
        }
        if config.trust:
            wanted["chances"] = ("tensor(float)", (len(MARKS),))
        self._outputs = [name for name in wanted if name != "pixels"]
        if found != wanted:
            raise BadWeights(f"{path}: inputs and outputs are {found}: expected {wanted}")

    @classmethod
    def open(cls, folder: Path = BUNDLED, *, threads: int = 0) -> BoxRefiner:
        """Opens the refiner of a folder.

        Raises:
            BadWeights: See the class.
        """
        return cls(folder / REFINER_WEIGHTS_FILE, RefinerConfig.read(folder / REFINER_CONFIG_FILE), threads=threads)

    def look(self, seen: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What each mark's box would be, (N, 3, 4), shares of what is seen, (N, S, S, 3) RGB; and its chance, (N, 3).

        The chance is that there is such a mark and the box fits it; 0 of a network that gives none.
        """
        with self._lock:
            edges, *rest = self._session.run(self._outputs, {"pixels": seen})
        chances = rest[0] if rest else np.zeros((len(seen), len(MARKS)))
        return edges.reshape(len(seen), len(MARKS), 4).astype(np.float64), chances.astype(np.float64)

    def __call__(
        self, pixels: NDArray[np.uint8], boxes: Boxes, labels: NDArray[np.intp]
    ) -> tuple[Boxes, NDArray[np.float64]]:
        """The boxes with the edges that the network gives them, (N, 4), and the chance of each mark there, (N, 3).

        Args:
            pixels: (H, W, 3) RGB, at the detector's resolution.
            boxes: (N, 4) candidates, pixels.
            labels: (N,) indices into `MARKS`: what each is taken for.
        """
        refined, chances = self._looked(pixels, boxes, labels)
        if self.config.again is not None and len(boxes):
            far = np.flatnonzero(np.diagonal(iou(as_boxes(boxes), refined)) < self.config.again)
            refined[far], chances[far] = self._looked(pixels, refined[far], labels[far])
        return refined, chances

    def weighed(self, heat: NDArray[np.float64], chances: NDArray[np.float64]) -> NDArray[np.float64]:
        """Heat and chances, (N, 3) each, as one: the mean of their log odds by how far the chances are trusted."""
        trust = self.config.trust
        if not trust:
            return heat
        odds = (1 - trust) * log_odds(heat) + trust * log_odds(chances)
        return np.asarray(1 / (1 + np.exp(-odds)))

    def _looked(
        self, pixels: NDArray[np.uint8], boxes: Boxes, labels: NDArray[np.intp]
    ) -> tuple[Boxes, NDArray[np.float64]]:
        """The boxes after one look, and the chances; a box stays as it is where the answer is none."""
        refined, chances = np.array(boxes, np.float64), np.zeros((len(boxes), len(MARKS)))
        for start in range(0, len(boxes), _AT_ONCE):
            rows = slice(start, start + _AT_ONCE)
            windows = [window_of(box, self.config.margin) for box in boxes[rows]]
            edges, chances[rows] = self.look(
                np.stack([looked_at(pixels, window, self.config.side) for window in windows])
            )
            own = edges[np.arange(len(windows)), labels[rows]]
            corners = np.stack(windows)
            refined[rows] = np.tile(corners[:, :2], 2) + own * np.tile(corners[:, 2:] - corners[:, :2], 2)
        refined = clip(refined, width=pixels.shape[1], height=pixels.shape[0])
        whole = np.all(refined[:, 2:] - refined[:, :2] >= _LEAST_SIDE, axis=1, keepdims=True)
        return np.where(whole, refined, boxes), chances
