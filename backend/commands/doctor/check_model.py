"""The model: which weights would serve with these settings, and whether they load and are what they should be.

This backend as it runs: whether it serves, and whether with the model that these settings stand for.

The `train` extra: whether this program can retrain where it runs.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Collection
from typing import TYPE_CHECKING

from backend.commands.doctor.findings import Checked, Fields, doubtful, failed, well
from backend.commands.running_backend import health, version_for
from backend.errors import BackendError, BadWeights, SetupError, UnknownModel
from backend.labelstudio.webhooks import can_send
from backend.models.original_model import Hub
from backend.models.published import Registry
from backend.models.serving import Sources
from backend.vision.classifier import load_classifier
from backend.vision.finders import build_detector
from backend.vision.pipeline import Pipeline, PipelineConfig
from backend.vision.weights import BUNDLED, DETECTOR_CONFIG_FILE

if TYPE_CHECKING:
    from backend.settings import Settings
    from backend.vision.classifier import Classifies
    from backend.vision.finders import Detects
    from backend.vision.weights import Weights

__all__ = [
    "CLASSIFIER",
    "CREDENTIALS",
    "DETECTOR",
    "SAME",
    "TRAINING_MODULES",
    "VERSION",
    "check_backend",
    "check_classifier",
    "check_credentials",
    "check_detector",
    "check_same",
    "check_training",
    "check_version",
    "check_weights",
]

EXTRAS_CHECK = "training"
TRAINING_MODULES = (
    "torch",
    "torchvision",
    "onnx",
    "onnxscript",
    "safetensors",
    "faster_coco_eval",
    "arabic_reshaper",
    "bidi",
)
"""What the `train` extra brings."""
WEIGHTS = "weights"
CLASSIFIER = "classifier"
DETECTOR = "detector"
_INSTALL = "install the program anew"
_ANOTHER = "`models promote` another, or `models rollback`; MODEL=bundled serves meanwhile"
_RUNNING_CHECK = "backend"
CREDENTIALS = "credentials"
SAME = "same model"
VERSION = "version"


def check_training(retrain_after: int, *, modules: Collection[str] = TRAINING_MODULES) -> Checked[bool]:
    """Whether the modules that a training needs are installed.

    Args:
        retrain_after: The setting: whether trainings are to start by themselves.
        modules: Names of the modules.
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if not missing:
        return well(EXTRAS_CHECK, "the `train` extra is installed", value=True)
    if not retrain_after:
        return well(EXTRAS_CHECK, "the `train` extra is not installed, and RETRAIN_AFTER=0 asks for none", value=False)
    return doubtful(
        EXTRAS_CHECK,
        f"no training can start here: {', '.join(missing)} are missing",
        remedy="pip install --require-hashes -r requirements/train.txt; or RETRAIN_AFTER=0 where no model is to be "
        "trained, or another machine trains",
        value=False,
    )


def check_weights(settings: Settings) -> Checked[Weights]:
    """Which weights MODEL stands for, and whether their files are as they were published."""
    try:
        return _of_the_hub(settings) or _chosen(settings)
    except UnknownModel as error:
        return failed(WEIGHTS, str(error), remedy="set MODEL to one of these: `models list` says what they are")
    except BadWeights as error:
        return failed(WEIGHTS, str(error), remedy=_way_out(settings))
    except OSError as error:
        remedy = f"let the user that runs `serve` read {settings.data_dir.absolute()} and all that is in it"
        return failed(WEIGHTS, f"{error.filename} cannot be read ({error.strerror})", remedy=remedy)


def _of_the_hub(settings: Settings) -> Checked[Weights] | None:
    """What keeps the Hub's weights from serving; looked at here, because who opens damaged ones throws them away."""
    auto = settings.model == "auto" and Registry(settings.data_dir / "models").pointed() is None
    if settings.model != "hub" and not auto:
        return None
    hub = Hub(folder=settings.data_dir / "hub")
    here = hub.converted.is_dir()
    if here and not hub.is_whole():
        return failed(WEIGHTS, f"{hub.converted} is damaged", remedy="restart `serve`, which fetches it again")
    if settings.model == "hub" and not here:
        return doubtful(
            WEIGHTS,
            f"MODEL=hub, and the weights of {hub.repository} are not on this disk yet",
            remedy="start `serve` where the Hub and the `train` extra are; MODEL=bundled needs neither",
        )
    if settings.model == "hub" and hub.verdict(BUNDLED) is None:
        return doubtful(
            WEIGHTS,
            f"MODEL=hub, and the weights in {hub.converted} had no trial yet beside these bundled ones",
            remedy="start `serve` where the `train` extra is: it tries them first, for some minutes",
        )
    return None


