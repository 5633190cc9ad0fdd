"""A folder with one new network becomes a whole candidate: what it lacks is that of the weights that serve.

And what such a folder says of itself: the documents that made it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from backend.errors import BadWeights
from backend.nets.weights import (
    BUNDLED,
    CONFIG_FILE,
    DETECTOR_CONFIG_FILE,
    DETECTOR_WEIGHTS_FILE,
    FLOAT_WEIGHTS_FILE,
    WEIGHTS_FILE,
)

if TYPE_CHECKING:
    from backend.nets.weights import Weights

__all__ = ["DOCUMENTS_FILE", "add_documents", "complete", "documents_of"]

DOCUMENTS_FILE = "documents.txt"
"""Beside a candidate's weights: what its training and tuning saw, one a line: names of documents, and the SHA-256 of
pages' pixels where they are known."""
_NETWORKS = (
    ((WEIGHTS_FILE, CONFIG_FILE), (FLOAT_WEIGHTS_FILE,)),
    ((DETECTOR_WEIGHTS_FILE, DETECTOR_CONFIG_FILE), ()),
)
"""Of each network the files that it needs, and those that may stand beside."""


def complete(candidate: Path, serving: Weights, out: Path) -> tuple[str, ...]:
    """Copies a candidate's plain files to `out`, and the network that it lacks from the weights that serve.

    So a new detector is published, judged and served together with the classifier that it was not made with but will
    work with, and a new classifier with the detector. What the other one's training saw is noted as well, if both are
    known; else nothing is, so that the gate asks.

    Args:
        candidate: Folder with `classifier.onnx`, `detector.onnx` or both, each with its config.
        serving: Where the other one comes from.
        out: An empty folder.

    Returns:
        Names of the networks' files that were taken from the weights that serve.

    Raises:
        BadWeights: It holds neither network.
    """
    own = [path for path in candidate.glob("*") if path.is_file() and not path.name.startswith(".")]
    names = {path.name for path in own}
    if not any(name in names for needed, _ in _NETWORKS for name in needed):
        raise BadWeights(f"{candidate} holds no {WEIGHTS_FILE} and no {DETECTOR_WEIGHTS_FILE}: nothing can serve")
    for path in own:
        # A link stays one: publishing refuses it.
        shutil.copyfile(path, out / path.name, follow_symlinks=False)
    taken: list[str] = []
    for needed, beside in _NETWORKS:
        if names.isdisjoint(needed):
            place = _holding(serving.folder, needed)
            taken += needed
            for name in (*needed, *(one for one in beside if (place / one).is_file())):
                shutil.copyfile(place / name, out / name)
            _add_documents_of(place, out)
    return tuple(taken)


def _add_documents_of(place: Path, out: Path) -> None:
    """Adds what a network's training saw to what is known of the other one's."""
    seen = documents_of(place)
    if seen is None:
        (out / DOCUMENTS_FILE).unlink(missing_ok=True)
    elif documents_of(out) is not None:
        add_documents(out, seen)


def add_documents(folder: Path, seen: Iterable[str]) -> None:
    """Notes what a training saw beside its weights; what is noted there already stays, for both networks are there."""
    lines = sorted((documents_of(folder) or frozenset()) | set(seen))
    (folder / DOCUMENTS_FILE).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def documents_of(folder: Path) -> frozenset[str] | None:
    """What a model's training saw, as the file beside it says; None where there is no such file."""
    path = folder / DOCUMENTS_FILE
    if not path.is_file():
        return None
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return frozenset(line for line in lines if line)


def _holding(folder: Path, needed: tuple[str, ...]) -> Path:
    """The folder, or that of the bundled weights where it does not hold such a network."""
    return folder if all((folder / name).is_file() for name in needed) else BUNDLED
