"""A user's teacher as the plain network that it is: without wrappers, hooks and weights that are computed anew."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ..errors import DataError, ExportError, one_line
from ..files import expanded
from ..spaces.layers import kind_of
from .checkpoint import fit_weights, load_weights

WRAPPERS = {"DataParallel": "module", "DistributedDataParallel": "module", "OptimizedModule": "_orig_mod"}
"""Class of a wrapper -> its attribute that holds the network."""


@dataclass(frozen=True)
class Bare:
    """A bare network.

    Attributes:
        network: A copy on the CPU, in eval mode.
        remarks: What is not as the user gave it, a line each.
    """

    network: nn.Module
    remarks: tuple[str, ...]


def bare_network(teacher: nn.Module) -> Bare:
    """Copy a network as plain modules with plain weights, which answer as it does. The network is not changed.

    It is taken out of DataParallel, DistributedDataParallel and torch.compile. Weight and spectral norm,
    parametrizations and pruning masks are folded into the weights that they give. Tensors that were made in inference
    mode become ordinary ones. Frozen weights, and those that a layer holds as a buffer, can be trained. Hooks are left
    behind.

    Args:
        teacher: The user's network, on any device.

    Raises:
        ExportError: It is compiled code without its Python, or has weights that cannot be folded.
    """
    teacher, remarks = _unwrapped(teacher)
    if isinstance(teacher, torch.jit.ScriptModule):
        raise ExportError(
            "the teacher is a TorchScript module, which cannot be changed: give the nn.Module it was made of"
        )
    frozen = sum(not p.requires_grad and p.is_floating_point() for p in teacher.parameters())
    network = _copied(teacher)
    folded = _fold_hooks(network) + _fold_parametrizations(network)
    remarks += [f"teacher: {what} of {count} weights folded into them" for what, count in folded.items()]
    if hooks := _drop_hooks(network):
        remarks.append(f"teacher: {hooks} hooks left out: only what forward does is compressed")
    if fixed := _train_fixed_weights(network):
        remarks.append(f"teacher: {fixed} fixed weights (buffers) of layers are trained in students, too")
    if bounded := _plain_tables(network):
        remarks.append(f"teacher: rows of {bounded} embeddings cut to their largest norm for good")
    if frozen:
        remarks.append(f"teacher: {frozen} frozen weights are trained in students, which have to recover")
    formats = Counter(p.dtype for p in network.parameters() if p.is_floating_point() and p.dtype != torch.float32)
    remarks += [f"teacher: {str(kind).removeprefix('torch.')} weights taken as float32" for kind in formats]
    return Bare(network.eval(), tuple(remarks))


def early_network(teacher: nn.Module, weights: Mapping[str, Tensor] | str | Path) -> nn.Module:
    """Return a bare copy of a network with the weights that it had early in its training; see `bare_network`.

    Args:
        teacher: The user's network, or a bare one.
        weights: Its state_dict from then, or a file that holds it.

    Raises:
        DataError: They are not those of this network, or the file cannot be read.
        ExportError: The network cannot be copied.
    """
    teacher, _ = _unwrapped(teacher)
    early = _copied(teacher)
    if isinstance(weights, Mapping):
        if odd := next((key for key, value in weights.items() if not isinstance(value, Tensor)), None):
            raise DataError(f"early_weights: {odd!r} is no tensor: give model.state_dict() as it was early in training")
        fit_weights(early, weights, "early_weights")
    else:
        load_weights(early, expanded(weights))
    return bare_network(early).network


def _unwrapped(teacher: nn.Module) -> tuple[nn.Module, list[str]]:
    remarks = []
    while (held := WRAPPERS.get(type(teacher).__name__)) is not None:
        remarks.append(f"teacher: taken out of {type(teacher).__name__}")
        teacher = getattr(teacher, held)
    return teacher, remarks


def _copied(network: nn.Module) -> nn.Module:
    # each tensor is handed over as an ordinary one: deepcopy refuses those that were computed, and keeps inference mode
    made: dict[int, Any] = {}
    for module in network.modules():
        held = [*module._parameters.values(), *module._buffers.values()]
        held += [value for value in vars(module).values() if isinstance(value, Tensor)]
        for value in held:
            if value is None or id(value) in made:
                continue
            if isinstance(value, nn.parameter.UninitializedParameter | nn.parameter.UninitializedBuffer):
                raise ExportError("the teacher has lazy layers that never ran: call it once on an input")
            if value.is_meta:
                raise ExportError("the teacher has weights without values (on the device meta): load its weights first")
            with torch.inference_mode(False):
                plain = torch.empty_like(value, device="cpu", requires_grad=False).copy_(value.detach())
            parameter = isinstance(value, nn.Parameter)
            made[id(value)] = nn.Parameter(plain, plain.is_floating_point()) if parameter else plain
    try:
        return copy.deepcopy(network, made).cpu()
    except Exception as error:  # locks, files, generators: whatever a module holds
        raise ExportError(
            f"the teacher cannot be copied ({type(error).__name__}: {one_line(error)}): keep what cannot be "
            "copied out of it"
        ) from error


def _fold_hooks(network: nn.Module) -> Counter[str]:
    from torch.nn.utils import prune
    from torch.nn.utils.spectral_norm import SpectralNorm, remove_spectral_norm
    from torch.nn.utils.weight_norm import WeightNorm, remove_weight_norm

    def unpruned(module: nn.Module, name: str) -> None:
        prune.remove(module, name)  # type: ignore[no-untyped-call]

    ways: tuple[tuple[type, str, Callable[[nn.Module, str], Any], str], ...] = (
        (WeightNorm, "weight_norm", remove_weight_norm, "name"),
        (SpectralNorm, "spectral_norm", remove_spectral_norm, "name"),
        (prune.BasePruningMethod, "pruning masks", unpruned, "_tensor_name"),
    )
    found: Counter[str] = Counter()
    network.eval()
    for module in network.modules():
        for hook in list(module._forward_pre_hooks.values()):
            for kind, what, remove, attribute in ways:
                if isinstance(hook, kind):
                    remove(module, getattr(hook, attribute))
                    found[what] += 1
    return found


def _fold_parametrizations(network: nn.Module) -> Counter[str]:
    found: Counter[str] = Counter()
    for name, module in list(network.named_modules()):
        if not parametrize.is_parametrized(module):
            continue
        # the class holds the tensors as properties, and the copy shares it with the user's own network
        shared = type(module)
        own = {key: value for key, value in vars(shared).items() if key not in ("__dict__", "__weakref__")}
        module.__class__ = type(shared.__name__, shared.__bases__, own)
        held: Any = module.parametrizations
        for tensor, made in list(held.items()):
            trained = any(True for _ in made.parameters())
            try:
                with torch.no_grad():
                    parametrize.remove_parametrizations(module, tensor, leave_parametrized=True)
            except Exception as error:
                raise ExportError(
                    f"the parametrization of {name or 'the teacher'}.{tensor} cannot be folded ({one_line(error)}): "
                    "remove it with torch.nn.utils.parametrize.remove_parametrizations"
                ) from error
            # torch leaves a buffer where several parameters make one weight; to set it tells recurrent modules of it
            value: Any = getattr(module, tensor)
            computed = trained and not isinstance(value, nn.Parameter)
            setattr(module, tensor, nn.Parameter(value.detach()) if computed else value)
            found["parametrizations"] += 1
    return found


def _train_fixed_weights(network: nn.Module) -> int:
    """Make parameters of the weights of layers that are buffers or plain tensors, such as those of a fixed filter."""
    made: dict[int, nn.Parameter] = {}
    for module in network.modules():
        if kind_of(module) is None and not isinstance(module, nn.Embedding):
            continue
        for name in ("weight", "bias"):
            value = module._buffers.get(name, vars(module).get(name))
            if isinstance(value, Tensor) and value.is_floating_point():
                made.setdefault(id(value), nn.Parameter(value.detach()))
                setattr(module, name, made[id(value)])
    return len(made)


@torch.no_grad()
def _plain_tables(network: nn.Module) -> int:
    """Let embeddings look rows up and do no more: none is shortened then, and gradients are plain numbers.

    Returns:
        The number of those whose rows were bounded.
    """
    count = 0
    for module in network.modules():
        if not isinstance(module, nn.Embedding | nn.EmbeddingBag):
            continue
        module.sparse = False  # a gradient of a few rows cannot be clipped, nor moved by AdamW
        if module.max_norm is not None:
            rows = torch.arange(module.num_embeddings)
            torch.embedding_renorm_(module.weight.data, rows, module.max_norm, module.norm_type)
            module.max_norm = None
            count += 1
    return count


def _drop_hooks(network: nn.Module) -> int:
    count = 0
    for module in network.modules():
        for held in (
            module._forward_hooks,
            module._forward_pre_hooks,
            module._backward_hooks,
            module._backward_pre_hooks,
        ):
            count += len(held)
            held.clear()
    return count
