"""A candidate's folder becomes a published one: copied aside, checked, made durable, renamed; whole or not at all."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Collection, Mapping
from datetime import datetime
from pathlib import Path

from backend.durable import copy_whole, sync_folder, write_synced
from backend.errors import BadWeights, RegistryError
from backend.nets.config import ClassifierConfig
from backend.nets.detector import DetectorConfig, DetectorNetwork
from backend.nets.network import Network
from backend.nets.registry import RECORD_FILE
from backend.nets.weights import CONFIG_FILE, DETECTOR_CONFIG_FILE, DETECTOR_WEIGHTS_FILE, WEIGHTS_FILE
from backend.registry.record import Facts, Record

__all__ = ["HALF", "check_loads", "clean", "publish"]

HALF = ".publishing-"
"""What the names of half-written folders begin with; no model's name can."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_DIGITS = 8


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
        (half / RECORD_FILE).chmod(0o444)
        half.chmod(0o755)
        sync_folder(half)
        os.rename(half, models / name)
        sync_folder(models)
    except OSError as error:
        raise RegistryError(f"{candidate} could not be published to {models}: {error.strerror}") from error
    finally:
        shutil.rmtree(half, ignore_errors=True)
    return record


def check_loads(folder: Path) -> None:
    """Loads the networks of a folder as serving does: its classifier, and the detector if it has one of its own.

    Raises:
        BadWeights: One cannot serve.
    """
    Network(folder / WEIGHTS_FILE, ClassifierConfig.read(folder / CONFIG_FILE), threads=1)
    if (folder / DETECTOR_CONFIG_FILE).exists() or (folder / DETECTOR_WEIGHTS_FILE).exists():
        config = DetectorConfig.read(folder / DETECTOR_CONFIG_FILE)
        DetectorNetwork(folder / DETECTOR_WEIGHTS_FILE, config, threads=1)


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
