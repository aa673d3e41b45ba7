"""Networks by name: residual networks for small images, torchvision's, timm's, and the user's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import StudyFileError, UnknownName, UsageError
from .loading import load_function

CIFAR_DEPTHS = (20, 32, 44, 56, 110)


class BasicBlock(nn.Module):
    """Adds two 3x3 convolutions to a shortcut (He et al. 2016, arXiv:1512.03385, section 4.2)."""

    def __init__(self, inputs: int, outputs: int, stride: int, shortcut: str) -> None:
        """Make the block.

        Args:
            inputs: Channels that come in.
            outputs: Channels that go out.
            stride: Of the first convolution.
            shortcut: What the shortcut is where the shape changes. "pad" takes every second pixel and pads channels
                with zeros (their option A, no parameters); "conv" is a 1x1 convolution with batch norm (option B).
        """
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = (
                SliceAndPad(stride, outputs - inputs)
                if shortcut == "pad"
                else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, inputs, H, W] to [N, outputs, H/stride, W/stride]."""
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class SliceAndPad(nn.Module):
    """Takes every `stride`-th pixel, and adds `extra` channels of zeros, half of them before and half behind."""

    def __init__(self, stride: int, extra: int) -> None:
        super().__init__()
        self.stride = stride
        self.before = extra // 2
        self.behind = extra - extra // 2

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to [N, C + extra, H/stride, W/stride]."""
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.before, self.behind))


class SmallResNet(nn.Module):
    """A residual network for small images: a 3x3 convolution, three stages, average pooling, a linear layer."""

    def __init__(self, blocks: int, widths: Sequence[int], channels: int, classes: int, shortcut: str) -> None:
        """Make the network with random weights.

        Args:
            blocks: Basic blocks in every stage.
            widths: Channels of the three stages.
            channels: Channels of the images.
            classes: Number of outputs, which are logits.
            shortcut: "pad" or "conv"; see `BasicBlock`.
        """
        super().__init__()
        first, second, third = widths
        self.conv1 = nn.Conv2d(channels, first, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.layer1 = _stage(blocks, first, first, 1, shortcut)
        self.layer2 = _stage(blocks, first, second, 2, shortcut)
        self.layer3 = _stage(blocks, second, third, 2, shortcut)
        self.linear = nn.Linear(third, classes)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, channels, H, W] to [N, classes]."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.layer3(self.layer2(self.layer1(out)))
        return self.linear(F.adaptive_avg_pool2d(out, 1).flatten(1))  # type: ignore[no-any-return]


def cifar_resnet(
    depth: int, classes: int = 10, width: int = 16, shortcut: str = "pad", channels: int = 3
) -> SmallResNet:
    """Make a CIFAR ResNet (He et al. 2016, arXiv:1512.03385, section 4.2).

    With shortcut "pad", the names of its weights are those of the published checkpoints.

    Args:
        depth: 6n + 2, for stages of n blocks.
        classes: Number of outputs.
        width: Channels of the first stage; the others have twice and four times as many.
        shortcut: "pad" or "conv"; see `BasicBlock`.
        channels: Channels of the images.

    Raises:
        UsageError: The depth is another number.
    """
    if depth < 8 or depth % 6 != 2:
        raise UsageError(f"depth of a CIFAR ResNet must be 6n + 2 (8, 14, 20, ...), got {depth}")
    return SmallResNet((depth - 2) // 6, (width, 2 * width, 4 * width), channels, classes, shortcut)


def digits_net(classes: int = 10, width: int = 32, channels: int = 1) -> SmallResNet:
    """Make a residual network for 16 x 16 images, with two blocks in each stage and 1x1 convolutions as shortcuts."""
    return SmallResNet(2, (width, 2 * width, 4 * width), channels, classes, shortcut="conv")


def build_model(
    name: str,
    classes: int,
    channels: int = 3,
    width: int | None = None,
    seed: int = 0,
    folder: Path | None = None,
) -> nn.Module:
    """Make an untrained network by its name, in eval mode.

    Args:
        name: cifar_resnet20 and so on, digits_net, torchvision/<name>, timm/<name>, or the user's `file.py:function`
            or `module:function`, which is called without arguments.
        classes: Number of outputs.
        channels: Channels of the images, for networks of ours.
        width: Channels of the first stage, for networks that have a choice; None for their own.
        seed: Of the weights: one name and seed always give the same.
        folder: Where a relative file, and modules, are looked for.

    Raises:
        UnknownName: There is no network of this name.
        UsageError: The network has no choice of width, or timm is not installed.
        StudyFileError: The user's function cannot be found, raises, or returns something else.
    """
    # Random state of the caller's is left as it was.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _build(name, classes, channels, width, folder)
    return model.eval()


def is_code(name: str) -> bool:
    """Tell whether the name of a network is that of a function of the user's own."""
    return ":" in name or name.endswith(".py")


def _build(name: str, classes: int, channels: int, width: int | None, folder: Path | None) -> nn.Module:
    if name == "digits_net":
        return digits_net(classes, width or 32, channels)
    if name in (f"cifar_resnet{depth}" for depth in CIFAR_DEPTHS):
        depth = int(name.removeprefix("cifar_resnet"))
        return cifar_resnet(depth, classes, width or 16, channels=channels)
    if width is not None:
        raise UsageError(f"width = {width} does not apply to model {name!r}: leave it out")
    if name.startswith("torchvision/"):
        return _torchvision_model(name.removeprefix("torchvision/"), classes)
    if name.startswith("timm/"):
        return _timm_model(name.removeprefix("timm/"), classes, channels)
    if is_code(name):
        model = load_function(name, "model", folder)()
        if not isinstance(model, nn.Module):
            raise StudyFileError(f"{name} returned a {type(model).__name__}: return a torch.nn.Module")
        return model
    known = ["digits_net", *(f"cifar_resnet{depth}" for depth in CIFAR_DEPTHS), "torchvision/resnet18"]
    raise UnknownName(
        "model", name, known, "Also torchvision/<name>, timm/<name>, file.py:function or module:function."
    )


def _torchvision_model(name: str, classes: int) -> nn.Module:
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise UnknownName("torchvision model", name, known)
    model = models.get_model(name, weights=None, num_classes=classes)
    assert isinstance(model, nn.Module)
    return model


def _timm_model(name: str, classes: int, channels: int) -> nn.Module:
    try:
        import timm
    except ImportError as error:
        raise UsageError(
            f"model 'timm/{name}' needs timm, which is not installed: pip install 'autocompress[zoo]'"
        ) from error
    known = timm.list_models()
    if name not in known:
        raise UnknownName("timm model", name, known)
    model = timm.create_model(name, pretrained=False, num_classes=classes, in_chans=channels)
    assert isinstance(model, nn.Module)
    return model


def _stage(blocks: int, inputs: int, outputs: int, stride: int, shortcut: str) -> nn.Sequential:
    first = BasicBlock(inputs, outputs, stride, shortcut)
    return nn.Sequential(first, *(BasicBlock(outputs, outputs, 1, shortcut) for _ in range(blocks - 1)))
