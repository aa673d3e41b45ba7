"""How networks are called: whatever they take and give, the graph takes tensors in order and gives the answer."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autocompress.spaces.graph.capture import capture
from autocompress.spaces.graph.interface import Interface, UnclearOutput
from autocompress.spaces.groups import remove_channels
from autocompress.spaces.network import look_at_network

Pair = namedtuple("Pair", ["first", "second"])
Named = namedtuple("Named", ["aux", "logits"])


@dataclass
class Answer:
    loss: Tensor | None
    scores: Tensor


ONE, TWO = torch.ones(2, 3), torch.zeros(2, 3)


@pytest.mark.parametrize(
    ("given", "output", "expected"),
    [
        (ONE, None, ONE),
        ({"loss": TWO, "logits": ONE}, None, ONE),
        ({"out": ONE, "aux": TWO}, None, ONE),
        (Answer(None, ONE), None, ONE),
        (Answer(TWO, ONE), None, ONE),
        ((ONE, TWO), None, ONE),
        (Pair(ONE, TWO), None, ONE),
        (Named(TWO, ONE), None, ONE),
        ({"a": TWO, "b": ONE}, "b", ONE),
        ((TWO, ONE), 1, ONE),
        ([TWO, ONE], -1, ONE),
    ],
)
def test_the_output_that_counts(given: Any, output: str | int | None, expected: Tensor) -> None:
    assert Interface(output=output).output_of(given) is expected


@pytest.mark.parametrize(
    ("given", "output"),
    [
        ([{"boxes": ONE, "scores": TWO}], None),
        ({"a": ONE, "b": TWO}, None),
        ({"a": ONE}, "b"),
        ((ONE,), 3),
        ("text", None),
        ((), None),
        (None, None),
    ],
)
def test_an_unclear_output_is_told(given: Any, output: str | int | None) -> None:
    with pytest.raises(UnclearOutput) as caught:
        Interface(output=output).output_of(given)
    assert "\n" not in str(caught.value)


class Reader(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.inner, self.network = nn.Embedding(20, 8), nn.Linear(8, 16), nn.Linear(16, 4)

    def read(self, ids: Tensor, mask: Tensor) -> Tensor:
        weight = mask.unsqueeze(-1).float()
        words = (self.table(ids) * weight).sum(1) / weight.sum(1)
        return self.network(torch.relu(self.inner(words)))


class ByKeywords(Reader):
    def forward(self, *, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        return {"logits": self.read(input_ids, attention_mask)}


class ByPlace(Reader):
    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        return self.read(ids, mask), mask


class ByMapping(Reader):
    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return self.read(batch["input_ids"], batch["attention_mask"])


class ByList(Reader):
    def forward(self, parts: list[Tensor]) -> Tensor:
        return self.read(*parts)


@pytest.mark.parametrize(
    ("network", "style"),
    [(ByKeywords, "keywords"), (ByPlace, "positional"), (ByMapping, "mapping"), (ByList, "sequence")],
)
def test_a_graph_takes_tensors_in_order_and_keeps_names(network: type[Reader], style: Any) -> None:
    torch.manual_seed(0)
    model = network().eval()
    interface = Interface(("input_ids", "attention_mask"), style)
    ids, mask = torch.randint(20, (5, 6)), (torch.rand(5, 6) < 0.7).long()
    mask[:, 0] = 1
    expected = interface.call(model, (ids, mask))
    graph = capture(model, (ids[:1], mask[:1]), interface)
    assert torch.equal(graph(ids, mask), expected)
    assert [n.target for n in graph.graph.nodes if n.op == "placeholder"] == ["input_ids", "attention_mask"]
    assert set(dict(graph.named_parameters())) == set(dict(model.named_parameters()))
    found = look_at_network(graph, (ids[:1], mask[:1]))
    assert {g.name: g.channels for g in found.groups} == {"table": 8, "inner": 16}


class Encodes(nn.Module):
    """torch's own encoder with a mask, which it repeats for each head."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(20, 16, padding_idx=0)
        layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
        self.encoder, self.head = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False), nn.Linear(16, 3)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.head(self.encoder(self.table(ids), src_key_padding_mask=mask == 0).mean(1))


def test_heads_are_prunable_behind_a_mask_that_is_repeated_for_each() -> None:
    torch.manual_seed(0)
    model = Encodes().eval()
    ids, mask = torch.randint(1, 20, (5, 6)), (torch.rand(5, 6) < 0.7).long()
    mask[:, 0] = 1
    graph = capture(model, (ids[:1], mask[:1]), Interface(("ids", "mask")))
    assert torch.allclose(graph(ids, mask), model(ids, mask), atol=1e-6)
    found = look_at_network(graph, (ids[:1], mask[:1]))
    (heads,) = [group for group in found.groups if group.name.endswith("self_attn.in_proj")]
    assert heads.channels == 4
    remove_channels(graph, found.groups, {heads.name: 2})
    assert graph(ids, mask).shape == (5, 3)
    other = mask.clone()
    other[:, -1] = 1 - other[:, -1]
    changed = (graph(ids, mask) - graph(ids, other)).abs().amax(1)
    assert bool((changed > 1e-6).all()), "the mask still counts"
