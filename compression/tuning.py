"""Which weights a recovery trains: all of them, the last layer, biases and norms, or updates of low rank."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, fx, nn

from ..spaces.spec import Recovery
from .layer_forward import ADAPTABLE, own_weight, with_weight
from .norms import norms_of
from .seeds import seeded_generator
from .student import Student

ALPHA = 16.0
"""Updates of rank r count alpha / r times (Hu et al. 2021, arXiv:2106.09685, section 4.1)."""


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
    update of low rank of each other linear layer and convolution, where that is smaller than the weight itself: the
    small weights, such as those of depthwise convolutions, are trained whole. With "bitfit" and "lora" norms go on with
    the statistics of batches, as what lies before them changes.

    Until `merge` the names in the student's `state_dict` are those of a student that is trained in full.
    """

    def __init__(self, student: Student, recovery: Recovery, last_layer: str | None, seed: int = 0) -> None:
        """Prepare a student whose module lies where it is trained.

        Args:
            student: It is changed: what is not trained needs no gradient, and layers with updates compute with them.
            recovery: Says what is trained.
            last_layer: Name of the layer that answers; None where it is not known, and the last one made is taken.
            seed: Of the updates.
        """
        self._module, self._masks = student.module, student.masks
        self._updates: dict[str, LowRank] = {}
        self.body_stands = recovery.tune == "classifier"
        """Whether nothing before the last layer changes."""
        if recovery.tune == "full":
            self.trained = list(self._module.parameters())
            return
        last = last_layer or _last_made(self._module)
        chosen = set(map(id, self._module.get_submodule(last).parameters())) if last else set()
        if recovery.tune != "classifier":
            chosen |= {id(p) for p in self._module.parameters() if p.ndim <= 1}
        if recovery.tune == "lora":
            for name, layer in adaptable(self._module).items():
                weight = own_weight(name, layer)
                if id(weight) in chosen:
                    continue
                if recovery.rank * (len(weight) + weight[0].numel()) < weight.numel():
                    self._updates[name] = LowRank(weight.detach(), recovery.rank, seed, name).to(weight.device)
                else:
                    chosen.add(id(weight))
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

    def train_mode(self) -> None:
        """Put the student in training mode; norms whose inputs do not change any more keep their statistics."""
        self._module.train()
        if self.body_stands:
            for norm in norms_of(self._module):
                norm.eval()

    def weight(self, name: str, layer: nn.Module) -> Tensor:
        """Return the weight that a layer computes with: with its update, and with the zeros of its pattern."""
        weight = own_weight(name, layer)
        update = self._updates.get(name)
        if update is None:
            return weight
        found, mask = update.added_to(weight), self._masks.get(name)
        return found if mask is None else found * mask.to(found.device)

    def state(self) -> dict[str, Tensor]:
        """Return the updates, to be kept beside the student's own `state_dict`."""
        return {f"{name}.{part}": p.detach() for name, part, p in self._parts()}

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take the updates that `state` gave."""
        for name, part, parameter in self._parts():
            parameter.copy_(state[f"{name}.{part}"])

    @torch.no_grad()
    def merge(self) -> None:
        """Put the updates into the weights and forget them: the student is as if it had been trained in full."""
        for name in list(self._updates):
            layer = self._module.get_submodule(name)
            weight = own_weight(name, layer)
            weight.copy_(self.weight(name, layer))
            layer.__dict__.pop("forward", None)
            del self._updates[name]
        for parameter in self._module.parameters():
            parameter.requires_grad_(True)

    def _parts(self) -> Iterator[tuple[str, str, nn.Parameter]]:
        for name, update in self._updates.items():
            for part, parameter in update.named_parameters():
                yield name, part, parameter

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
    return next((name for name, part in reversed(list(module.named_modules())) if isinstance(part, ADAPTABLE)), None)
