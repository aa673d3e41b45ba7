"""The network that students are cut from, and what is done to its modules, in one order."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, fx, nn

from ..errors import TrialFailed, one_line
from ..spaces.context import SpaceContext
from ..spaces.graph.block import Block, drop_blocks
from ..spaces.graph.resized import Resizing, resize
from ..spaces.groups import Group, remove_channels
from ..spaces.network import Network
from ..spaces.sizes import groups_at
from ..spaces.spec import StudentSpec
from .adapters import add_adapters
from .factored import factor_layers


@dataclass(frozen=True)
class Parent:
    """The network that students are cut from.

    Attributes:
        module: The trained network. It is never changed.
        groups: Its groups of channels.
        blocks: Its blocks, in order of execution; only a captured network has any.
        resizings: The sizes of inputs that it can look at; likewise.
        early: The weights and buffers that it had early in its training, by name; None where they are not known.
        students: Networks of the user's own that stand beside it, by name.
    """

    module: nn.Module
    groups: Sequence[Group] = ()
    blocks: Sequence[Block] = ()
    resizings: Sequence[Resizing] = ()
    early: Mapping[str, Tensor] | None = None
    students: Mapping[str, Parent] = field(default_factory=dict)

    @classmethod
    def of(cls, module: nn.Module, found: Network | SpaceContext, early: Mapping[str, Tensor] | None = None) -> Parent:
        """Return a trained network with all that was found in it, and with its early weights where they are known."""
        return cls(module, found.groups, found.blocks, found.resizings, early)

    def beside(self, modules: Mapping[str, nn.Module], found: Mapping[str, Network]) -> Parent:
        """Return the same network with networks of the user's own beside it, by name, and what was found in each."""
        return replace(self, students={name: Parent.of(module, found[name]) for name, module in modules.items()})

    def named(self, student: str) -> Parent:
        """Return the network of this name, itself for an empty one.

        Raises:
            TrialFailed: There is none.
        """
        if student and student not in self.students:
            raise TrialFailed(f"the task has no student {student!r}, which this one is cut from")
        return self.students[student] if student else self

    def as_early(self) -> Parent:
        """Return the same network with the weights that it had early in its training.

        Raises:
            TrialFailed: They are not known.
        """
        if self.early is None:
            raise TrialFailed(
                "this student begins with early weights, which the task does not have: give Task(early_weights=...)"
            )
        module = copy.deepcopy(self.module)
        module.load_state_dict(self.early, strict=False)
        return replace(self, module=module)


def edited(parent: Parent, spec: StudentSpec) -> tuple[nn.Module, Mapping[str, Sequence[int]]]:
    """Return a copy of a network with its modules replaced, its inputs smaller, channels, layers and blocks changed.

    Channels are removed by what was found in the whole network, then layers are factored as they are left. Blocks go
    after that, and adapters come last.

    Args:
        parent: The network.
        spec: What becomes of it.

    Returns:
        The copy, and of each layer that lost inputs the parent's input indices that stayed.

    Raises:
        TrialFailed: A replacement is no class of `torch.nn` that takes no arguments, a layer cannot be factored, or
            there is no such block or size, or no block for adapters.
    """
    parent = parent.named(spec.student)
    module, groups = replaced(parent.module, spec.replacements), parent.groups
    if spec.size:
        groups = groups_at(groups, _resized(module, parent.resizings, spec.size))
    with torch.no_grad():
        stayed = remove_channels(module, groups, spec.channels)
    factor_layers(module, spec.factors)
    if spec.dropped:
        _drop(module, parent.blocks, spec.dropped)
        left = {name for name, _ in module.named_modules()}
        stayed = {name: indices for name, indices in stayed.items() if name in left}
    added = None if spec.recovery is None else spec.recovery.kept_adapters
    if added is not None:
        _add(module, {n: b for n, b in enumerate(parent.blocks) if b.name not in spec.dropped}, added.rank)
    return module, stayed


def _resized(module: nn.Module, resizings: Sequence[Resizing], size: int) -> Resizing:
    resizing = next((each for each in resizings if each.size == size), None)
    if resizing is None or not isinstance(module, fx.GraphModule):
        raise TrialFailed(f"the network cannot look at inputs of size {size}")
    resize(module, resizing)
    return resizing


def _add(module: nn.Module, blocks: Mapping[int, Block], bottleneck: int) -> None:
    if not blocks or not isinstance(module, fx.GraphModule):
        raise TrialFailed(
            "no part of the network that has layers has a shortcut past it, so there is no place for adapters"
        )
    add_adapters(module, blocks, bottleneck)


def _drop(module: nn.Module, blocks: Sequence[Block], names: Sequence[str]) -> None:
    missing = sorted(set(names) - {block.name for block in blocks})
    if missing or not isinstance(module, fx.GraphModule):
        raise TrialFailed(f"block {(missing or names)[0]} cannot be dropped: the network has no block of this name")
    try:
        drop_blocks(module, [block for block in blocks if block.name in names])
    except Exception as error:  # whatever a graph says where blocks cannot go together
        raise TrialFailed(f"blocks {', '.join(names)} cannot be dropped together: {one_line(error)[:120]}") from error


def replaced(teacher: nn.Module, replacements: Mapping[str, str]) -> nn.Module:
    """Return a copy of `teacher` with other modules in it.

    Args:
        teacher: The network.
        replacements: Module name -> class of `torch.nn` that takes no arguments.

    Raises:
        TrialFailed: There is no such class, or it needs arguments.
    """
    module = copy.deepcopy(teacher)
    for name, kind in replacements.items():
        cls = getattr(nn, kind, None)
        if not (isinstance(cls, type) and issubclass(cls, nn.Module)):
            raise TrialFailed(f"module {name} cannot be replaced: torch.nn has no class {kind!r}")
        if any(True for _ in module.get_submodule(name).parameters()):
            raise TrialFailed(f"module {name} cannot be replaced: it holds weights")
        try:
            module.set_submodule(name, cls().train(teacher.training))
        except TypeError as error:
            raise TrialFailed(f"module {name} cannot be replaced: torch.nn.{kind} needs arguments") from error
    return module
