"""What moves weights: the optimizer of a recovery, the parameters that it has, and the scaling of losses in float16."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ..spaces.spec import Recovery
from .precision import training_dtype

MOMENTUM = 0.9
CLIP_NORM = 5.0


def make_optimizer(
    recovery: Recovery, parameters: Sequence[nn.Parameter], weight_decay: float
) -> torch.optim.Optimizer:
    """Return what trains these parameters; the schedule sets its learning rate.

    It keeps nothing for any other parameter, which is what training few of them saves.

    Args:
        recovery: Says by which optimizer.
        parameters: What is trained.
        weight_decay: Of weights; biases and normalisation scales have none.
    """
    decayed = [p for p in parameters if p.ndim > 1]
    plain = [p for p in parameters if p.ndim <= 1]
    sets: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    if recovery.optimizer == "adamw":
        return torch.optim.AdamW(sets, lr=0.0)
    return torch.optim.SGD(sets, lr=0.0, momentum=MOMENTUM, nesterov=True)


def make_scaler(device: torch.device, precise: bool) -> torch.amp.GradScaler:
    """Return what scales losses, so that small gradients do not vanish in float16; it does nothing in other formats.

    Args:
        device: Where the training runs.
        precise: Whether it stays in float32 anyway.
    """
    return torch.amp.GradScaler(device.type, enabled=training_dtype(device) == torch.float16 and not precise)


def descend(
    loss: torch.Tensor,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    parameters: Sequence[nn.Parameter],
    beside: Sequence[torch.optim.Optimizer] = (),
) -> None:
    """Take one step down the gradient of `loss`, clipped to a norm of `CLIP_NORM`.

    In float16 a step whose gradients overflow moves nothing, and the next one has a smaller scale. It counts as a step:
    the learning rate and the batches go on.

    Args:
        loss: A number.
        optimizer: Moves `parameters`.
        scaler: Of `make_scaler`.
        parameters: Whose gradients are clipped.
        beside: Optimizers of what is learned beside them, whose gradients are not.
    """
    for each in (optimizer, *beside):
        each.zero_grad(set_to_none=True)
    scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
    scaler.unscale_(optimizer)  # the norm that is clipped is the gradients' own
    torch.nn.utils.clip_grad_norm_(parameters, CLIP_NORM)
    for each in (optimizer, *beside):
        if any(p.grad is not None for group in each.param_groups for p in group["params"]):
            scaler.step(each)
    scaler.update()
