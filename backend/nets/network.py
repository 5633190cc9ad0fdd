"""A classifier's ONNX Runtime session: checked against its config when loaded, safe to share between threads."""

from __future__ import annotations

import ctypes
import threading
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from backend.errors import BadWeights
from backend.nets.config import INPUT_SIZE, ClassifierConfig, sha256_of

if TYPE_CHECKING:
    from pathlib import Path

    import onnxruntime

__all__ = ["EMBEDDING", "Network", "open_session"]

EMBEDDING = 512
_ERRORS_ONLY = 3


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
    # Waiting threads that spin would take the cores from decoding and detection.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its error classes have no public base
        raise BadWeights(f"{path}: no ONNX model that can be run ({str(error)[:200]})") from error
    _give_back_memory()
    return session


def _give_back_memory() -> None:
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
