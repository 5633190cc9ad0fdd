"""A real server whose model never ends loading: `python -m tests.server.endless_load DATA_DIR PORT`.

It is in ONNX Runtime all the while, in several threads, and comes back to Python hundreds of times a second. So a stop
always falls into such a moment: a thread that comes back while Python ends is unwound through C++, which aborts.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np

import backend.models.serving
from backend.commands.serve import serve
from backend.server.application import Application
from backend.settings import Settings
from backend.vision.engine import DetectorConfig, open_session
from backend.vision.weights import BUNDLED, DETECTOR_CONFIG_FILE, DETECTOR_WEIGHTS_FILE

__all__ = ["load_for_ever"]

_THREADS = 4
_SMALL = np.zeros((1, 32, 32, 3), np.uint8)


def load_for_ever(*_: Any, **__: Any) -> Any:
    config = DetectorConfig.read(BUNDLED / DETECTOR_CONFIG_FILE)
    session = open_session(BUNDLED / DETECTOR_WEIGHTS_FILE, config.sha256, threads=1)

    def work() -> None:
        while True:
            session.run(None, {"pixels": _SMALL})

    for _number in range(_THREADS):
        threading.Thread(target=work, daemon=True).start()
    sys.stdout.write("loading\n")
    sys.stdout.flush()
    threading.Event().wait()


if __name__ == "__main__":
    folder, port = sys.argv[1:]
    backend.models.serving.build_pipeline = load_for_ever
    backend.models.serving.LOAD_SECONDS = 0.2
    serve(
        Settings(data_dir=Path(folder), port=int(port), model="bundled", log_level="ERROR", samples_in_server=0),
        Application.start,
    )
