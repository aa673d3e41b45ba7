"""A small MobileNetV2 for 32x32 images: inverted residuals, whose residual streams are free to be pruned."""

from __future__ import annotations

from torch import nn
from torchvision.models import MobileNetV2

BLOCKS = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 2, 2), (6, 64, 2, 2))
"""Expansion, channels, repetitions and first stride of each stage; the network of ImageNet has three stages more."""
WIDTH = 0.75
LAST = 256
"""Channels before the classifier."""


def network() -> nn.Module:
    """Return the untrained network for ten classes."""
    found = MobileNetV2(num_classes=10, width_mult=WIDTH, inverted_residual_setting=[list(block) for block in BLOCKS])
    last = found.features[-1]
    last[0] = nn.Conv2d(last[0].in_channels, LAST, 1, bias=False)
    last[1] = nn.BatchNorm2d(LAST)
    found.classifier = nn.Linear(LAST, 10)
    return found
