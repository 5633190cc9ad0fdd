"""How long it takes to find the look-alikes of one crop among many, and how much memory.

    python -m benchmarks.lookalikes [--crops N] [--questions N]

The crops are random: how long a question takes does not depend on what they show.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from backend.corrections.database import default_url, open_database
from backend.corrections.sights import NearRows
from backend.vision.engine import EMBEDDING

_PART = 10_000


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--crops", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--questions", type=int, default=5, metavar="N")
    args = parser.parse_args()
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        engine = open_database(default_url(Path(folder)))
        rows = NearRows(engine, Path(folder), network="measured")
        rows.near(np.zeros(EMBEDDING, np.float32), distance=0.1, most=1)  # makes the files
        embeddings, ids = next(Path(folder).glob("*.int8")), next(Path(folder).glob("*.ids"))
        part = random.integers(-127, 128, (_PART, EMBEDDING), dtype=np.int8)
        with embeddings.open("wb") as file:
            for start in range(0, args.crops, _PART):
                file.write(part[: args.crops - start].tobytes())
        np.full(args.crops, float(np.linalg.norm(part[0].astype(float))), np.float32).tofile(
            ids.with_suffix(".lengths")
        )
        np.arange(1, args.crops + 1, dtype=np.int64).tofile(ids)
        seconds, busy = [], []
        for _ in range(args.questions):
            began, worked = time.perf_counter(), time.process_time()
            rows.near(random.normal(size=EMBEDDING).astype(np.float32), distance=0.3, most=1000)
            seconds.append(time.perf_counter() - began)
            busy.append(time.process_time() - worked)
        engine.dispose()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{args.crops} crops: {statistics.median(seconds):.2f} s a question, {statistics.median(busy):.2f} s of "
        f"processor; {args.crops * (EMBEDDING + 8) / 1e6:.0f} MB on disk, at most {peak:.0f} MB of memory, the file's "
        "pages included"
    )


if __name__ == "__main__":
    main()
