"""A network as a graph: its layers are kept as modules, the Python around them becomes operators."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch import fx, nn
from torch.nn.modules.conv import _ConvTransposeNd

from ...quieting import quietly
from ..inputs import Inputs, call, joined, tensors_of
from .attribute_names import as_attribute
from .changed_inputs import changed_inputs
from .inlining import inline_blocks
from .input_names import as_parameter
from .interface import Called, Interface, Name
from .layers_from_functions import name_layers
from .parameters_in_parts import divide_parameters

KEPT_PARTS = frozenset(
    ["conv", "linear", "batchnorm", "normalization", "instancenorm", "sparse", "activation", "pooling", "dropout"]
)
"""Files of torch.nn.modules whose classes stay modules in the graph."""

INLINED = (nn.MultiheadAttention, nn.GLU, nn.Softmax, nn.Softmax2d, nn.LogSoftmax, nn.Softmin, nn.EmbeddingBag)
"""Classes of those files that move or mix channels, and so become operators too."""


def capture(model: nn.Module, example_input: Inputs, interface: Interface | None = None) -> fx.GraphModule:
    """Return a network as a graph in eval mode, over copies of the same layers; its batch is free where it can be.

    Names of modules and of parameters stay what they are, but for weights that functions take (see `name_layers`) and
    names that no graph can have (see `as_attribute`). Inputs and buffers that it changes in place are copied first.
    Blocks under `no_grad` or autocast become part of the graph. Convolutions, linear layers, norms, embeddings,
    activations, pooling and dropout are modules in it; everything else is an operator of ATen, whose numbers can be
    rewritten.

    Args:
        model: The network, in eval mode on the CPU. It is not changed.
        example_input: [1, ...], of each input.
        interface: How it is called, and which of its outputs counts; the graph takes its inputs one after the other,
            and gives that output. None calls it with the inputs, and keeps all outputs.

    Raises:
        Exception: torch.export cannot trace the network; it raises errors of many kinds.
    """
    first: Exception | None = None
    # `len(x)` is a number to the faster tracer, and a symbol to the strict one; the last gives up other batches
    for strict, free in ((False, True), (True, True), (False, False)):
        try:
            graph = _captured(model, example_input, interface, strict, free)
            if not free or _takes_any_batch(graph, example_input):
                return graph
        except Exception as error:  # torch.export raises errors of many kinds
            first = first or error
    assert first is not None
    raise first


def _takes_any_batch(graph: fx.GraphModule, example_input: Inputs) -> bool:
    # oneDNN's kernel ends the process where a state has another batch than the inputs; the other one raises an error
    remembers = any("lstm" in str(node.target) for node in graph.graph.nodes)
    safely = torch.backends.mkldnn.flags(enabled=False) if remembers else contextlib.nullcontext()
    try:
        with quietly(), torch.no_grad(), safely:
            outputs = [call(graph, joined([example_input] * batch)) for batch in (1, 3)]
    except Exception:  # whatever its operators say of another batch
        return False
    return all(not isinstance(o, torch.Tensor) or len(o) == batch for o, batch in zip(outputs, (1, 3), strict=True))


def _captured(
    model: nn.Module, example_input: Inputs, interface: Interface | None, strict: bool, free: bool
) -> fx.GraphModule:
    example = tensors_of(joined([example_input] * 2) if free else example_input)
    each: Any = tuple({0: torch.export.Dim.AUTO} for _ in example)
    called = model if interface is None else Called(model, interface)
    shapes = None if not free else each if interface is None else (each,)
    with quietly(stderr=True), every_layer_called(), torch.no_grad():  # it prints the graph where it fails
        program = torch.export.export(called, example, dynamic_shapes=shapes, strict=strict)
    inline_blocks(program.graph_module)
    signature = program.graph_signature
    stored = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    stored |= getattr(signature, "inputs_to_lifted_tensor_constants", {})
    constants = {name: value for name, value in program.constants.items() if isinstance(value, torch.Tensor)}
    for name, value in program.state_dict.items():
        constants.setdefault(name, value)
    wrapper = "" if interface is None else "network."
    stored = {node: name.removeprefix(wrapper) for node, name in stored.items()}
    constants = {name.removeprefix(wrapper): value for name, value in constants.items()}
    return _rebuilt(program.graph, model, stored, constants, wrapper, interface.names if interface else ())


def _rebuilt(
    graph: fx.Graph,
    model: nn.Module,
    stored: dict[str, str],
    constants: dict[str, torch.Tensor],
    wrapper: str,
    names: tuple[Name, ...],
) -> fx.GraphModule:
    made = fx.Graph()
    free_names = list(names)
    known: dict[fx.Node, fx.Node] = {}
    runs = _calls_of_leaves(graph, model, stored, wrapper)
    done: set[fx.Node] = set()
    attributes: dict[str, fx.Node] = {}
    root = _Holder(model, constants)

    def attribute(name: str) -> fx.Node:
        if name not in attributes:
            attributes[name] = made.get_attr(root.place(name))
        return attributes[name]

    def there(node: fx.Node) -> fx.Node:
        return attribute(stored[node.name]) if node.name in stored and node.op == "placeholder" else known[node]

    given = [node for node in graph.nodes if node.op == "placeholder" and node.name not in stored]
    for node in given:
        known[node] = made.placeholder(as_parameter(str(free_names.pop(0))) if free_names else node.name)
    for node in changed_inputs(graph):  # whoever calls the graph keeps what it gave, and the graph its buffers
        if node.name in stored:
            attributes[stored[node.name]] = made.call_function(torch.ops.aten.clone.default, (there(node),))
        else:
            known[node] = made.call_function(torch.ops.aten.clone.default, (known[node],))
    for node in graph.nodes:
        if node in done or node.op == "placeholder":
            continue
        if node in runs:
            path, nodes, source, last = runs[node]
            known[last] = made.call_module(root.module(path), (there(source),))
            done.update(nodes)
        elif node.op == "output":
            outputs = node.args[0]
            made.output(fx.map_arg(outputs[0] if len(outputs) == 1 else outputs, there))
        elif node.op == "call_function" and str(node.target).startswith("aten._assert"):
            continue
        elif node.op == "call_function":
            target, args = _plain(node)
            known[node] = made.call_function(target, fx.map_arg(args, there), fx.map_arg(node.kwargs, there))
        else:
            known[node] = made.node_copy(node, there)
    captured = fx.GraphModule(root.tree, made)
    divide_parameters(captured)
    name_layers(captured)
    return captured.eval()


def _plain(node: fx.Node) -> tuple[Any, Any]:
    """Return an operator in a form that other numbers of channels, and other layouts in memory, go through."""
    name = str(node.target)
    if name in ("aten.view.default", "aten.reshape.default"):  # a view fails on tensors in channels_last
        sizes: Any = node.args[1]
        known = [size if isinstance(size, int) else -1 for size in node.meta["val"].shape]
        if known.count(-1) < 2:  # the batch, perhaps times the heads: it follows from the others
            sizes = known
        return torch.ops.aten.reshape.default, (node.args[0], sizes)
    if name in ("aten.chunk.default", "aten.split.Tensor"):
        dim: Any = node.args[2] if len(node.args) > 2 else node.kwargs.get("dim", 0)
        sizes = [part.shape[dim] for part in node.meta["val"]]
        if all(isinstance(size, int) for size in sizes):
            return torch.ops.aten.split_with_sizes.default, (node.args[0], sizes, dim)
    return node.target, node.args


class _Holder:
    """Collects what the graph needs of the network, under the same names."""

    def __init__(self, model: nn.Module, constants: dict[str, torch.Tensor]) -> None:
        self.tree = nn.Module()
        self._model, self._constants = model, constants

    def module(self, path: str) -> str:
        return self._set(path, self._model.get_submodule(path))

    def place(self, name: str) -> str:
        owner, _, leaf = name.rpartition(".")
        value: Any = self._constants.get(name)
        with contextlib.suppress(AttributeError):
            value = getattr(self._model.get_submodule(owner), leaf)
        return self._set(name, value)

    def _set(self, path: str, value: Any) -> str:
        name = as_attribute(self._model, path)
        *owners, leaf = name.split(".")
        at = self.tree
        for part in owners:
            if getattr(at, part, None) is None:
                at.add_module(part, nn.Module())
            at = getattr(at, part)
        before = getattr(at, leaf, None)
        if before is not None and (type(before) is not nn.Module or not isinstance(value, nn.Module)):
            return name  # what was made to hold one weight of a module gives way to the module
        if isinstance(value, torch.Tensor) and not isinstance(value, nn.Parameter):
            at.register_buffer(leaf, value.detach())
        else:
            setattr(at, leaf, value)
        return name


Run = tuple[str, set[fx.Node], fx.Node, fx.Node]


def _calls_of_leaves(graph: fx.Graph, model: nn.Module, stored: dict[str, str], wrapper: str) -> dict[fx.Node, Run]:
    """Return the calls of modules that stay modules: first node -> (path, nodes, what goes in, what comes out)."""
    by_call: dict[str, list[fx.Node]] = {}
    for node in graph.nodes:
        if node.op == "call_function" and (stack := node.meta.get("nn_module_stack")):
            key, (path, _) = next(reversed(stack.items()))
            by_call.setdefault(f"{key} {path}", []).append(node)
    found: dict[fx.Node, Run] = {}
    for nodes in by_call.values():
        path = next(reversed(nodes[0].meta["nn_module_stack"].values()))[0].partition("@")[0].removeprefix(wrapper)
        if not _stays(model, path) or not _as_it_is_set(model.get_submodule(path), nodes):
            continue
        inside = set(nodes)
        into = {a for n in nodes for a in n.all_input_nodes if a not in inside and a.name not in stored}
        out = [n for n in nodes if any(user not in inside for user in n.users)]
        if len(into) == len(out) == 1:
            found[nodes[0]] = (path, inside, next(iter(into)), out[0])
    return found


def _stays(model: nn.Module, path: str) -> bool:
    try:
        module = model.get_submodule(path)
    except AttributeError:
        return False
    home = type(module).__module__
    kept = home.startswith("torch.nn.modules.") and home.rpartition(".")[2] in KEPT_PARTS
    random = type(module).__name__ in ("StochasticDepth", "DropPath")
    if not (kept or random):
        return False
    if isinstance(module, nn.LayerNorm | nn.RMSNorm):
        several = len(module.normalized_shape) > 1
        if several or not module.elementwise_affine:
            return False  # its sizes are numbers that have to follow, and no weight alone tells them
    if len(inspect.signature(type(module).forward).parameters) > 2 and not isinstance(module, _ConvTransposeNd):
        return False  # calls of modules in a graph take one thing
    if module._forward_pre_hooks or module._forward_hooks:
        return False  # they may compute its weights
    return not isinstance(module, INLINED) and not any(module.children())


def _as_it_is_set(module: nn.Module, nodes: list[fx.Node]) -> bool:
    """Tell whether a call does what the module does by its attributes; one may be told how large its output becomes."""
    if not isinstance(module, _ConvTransposeNd):
        return True
    for node in nodes:
        if "conv_transpose" in str(node.target):
            given: Any = node.args[5] if len(node.args) > 5 else node.kwargs.get("output_padding", 0)
            sides = len(module.output_padding)
            more = [given] * sides if isinstance(given, int) else [*given] * (sides if len(given) == 1 else 1)
            return more == [*module.output_padding]
    return False


@contextlib.contextmanager
def every_layer_called() -> Iterator[None]:
    """Let no fused kernel compute a transformer's layers past their modules meanwhile.

    Such a kernel would not see what was put in place of a layer's forward, nor call its hooks, and nothing can be taken
    out of it.
    """
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
