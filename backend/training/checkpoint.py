"""What every training loop needs: the learning-rate curve, the moving average of the weights, and safe files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

__all__ = ["adamw", "follow", "part", "rate_at", "restore", "save", "state_of"]

_WARM_UP = 0.1
_FINAL = 0.01


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


def adamw(parameters: Sequence[nn.Parameter], *, learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW that lets kernels decay only: on biases and BatchNorm decay does nothing but harm."""
    groups = [
        {"params": [one for one in parameters if one.ndim > 1], "weight_decay": weight_decay},
        {"params": [one for one in parameters if one.ndim <= 1], "weight_decay": 0.0},
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
