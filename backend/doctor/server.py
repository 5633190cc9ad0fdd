"""Label Studio itself: whether it is there, and which one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from backend.doctor.findings import Checked, doubtful, failed, well
from backend.errors import LabelStudioError
from backend.labelstudio.probing import release

if TYPE_CHECKING:
    from backend.labelstudio.client import LabelStudio

__all__ = ["check_server", "judge_release"]

NAME = "Label Studio"
_TESTED = (1, 23)
_REMEDY = "start Label Studio, and set LABEL_STUDIO_URL to the address that a browser on this machine opens it at"


def check_server(studio: LabelStudio) -> Checked[str]:
    """Whether a Label Studio answers at LABEL_STUDIO_URL; gives its release.

    Args:
        studio: Without a token: its release is told to anybody, and a wrong token is another finding.
    """
    try:
        found = release(studio)
    except LabelStudioError as error:
        return failed(NAME, str(error), remedy=_REMEDY)
    if found is None:
        return failed(NAME, f"{studio.base_url} answers, but is another program", remedy=_REMEDY)
    return judge_release(found, studio.base_url)


def judge_release(found: str, url: str) -> Checked[str]:
    """Whether this release is known to work."""
    numbers = tuple(int(number) for number in re.findall(r"\d+", found)[:2])
    tested = ".".join(map(str, _TESTED))
    if numbers < _TESTED:
        return doubtful(
            NAME,
            f"{url} is Label Studio {found}; this backend is tested with {tested}",
            remedy=f"pip install --upgrade 'label-studio>={tested}', or pull a newer image",
            value=found,
        )
    newer = "" if numbers == _TESTED else f", newer than {tested}, which this backend is tested with"
    return well(NAME, f"{url} is Label Studio {found}{newer}", found)
