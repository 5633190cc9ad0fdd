"""Files about contracts are for their owner's eyes."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from backend.errors import EvaluationError

__all__ = ["write_private"]


def write_private(path: Path, text: str) -> None:
    """Writes a file that only its owner can read (mode 0600), whole or not at all.

    Raises:
        EvaluationError: It cannot be written.
    """
    try:
        # mkstemp makes the file 0600 before there is anything in it.
        handle, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(aside, path)
    except OSError as error:
        raise EvaluationError(f"{path} cannot be written ({error.strerror})") from error
