"""Fold batch norms into the layers before them, as every runtime does at load."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from ..quieting import quietly
from ..spaces.inputs import Inputs, tensors_of
from .graph_norms import GraphNorm


def norm_pairs(model: nn.Module, example_input: Inputs) -> tuple[tuple[str, str], ...]:
    """Return names of layers with the batch norms that are the only readers of their outputs.

    They are read from torch.export's graph, which sees functional code that module hooks would miss.

    Args:
        model: The network, in eval mode.
        example_input: [B, ...], of each input.
    """
    with quietly(stdout=False):
        program = torch.export.export(model, tensors_of(example_input))
    names = {**program.graph_signature.inputs_to_parameters, **program.graph_signature.inputs_to_buffers}
    readers: Counter[str] = Counter()
    for node in program.graph.nodes:
        readers.update(names[a.name] for a in node.all_input_nodes if a.name in names)
    modules = dict(model.named_modules())
    pairs = []
    for node in program.graph.nodes:
        if "batch_norm" not in str(node.target):
            continue
        source, scale = node.args[0], node.args[1]
        if scale is None or len(source.users) != 1 or len(source.args) < 2:
            continue
        weight = names.get(getattr(source.args[1], "name", ""), "")
        scales = names.get(scale.name, "")
        layer, norm = weight.rpartition(".")[0], scales.rpartition(".")[0]
        fusable = isinstance(modules.get(layer), nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear)
        # a norm of tokens [N, T, F] has numbers for T, and a linear layer before it writes F
        fusable = fusable and (not isinstance(modules.get(layer), nn.Linear) or source.meta["val"].ndim == 2)
        # what is an operator in the teacher stays one in files of its students
        known = isinstance(modules.get(norm), _BatchNorm) and not isinstance(modules.get(norm), GraphNorm)
        # a layer that runs twice keeps its norm outside, and so does a norm behind several layers
        if fusable and known and readers[weight] == readers[scales] == 1:
            pairs.append((layer, norm))
    return tuple(pairs)


def fused(model: nn.Module, pairs: Sequence[tuple[str, str]]) -> nn.Module:
    """Return a copy of `model` in eval mode, with each pair (layer, batch norm) made one layer with a bias."""
    copied = copy.deepcopy(model).eval()
    for layer, norm in pairs:
        first, second = copied.get_submodule(layer), copied.get_submodule(norm)
        fuse: Any = fuse_linear_bn_eval if isinstance(first, nn.Linear) else fuse_conv_bn_eval
        copied.set_submodule(layer, fuse(first, second))
        copied.set_submodule(norm, nn.Identity())
    return copied
