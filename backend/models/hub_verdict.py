"""What a trial said of the Hub's checkpoint: kept beside it, and asked for once, in a process of its own.

A promoted model has passed the gate. The Hub's checkpoint has passed none, so it has a trial before it serves. Does
it tell marks apart at all? Is it as good on whole pages as the bundled weights? `backend.training.hub_trial` asks this
on drawn pages. The verdict holds for these weights beside those bundled ones, and no others.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import logging
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backend.errors import BadWeights, WeightsUnavailable
from backend.escaping import printable
from backend.files import alone, replace_whole
from backend.vision.engine import DetectorConfig
from backend.vision.network_config import ClassifierConfig
from backend.vision.weights import BUNDLED, CONFIG_FILE, DETECTOR_CONFIG_FILE

__all__ = [
    "BAD_WEIGHTS",
    "BROKEN",
    "PAGES",
    "SERVES",
    "VERDICT_FILE",
    "WORSE",
    "HubVerdict",
    "detector_home",
    "hold_trial",
    "lacks",
    "pairing",
]

SERVES, WORSE, BROKEN = "serves", "worse", "broken"
PAGES = 32
"""Drawn pages of a trial."""
VERDICT_FILE = "trial.json"
BAD_WEIGHTS = 2
"""Exit code of a trial whose weights cannot be loaded."""
_EDITION = 1
"""Of the trial: another one asks for other things, and its verdicts count anew."""
_LOCK = "trial.lock"
_SECONDS = 3600.0
"""At low priority beside everything else, a trial may take its time; two processes never hold the same one."""
_NEEDED = ("torch", "arabic_reshaper", "bidi")

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


def detector_home(bundled: Path) -> Path:
    """The folder whose detector the bundled weights serve with."""
    return bundled if (bundled / DETECTOR_CONFIG_FILE).is_file() else BUNDLED


def pairing(folder: Path, bundled: Path) -> str:
    """Changes exactly when the weights of a folder, the bundled ones or the trial do.

    Raises:
        BadWeights: A config cannot be read.
    """
    classifiers = [ClassifierConfig.read(place / CONFIG_FILE).digest for place in (folder, bundled)]
    detector = DetectorConfig.read(detector_home(bundled) / DETECTOR_CONFIG_FILE)
    return "-".join([str(_EDITION), *classifiers, detector.sha256[:8]])


def lacks() -> list[str]:
    """The libraries that a trial needs and that are not installed."""
    return [name for name in _NEEDED if importlib.util.find_spec(name) is None]


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
    with alone(folder.parent.parent / _LOCK, seconds=_SECONDS, refusal=waited_for):
        if (known := HubVerdict.read(folder, bundled=bundled)) is not None:
            return known
        if missing := lacks():
            raise WeightsUnavailable(
                f"the weights of {folder} were never tried, and their trial needs {', '.join(missing)}: install the "
                "`train` extra, or start `serve` once where it is, over the same DATA_DIR"
            )
        _LOG.info("trying %s beside the bundled weights, on %d drawn pages", folder, pages)
        command = [sys.executable, "-m", "backend.training.hub_trial", str(folder), str(bundled), "--pages", str(pages)]
        try:
            done = subprocess.run(  # noqa: S603  our own module, our own arguments
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SECONDS, check=False
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
