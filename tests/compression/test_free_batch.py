"""Graphs of a fixed batch are freed: by what follows from a reshape's input, and by comparing two exports."""

from __future__ import annotations

from itertools import pairwise
from math import prod

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from autocompress.compression.export import make_template
from autocompress.compression.free_batch import free_reshape
from autocompress.errors import ExportError
from autocompress.spaces.graph.capture import capture


@st.composite
def reshapes(draw: st.DrawFn) -> tuple[list[int], list[int], int, list[int]]:
    """A reshape as networks have them: batch kept, dimensions split or merged; with a new size of the channel axis."""
    axis_sizes = draw(st.lists(st.sampled_from([1, 2, 3, 4, 6]), min_size=2, max_size=4))
    old = [1, *axis_sizes]
    axis = 1 if len(old) >= 4 else len(old) - 1
    cuts = draw(st.sets(st.integers(2, len(old) - 1)))
    edges = [1, *sorted(cuts), len(old)]
    new = [1, *(prod(old[a:b]) for a, b in pairwise(edges))]
    if draw(st.booleans()):
        old, new, axis = old, [*new, 1], axis
    return old, new, axis, [*old[:axis], old[axis] * draw(st.sampled_from([1, 2, 5])), *old[axis + 1 :]]


@given(reshapes(), st.integers(1, 4))
def test_a_freed_reshape_takes_any_channel_count_and_any_batch(
    case: tuple[list[int], list[int], int, list[int]], batch: int
) -> None:
    old, new, axis, other = case
    free = free_reshape(old, new, axis)
    assert free.count(-1) == 1 and len(free) == len(new)

    def resolved(shape: list[int]) -> list[int]:
        copied = [shape[i] if d == 0 else d for i, d in enumerate(free)]
        rest = prod(d for d in copied if d != -1)
        assert prod(shape) % rest == 0
        return [prod(shape) // rest if d == -1 else d for d in copied]

    assert resolved(old) == new, "the teacher's own shape comes back"
    wide = resolved([batch, *other[1:]])
    assert prod(wide) == batch * prod(other[1:])
    if free[0] == 0:
        assert wide[0] == batch, "images do not mix"


class Turned(nn.Module):
    """Its batch comes second inside, and goes together with heads: a number of the graph for a fixed batch."""

    def __init__(self, token: bool = False) -> None:
        super().__init__()
        self.table, self.head = nn.Linear(4, 8), nn.Linear(4, 5)
        self.token = nn.Parameter(torch.ones(1, 1, 4)) if token else None

    def forward(self, x: Tensor) -> Tensor:
        if self.token is not None:
            x = torch.cat([self.token.expand(len(x), -1, -1), x], 1)
        steps = x.shape[1]
        heads = self.table(x).transpose(0, 1).reshape(steps, len(x) * 2, 4).transpose(0, 1)
        return self.head((heads.softmax(1) * heads).sum(1).view(len(x), 2, 4).amax(1))  # type: ignore[no-any-return]


def test_comparing_two_exports_frees_the_batch() -> None:
    torch.manual_seed(0)
    network, inputs = Turned().eval(), torch.randn(5, 6, 4)
    graph = capture(network, inputs[:1])
    template = make_template(graph, inputs[:2], compared_with=inputs[:3])
    session = onnxruntime.InferenceSession(template.write(graph).SerializeToString())
    assert template.batch == 1 and isinstance(session.get_inputs()[0].shape[0], str)
    for batch in (1, 2, 5):
        (got,) = session.run(None, {session.get_inputs()[0].name: inputs[:batch].numpy()})
        with torch.no_grad():
            np.testing.assert_allclose(got, network(inputs[:batch]).numpy(), atol=1e-5)


def test_what_is_no_reshape_cannot_be_freed_by_comparing() -> None:
    torch.manual_seed(0)
    inputs = torch.randn(3, 6, 4)
    graph = capture(Turned(token=True).eval(), inputs[:1])
    with pytest.raises(ExportError, match="batch"):
        make_template(graph, inputs[:2], compared_with=inputs)
