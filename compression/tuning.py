"""Which weights a recovery trains: all of them, the last layer, biases and norms, or updates of low rank."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor, fx, nn

from ..spaces.spec import ADAPTERS, WITH_UPDATES, Recovery
from .adapters import PREFIX
from .coded_weight import CodedWeight
from .layer_forward import ADAPTABLE, own_weight, with_weight
from .norms import norms_of
from .seeds import seeded_generator
from .student import Student, can_learn

ALPHA = 16.0
"""Updates of rank r count alpha / r times (Hu et al. 2021, arXiv:2106.09685, section 4.1)."""
LEAST_MOMENTUM = 0.1
"""Of norms while a student is taught, PyTorch's default. Some networks are built with 0.0003, or with the mean over
all batches that there ever were: with these, a student would keep the statistics of its teacher's wider layers."""


class LowRank(nn.Module):
    """The update of one layer's weight: `up @ down`, in the shape of the weight. It begins at zero.

    Attributes:
        down: [rank, in * kernel], drawn as layers are.
        up: [out, rank], zero at first.
    """

    def __init__(self, weight: Tensor, rank: int, seed: int, name: str) -> None:
        """Begin for `weight` [out, in, ...]; the numbers follow from the seed and the layer's name."""
        super().__init__()
        width = weight[0].numel()
        drawn = torch.rand(rank, width, generator=seeded_generator("low rank", seed, name))
        self.down = nn.Parameter(((2 * drawn - 1) / math.sqrt(width)).to(weight))
        self.up = nn.Parameter(weight.new_zeros(len(weight), rank))
        self._scale = ALPHA / rank

    def added_to(self, weight: Tensor) -> Tensor:
        """Return `weight` with the update. It is computed in the weight's own precision, whatever autocast says."""
        with torch.autocast(weight.device.type, enabled=False):
            return weight + self._scale * (self.up @ self.down).view_as(weight)


