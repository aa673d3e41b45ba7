"""Which device and number format training runs in."""

from __future__ import annotations

import functools
from pathlib import Path

import torch
from torch import Tensor, nn

from ..spaces.graph.devices import moved
from ..spaces.inputs import Inputs, mapped


def training_device() -> torch.device:
    """Return CUDA where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def training_dtype(device: torch.device) -> torch.dtype:
    """Return bfloat16 where the device has fast instructions for it, float16 on other GPUs, float32 on other CPUs.

    Gradients in float16 vanish unless losses are scaled; see `optimizers.make_scaler`.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return torch.bfloat16 if _cpu_has_fast_bf16() else torch.float32


def autocast_context(device: torch.device, precise: bool = False, scaled: bool = False) -> torch.autocast:
    """Return a fresh autocast to `training_dtype(device)` for one step, switched off where that is float32.

    Args:
        device: Where the step runs.
        precise: Whether to stay in float32 anyway.
        scaled: Whether the loss is scaled. Without that a step stays in float32 where the format would be float16,
            which ends at 65,504 and loses small gradients.
    """
    coarse = training_dtype(device)
    enabled = coarse == torch.bfloat16 or (coarse == torch.float16 and scaled)
    return torch.autocast(device.type, coarse if enabled else torch.bfloat16, enabled=enabled and not precise)


def to_training_layout(inputs: Inputs, device: torch.device) -> Inputs:
    """Return the batch on the device; images [B, C, H, W] in channels_last, everything else as it is."""
    return mapped(lambda part: _laid_out(part.to(device, non_blocking=True)), inputs)


def _laid_out(part: Tensor) -> Tensor:
    return part.contiguous(memory_format=torch.channels_last) if part.ndim == 4 else part


def module_to_training_layout(module: nn.Module, device: torch.device) -> nn.Module:
    """Move the module to the device, its convolution weights in channels_last. Changes it in place.

    Strided pointwise convolutions whose inputs are no multiple of 8 compute in the plain layout on CPUs: with AVX2 and
    one thread, oneDNN 3.12 (in PyTorch 2.14) writes beyond the gradient of their weights in channels_last.
    """
    moved(module, device)
    for parameter in module.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d) and device.type == "cpu" and _writes_beyond(layer):
            layer.weight.data = layer.weight.data.contiguous()
            if _in_plain_layout not in layer._forward_pre_hooks.values():
                layer.register_forward_pre_hook(_in_plain_layout)
    return module


def _writes_beyond(layer: nn.Conv2d) -> bool:
    return set(layer.kernel_size) == {1} and max(layer.stride) > 1 and bool(layer.in_channels % 8)


def _in_plain_layout(layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(part.contiguous() for part in inputs)


@functools.cache
def _cpu_has_fast_bf16() -> bool:
    # torch runs bfloat16 on any CPU, but without these instructions slower than float32.
    try:
        flags = Path("/proc/cpuinfo").read_text(errors="replace").split()
    except OSError:
        return False
    return "amx_bf16" in flags or "avx512_bf16" in flags
