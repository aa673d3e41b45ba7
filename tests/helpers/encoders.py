"""Small encoders, with norms where GPT-2 has them or where BERT has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autocompress.spaces.context import SpaceContext
from autocompress.spaces.network import Network
from autocompress.spaces.target import Capabilities, Target


class Layer(nn.Module):
    """Attention and feed-forward, with norms in front as GPT-2 has them or behind as BERT has them."""

    def __init__(self, first: bool) -> None:
        super().__init__()
        self.first = first
        self.norm1, self.norm2 = nn.LayerNorm(16), nn.LayerNorm(16)
        self.qkv, self.out = nn.Linear(16, 48), nn.Linear(16, 16)
        self.up, self.down = nn.Linear(16, 32), nn.Linear(32, 16)
        self.attends, self.feeds = True, True

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        if self.attends:
            x = x + self.attention(self.norm1(x), mask) if self.first else self.norm1(x + self.attention(x, mask))
        if self.feeds:
            x = x + self.feed(self.norm2(x)) if self.first else self.norm2(x + self.feed(x))
        return x

    def attention(self, x: Tensor, mask: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (2, 8)).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
        return self.out(F.scaled_dot_product_attention(q, k, v, mask).transpose(1, 2).flatten(2))

    def feed(self, x: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x)))


class Encoder(nn.Module):
    """Embeddings with a norm, three layers, a norm where theirs come first, and a head; all layers read one mask."""

    def __init__(self, first: bool, shared: bool = False) -> None:
        super().__init__()
        self.words, self.places, self.norm = nn.Embedding(20, 16), nn.Embedding(6, 16), nn.LayerNorm(16)
        layers = [Layer(first)] * 3 if shared else [Layer(first) for _ in range(3)]
        self.layers, self.last = nn.ModuleList(layers), nn.LayerNorm(16) if first else nn.Identity()
        self.drop, self.head = nn.Dropout(0.1), nn.Linear(16, 5)

    def forward(self, tokens: Tensor, seen: Tensor) -> Tensor:
        mask = (1.0 - seen[:, None, None, :]) * -1e4
        x = self.drop(self.norm(self.words(tokens) + self.places(torch.arange(tokens.shape[1]))))
        for layer in self.layers:
            x = layer(x, mask)
        return self.head(self.last(x)[:, 0])


def unlike(encoder: Encoder) -> Encoder:
    """The encoder with norms as after training: those of a fresh network do nothing, and would hide faults."""
    generator = torch.Generator().manual_seed(0)
    for parameter in encoder.parameters():
        parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator)
    for norm in (part for part in encoder.modules() if isinstance(part, nn.LayerNorm)):
        norm.weight.data += 1.0
    return encoder.eval()


TOKENS = (torch.randint(0, 20, (4, 6), generator=torch.Generator().manual_seed(0)), torch.ones(4, 6).tril(3))
EXAMPLE = tuple(part[:1] for part in TOKENS)


def context_of(network: Network, can: Capabilities) -> SpaceContext:
    """The context of a study that decides about embeddings too."""
    return SpaceContext(
        network.layers, network.groups, can, network.modules, tables=network.tables, no_tables=network.no_tables
    )


def answers(runtime: Any, path: Path) -> np.ndarray[Any, Any]:
    """What a file says of TOKENS, all at once."""
    loaded = runtime.load(path, Target(runtime.name, batch=len(TOKENS[0])))
    found: np.ndarray[Any, Any] = loaded.run(*(part.numpy() for part in TOKENS))
    return found
