"""The original checkpoint of the Hugging Face Hub: fetched, converted and tried once, then served from the data folder.

A promoted model has passed the gate. The Hub's checkpoint has passed none, so it has a trial before it serves. Does
it tell marks apart at all? Is it as good on whole pages as the bundled weights? `backend.training.hub_trial` asks this
on drawn pages, in a process of its own. The verdict is kept beside the checkpoint. It holds for these weights beside
those bundled ones, and no others.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from backend.errors import BadWeights, LimitExceeded, OutputError, WeightsUnavailable
from backend.escaping import printable
from backend.files import alone, replace_whole
from backend.models.hub_files import DIRECT, HubWay, commit_of, fetch_file, hub_api, reason_of
from backend.vision.engine import DetectorConfig
from backend.vision.network_config import ClassifierConfig, sha256_of
from backend.vision.weights import CONFIG_FILE, DETECTOR_CONFIG_FILE, WEIGHTS_FILE, home_of

__all__ = [
    "BAD_WEIGHTS",
    "BROKEN",
    "CHECKSUM",
    "FILENAME",
    "PAGES",
    "REPOSITORY",
    "REVISION",
    "SERVES",
    "VERDICT_FILE",
    "WORSE",
    "Hub",
    "HubVerdict",
    "pairing",
]

REPOSITORY = "Ooredoo-Group/stamp-thumb-signature-classifier-resnet18"
FILENAME = "pytorch_model.bin"
REVISION = "main"
"""The revision that is fetched. A commit id belongs here; the original was not known where this was written (no way to
the Hub), so the first download pins itself: it is kept under this name, with the commit and the SHA-256 that it had,
and is not fetched again."""
CHECKSUM: str | None = None
"""SHA-256 of the file at that revision, to be set together with the commit id; None accepts what the Hub says it is."""

_CONVERSION_SECONDS = 300.0
_CONVERSION_NEEDS = ("torch", "torchvision", "onnx")

SERVES, WORSE, BROKEN = "serves", "worse", "broken"
PAGES = 32
"""Drawn pages of a trial."""
VERDICT_FILE = "trial.json"
BAD_WEIGHTS = 2
"""Exit code of a trial whose weights cannot be loaded."""
_EDITION = 1
"""Of the trial: another one asks for other things, and its verdicts count anew."""
_LOCK = "trial.lock"
_TRIAL_SECONDS = 3600.0
"""At low priority beside everything else, a trial may take its time; two processes never hold the same one."""
_TRIAL_NEEDS = ("torch", "arabic_reshaper", "bidi")

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class HubVerdict:
    """What the trial said.

    Attributes:
        pair: Which weights were tried beside which.
        state: `serves`; `worse` than the bundled weights, so that only MODEL=hub serves it; or `broken`, so that
            nothing does.
        reasons: Why, one sentence each.
        figures: What that rests on, as JSON.
    """

    pair: str
    state: str
    reasons: tuple[str, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path, *, bundled: Path) -> HubVerdict | None:
        """The verdict on the weights of `folder`; None where they had no trial beside these bundled weights.

        Raises:
            BadWeights: A config cannot be read.
        """
        try:
            facts = json.loads((folder / VERDICT_FILE).read_text(encoding="utf-8"))
            found = cls(**facts | {"reasons": tuple(facts["reasons"])})
        except (OSError, ValueError, TypeError, KeyError):
            return None  # none, or half of one: the next trial writes it anew
        return found if found.pair == pairing(folder, bundled) and found.state in (SERVES, WORSE, BROKEN) else None

    def write(self, folder: Path) -> None:
        """Puts it beside the weights; raises OSError."""
        replace_whole(folder / VERDICT_FILE, json.dumps(dataclasses.asdict(self), indent=1) + "\n")

    def __str__(self) -> str:
        return "; ".join(self.reasons)


def pairing(folder: Path, bundled: Path) -> str:
    """Changes exactly when the weights of a folder, the bundled ones or the trial do.

    Raises:
        BadWeights: A config cannot be read.
    """
    classifiers = [ClassifierConfig.read(place / CONFIG_FILE).digest for place in (folder, bundled)]
    detector = DetectorConfig.read(home_of("detector", bundled) / DETECTOR_CONFIG_FILE)
    return "-".join([str(_EDITION), *classifiers, detector.sha256[:8]])


def _trial_lacks() -> list[str]:
    """The libraries that a trial needs and that are not installed."""
    return [name for name in _TRIAL_NEEDS if importlib.util.find_spec(name) is None]


def hold_trial(folder: Path, *, bundled: Path, pages: int) -> HubVerdict:
    """The verdict on the weights of a folder, which are tried now unless they were before.

    Args:
        folder: The weights; gets the verdict, and a detector whose fusion was fitted to them.
        bundled: What they are tried beside.
        pages: How many pages are drawn.

    Raises:
        WeightsUnavailable: A library is missing, or the trial came to no end.
        BadWeights: A config cannot be read.
    """
    waited_for = WeightsUnavailable(f"another process still tries the weights of {folder}: look again later")
    with alone(folder.parent.parent / _LOCK, seconds=_TRIAL_SECONDS, refusal=waited_for):
        if (known := HubVerdict.read(folder, bundled=bundled)) is not None:
            return known
        if missing := _trial_lacks():
            raise WeightsUnavailable(
                f"the weights of {folder} were never tried, and their trial needs {', '.join(missing)}: install the "
                "`train` extra, or start `serve` once where it is, over the same DATA_DIR"
            )
        _LOG.info("trying %s beside the bundled weights, on %d drawn pages", folder, pages)
        command = [sys.executable, "-m", "backend.training.hub_trial", str(folder), str(bundled), "--pages", str(pages)]
        try:
            done = subprocess.run(  # noqa: S603  our own module, our own arguments
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TRIAL_SECONDS, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise WeightsUnavailable(f"the trial of {folder} took longer than an hour: try again") from error
        found = HubVerdict.read(folder, bundled=bundled)
    if done.returncode or found is None:
        said = done.stderr.strip().splitlines()[-1:] or [f"it ended with {done.returncode}"]
        kind = BadWeights if done.returncode == BAD_WEIGHTS else WeightsUnavailable
        raise kind(f"the trial of {folder} came to no verdict: {printable(said[0])}")
    _LOG.info("%s: %s; %s", folder, found.state, printable(str(found)))
    return found


@dataclass(frozen=True, kw_only=True)
class Hub:
    """One checkpoint on one Hub, and its place on disk.

    Attributes:
        folder: Holds the download cache and the converted weights.
        endpoint: Address of the Hub; None for HF_ENDPOINT or the public one.
        repository: The repository.
        revision: Branch, tag or commit.
        checksum: SHA-256 that the file must have; None for no pin.
        filename: Of the checkpoint.
        way: To the Hub.
        trial_pages: Drawn pages that the checkpoint is tried on before it serves.
    """

    folder: Path
    endpoint: str | None = None
    repository: str = REPOSITORY
    revision: str = REVISION
    checksum: str | None = CHECKSUM
    filename: str = FILENAME
    way: HubWay = DIRECT
    trial_pages: int = PAGES

    @property
    def converted(self) -> Path:
        """Where the weights are, once `pull` has succeeded."""
        return self.folder / "converted" / self.revision.replace("/", "--")

    def pull(self) -> Path:
        """Downloads the checkpoint and converts it, in a process of its own; gives the folder of the weights.

        Raises:
            WeightsUnavailable: The Hub does not answer or has no such file, or torch, which converts it, is not there.
            BadWeights: The file is damaged, of another architecture, or holds anything but tensors.
        """
        if missing := self.lacks():
            raise WeightsUnavailable(
                f"converting the checkpoint of {self.repository} needs {', '.join(missing)}: install the `train` extra "
                "(requirements/train.txt)"
            )
        checkpoint, commit = self.download()
        self._convert(checkpoint, commit)
        return self.converted

    def lacks(self) -> list[str]:
        """The libraries that converting needs and that are not installed: without them the Hub is not even asked."""
        return [name for name in _CONVERSION_NEEDS if importlib.util.find_spec(name) is None]

    def is_here(self) -> bool:
        """Whether the converted weights are here, and whole; damaged ones are thrown away, which the log says."""
        if not self.converted.is_dir():
            return False
        whole = self.is_whole()
        if not whole:
            _LOG.warning("%s is damaged: thrown away, to be fetched again", self.converted)
            shutil.rmtree(self.converted)
        return whole

    def is_whole(self) -> bool:
        """Whether the converted weights are what their config says."""
        try:
            return (
                sha256_of(self.converted / WEIGHTS_FILE) == ClassifierConfig.read(self.converted / CONFIG_FILE).sha256
            )
        except BadWeights:
            return False

    def verdict(self, bundled: Path) -> HubVerdict | None:
        """What the trial beside the bundled weights said of the converted ones; None where there was none.

        Raises:
            BadWeights: A config cannot be read.
        """
        return HubVerdict.read(self.converted, bundled=bundled)

    def tried(self, bundled: Path) -> HubVerdict:
        """The same; where there was no trial, it is held now, which takes minutes.

        Raises:
            WeightsUnavailable: A library that the trial needs is missing, or it came to no end.
            BadWeights: The weights cannot be loaded.
        """
        return hold_trial(self.converted, bundled=bundled, pages=self.trial_pages)

    def refusal(self, verdict: HubVerdict) -> str:
        """Why weights do not serve, and the way out."""
        return (
            f"the checkpoint of {self.repository} is {verdict.state}: {verdict}. MODEL=bundled, and `auto`, serve "
            f"without it; to try it on pages of your own, `models pull {self.repository}` and `models judge`; to fetch "
            f"it anew, delete {self.converted}"
        )

    def download(self) -> tuple[Path, str]:
        """The checkpoint's path in the download cache, and the commit it is of.

        Raises:
            WeightsUnavailable: The Hub does not answer or has no such file.
            BadWeights: The file is damaged.
        """
        api = hub_api(self.endpoint, self.way)
        from huggingface_hub.errors import HFValidationError  # noqa: PLC0415

        try:
            info = api.model_info(
                self.repository, revision=self.revision, timeout=self.way.silence, files_metadata=True
            )
            commit = commit_of(info.sha, revision=self.revision)
            path = self.folder / "downloads" / commit.replace("/", "--") / self.filename
            fetch_file(api, self.repository, self.filename, path, revision=commit, way=self.way)
        except (OutputError, LimitExceeded) as error:
            raise WeightsUnavailable(f"{self.repository} was not fetched: {error}") from error
        except (httpx2.HTTPError, OSError, HFValidationError) as error:
            raise WeightsUnavailable(
                f"{self.repository} could not be fetched from {api.endpoint}: {reason_of(error)}"
            ) from error
        promised = next(
            (row.lfs.sha256 for row in info.siblings or () if row.rfilename == self.filename and row.lfs), None
        )
        self._check(path, self.checksum or promised)
        return path, commit

    def _check(self, path: Path, promised: str | None) -> None:
        found = sha256_of(path)
        if promised is not None and found != promised:
            path.unlink()
            raise BadWeights(
                f"{self.filename} of {self.repository} has SHA-256 {found[:12]}…, not {printable(promised[:12])}…: "
                "damaged on its way or replaced; it was thrown away"
            )
        _LOG.info("fetched %s of %s, sha256 %s", self.filename, self.repository, found)

    def _convert(self, checkpoint: Path, commit: str) -> None:
        """Runs the converter beside the final place, then moves its folder there in one step."""
        self.converted.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.converted.parent, prefix=".") as scratch:
            command = [sys.executable, "-m", "backend.training.convert", str(checkpoint), scratch]
            command += ["--note", f"source=huggingface:{self.repository}", "--note", f"revision={commit}"]
            try:
                done = subprocess.run(  # noqa: S603  our own module, our own arguments
                    command, capture_output=True, text=True, timeout=_CONVERSION_SECONDS, check=False
                )
            except subprocess.TimeoutExpired as error:
                raise BadWeights(f"{self.filename} of {self.repository}: its conversion did not end") from error
            if done.returncode:
                reason = done.stderr.strip().splitlines()[-1:] or [f"the converter ended with {done.returncode}"]
                raise BadWeights(f"{self.filename} of {self.repository}: {reason[0]}")
            ready = Path(scratch) / "ready"
            ready.mkdir()
            for file in [path for path in Path(scratch).iterdir() if path.is_file()]:
                file.rename(ready / file.name)
            try:
                os.rename(ready, self.converted)
            except OSError:
                # Another process converted the same file meanwhile; its folder is as good.
                if not self.converted.is_dir():
                    raise
