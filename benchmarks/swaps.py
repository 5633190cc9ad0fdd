"""How soon a promotion is served: seconds from the pointer's move until no process answers with the model before.

Usage: python -m benchmarks.swaps [--swaps N] [--workers N]

Two models of the bundled networks take each other's place while a client asks /health every few milliseconds, each time
over a new connection, so that all serving processes are asked.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
import numpy as np

from backend.commands.demo.services import LOOPBACK, backend_service, free_port, wait_for_model
from backend.models.promotion import Models
from backend.models.published import Facts
from backend.vision.network_config import ClassifierConfig
from backend.vision.weights import BUNDLED, CONFIG_FILE

__all__ = ["main"]

_BY = "benchmarks.swaps"
_PAUSE = 0.005
_QUIET = 1.0
"""Seconds without an answer of the model before, after which no process has it."""
_LONGEST = 30.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, and prints the figures; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--swaps", type=int, default=30, help="promotions (30)")
    parser.add_argument("--workers", type=int, default=2, help="serving processes (2)")
    args = parser.parse_args(arguments)
    with TemporaryDirectory(prefix="swaps-") as made:
        first, last = _measure(Path(made), swaps=args.swaps, workers=args.workers)
    print(f"{args.swaps} promotions, {args.workers} serving processes, seconds after the pointer's move:")
    for what, seconds in (("first answer of the new model", first), ("last answer of the one before", last)):
        p50, p99 = np.percentile(seconds, [50, 99])
        print(f"  {what:<30} p50 {p50:.2f}  p99 {p99:.2f}  longest {max(seconds):.2f}")
    return 0


def _measure(folder: Path, *, swaps: int, workers: int) -> tuple[list[float], list[float]]:
    models = Models(folder / "data" / "models")
    names = [_published(models, folder / f"candidate-{number}", number) for number in range(2)]
    models.promote(names[0], why="a benchmark", by=_BY, force=True)
    port = free_port(0)
    url = f"http://{LOOPBACK}:{port}"
    service = backend_service(
        port=port,
        studio_url=f"http://{LOOPBACK}:9",
        token="",
        data_dir=folder / "data",
        log=folder / "backend.log",
        MODEL="auto",
        WORKERS=str(workers),
    )
    first, last = [], []
    with service:
        service.wait_until_answers(f"{url}/health", seconds=_LONGEST)
        wait_for_model(url, seconds=_LONGEST)
        for swap in range(swaps):
            came, went = _swap(models, names[(swap + 1) % 2], url)
            first.append(came)
            last.append(went)
    return first, last


def _published(models: Models, folder: Path, number: int) -> str:
    """One of two models of the bundled networks: the second says the same with another temperature."""
    shutil.copytree(BUNDLED, folder)
    config = ClassifierConfig.read(folder / CONFIG_FILE)
    dataclasses.replace(config, temperature=config.temperature + 0.01 * number).write(folder / CONFIG_FILE)
    return models.publish(folder, Facts(source="a benchmark")).name


def _swap(models: Models, name: str, url: str) -> tuple[float, float]:
    """Promotes; seconds to the new model's first answer, and to the last one of the model before."""
    models.promote(name, why="a benchmark", by=_BY, force=True)
    moved = time.perf_counter()
    came, went = None, 0.0
    while (now := time.perf_counter() - moved) < _LONGEST:
        version = str(httpx2.get(f"{url}/health").raise_for_status().json()["model_version"])
        answered = time.perf_counter() - moved
        if version.startswith(f"{name}-"):
            came = answered if came is None else came
        else:
            went = answered
        if came is not None and now - max(came, went) > _QUIET:
            return came, went
        time.sleep(_PAUSE)
    raise TimeoutError(f"after {_LONGEST:g} s the model before was still served")


if __name__ == "__main__":
    sys.exit(main())
