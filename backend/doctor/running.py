"""This backend as it runs: whether it serves, and whether with the model that these settings stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backend.doctor.findings import Checked, Fields, doubtful, failed, well
from backend.doctor.model import version_here
from backend.errors import SetupError
from backend.setup.running import health, version_for

if TYPE_CHECKING:
    from backend.classification.classifier import Classifies
    from backend.detection.choice import Detects
    from backend.settings import Settings

__all__ = [
    "CREDENTIALS",
    "NAME",
    "SAME",
    "VERSION",
    "check_backend",
    "check_credentials",
    "check_same",
    "check_version",
]

NAME = "backend"
CREDENTIALS = "credentials"
SAME = "same model"
VERSION = "version"


def check_credentials(basic_auth: tuple[str, str]) -> Checked[bool]:
    """Whether Label Studio can bring the credentials that this backend asks for."""
    if not "".join(basic_auth).isascii():
        return failed(
            CREDENTIALS,
            "BASIC_AUTH_USER or BASIC_AUTH_PASS has letters beyond ASCII, which Label Studio sends in another encoding "
            "than this backend reads",
            remedy="set both to ASCII letters, restart `serve`, and run `connect` again",
        )
    return well(CREDENTIALS, "HTTP Basic is asked for, in letters that Label Studio can send", value=True)


def check_backend(url: str, *, basic_auth: tuple[str, str] | None) -> Checked[str]:
    """Whether the backend at `url` serves; gives its version."""
    try:
        state = health(url, basic_auth=basic_auth)
    except SetupError as error:
        found, _, remedy = str(error).partition(": ")
        return failed(NAME, found, remedy=remedy or "see the log of `serve`")
    version, trouble = str(state.get("model_version") or ""), state.get("model_error")
    if state["model_state"] == "loading":
        return failed(NAME, f"{url} still loads its model", remedy="ask `doctor` again in a moment; its log says more")
    if state["model_state"] == "failed":
        return failed(NAME, f"{url} has no model to serve: {trouble}", remedy="see `weights`, `classifier`, `detector`")
    if trouble:
        return doubtful(
            NAME,
            f"{url} serves {version}; what was promoted since cannot: {trouble}",
            remedy="`models promote` another, or `models rollback`",
            value=version,
        )
    return well(NAME, f"{url} serves {version}", version)


def check_same(serves: str, classifier: Classifies, detector: Detects, *, settings: Settings) -> Checked[bool]:
    """Whether what serves is what these settings stand for."""
    here = version_here(settings, detector, classifier)
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
