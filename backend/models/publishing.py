"""A candidate's folder becomes a published one: copied aside, checked, made durable, renamed; whole or not at all.

A folder with one new network becomes a whole candidate: what it lacks is that of the weights that serve.

And what such a folder says of itself: the documents that made it.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from backend.errors import BadWeights, RegistryError
from backend.files import copy_whole, refusal_of, sync_folder, write_private, write_synced
from backend.models.published import RECORD_FILE, Facts, Record
from backend.vision.box_refiner import BoxRefiner
from backend.vision.engine import DetectorConfig, DetectorNetwork, Network
from backend.vision.network_config import ClassifierConfig
from backend.vision.weights import (
    BUNDLED,
    CONFIG_FILE,
    DETECTOR_CONFIG_FILE,
    DETECTOR_WEIGHTS_FILE,
    FILES,
    FLOAT_REFINER_FILE,
    REFINER_CONFIG_FILE,
    REFINER_WEIGHTS_FILE,
    WEIGHTS_FILE,
)

if TYPE_CHECKING:
    from backend.vision.weights import Weights

__all__ = [
    "DOCUMENTS_FILE",
    "HALF",
    "add_documents",
    "carry_refiner",
    "check_loads",
    "clean",
    "complete",
    "documents_of",
    "publish",
]

DOCUMENTS_FILE = "documents.txt"
"""Beside a candidate's weights: what its training and tuning saw, one a line: names of documents, and the SHA-256 of
pages' pixels where they are known."""
_NETWORKS = tuple(
    ((FILES[name].weights, FILES[name].config), (FILES[name].floating,)) for name in ("classifier", "detector")
)
"""For each network the files that it needs, and the files that may stand beside them."""
_REFINER = (REFINER_WEIGHTS_FILE, REFINER_CONFIG_FILE)
HALF = ".publishing-"
"""What the names of half-written folders begin with; no model's name can."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_DIGITS = 8


def complete(candidate: Path, serving: Weights, out: Path) -> tuple[str, ...]:
    """Copies a candidate's plain files to `out`, and the network that it lacks from the weights that serve.

    So a new detector is published, judged and served together with the classifier that it will work with. The same
    holds for a new classifier and its detector. The documents of both trainings are noted if both are known. Otherwise
    none are, and the gate asks.

    Args:
        candidate: Folder with `classifier.onnx`, `detector.onnx` or both, each with its config.
        serving: Folder that the missing network comes from.
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
            if DETECTOR_WEIGHTS_FILE in needed and names.isdisjoint(_REFINER):
                carry_refiner(place, out)
            _add_documents_of(place, out)
    return tuple(taken)


def carry_refiner(place: Path, out: Path) -> None:
    """Copies the refiner of `place` to `out`, for a detector that was made of the one in `place`.

    Nothing is copied where that detector's boxes are refined by the program's own refiner.
    """
    if place not in (out, BUNDLED) and all((place / name).is_file() for name in _REFINER):
        (out / FLOAT_REFINER_FILE).unlink(missing_ok=True)
        for name in (*_REFINER, FLOAT_REFINER_FILE):
            if (place / name).is_file():
                shutil.copyfile(place / name, out / name)


def _add_documents_of(place: Path, out: Path) -> None:
    """Adds what a network's training saw to what is known of the other one's."""
    seen = documents_of(place)
    if seen is None:
        (out / DOCUMENTS_FILE).unlink(missing_ok=True)
    elif documents_of(out) is not None:
        add_documents(out, seen)


def add_documents(folder: Path, seen: Iterable[str]) -> None:
    """Notes beside the weights what a training saw. Earlier notes stay, because both networks are there."""
    lines = sorted((documents_of(folder) or frozenset()) | set(seen))
    write_private(folder / DOCUMENTS_FILE, "".join(f"{line}\n" for line in lines))


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


