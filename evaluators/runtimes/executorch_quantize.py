"""int8 for XNNPACK: PyTorch's quantization of exported programs (PT2E), for the layers asked for and no others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from ...quieting import quietly
from ...spaces.layers import first_names

CALIBRATION_BATCH = 32
"""Inputs that calibration runs at a time where the graph's batch is free."""
_LAYERS = ("aten.conv", "aten.linear")


def quantized(
    module: Any, layers: frozenset[str], bits: Mapping[str, int], calibration: NDArray[Any], batch: int
) -> Any:
    """Return a network with quantize and dequantize pairs, ready to be exported (torch.fx.GraphModule).

    Weights are int8 per channel and symmetric, activations int8 per tensor. Operators between 8-bit layers
    (additions, activations, pooling) go with the layer before them, so that no region has borders inside.

    Args:
        module: The network (torch.nn.Module in eval mode, its batch norms folded); it is not changed.
        layers: Names of all layers.
        bits: Layer name -> 8; what is not in it stays float.
        calibration: Inputs [M, ...] float32, for the ranges of activations.
        batch: Inputs at a time where the network takes no other number.
    """
    import torch
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    inputs = torch.from_numpy(calibration)
    graph, free = _exported(module, inputs, batch)
    _hide_norms(graph.graph)
    _part_parameters(graph)
    size = CALIBRATION_BATCH if free else batch
    with quietly(stdout=False), torch.no_grad():
        observed = prepare_pt2e(graph, _quantizer(layers, first_names(module), bits))
        # a graph with a batch of its own takes nothing else: the last chunk is filled up with its own
        for start in range(0, len(inputs), size):
            chunk = inputs[start : start + size]
            observed(chunk if free else repeated(chunk, size))
        return convert_pt2e(observed)


def repeated(inputs: Any, count: int) -> Any:
    """Return the first `count` inputs, from the beginning again where there are fewer."""
    import torch

    return inputs[torch.arange(count) % len(inputs)]


def _exported(module: Any, inputs: Any, batch: int) -> tuple[Any, bool]:
    # the network as a graph, and whether that takes any batch: calibration is faster in large ones
    import torch

    free = ({0: torch.export.Dim("batch", min=1)},)
    try:
        program = torch.export.export(module, (repeated(inputs, 2),), dynamic_shapes=free)
    except Exception:  # a network that fixes its batch: a class token, a reshape with numbers
        return torch.export.export(module, (repeated(inputs, batch),)).module(), False
    return program.module(), True


def _hide_norms(graph: Any) -> None:
    # The batch norms that are left get a name of our own: `prepare_pt2e` folds a norm into the convolution before it
    # even where others read that convolution too, and their inputs would be wrong.
    import torch

    batch_norm = torch.ops.aten.batch_norm.default

    def norm(*arguments: Any) -> Any:
        return batch_norm(*arguments)

    for node in graph.nodes:
        if node.target is batch_norm:
            node.target = norm


def _part_parameters(network: Any) -> None:
    # Each use of a layer gets parameters of its own. XNNPACK's quantizer passes over a convolution whose weight it has
    # seen, and its serializer writes a bias on the grid of inputs times weights of the first use: the others would add
    # numbers of another size.
    from torch import nn

    graph = network.graph
    for node in [node for node in graph.nodes if node.op == "get_attr"]:
        value = network
        for part in str(node.target).split("."):
            value = getattr(value, part)
        layers = [user for user in node.users if str(user.target).startswith(_LAYERS)]
        for count, user in enumerate(layers[1:], 1):
            owner, _, leaf = str(node.target).rpartition(".")
            # as a parameter: the exporter writes buffers that nothing reads any more
            again = nn.Parameter(value.detach().clone(), requires_grad=False)
            network.get_submodule(owner).register_parameter(f"{leaf}_of_use_{count}", again)
            with graph.inserting_after(node):
                own = graph.create_node("get_attr", f"{node.target}_of_use_{count}")
            own.meta.update(node.meta)
            user.replace_input_with(node, own)
    network.recompile()


def _quantizer(layers: frozenset[str], names: Mapping[str, str], bits: Mapping[str, int]) -> Any:
    # The quantizer's own choice by module name finds no convolution, as a weight belongs to no module in its graph, and
    # nothing of what stands between layers.
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e import MinMaxObserver
    from torchao.quantization.pt2e.quantizer.quantizer import Q_ANNOTATION_KEY

    class LayerQuantizer(XNNPACKQuantizer):  # type: ignore[misc]
        def annotate(self, model: Any) -> Any:
            chosen = _nodes_in_8_bits(model.graph, layers, names, bits)
            self.set_filter_function(chosen.__contains__)
            super().annotate(model)
            for node in model.graph.nodes:
                if node not in chosen:  # concatenations are annotated without asking the filter
                    node.meta.pop(Q_ANNOTATION_KEY, None)
            _clamp_inside(model.graph, Q_ANNOTATION_KEY)
            return model

    # The default observer keeps histograms: for no better answers it takes more than twice as long.
    config = get_symmetric_quantization_config(is_per_channel=True)
    observer = MinMaxObserver.with_args(eps=config.input_activation.observer_or_fake_quant_ctr.p.keywords["eps"])
    activation = replace(config.input_activation, observer_or_fake_quant_ctr=observer)
    return LayerQuantizer().set_global(replace(config, input_activation=activation, output_activation=activation))


def _nodes_in_8_bits(graph: Any, layers: frozenset[str], names: Mapping[str, str], bits: Mapping[str, int]) -> set[Any]:
    # the 8-bit layers with their parameters, and what follows them up to the next layer
    state: dict[Any, tuple[int, int]] = {}  # node -> (index of the latest layer behind it, its bits)
    chosen = set()
    for index, node in enumerate(graph.nodes):
        owners = [str(a.target).rpartition(".")[0] for a in node.all_input_nodes if a.op == "get_attr"]
        if str(node.target).startswith(_LAYERS):
            # a weight that several layers have stands in the graph under the name of one of them
            called = next(reversed((node.meta.get("nn_module_stack") or {"": ("", "")}).values()))[0].partition("@")[0]
            owners.insert(0, names.get(called, called))
        layer = next((owner for owner in owners if owner in layers), None)
        if layer is not None or str(node.target).startswith(_LAYERS):  # one of no name was not asked for
            state[node] = (index, bits.get(layer or "", 32))
        else:
            state[node] = max((state[a] for a in node.all_input_nodes), default=(-1, 32))
        if state[node][1] == 8:
            chosen |= {node, *(a for a in node.all_input_nodes if a.op == "get_attr")}
    return chosen


def _clamp_inside(graph: Any, key: str) -> None:
    # A layer and the clamp behind it (ReLU6) are quantized as one: the range is that of the clamped outputs, and
    # XNNPACK runs both as one operator. Left alone, the codes would be spread over values that are cut off.
    from torchao.quantization.pt2e.quantizer import QuantizationAnnotation

    for node in graph.nodes:
        if not str(node.target).startswith("aten.hardtanh") or key not in node.meta:
            continue
        layer = node.args[0]
        fuses = str(layer.target).startswith(_LAYERS) and len(layer.users) == 1
        if fuses and key in layer.meta and layer.meta[key].output_qspec is not None:
            node.meta[key] = QuantizationAnnotation(output_qspec=layer.meta[key].output_qspec, _annotated=True)
            layer.meta[key].output_qspec = None
