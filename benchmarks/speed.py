"""Speed of the page pipeline beside the original snippet, and of the loaded server: `python -m benchmarks.speed`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys

import cv2
import torch

from backend.errors import BackendError
from backend.models.serving import Sources, build_pipeline
from backend.settings import Settings
from benchmarks.page_speed import PageSpeed, contract, measure_pages
from benchmarks.server_speed import ServerSpeed, measure_server

__all__ = ["main"]


def main() -> int:
    """Measures, prints a table or JSON; the weights are those that MODEL and DATA_DIR name."""
    parser = argparse.ArgumentParser(description="Measure the page pipeline and the server.")
    parser.add_argument("--pages", type=int, default=5, help="drawn pages (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side on each page (%(default)s)")
    parser.add_argument("--marks", type=int, default=8, help="marks on each page (%(default)s)")
    parser.add_argument(
        "--seed", type=int, default=5, help="of the first page; each further one counts up (%(default)s)"
    )
    parser.add_argument("--clients", type=int, default=64, help="that predict at once (%(default)s)")
    parser.add_argument("--requests", type=int, default=1, help="predictions of each client (%(default)s)")
    parser.add_argument("--only", choices=("page", "server"), help="measure one of the two")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="for OpenCV and torch (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    cv2.setNumThreads(args.threads)
    torch.set_num_threads(args.threads)
    settings = Settings.from_environment(os.environ, model_threads=args.threads)
    weights = Sources.of(settings).at_once()
    pipeline = build_pipeline(weights, settings)
    contracts = [contract(args.seed + number, marks=args.marks) for number in range(args.pages)]
    shown = not args.json
    pages = server = None
    if shown:
        print(f"{pipeline.version}, {args.threads} threads, load {os.getloadavg()[0]:.1f} before")
    if args.only != "server":
        pages = measure_pages(pipeline, weights, contracts=contracts, rounds=args.rounds)
        if shown:
            _print_pages(pages)
    if args.only != "page":
        server = measure_server(contracts[0].jpeg, clients=args.clients, requests=args.requests)
        if shown:
            _print_server(server)
    if args.json:
        print(json.dumps(_facts(pipeline.version, pages, server), indent=2))
    return os.EX_OK


def _facts(version: str, pages: PageSpeed | None, server: ServerSpeed | None) -> dict[str, object]:
    return {
        "version": version,
        "load": os.getloadavg()[0],
        "page": pages and {**dataclasses.asdict(pages), "ratio": pages.ratio, "crops": pages.crops},
        "server": server and dataclasses.asdict(server),
    }


def _print_pages(pages: PageSpeed) -> None:
    print("\nA4 at 300 dpi, JPEG in memory: median ms")
    print(f"{'':<10}{'here':>10}{'original':>10}")
    for step in ("decode", "detect", "classify", "select", "total"):
        original = f"{pages.original[step]:10.1f}" if step in pages.original else f"{'':>10}"
        print(f"{step:<10}{pages.ours[step]:10.1f}{original}")
    print(f"{'boxes':<10}{pages.candidates:10.1f}{pages.regions:10.1f}")
    print(f"{'found':<10}{pages.found:10.3f}{pages.proposed:10.3f}")
    print(f"{'ratio':<10}{1:>10}{pages.ratio:10.2f}")
    print(
        f"one crop by the original snippet: {pages.crop:.1f} ms; a page here takes as long as {pages.crops:.1f} of them"
    )
    print(f"Faster R-CNN with MobileNetV3, decoding included: {pages.faster_rcnn:.1f} ms")
    if pages.proposed < pages.found:
        print("the original's regions hold fewer of the marks than are found here: it cannot find as many at any cost")


def _print_server(server: ServerSpeed) -> None:
    print(f"\nServer: /health after {server.health_after:.2f} s, ready after {server.ready_after:.2f} s")
    print(
        f"resident {server.resident_idle:.0f} MB with the model, at most {server.resident_peak:.0f} MB during the "
        f"predictions, {server.resident_after:.0f} MB after them"
    )
    print(f"{'':<28}{'p50 ms':>10}{'p99 ms':>10}{'longest':>10}{'answers':>10}")
    for name, latency in server.latencies.items():
        print(f"{name:<28}{latency.p50:10.1f}{latency.p99:10.1f}{latency.longest:10.1f}{latency.answers:10}")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BackendError as error:
        sys.exit(f"benchmarks.speed: {error}")