class Tuning:
    """What a recovery trains of a student. All else stands still, bit by bit.

    "full" trains every weight. "classifier" trains the last layer; norms of the rest are settled by their owner before,
    and stay. "bitfit" trains every bias and the scale of every norm, and the last layer. "lora" trains these, and an
    update of low rank of each other linear layer and convolution, where that is smaller than the weight itself: small
    weights, such as those of depthwise convolutions, are trained whole. "qlora" does the same over weights that are
    rounded to 8 bits and kept so (after Dettmers et al. 2023, arXiv:2305.14314, whose grid has 4 bits). "adapters"
    trains what "bitfit" does, and the adapters that the student was made with. With all but "classifier" norms go on
    with the statistics of batches, as what lies before them changes.

    Names in `plain_state` are those of a student that is trained in full.
    """

    def __init__(self, student: Student, recovery: Recovery, last_layer: str | None, seed: int = 0) -> None:
        """Prepare a student whose module lies where it is trained.

        Args:
            student: It is changed: what is not trained needs no gradient, and layers with updates compute with them.
            recovery: Says what is trained.
            last_layer: Name of the layer that answers; where that is not known, or the student lacks it, the last one
                made is taken.
            seed: Of the updates.
        """
        self._student, self._module = student, student.module
        self._updates: dict[str, LowRank] = {}
        self._coded: dict[str, CodedWeight] = {}
        self.body_stands = recovery.tune == "classifier"
        """Whether nothing before the last layer changes."""
        if recovery.tune == "full":
            self.trained = [p for p in self._module.parameters() if can_learn(p)]
            return
        # a block that the student lacks may hold the layer that answers in others
        known = {name for name, _ in self._module.named_modules(remove_duplicate=False)}
        last = last_layer if last_layer in known else _last_made(self._module)
        chosen = set(map(id, self._module.get_submodule(last).parameters())) if last else set()
        if recovery.tune != "classifier":
            chosen |= {id(p) for p in self._module.parameters() if p.ndim <= 1 and can_learn(p)}
        if recovery.tune == ADAPTERS:
            chosen |= {id(p) for name, p in self._module.named_parameters() if name.startswith(PREFIX)}
        if recovery.tune in WITH_UPDATES:
            for name, layer in adaptable(self._module).items():
                weight = own_weight(name, layer)
                if id(weight) in chosen:
                    continue
                if recovery.rank * (len(weight) + weight[0].numel()) < weight.numel():
                    self._updates[name] = LowRank(weight.detach(), recovery.rank, seed, name).to(weight.device)
                else:
                    chosen.add(id(weight))
        if recovery.tune == "qlora":
            for name in self._updates:
                weight = own_weight(name, self._module.get_submodule(name))
                self._coded[name] = CodedWeight.of(weight)
                weight.data = weight.new_empty(0)  # the codes are all that is held of it
        for parameter in self._module.parameters():
            parameter.requires_grad_(id(parameter) in chosen)
        of_module = [p for p in self._module.parameters() if p.requires_grad]
        self.trained = [*of_module, *(p for update in self._updates.values() for p in update.parameters())]
        for name in self._updates:
            self._adapt(name)

    @property
    def adapts(self) -> bool:
        """Whether any layer computes with an update."""
        return bool(self._updates)

    def standing(self, layers: Iterable[str]) -> list[str]:
        """Return those linear layers and convolutions among these whose weights keep their values."""
        own = {name: self._module.get_submodule(name) for name in layers if name not in self._updates}
        able = {name: layer for name, layer in own.items() if isinstance(layer, ADAPTABLE)}
        return [name for name, layer in able.items() if not own_weight(name, layer).requires_grad]

    def train_mode(self) -> None:
        """Put the student in training mode; norms whose inputs do not change any more keep their statistics.

        Those that would hardly follow what they see in a training that is short beside the teacher's follow faster.
        """
        self._module.train()
        for norm in norms_of(self._module):
            if self.body_stands:
                norm.eval()
            elif norm.momentum is None or norm.momentum < LEAST_MOMENTUM:
                norm.momentum = LEAST_MOMENTUM

    def weight(self, name: str, layer: nn.Module) -> Tensor:
        """Return the weight that a layer computes with: with its update, and with the zeros of its pattern."""
        update = self._updates.get(name)
        if update is None:
            return own_weight(name, layer)
        found, mask = update.added_to(self._base(name, layer)), self.masks.get(name)
        return found if mask is None else found * mask.to(found.device)

    @property
    def masks(self) -> Mapping[str, Tensor]:
        """Layer name -> what holds its pattern."""
        return self._student.masks

    def take_masks(self, masks: Mapping[str, Tensor]) -> None:
        """Let these masks hold from now on."""
        self._student = replace(self._student, masks=masks)

    def hold_masks(self) -> None:
        """Set masked weights back to zero after an optimizer's step, where they are no sums that have their zeros."""
        self._student.hold_masks(but=self._updates)

    @property
    def held(self) -> list[Tensor]:
        """What is held of the student and beside it: weights, buffers, updates and codes."""
        coded = [part for each in self._coded.values() for part in (each.codes, each.scale)]
        return [*self._module.parameters(), *self._module.buffers(), *self.trained, *coded]

    def plain_state(self) -> dict[str, Tensor]:
        """Return the student's `state_dict` without updates, codes as the numbers that they stand for."""
        coded = {f"{name}.weight": each.decoded() for name, each in self._coded.items()}
        return {**self._module.state_dict(), **coded}

    def state(self) -> dict[str, Tensor]:
        """Return updates and codes, to be kept beside `plain_state`."""
        return {name: part.detach() for name, part in self._parts()}

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take what `state` gave."""
        for name, part in self._parts():
            part.copy_(state[name])

    @torch.no_grad()
    def merge(self) -> None:
        """Put the updates into the weights and forget them: the student is as if it had been trained in full."""
        for name in list(self._updates):
            layer = self._module.get_submodule(name)
            weight, found = own_weight(name, layer), self.weight(name, layer)
            if name in self._coded:
                weight.data = found
            else:
                weight.copy_(found)
            layer.__dict__.pop("forward", None)
            del self._updates[name]
        self._coded.clear()
        for parameter in self._module.parameters():
            parameter.requires_grad_(can_learn(parameter))

    def _base(self, name: str, layer: nn.Module) -> Tensor:
        coded = self._coded.get(name)
        return own_weight(name, layer) if coded is None else coded.decoded()

    def _parts(self) -> Iterator[tuple[str, Tensor]]:
        for name, update in self._updates.items():
            yield from ((f"{name}.{part}", parameter) for part, parameter in update.named_parameters())
        for name, coded in self._coded.items():
            yield f"{name}.codes", coded.codes
            yield f"{name}.scale", coded.scale

    def _adapt(self, name: str) -> None:
        layer = self._module.get_submodule(name)

        def forward(inputs: Tensor) -> Tensor:
            return with_weight(layer, inputs, lambda: self.weight(name, layer), again=True)

        layer.forward = forward


def adaptable(module: nn.Module) -> dict[str, nn.Module]:
    """Return the linear layers and convolutions that alone use their weight, by name.

    A weight that an embedding or another operator reads too would have its update in one of the two places only.
    """
    owners = Counter(id(p) for part in module.modules() for p in part.parameters(recurse=False))
    read = (
        {str(n.target) for n in module.graph.nodes if n.op == "get_attr"} if isinstance(module, fx.GraphModule) else ()
    )
    return {
        name: layer
        for name, layer in module.named_modules()
        if isinstance(layer, ADAPTABLE) and owners[id(layer.weight)] == 1 and f"{name}.weight" not in read
    }


def _last_made(module: nn.Module) -> str | None:
    """Return the layer that runs last, in both its parts where it has two; adapters are none."""
    graph = module.graph.nodes if isinstance(module, fx.GraphModule) else ()
    names = [str(n.target) for n in graph if n.op == "call_module"] or [name for name, _ in module.named_modules()]
    return next((name for name in reversed(names) if _is_layer(module.get_submodule(name), name)), None)


def _is_layer(part: nn.Module, name: str) -> bool:
    last = part[-1] if isinstance(part, nn.Sequential) and len(part) else part
    return isinstance(last, ADAPTABLE) and not name.startswith(PREFIX)
