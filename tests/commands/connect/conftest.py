"""This backend's own server and a Label Studio, both on loopback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from backend.settings import Settings
from tests.served import serving
from tests.server.conftest import MemoryPages, ToldPipeline, ToldServing, make_app

BASIC = ("annotator", "pässword")
SECRET = "hush"
ServeBackend = Callable[..., str]


@pytest.fixture
def serve_backend() -> Iterator[ServeBackend]:
    """Serves this backend with a pipeline that was told its version; gives its address."""
    with ExitStack() as stack:

        def serve(
            *,
            guarded: bool = False,
            loading: bool = False,
            failure: str = "",
            version: str = "told-1",
            data_dir: Path | None = None,
        ) -> str:
            guard: dict[str, Any] = (
                {"basic_auth_user": BASIC[0], "basic_auth_pass": BASIC[1], "webhook_secret": SECRET} if guarded else {}
            )
            guard |= {} if data_dir is None else {"data_dir": data_dir}
            pipeline = ToldPipeline(version=version)
            serving_model = ToldServing(pipeline, loading=loading, failure=failure)
            app = make_app(Settings(**guard), serving=serving_model, pages=MemoryPages())
            return stack.enter_context(serving(app))

        yield serve