def clean(models: Path) -> None:
    """Removes what publishers that died left half-written; for the holder of the registry's lock only."""
    for folder in models.glob(f"{HALF}*"):
        shutil.rmtree(folder)


def publish(
    candidate: Path,
    models: Path,
    facts: Facts,
    *,
    files: Collection[str] | None,
    taken: Collection[str],
    now: datetime,
) -> Record:
    """Copies a candidate to a folder of its own among the models; for the holder of the registry's lock only.

    Args:
        candidate: Folder with the weights and what stands beside them.
        models: Where the models are; exists.
        facts: What is known of the candidate.
        files: Names of what is to be published; every plain file of the folder when None.
        taken: Names that a model has or had.
        now: Goes into the name and the record.

    Raises:
        BadWeights: The weights are not what their config promises.
        RegistryError: There is nothing to publish, or it cannot be written; nothing is left then.
    """
    wanted = _wanted(candidate, files)
    half = Path(tempfile.mkdtemp(dir=models, prefix=HALF))
    try:
        checksums = {name: copy_whole(candidate / name, half / name) for name in wanted}
        check_loads(half)
        name = _name(checksums, taken, now)
        record = Record.of(facts, name=name, published=now.isoformat(timespec="seconds"), files=checksums)
        write_synced(half / RECORD_FILE, record.text())
        (half / RECORD_FILE).chmod(0o400)
        half.chmod(0o700)
        sync_folder(half)
        os.rename(half, models / name)
        sync_folder(models)
    except OSError as error:
        raise RegistryError(f"{candidate} could not be published to {models}: {refusal_of(error)}") from error
    finally:
        shutil.rmtree(half, ignore_errors=True)
    return record


def check_loads(folder: Path) -> None:
    """Loads the networks of a folder as serving does: its classifier, and detector and refiner if they are its own.

    Raises:
        BadWeights: One cannot serve.
    """
    Network(folder / WEIGHTS_FILE, ClassifierConfig.read(folder / CONFIG_FILE), threads=1)
    if (folder / DETECTOR_CONFIG_FILE).exists() or (folder / DETECTOR_WEIGHTS_FILE).exists():
        config = DetectorConfig.read(folder / DETECTOR_CONFIG_FILE)
        DetectorNetwork(folder / DETECTOR_WEIGHTS_FILE, config, threads=1)
    if any((folder / name).exists() for name in _REFINER):
        BoxRefiner.open(folder, threads=1)


def _wanted(candidate: Path, files: Collection[str] | None) -> list[str]:
    """Names of the files to publish, sorted and looked at."""
    if not candidate.is_dir():
        raise RegistryError(f"{candidate} is no folder: name the one that holds the candidate's weights")
    if files is None:
        found = [path.name for path in candidate.iterdir() if path.is_file() and not path.name.startswith(".")]
        wanted = sorted(name for name in found if name != RECORD_FILE)
    else:
        wanted = sorted(set(files))
    for name in wanted:
        path = candidate / name
        if name == RECORD_FILE or not _NAME.fullmatch(name) or path.is_symlink() or not path.is_file():
            raise RegistryError(f"{path} cannot be published: it is no plain file, or its name is taken or odd")
        if path.suffix.lower() in _PICKLED:
            raise RegistryError(f"{path} is pickled: weights are published as ONNX or safetensors")
    if not any(name.endswith(".onnx") for name in wanted):
        raise BadWeights(f"{candidate} holds no ONNX file that could serve")
    return wanted


def _name(checksums: Mapping[str, str], taken: Collection[str], now: datetime) -> str:
    """The day and eight digits of what is in the files; counted up where that was a model's name already."""
    content = "".join(f"{name} {checksum}\n" for name, checksum in sorted(checksums.items()))
    base = f"{now:%Y-%m-%d}-{hashlib.sha256(content.encode()).hexdigest()[:_DIGITS]}"
    names = [base, *(f"{base}-{number}" for number in range(2, len(taken) + 3))]
    return next(name for name in names if name not in taken)
