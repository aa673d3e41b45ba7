"""Attention, spelled out or computed in another way, gives what torch's own gives."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autocompress.compression.attention import attention_context, longest_sequence
from autocompress.compression.export import make_template
from autocompress.compression.spelled_attention import attention, spelled_out
from autocompress.spaces.graph.capture import capture


def some(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize(
    ("shape", "more"),
    [
        ((2, 4, 6, 8), {}),
        ((2, 3, 4, 6, 8), {}),
        ((2, 4, 6, 8), {"is_causal": True}),
        ((2, 4, 6, 8), {"scale": 0.3}),
        ((2, 4, 6, 8), {"attn_mask": some(6, 6) > -1}),
        ((2, 4, 6, 8), {"attn_mask": some(2, 1, 6, 6)}),
    ],
)
def test_spelled_attention_is_torchs_own(shape: tuple[int, ...], more: dict[str, Any]) -> None:
    query, key, value = (some(*shape) * i for i in (1, 2, 3))
    torch.testing.assert_close(
        attention(query, key, value, **more), F.scaled_dot_product_attention(query, key, value, **more)
    )


def test_heads_of_queries_share_those_of_keys() -> None:
    query, key = some(2, 6, 5, 8), some(2, 2, 5, 8)
    expected = F.scaled_dot_product_attention(query, key, key, enable_gqa=True)
    torch.testing.assert_close(attention(query, key, key, enable_gqa=True), expected)


class Windows(nn.Module):
    """Attention of five dimensions: images, windows, heads, positions, width."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = nn.Linear(4, 3 * 16), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.table(x).view(len(x), 2, 6, 3, 2, 8).permute(3, 0, 1, 4, 2, 5)
        found = F.scaled_dot_product_attention(q, k, v).transpose(2, 3).reshape(len(x), 12, 16)
        return self.head(found.mean(1))  # type: ignore[no-any-return]


def test_attention_of_any_dimensions_is_exported() -> None:
    import onnxruntime

    torch.manual_seed(0)
    inputs = torch.randn(3, 12, 4)
    graph = capture(Windows().eval(), inputs[:1])
    model = make_template(graph, inputs[:1], exact=True).write(graph)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (got,) = session.run(None, {session.get_inputs()[0].name: inputs[:1].numpy()})
    torch.testing.assert_close(torch.from_numpy(got), graph(inputs[:1]).detach(), atol=1e-5, rtol=1e-4)


def test_a_network_without_attention_is_left_alone() -> None:
    graph = capture(nn.Sequential(nn.Linear(4, 4)).eval(), torch.zeros(1, 4))
    assert spelled_out(graph) is None and longest_sequence(graph, torch.zeros(1, 4)) == 0
    assert spelled_out(nn.Linear(4, 4)) is None


def test_training_in_plain_products_gives_the_same_gradients() -> None:
    torch.manual_seed(0)
    network = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
    inputs = torch.randn(8, 6, 32)
    graph = capture(network.eval(), inputs[:1]).train()
    length = longest_sequence(graph, inputs[:1])
    assert length == 6 and graph.training
    found = []
    for context in (attention_context(torch.device("cpu"), length), attention_context(torch.device("cpu"), 0)):
        graph.zero_grad()
        with context:
            graph(inputs).square().mean().backward()
        found.append([p.grad.clone() for p in graph.parameters() if p.grad is not None])
    for plain, fused in zip(*found, strict=True):
        torch.testing.assert_close(plain, fused, atol=1e-5, rtol=1e-3)
