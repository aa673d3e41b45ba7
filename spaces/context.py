"""What a space stands on: the network, what its targets can use, and what the user asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from .graph.block import Block
from .graph.resized import Resizing
from .groups import Group, LeftOut
from .layers import Layer, LeafModule
from .spec import Recovery
from .target import Capabilities
from .target_profile import TargetProfile


@dataclass(frozen=True)
class NamedNetwork:
    """What belongs to one of several networks that students can be cut from, by names.

    Attributes:
        name: Of the network; empty for the teacher.
        layers: Its layers, recurrent ones among them, and embeddings where their bits are decided.
        groups: Its groups of channels.
        blocks: Its blocks.
        modules: Its modules without submodules or weights.
    """

    name: str
    layers: tuple[str, ...]
    groups: tuple[str, ...]
    blocks: tuple[str, ...]
    modules: tuple[str, ...]


@dataclass(frozen=True)
class SpaceContext:
    """Everything that axes may look at.

    Attributes:
        layers: The teacher's layers, in order of execution.
        groups: The teacher's groups of channels.
        capabilities: What the targets can use together; see `joint_capabilities`.
        modules: The teacher's modules without submodules or weights, in order of execution.
        axes: Names of the axes that the study asked for.
        targets: What each target can use, by name, where each plan chooses one target; else empty.
        keep: Names of layers that the user wants left as they are.
        min_fraction: Smallest part of a group's channels that may stay.
        storage_counts: Whether file size is an objective or a constraint, so that choices that only make files
            smaller count.
        bits: Bit-widths that the user allows, None for all that the targets can use.
        patterns: Sparsity patterns that the user allows, None for all that pay.
        profile: What bits and channels were measured to win on the targets, None where that is not known.
        recovery: How students are taught where nothing else is decided.
        held: Numbers of `recovery` that no search decides, by name.
        ways: Which weights a recovery may train, of `spec.TUNES`; the first is that of students made by hand.
        aids: What the teacher may show students beside its outputs, of `spec.AIDS`.
        starts: Whose weights students may begin with; see `axes.recovery`.
        blocks: The teacher's blocks that can be dropped, in order of execution.
        resizings: The sizes of inputs that the teacher can look at besides the full one, largest first.
        no_sizes: Those that it cannot look at, with the reasons.
        networks: The networks that students can be cut from, the teacher first, where the task brings networks of its
            own; else empty. Layers, groups, blocks and modules are then those of all of them, one network after the
            other; no two share a name. Depths are places in their own network.
        tables: The embeddings of all networks, where their bits are decided too (see `spaces.tables`).
        no_tables: Those that stay as they are, with the reasons.
        recurrent: The teacher's recurrent layers, where their bits are decided too (see `spaces.recurrent`).
        no_recurrent: Those that stay as they are, with the reasons.
        float_recurrent: The recurrent layers of all networks whose bits are not decided: they only take time.
        batch: Inputs per inference on the targets.
    """

    layers: tuple[Layer, ...]
    groups: tuple[Group, ...]
    capabilities: Capabilities
    modules: tuple[LeafModule, ...] = ()
    axes: tuple[str, ...] = ()
    targets: Mapping[str, Capabilities] = field(default_factory=dict)
    keep: frozenset[str] = frozenset()
    min_fraction: float = 0.1
    storage_counts: bool = False
    bits: tuple[int, ...] | None = None
    patterns: tuple[str, ...] | None = None
    profile: TargetProfile | None = None
    recovery: Recovery = field(default_factory=Recovery)
    held: frozenset[str] = frozenset()
    ways: tuple[str, ...] = (Recovery.tune,)
    aids: tuple[str, ...] = ()
    starts: tuple[str, ...] = ("teacher",)
    blocks: tuple[Block, ...] = ()
    resizings: tuple[Resizing, ...] = ()
    no_sizes: tuple[LeftOut, ...] = ()
    networks: tuple[NamedNetwork, ...] = ()
    tables: tuple[Layer, ...] = ()
    no_tables: tuple[LeftOut, ...] = ()
    recurrent: tuple[Layer, ...] = ()
    no_recurrent: tuple[LeftOut, ...] = ()
    float_recurrent: tuple[Layer, ...] = ()
    batch: int = 1

    @property
    def all_layers(self) -> tuple[Layer, ...]:
        """All layers whose bits may be decided, those of the graph first."""
        return (*self.layers, *self.tables, *self.recurrent)

    def capabilities_of(self, target: str) -> Capabilities:
        """Return what the target of this name can use, or all targets together for an empty name."""
        return self.targets.get(target, self.capabilities)

    def channel_multiple(self, group: Group) -> int:
        """Return the step of channel counts worth having for this group.

        It is the largest step that any kind of layer in the group asks for.
        """
        if self.profile is None:
            return self.capabilities.channel_multiple
        touched = {member.layer for member in group.members}
        kinds = {layer.kind for layer in self.layers if layer.name in touched}
        multiples = [self.profile.multiple(kind, self.capabilities) for kind in kinds]
        return max(multiples, default=self.capabilities.channel_multiple)

    def network_of(self, layers: Sequence[str]) -> str:
        """Return the name of the network that the first of these layers lies in; empty for the teacher."""
        return next((net.name for net in self.networks if layers and layers[0] in net.layers), "")

    def only(self, network: str) -> SpaceContext:
        """Return this context with one of its networks alone; itself where there is only the teacher."""
        its = next((net for net in self.networks if net.name == network), None)
        if its is None:
            return self
        return replace(
            self,
            layers=tuple(layer for layer in self.layers if layer.name in its.layers),
            groups=tuple(group for group in self.groups if group.name in its.groups),
            blocks=tuple(block for block in self.blocks if block.name in its.blocks),
            modules=tuple(module for module in self.modules if module.name in its.modules),
            tables=tuple(table for table in self.tables if table.name in its.layers),
            recurrent=tuple(layer for layer in self.recurrent if layer.name in its.layers),
            float_recurrent=tuple(layer for layer in self.float_recurrent if layer.name in its.layers),
            networks=(),
        )

    def parts(self) -> tuple[SpaceContext, ...]:
        """Return a context for each of the networks, the teacher's first."""
        return tuple(self.only(net.name) for net in self.networks) or (self,)
