"""A network that looks at smaller inputs is the same network, run on what a resize makes of the full ones."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autocompress.spaces.graph.capture import capture
from autocompress.spaces.graph.resized import Resizing, find_resizing, resize, sizes_of
from autocompress.spaces.groups import find_groups, remove_channels
from autocompress.studies.models import build_model


class Fixed(nn.Module):
    """A network whose last layer takes every pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8 * 32 * 32, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).relu().flatten(1))


class Maps(nn.Module):
    """A network that answers for every pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).relu())


class Tokens(nn.Module):
    """Attention over tokens, with positions from a table that is longer than the sequences."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(50, 32), nn.Embedding(128, 32)
        self.register_buffer("order", torch.arange(128)[None])
        self.layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
        self.head = nn.Linear(32, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.words(tokens) + self.places(self.order[:, : tokens.shape[1]])
        return self.head(self.layer(x)[:, 0])


class Patches(nn.Module):
    """A vision transformer whose table of positions has a row for each patch."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.head = nn.Conv2d(3, 16, 8, 8), nn.Linear(16, 3)
        self.places = nn.Parameter(torch.randn(1, 16, 16))

    def forward(self, x: Tensor) -> Tensor:
        return self.head((self.patch(x).flatten(2).transpose(1, 2) + self.places).mean(1))


def pixels(side: int) -> Tensor:
    return torch.randn(1, 3, side, side)


TOKENS = torch.randint(50, (1, 64))
ABLE: list[tuple[Callable[[], nn.Module], Tensor]] = [
    (lambda: build_model("cifar_resnet20", 10), pixels(32)),
    (lambda: build_model("torchvision/mobilenet_v2", 10), pixels(96)),
    (Tokens, TOKENS),
]
NAMES = ["resnet20", "mobilenet_v2", "tokens"]


def apart(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


def by_hand(model: nn.Module, inputs: Tensor, shape: tuple[int, ...]) -> Any:
    if len(shape) == 1:
        return model(inputs[:, : shape[0]])
    return model(nn.functional.interpolate(inputs, shape, mode="bilinear", align_corners=False))


@pytest.mark.parametrize(("make", "example"), ABLE, ids=NAMES)
def test_it_answers_as_the_network_does_on_smaller_inputs(make: Callable[[], nn.Module], example: Tensor) -> None:
    model = make().eval()
    graph = capture(model, example)
    shapes = sizes_of(example)
    assert len(shapes) == 4 and shapes == tuple(sorted(shapes, reverse=True))
    batch = torch.cat([example.flip(1), example, example])
    for shape in (shapes[0], shapes[-1]):
        found = find_resizing(model, graph, example, shape, None)
        assert isinstance(found, Resizing), found
        smaller = capture(model, example)
        resize(smaller, found)
        with torch.no_grad():
            assert apart(smaller(batch), by_hand(model, batch, shape)) < 1e-3
            assert apart(smaller(batch), model(batch)) > 2e-3, "another view of the same inputs"


@pytest.mark.parametrize(("make", "example"), ABLE, ids=NAMES)
def test_it_shrinks_as_the_full_one_does(make: Callable[[], nn.Module], example: Tensor) -> None:
    model = make().eval()
    graph = capture(model, example)
    shape = sizes_of(example)[1]
    groups, _ = find_groups(graph, example, {})
    counts = {group.name: group.choices(1, 0.5)[0] for group in groups}
    narrow = copy.deepcopy(graph)
    remove_channels(narrow, groups, counts)
    resizing = find_resizing(model, graph, example, shape, None)
    assert isinstance(resizing, Resizing)
    both = copy.deepcopy(graph)
    resize(both, resizing)
    remove_channels(both, groups, counts)
    smaller = example[:, : shape[0]] if len(shape) == 1 else by_hand(nn.Identity(), example, shape)
    again = find_resizing(model, graph, example, shape, None)
    assert again == resizing, "the same, however often it is asked"
    with torch.no_grad():
        if len(shape) == 2:  # a network with adaptive pooling takes smaller inputs by itself
            assert apart(both(example), narrow(smaller)) < 1e-3
        assert both(torch.cat([example] * 3)).shape == narrow(torch.cat([example] * 3)).shape


@pytest.mark.parametrize(
    ("make", "example", "says"),
    [
        (Fixed, pixels(32), "cannot look at inputs of 28x28"),
        (Patches, pixels(32), "cannot look at inputs of 28x28"),
        (Maps, pixels(32), "outputs change their shape"),
    ],
)
def test_others_are_told_with_the_reason(make: Callable[[], nn.Module], example: Tensor, says: str) -> None:
    model = make().eval()
    found = find_resizing(model, capture(model, example), example, sizes_of(example)[0], None)
    assert isinstance(found, str) and says in found


def test_inputs_of_other_forms_have_no_sizes() -> None:
    assert sizes_of(torch.randn(1, 16)) == () and sizes_of(torch.randn(1, 3, 8, 8, 8)) == ()
    assert sizes_of((torch.randn(1, 3, 32, 32), torch.randn(1, 4))) == ()
    assert sizes_of((torch.ones(1, 64).long(), torch.ones(1, 64).long())) == ((56,), (48,), (40,), (32,))
    assert sizes_of(torch.randn(1, 3, 224, 224)) == ((192, 192), (160, 160), (144, 144), (112, 112))
    assert sizes_of(torch.randn(1, 1, 8, 8)) == ((7, 7), (6, 6), (5, 5), (4, 4))
    for rows in range(2, 12):
        found = [min(shape) for shape in sizes_of(torch.randn(1, 1, rows, 64))]
        assert len(set(found)) == len(found), "each has a name of its own"
