"""The model: which weights would serve with these settings, and whether they load and are what they should be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backend.classification.classifier import load_classifier
from backend.detection.choice import build_detector
from backend.doctor.findings import Checked, doubtful, failed, well
from backend.errors import BackendError, BadWeights, UnknownModel
from backend.nets.hub import Hub
from backend.nets.registry import Registry
from backend.nets.sources import Sources
from backend.nets.weights import BUNDLED, DETECTOR_CONFIG_FILE
from backend.pipeline import Pipeline, PipelineConfig

if TYPE_CHECKING:
    from backend.classification.classifier import Classifies
    from backend.detection.choice import Detects
    from backend.nets.weights import Weights
    from backend.settings import Settings

__all__ = ["CLASSIFIER", "DETECTOR", "check_classifier", "check_detector", "check_weights", "version_here"]

WEIGHTS = "weights"
CLASSIFIER = "classifier"
DETECTOR = "detector"
_INSTALL = "install the program anew"
_ANOTHER = "`models promote` another, or `models rollback`; MODEL=bundled serves meanwhile"


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
    return None


def _chosen(settings: Settings) -> Checked[Weights]:
    weights = Sources.of(settings).at_once()
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


def version_here(settings: Settings, detector: Detects, classifier: Classifies) -> str:
    """The version under which these would serve."""
    return Pipeline(detector, classifier, PipelineConfig(confidence=settings.confidence)).version


def _way_out(settings: Settings, weights: Weights | None = None) -> str:
    bundled = settings.model == "bundled" or (weights is not None and weights.folder == BUNDLED)
    return _INSTALL if bundled else _ANOTHER
