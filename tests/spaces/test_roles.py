"""Roles: the part that each group of channels plays, in networks of the usual structures."""

from __future__ import annotations

from collections.abc import Callable

import nets
import pytest
import torch
from torch import Tensor, nn

from autocompress.spaces.graph.capture import capture
from autocompress.spaces.network import look_at_network
from autocompress.spaces.roles import group_roles


class InvertedResidual(nn.Module):
    """Like a block of a MobileNetV2: wider inside, with a depthwise convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inside = 4 * channels
        self.expand = nn.Sequential(nn.Conv2d(channels, inside, 1), nn.BatchNorm2d(inside), nn.ReLU6())
        self.depthwise = nn.Sequential(nn.Conv2d(inside, inside, 3, padding=1, groups=inside), nn.ReLU6())
        self.project = nn.Conv2d(inside, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.project(self.depthwise(self.expand(x)))


def mobile_net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        InvertedResidual(16),
        nn.Conv2d(16, 24, 1),
        InvertedResidual(24),
        nn.Conv2d(24, 64, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


class Encoder(nn.Module):
    """A transformer over seven tokens of sixteen numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(16, 32)
        self.first = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
        self.second = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.second(self.first(self.embed(x))).mean(1))


MADE: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "inverted residuals": (mobile_net, (3, 8, 8)),
    "encoder": (Encoder, (7, 16)),
}


def roles_of(name: str) -> dict[str, str]:
    if name in nets.NETS:
        context = nets.net(name).context
        return group_roles(context.layers, context.groups)
    make, shape = MADE[name]
    example = torch.zeros(1, *shape)
    found = look_at_network(capture(make().eval(), example), example)
    return group_roles(found.layers, found.groups)


EXPECTED = {
    "digits": {
        "stream 1": ["conv1"],
        "stream 2": ["layer2.0.conv2"],
        "stream 3": ["layer3.0.conv2"],
        "inner": [f"layer{s}.{b}.conv1" for s in (1, 2, 3) for b in (0, 1)],
    },
    "cifar_resnet20": {
        "stream 1": ["conv1"],
        "stream 2": ["layer2.0.conv2"],
        "stream 3": ["layer3.0.conv2"],
        "inner": [f"layer{s}.{b}.conv1" for s in (1, 2, 3) for b in (0, 1, 2)],
    },
    "flatten": {"stem": ["conv1"], "inner": ["conv2"], "classifier": ["linear1"]},
    "grouped": {"stem": ["0"], "inner": ["3", "6"]},
    "concat": {"stem": ["stem"], "inner": ["grow1", "grow2"]},
    "inverted residuals": {
        "stream 1": ["0"],
        "depthwise": ["1.expand.0", "3.expand.0"],
        "stream 2": ["2"],
        "inner": ["4"],
    },
    "encoder": {
        "embedding": ["embed"],
        "heads": ["first.self_attn.in_proj", "second.self_attn.in_proj"],
        "feed-forward": ["first.linear1", "second.linear1"],
    },
}


@pytest.mark.parametrize("name", EXPECTED)
def test_groups_play_their_part(name: str) -> None:
    found: dict[str, list[str]] = {}
    for group, role in roles_of(name).items():
        found.setdefault(role, []).append(group)
    assert {role: sorted(groups) for role, groups in found.items()} == {
        role: sorted(groups) for role, groups in EXPECTED[name].items()
    }


@pytest.mark.slow
def test_a_mobilenet_has_a_stream_for_each_width_and_inner_channels_around_depthwise_convolutions() -> None:
    roles = roles_of("mobilenet_v2")
    assert sorted({role for role in roles.values() if role.startswith("stream")}) == [
        f"stream {i}" for i in range(1, 6)
    ]
    assert sum(role == "depthwise" for role in roles.values()) == 17
    assert roles["features.18.0"] == "inner"


@pytest.mark.parametrize("name", ["digits", "flatten"])
def test_variables_carry_the_roles_of_their_groups(name: str) -> None:
    roles, space = roles_of(name), nets.net(name).space
    assert {v.subject: v.role for v in space.of("channels")} == roles
    for variable in space.of("channels"):
        assert variable.in_stream == variable.role.startswith(("stream", "embedding"))
