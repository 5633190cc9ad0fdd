"""What every training loop needs: the learning-rate curve, the moving average of the weights, and safe files.

How far a training is, for those who do not see its bars.

Several processes that train one network, each on its part of every batch, as torchrun starts them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import save_file
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

__all__ = [
    "Ranks",
    "Tell",
    "adamw",
    "follow",
    "how_far",
    "nobody",
    "part",
    "processes",
    "ranks",
    "rate_at",
    "restore",
    "save",
    "state_of",
]

Tell = Callable[[str], None]
"""Is told how far a training is, after each epoch and when a part begins."""
_MINUTE = 60.0
T = TypeVar("T")
_PATIENCE = timedelta(days=1)
"""For what the first process does alone while the others wait: pages to be fetched, the gate to be asked."""
_WARM_UP = 0.1
_FINAL = 0.01


def nobody(_: str) -> None:
    """Where nobody is to be told."""


def how_far(over: int, of: int, *, seconds: float) -> str:
    """After an epoch: which comes next, and how long the rest takes; it may end sooner.

    Args:
        over: Epochs that are over.
        of: Epochs in all, if none ends early.
        seconds: That the last one took.

    Example:
        >>> how_far(3, 13, seconds=50)
        'epoch 4 of 13, 9 min left at most'
        >>> how_far(13, 13, seconds=50)
        'all 13 epochs are over'
    """
    if over >= of:
        return f"all {of} epochs are over"
    return f"epoch {over + 1} of {of}, {max(1, -int(-(of - over) * seconds // _MINUTE))} min left at most"


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

    def prepared(self, network: nn.Module) -> nn.Module:
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


def rate_at(top: float, done: float) -> float:
    """Learning rate when the share `done` of a stage is over: up for a tenth, then half a cosine down."""
    if done < _WARM_UP:
        return top * max(_FINAL, done / _WARM_UP)
    fall = (1 + math.cos(math.pi * (done - _WARM_UP) / (1 - _WARM_UP))) / 2
    return top * (_FINAL + (1 - _FINAL) * fall)


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, averaging: float) -> None:
    """Moves `average` a step towards `network`; `averaging` is the weight of the past."""
    for slow, fast in zip(_values(average), _values(network), strict=True):
        if slow.is_floating_point():
            slow.lerp_(fast, 1 - averaging)
        else:
            slow.copy_(fast)


def _values(network: nn.Module) -> Iterator[torch.Tensor]:
    yield from network.parameters()
    yield from network.buffers()


def adamw(*parts: tuple[Sequence[nn.Parameter], float], learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW that lets kernels decay only: on biases and BatchNorm decay does nothing but harm.

    Args:
        parts: Parameters, and the share of the learning rate that is theirs; each group keeps it as `share`.
        learning_rate: Of a share of 1.
        weight_decay: Of kernels.
    """
    groups = [
        {"params": found, "weight_decay": decay, "lr": learning_rate * share, "share": share}
        for parameters, share in parts
        for decay, found in (
            (weight_decay, [one for one in parameters if one.ndim > 1]),
            (0.0, [one for one in parameters if one.ndim <= 1]),
        )
    ]
    return torch.optim.AdamW(groups, lr=learning_rate)


def state_of(network: nn.Module, average: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Everything that a training goes on from, as the tensors of one file."""
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in average.state_dict().items()}
    for name, parameter in network.named_parameters():
        for slot, value in optimiser.state.get(parameter, {}).items():
            tensors[f"optimiser.{name}.{slot}"] = value
    return tensors


def restore(
    tensors: dict[str, torch.Tensor], network: nn.Module, average: nn.Module, optimiser: torch.optim.Optimizer
) -> None:
    """Puts back what `state_of` gave; the optimiser gets the state of those parameters that it trains."""
    network.load_state_dict(part(tensors, "network."))
    average.load_state_dict(part(tensors, "average."))
    for name, parameter in network.named_parameters():
        if parameter.requires_grad and (state := part(tensors, f"optimiser.{name}.")):
            optimiser.state[parameter] = {
                # AdamW counts its steps on the processor, wherever the moments are.
                slot: value if value.ndim == 0 else value.to(parameter.device)
                for slot, value in state.items()
            }


def part(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """Those tensors whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def save(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str]) -> None:
    """Writes aside, then renames, so that a kill leaves the old file or the new one."""
    aside = path.with_suffix(".part")
    save_file({name: value.contiguous() for name, value in tensors.items()}, aside, metadata)
    aside.replace(path)
