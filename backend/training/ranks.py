"""Several processes that train one network, each on its part of every batch, as torchrun starts them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

__all__ = ["Ranks", "processes", "ranks"]

T = TypeVar("T")
N = TypeVar("N", bound=nn.Module)
_PATIENCE = timedelta(days=1)
"""For what the first process does alone while the others wait: pages to be fetched, the gate to be asked."""


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """This process among those that train.

    Attributes:
        device: Where it computes.
        rank: Which it is, from 0; the first one judges and writes.
        count: How many there are.
    """

    device: torch.device
    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """Whether it is the first one."""
        return self.rank == 0

    def prepared(self, network: N) -> N:
        """The network on its device; on GPUs, BatchNorm takes the statistics of the whole batch."""
        if self.count > 1 and self.device.type == "cuda":
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        return network.to(self.device).to(memory_format=torch.channels_last)

    def together(self, network: nn.Module) -> nn.Module:
        """What to call in the place of the network, so that its gradients are the mean of all processes."""
        if self.count == 1:
            return network
        return DistributedDataParallel(network, device_ids=[self.device] if self.device.type == "cuda" else None)

    def mean(self, value: float) -> float:
        """The mean of what each process has."""
        if self.count == 1:
            return value
        total = torch.tensor(value, dtype=torch.float64, device=self.device)
        distributed.all_reduce(total)
        return float(total) / self.count

    def from_first(self, compute: Callable[[], T]) -> T:
        """What the first process computes, for all of them: none decides by a sum that came out otherwise."""
        if self.count == 1:
            return compute()
        found = [compute() if self.leads else None]
        distributed.broadcast_object_list(found, src=0)
        [value] = found
        return value  # type: ignore[return-value]  # of the first process it is no None but a value

    def wait(self) -> None:
        """Until all processes have come here."""
        if self.count > 1:
            distributed.barrier()


def processes() -> int:
    """How many processes torchrun started."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def ranks() -> Iterator[Ranks]:
    """Joins the other processes, where torchrun started some; over NCCL on GPUs, over Gloo on processors.

    Within itself it is the same group again.
    """
    gpu = torch.cuda.is_available()
    if processes() == 1:
        yield Ranks(device=torch.device("cuda" if gpu else "cpu"))
        return
    local = int(os.environ["LOCAL_RANK"])
    device = torch.device("cuda", local) if gpu else torch.device("cpu")
    if distributed.is_initialized():
        yield Ranks(device=device, rank=distributed.get_rank(), count=distributed.get_world_size())
        return
    if gpu:
        torch.cuda.set_device(local)
    distributed.init_process_group("nccl" if gpu else "gloo", timeout=_PATIENCE)
    try:
        yield Ranks(device=device, rank=distributed.get_rank(), count=distributed.get_world_size())
    finally:
        distributed.destroy_process_group()
