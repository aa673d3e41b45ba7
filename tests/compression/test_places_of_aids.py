"""Where a teacher is looked into for its aids, what students have there, and how far both are apart."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from aided import ALL_AIDS, Bench, convolutional, graph_of, transformer
from structures import Shuffled
from torch import Tensor, nn

from autocompress.compression.aids import apart, show
from autocompress.compression.places import Places, channel_dim, find_places, match_points, places_in
from autocompress.compression.projections import Projections, fitted
from autocompress.compression.taps import Tapped, mean_weights, read_taps, tapped
from autocompress.spaces.graph.capture import capture
from autocompress.spaces.graph.operator_rules import name_of

ENDS = ["a", "b", "c", "d", "e", "f"]


@pytest.mark.parametrize(
    ("points", "left", "expected"),
    [
        (["b", "d", "f"], "abcdef", ("b", "d", "f")),
        (["b", "d", "f"], "acdef", ("a", "d", "f")),  # what the dropped block read stands for what it gave
        (["b", "d", "f"], "abef", (None, "b", "f")),  # one value for two points is for the later
        (["b", "d", "f"], "ef", (None, None, "f")),
        (["a"], "bcdef", (None,)),
        (["f"], "a", ("a",)),
        ([], "abc", ()),
    ],
)
def test_points_of_a_student_stand_for_those_of_its_teacher(
    points: list[str], left: str, expected: tuple[str | None, ...]
) -> None:
    assert match_points(ENDS, points, set(left)) == expected


@pytest.mark.parametrize("make", [convolutional, transformer])
def test_a_network_is_looked_into_at_ends_of_blocks_that_its_students_have_too(make: Callable[[], Bench]) -> None:
    bench = make()
    places = find_places(bench.model)
    assert 3 <= len(places.points) <= 4
    assert places_in(graph_of(bench.student().module), places) == places


def test_taps_change_nothing_and_share_all_that_is_trained() -> None:
    bench = transformer()
    module = graph_of(bench.student().module).train()
    with_taps = tapped(module, places_in(module, find_places(bench.model)))
    found = read_taps(with_taps(bench.images[:4]))
    assert torch.equal(found.outputs, module(bench.images[:4]))
    own = {id(p) for p in module.parameters()}
    assert {id(p) for p in with_taps.parameters()} <= own
    for weights in found.attentions:
        assert weights is not None
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))


@pytest.mark.parametrize("added", [False, True])
def test_queries_of_padding_have_weights_too(added: bool) -> None:
    query, key = torch.randn(2, 4, 3, 8, requires_grad=True), torch.randn(2, 4, 3, 8)
    mask = torch.tensor([[True, False, True], [False, False, False], [True, True, True]])
    given = torch.zeros(3, 3).masked_fill(~mask, -torch.inf) if added else mask
    found = mean_weights(query, key, key, given)
    expected = ((query @ key.mT) / 8**0.5).masked_fill(~mask, -torch.inf).softmax(-1).mean(1)
    torch.testing.assert_close(found[:, [0, 2]], expected[:, [0, 2]])
    found.square().sum().backward()
    assert query.grad is not None and bool(torch.isfinite(query.grad).all())


class ChannelsLast(nn.Module):
    """Like a ConvNeXt: a convolution between layers that have their channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm, self.mix = nn.Conv2d(3, 8, 2, 2), nn.LayerNorm(8), nn.Linear(8, 8)
        self.last, self.head = nn.Conv2d(8, 8, 3), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.stem(x).relu().permute(0, 2, 3, 1))
        x = (x + self.mix(x)).sigmoid()
        return self.head(self.last(x.permute(0, 3, 1, 2)).relu().mean((2, 3)))


def test_channels_are_found_where_the_nearest_layer_has_them() -> None:
    module = capture(ChannelsLast().eval(), torch.zeros(1, 3, 16, 16))
    found = {}
    for node in module.graph.nodes:
        found.setdefault(name_of(node) if node.op == "call_function" else node.target, channel_dim(module, node))
    assert {name for name in ("stem", "relu", "norm", "add", "sigmoid", "last") if found[name] == 1} == {
        "stem",
        "relu",
        "last",
    }


def test_channels_of_a_shuffle_are_those_of_its_branches() -> None:
    module = capture(Shuffled().eval(), torch.zeros(1, 3, 16, 16))
    (joined,) = (node for node in module.graph.nodes if node.op == "call_function" and name_of(node) == "cat")
    assert channel_dim(module, joined) == 1


def test_distances_are_the_published_formulas() -> None:
    torch.manual_seed(0)
    places = Places(("a",), (1,), (), ("a",))
    own, wanted = torch.randn(6, 4, 5, 5), torch.randn(6, 7, 5, 5)
    features = torch.randn(6, 4), torch.randn(6, 7)
    student = show(ALL_AIDS, places, Tapped(None, (own,), ()), features[0])
    teacher = show(ALL_AIDS, places, Tapped(None, (wanted,), ()), features[1])
    maps = [v.square().sum(1).flatten(1) for v in (own, wanted)]
    units = [m / m.norm(dim=1, keepdim=True) for m in maps]
    expected = (units[0] - units[1]).square().sum(1).mean()
    torch.testing.assert_close(apart("attention", student, teacher, Projections()), expected)
    cosines = [F.cosine_similarity(f[:, None], f[None], dim=-1) for f in features]
    expected = (cosines[0] - cosines[1]).square().mean() / cosines[1].square().mean()
    torch.testing.assert_close(apart("relation", student, teacher, Projections()), expected)
    attending = Places((), (), ("s",), ())
    rows = [torch.randn(6, 3, 3).softmax(-1) for _ in range(2)]
    shown = [show(ALL_AIDS, attending, Tapped(None, (), (r,)), features[0]) for r in rows]
    expected = (rows[1] * (rows[1] / rows[0]).log()).sum(-1).mean()
    torch.testing.assert_close(apart("attention", shown[0], shown[1], Projections()), expected)


def test_a_projection_begins_as_the_best_linear_map() -> None:
    torch.manual_seed(0)
    wide = torch.randn(500, 6) @ torch.randn(6, 6) + 3
    random = torch.random.get_rng_state()
    made = fitted(wide, wide[:, [4, 1]] * 2 - 1).requires_grad_(False)
    assert float((made(wide) - (wide[:, [4, 1]] * 2 - 1)).abs().max()) < 0.1
    assert torch.equal(torch.random.get_rng_state(), random), "the student's dropout draws as it did"
    assert bool(torch.isfinite(fitted(torch.zeros(3, 8), torch.zeros(3, 2)).weight).all()), "dead channels"
