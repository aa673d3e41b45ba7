"""Classes of variables in studies with students of the user's own: each network has its own, whatever the stage."""

from __future__ import annotations

import re
from collections import OrderedDict

import torch
from torch import Tensor, nn

from autocompress.search.propose.role_classes import role_classes
from autocompress.spaces.context import SpaceContext
from autocompress.spaces.graph.capture import capture
from autocompress.spaces.network import look_at_network
from autocompress.spaces.space import build_space
from autocompress.spaces.target import Capabilities
from autocompress.spaces.union import united

EXAMPLE = torch.zeros(1, 3, 8, 8)


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.b(self.a(x).relu())


def two_stages() -> nn.Module:
    stages = (nn.Conv2d(3, 16, 3, padding=1), Block(16), nn.Conv2d(16, 32, 3, 2, 1), Block(32))
    return nn.Sequential(*stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 5))


def test_streams_of_all_stages_of_a_network_are_of_one_class() -> None:
    found = look_at_network(capture(two_stages().eval(), EXAMPLE), EXAMPLE)
    context = SpaceContext(found.layers, found.groups, Capabilities((32, 8), (), 8), axes=("channels",))
    alone = build_space(context, ("channels",))
    names = ("small", "net18@0.5", "v2 (wide)")
    held = [nn.Sequential(OrderedDict({re.sub(r"\W", "_", name): two_stages()})).eval() for name in names]
    students = {name: look_at_network(capture(each, EXAMPLE), EXAMPLE) for name, each in zip(names, held, strict=True)}
    space = build_space(united(context, students), ("student", "channels"))
    mine = {known.role: len(known.places) for known in role_classes(alone)}
    assert mine["stream"] == 2
    wanted = dict(mine)
    for name in names:
        wanted |= {f"{role} ({name})": count for role, count in mine.items()}
    assert {known.role: len(known.places) for known in role_classes(space) if known.axis == "channels"} == wanted