def _chosen(settings: Settings) -> Checked[Weights]:
    sources = Sources.of(settings)
    reason = sources.refused()
    if reason is not None and settings.model == "hub":
        return failed(WEIGHTS, reason, remedy="set MODEL=bundled, or do as this says")
    weights = sources.at_once()
    if reason is not None:
        return doubtful(
            WEIGHTS,
            f"MODEL={settings.model} stands for {weights.name}, in {weights.folder}; {reason}",
            remedy=f"delete {settings.data_dir / 'hub' / 'converted'} where it is not wanted",
            value=weights,
        )
    return well(WEIGHTS, f"MODEL={settings.model} stands for {weights.name}, in {weights.folder}", weights)


def check_classifier(settings: Settings, weights: Weights) -> Checked[Classifies]:
    """Whether the classifier loads and has the checksum of its config."""
    try:
        classifier = load_classifier(weights, threads=settings.model_threads)
    except BackendError as error:
        return failed(CLASSIFIER, str(error), remedy=_way_out(settings, weights))
    return well(CLASSIFIER, f"{classifier.version} loads, its checksum is right", classifier)


def check_detector(settings: Settings, weights: Weights) -> Checked[Detects]:
    """Whether the detector that DETECTOR names loads and has the checksum of its config."""
    try:
        detector = build_detector(settings.detector, weights.folder, threads=settings.model_threads)
    except BackendError as error:
        return failed(DETECTOR, str(error), remedy=f"{_way_out(settings, weights)}; DETECTOR=colour needs no network")
    if settings.detector == "colour":
        return well(DETECTOR, "DETECTOR=colour: rules on coloured ink, no network", detector)
    own = weights.folder == BUNDLED or (weights.folder / DETECTOR_CONFIG_FILE).is_file()
    whose = "that of these weights" if own else "the bundled one, for these weights bring none"
    return well(DETECTOR, f"DETECTOR={settings.detector}: {whose} loads, its checksum is right", detector)


def _version_here(settings: Settings, detector: Detects, classifier: Classifies) -> str:
    """The version under which these would serve."""
    return Pipeline(detector, classifier, PipelineConfig(confidence=settings.confidence)).version


def _way_out(settings: Settings, weights: Weights | None = None) -> str:
    bundled = settings.model == "bundled" or (weights is not None and weights.folder == BUNDLED)
    return _INSTALL if bundled else _ANOTHER


def check_credentials(basic_auth: tuple[str, str]) -> Checked[bool]:
    """Whether Label Studio can bring the credentials that this backend asks for."""
    if not can_send(*basic_auth):
        return failed(
            CREDENTIALS,
            "BASIC_AUTH_USER or BASIC_AUTH_PASS has letters beyond Latin-1, which Label Studio cannot send",
            remedy="set both to Latin-1 letters, restart `serve`, and run `connect` again",
        )
    return well(CREDENTIALS, "HTTP Basic is asked for, in letters that Label Studio can send", value=True)


def check_backend(url: str, *, basic_auth: tuple[str, str] | None) -> Checked[str]:
    """Whether the backend at `url` serves; gives its version."""
    try:
        state = health(url, basic_auth=basic_auth)
    except SetupError as error:
        found, _, remedy = str(error).partition(": ")
        return failed(_RUNNING_CHECK, found, remedy=remedy or "see the log of `serve`")
    version, trouble = str(state.get("model_version") or ""), state.get("model_error")
    if state["model_state"] == "loading":
        return failed(
            _RUNNING_CHECK, f"{url} still loads its model", remedy="ask `doctor` again in a moment; its log says more"
        )
    if state["model_state"] == "failed":
        return failed(
            _RUNNING_CHECK, f"{url} has no model to serve: {trouble}", remedy="see `weights`, `classifier`, `detector`"
        )
    if trouble:
        return doubtful(
            _RUNNING_CHECK,
            f"{url} serves {version}; another model cannot: {trouble}",
            remedy="what was promoted: `models promote` another, or `models rollback`",
            value=version,
        )
    return well(_RUNNING_CHECK, f"{url} serves {version}", version)


def check_same(serves: str, classifier: Classifies, detector: Detects, *, settings: Settings) -> Checked[bool]:
    """Whether what serves is what these settings stand for."""
    here = _version_here(settings, detector, classifier)
    if serves != here:
        return doubtful(
            SAME,
            f"{serves} serves, these settings stand for {here}",
            remedy="give `doctor` the settings and the DATA_DIR of `serve`; or restart `serve`",
        )
    return well(SAME, "what serves is what these settings stand for", value=True)


def check_version(state: Fields, *, url: str, basic_auth: tuple[str, str] | None) -> Checked[str]:
    """The version under which the backend serves a project: thresholds in its label config are a part of it."""
    try:
        version = version_for(url, str(state["label_config"]), basic_auth=basic_auth)
    except SetupError as error:
        return failed(VERSION, str(error), remedy="see `label config` and `backend`, and the log of `serve`")
    return well(VERSION, f"the project is served as {version}", version)
