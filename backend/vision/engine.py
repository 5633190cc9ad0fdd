"""The networks as ONNX Runtime runs them: checked against their config when loaded, safe to share between threads.

`Network` is the classifier. `DetectorNetwork` finds marks, and `DetectorConfig` is what stands beside its weights.
"""

from __future__ import annotations

import ctypes
import dataclasses
import hashlib
import json
import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from backend.errors import BadWeights
from backend.vision.network_config import INPUT_SIZE, MARKS, ClassifierConfig, check_sha256, sha256_of

if TYPE_CHECKING:
    import onnxruntime
from backend.files import write_private

__all__ = [
    "EMBEDDING",
    "PIXEL_MM",
    "DetectorConfig",
    "DetectorNetwork",
    "DetectorOutput",
    "Fusion",
    "Network",
    "give_back_memory",
    "open_session",
]

EMBEDDING = 512
_ERRORS_ONLY = 3
PIXEL_MM = 25.4 / 75
"""Side of a pixel of the input that detectors are trained for, mm: 75 dpi."""


class Network:
    """A classifier's network in memory.

    One inference runs at a time: a second one would slow the first and double the memory that activations take.

    Args:
        path: The ONNX file.
        config: What it promises.
        threads: Threads one inference may use; 0 for as many as there are cores.

    Raises:
        BadWeights: The file's checksum, inputs or outputs differ from its config, or it is no ONNX model.
    """

    def __init__(self, path: Path, config: ClassifierConfig, *, threads: int = 0) -> None:
        self.config = config
        self._session = open_session(path, config.sha256, threads=threads)
        self._lock = threading.Lock()
        _check_shapes(path, self._session, classes=len(config.classes))

    def run(self, pixels: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Gives logits (N, C) and embeddings (N, 512) of `pixels` (N, 3, 224, 224) in [0, 1]."""
        with self._lock:
            logits, embeddings = self._session.run(["logits", "embedding"], {"pixels": pixels})
        return logits, embeddings


def open_session(path: Path, sha256: str, *, threads: int) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session of the file with this checksum, on `threads` threads; 0 for as many as there are cores.

    Raises:
        BadWeights: The file's checksum is another, or it is no ONNX model.
    """
    checksum = sha256_of(path)
    if checksum != sha256:
        raise BadWeights(f"{path}: its SHA-256 is {checksum[:12]}…, its config says {sha256[:12]}…: fetch it again")
    import onnxruntime  # noqa: PLC0415  loading it takes a moment that commands without a model need not wait

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = _ERRORS_ONLY
    # A plan for each shape of its input takes memory beside that of the first run: 100 MB here, and no time is saved.
    options.enable_mem_pattern = False
    # Waiting threads that spin would take the cores from decoding and detection.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its error classes have no public base
        raise BadWeights(f"{path}: no ONNX model that can be run ({str(error)[:200]})") from error
    give_back_memory()
    return session


def give_back_memory() -> None:
    """Returns freed memory to the system where the C library is glibc: loading needs some 110 MB more than serving."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _check_shapes(path: Path, session: onnxruntime.InferenceSession, *, classes: int) -> None:
    """Compares names and shapes; the first dimension, the batch, must be free."""
    found = {row.name: (row.type, tuple(row.shape[1:])) for row in (*session.get_inputs(), *session.get_outputs())}
    kind = "tensor(float)"
    wanted: dict[str, tuple[str, tuple[int, ...]]] = {
        "pixels": (kind, (3, INPUT_SIZE, INPUT_SIZE)),
        "logits": (kind, (classes,)),
        "embedding": (kind, (EMBEDDING,)),
    }
    batches = [row.shape[:1] for row in (*session.get_inputs(), *session.get_outputs())]
    if found != wanted or any(isinstance(size, int) for batch in batches for size in batch):
        raise BadWeights(f"{path}: inputs and outputs are {found}, expected {wanted} with a free batch size")


@dataclass(frozen=True, kw_only=True)
class Fusion:
    """How the detector's heat and the classifier's probabilities become one: multinomial logistic regression.

    The score of a mark is `classified` · log(its probability) + `seen` · log odds(its heat) + its bias; that of `none`
    is `classified` · log(its probability). The softmax of the four is the result.

    Attributes:
        classified: Weight of the classifier.
        seen: Weight of the detector.
        biases: One for each of `MARKS`.
    """

    classified: float = 1.0
    seen: float = 0.0
    biases: tuple[float, ...] = (0.0,) * len(MARKS)

    def __post_init__(self) -> None:
        if len(self.biases) != len(MARKS):
            raise BadWeights(f"fusion has {len(self.biases)} biases: expected one for each of {list(MARKS)}")
        if not all(map(math.isfinite, (self.classified, self.seen, *self.biases))):
            raise BadWeights("fusion has a number that is not finite")


@dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """What a detector's weights file promises.

    Attributes:
        sha256: Checksum of the weights file.
        pixel_mm: Side of a pixel of its input, mm.
        stride: Pixels of its input to a cell of its output.
        multiple: What the sides of its input are multiples of.
        least_heat: Heat from which a peak is a candidate.
        most: Candidates of one class at most.
        same_iou: IoU above which two peaks of one class are the same mark.
        least_turn: Probability from which a page is taken for turned; None for a network that cannot tell.
        box_reach: Share of a box's sides, to each side of its peak, within which the cells' boxes are averaged by their
            heat; None for the box of the peak's cell alone.
        refined: Whether the program's refiner gives its boxes their edges.
        fusion: How its heat is weighed against the classifier.
        provenance: Where the weights come from, in words.
    """

    sha256: str
    pixel_mm: float = PIXEL_MM
    stride: int = 8
    multiple: int = 32
    least_heat: float = 0.15
    most: int = 20
    same_iou: float = 0.5
    least_turn: float | None = None
    box_reach: float | None = None
    refined: bool = False
    fusion: Fusion = field(default_factory=Fusion)
    provenance: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_sha256(self.sha256)
        if not 0.05 <= self.pixel_mm <= 5:
            raise BadWeights(f"pixel_mm is {self.pixel_mm}: expected 0.05 to 5")
        for name in ("stride", "multiple", "most"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise BadWeights(f"{name} is {getattr(self, name)}: it must be a whole number of at least 1")
        if not isinstance(self.refined, bool):
            raise BadWeights(f"refined is {self.refined!r}: it must be true or false")
        for name in ("least_heat", "same_iou", "least_turn", "box_reach"):
            if getattr(self, name) is not None and not 0 < getattr(self, name) < 1:
                raise BadWeights(f"{name} is {getattr(self, name)}: expected a number between 0 and 1")

    @property
    def facts(self) -> dict[str, Any]:
        """Everything that decides what is found, as plain JSON."""
        facts = dataclasses.asdict(self)
        del facts["provenance"]
        for name in ("least_turn", "box_reach", "refined"):
            if facts[name] is None or facts[name] is False:
                del facts[name]  # versions of networks from before there was such a thing stay as they were
        return facts

    @property
    def digest(self) -> str:
        """Eight hexadecimal digits that change exactly when the weights or their reading do."""
        return hashlib.sha256(json.dumps(self.facts, sort_keys=True).encode()).hexdigest()[:8]

    @classmethod
    def read(cls, path: Path) -> DetectorConfig:
        """Reads the JSON file that `write` made.

        Raises:
            BadWeights: The file is missing, is no JSON, or a field is missing, unknown or out of range.
        """
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            fusion = facts.get("fusion", {})
            biases = {"biases": tuple(map(float, fusion["biases"]))} if "biases" in fusion else {}
            provenance = {str(name): str(value) for name, value in facts.get("provenance", {}).items()}
            return cls(**facts | {"fusion": Fusion(**fusion | biases), "provenance": provenance})
        except OSError as error:
            raise BadWeights(f"{path} cannot be read: {error.strerror}") from error
        except (ValueError, TypeError, AttributeError) as error:
            raise BadWeights(f"{path} does not describe a detector: {error}") from error
        except BadWeights as error:
            raise BadWeights(f"{path}: {error}") from error

    def write(self, path: Path) -> None:
        """Writes the config as JSON."""
        write_private(path, json.dumps(dataclasses.asdict(self), indent=2) + "\n")


@dataclass(frozen=True, eq=False, kw_only=True)
class DetectorOutput:
    """What a detector's network says of a page of H x W pixels; h and w are H and W divided by its `stride`.

    Attributes:
        heat: (3, h, w) in [0, 1], one for each of `MARKS`.
        edges: (12, h, w) distances to the four edges of a box of each, pixels of the input.
        turns: (4,) probabilities that the page was turned to the left by so many quarters.
    """

    heat: NDArray[np.float32]
    edges: NDArray[np.float32]
    turns: NDArray[np.float32]


class DetectorNetwork:
    """A detector's network in memory, safe to share between threads: one page is looked at at a time.

    Args:
        path: The ONNX file.
        config: What it promises.
        threads: Threads one inference may use; 0 for as many as there are cores.

    Raises:
        BadWeights: The file's checksum, inputs or outputs differ from its config, or it is no ONNX model.
    """

    def __init__(self, path: Path, config: DetectorConfig, *, threads: int = 0) -> None:
        self.config = config
        self._session = open_session(path, config.sha256, threads=threads)
        self._lock = threading.Lock()
        found = {row.name: row.type for row in (*self._session.get_inputs(), *self._session.get_outputs())}
        wanted = {"pixels": "tensor(uint8)", "heat": "tensor(float)", "edges": "tensor(float)"}
        channels = {row.name: row.shape[1] for row in self._session.get_outputs()}
        expected = {"heat": len(MARKS), "edges": 4 * len(MARKS)}
        if config.least_turn is not None:
            wanted["turns"], expected["turns"] = "tensor(float)", 4
        else:
            found, channels = ({name: row[name] for name in row if name != "turns"} for row in (found, channels))
        if found != wanted or channels != expected:
            raise BadWeights(f"{path}: inputs and outputs are {found} with channels {channels}: expected {wanted}")

    def run(self, pixels: NDArray[np.uint8]) -> DetectorOutput:
        """What the network says of an (H, W, 3) RGB page; H and W are multiples of the config's `multiple`."""
        names = ["heat", "edges"] + (["turns"] if self.config.least_turn is not None else [])
        with self._lock:
            heat, edges, *rest = self._session.run(names, {"pixels": pixels[None]})
        return DetectorOutput(
            heat=heat[0], edges=edges[0], turns=rest[0][0] if rest else np.array([1, 0, 0, 0], np.float32)
        )
