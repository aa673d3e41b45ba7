"""Attention written out in products and a softmax, for exporters that do not know it as one operator."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, fx, nn

ATTENTION = "scaled_dot_product_attention"


def spelled_out(module: nn.Module) -> fx.GraphModule | None:
    """Return a copy of a network in which attention is written out; None where it has none, or is no graph.

    Args:
        module: The network.
    """
    if not isinstance(module, fx.GraphModule):
        return None
    if not any(getattr(node.target, "_opname", "") == ATTENTION for node in module.graph.nodes):
        return None
    made = copy.deepcopy(module)
    for node in made.graph.nodes:
        if getattr(node.target, "_opname", "") == ATTENTION:
            node.target = attention
    made.recompile()
    return made


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Return what torch's scaled dot product attention gives in eval mode, for any number of dimensions.

    Args:
        query: [..., L, E].
        key: [..., S, E].
        value: [..., S, V].
        attn_mask: True where a key counts, or numbers that are added to the scores; [..., L, S].
        dropout_p: Of no account in eval mode.
        is_causal: Whether a query sees no later key.
        scale: Of the scores, 1 / sqrt(E) by default (Vaswani et al. 2017, arXiv:1706.03762, section 3.2.1).
        enable_gqa: Whether several heads of queries share one of keys.
    """
    if enable_gqa:
        value = value.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
    return attention_weights(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa) @ value


def attention_weights(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Return how much each query takes of each key, [..., L, S], which sums to 1 over the keys.

    Args are those of `attention`, of which the values are of no account.
    """
    if enable_gqa:
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
    width: Any = query.shape[-1]
    scores = (query * (width**-0.5 if scale is None else scale)) @ key.transpose(-2, -1)
    if is_causal:
        seen = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        attn_mask = seen if attn_mask is None else attn_mask & seen
    if attn_mask is not None:
        masked = attn_mask.dtype == torch.bool
        scores = scores.masked_fill(~attn_mask, -torch.inf) if masked else scores + attn_mask
    return scores.softmax(-1)
