"""Damage: how much the answers of a network suffer when one thing in it changes, without any training."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..spaces.groups import Group
from ..spaces.layers import kind_of
from ..spaces.plan import Pattern, Plan
from ..spaces.sensitivity import Decision
from .fake_quant import FakeQuantizer
from .precision import module_to_training_layout, to_training_layout, training_device
from .recover import Stopped
from .student import make_student, mask_of
from .tape import Tape

BATCH = 64
CEILING_NATS = 1000.0
"""Damage of an input whose outputs are no numbers any more, and the most that one input can count."""
TAPE_BYTES = 2**29


@dataclass(frozen=True)
class _Variant:
    """A network that differs from the teacher by one decision, from module call `until` on. forward: what `layer`
    computes meanwhile. norms: to be estimated anew."""

    decision: Decision
    module: nn.Module
    until: int
    layer: nn.Module | None = None
    forward: Callable[[Tensor], Tensor] | None = None
    norms: tuple[_BatchNorm, ...] = ()

    @contextlib.contextmanager
    def applied(self) -> Iterator[nn.Module]:
        if self.layer is None:
            yield self.module
            return
        self.layer.__dict__["forward"] = self.forward
        try:
            yield self.module
        finally:
            del self.layer.__dict__["forward"]


class DamageMeter:
    """Measures decisions on a copy of one teacher. inputs: [M, ...], looked at a batch at a time. stop: asked before
    every forward pass of a variant. bytes: of the teacher's weights."""

    def __init__(self, teacher: nn.Module, groups: Sequence[Group], inputs: Tensor, stop: Callable[[], bool]) -> None:
        self._teacher, self._stop, self._device = teacher, stop, training_device()
        self._groups = {group.name: group for group in groups}
        self._copy = module_to_training_layout(copy.deepcopy(teacher), self._device).eval()
        self.bytes = sum(p.numel() * p.element_size() for p in teacher.parameters())
        # equal parts: a batch norm cannot learn from a last batch of one input
        self._batches = to_training_layout(inputs.float(), self._device).tensor_split(-(-len(inputs) // BATCH))
        self._inputs = len(inputs)
        self._tape = Tape(TAPE_BYTES)
        self._ranges = self._ranges_of_layers()

    def measure(self, pack: Sequence[Decision]) -> dict[Decision, float]:
        """The damage of each of these decisions in nats. Raises Stopped."""
        variants = [self._variant(decision) for decision in pack]
        students = [v for v in variants if v.norms] if self._inputs > 1 else []
        for variant in students:
            for norm in variant.norms:
                norm.reset_running_stats()
                norm.momentum = None  # cumulative: each batch counts the same
                norm.train()
        for _ in self._passes(students):
            pass
        for variant in students:
            for norm in variant.norms:
                norm.eval()
        sums = dict.fromkeys(pack, 0.0)
        for decision, nats in self._passes(variants):
            sums[decision] += nats
        return {decision: total / self._inputs for decision, total in sums.items()}

    def _passes(self, variants: Sequence[_Variant]) -> Iterator[tuple[Decision, float]]:
        """(decision, sum of the divergences over a batch), batch by batch; the teacher's own pass is shared."""
        for batch in self._batches if variants else ():
            expected = _log_answers(self._tape.record(self._copy, batch))
            for variant in variants:
                if self._stop():
                    raise Stopped
                with variant.applied() as module:
                    got = _log_answers(self._tape.play(module, batch, variant.until))
                yield variant.decision, _divergence(expected, got)

    def _variant(self, decision: Decision) -> _Variant:
        kind, owner, option = decision
        if kind == "channels":
            assert isinstance(option, int)
            return self._student(decision, option)
        layer = self._copy.get_submodule(owner)
        weight = layer.weight
        assert isinstance(weight, Tensor)
        if isinstance(option, Pattern):
            forward = _forward(layer, weight.detach() * mask_of(weight.detach(), option))
        elif option == 16:
            forward = _forward(layer, weight.detach().bfloat16().to(weight.dtype), rounded=True)
        else:
            fake = FakeQuantizer(self._copy, {owner: option})
            fake.ranges |= {owner: self._ranges[owner]} if owner in self._ranges else {}
            fake.switch_on()
            forward = layer.forward
            fake.switch_off()
        return _Variant(decision, self._copy, self._tape.first[owner], layer, forward)

    def _student(self, decision: Decision, count: int) -> _Variant:
        group = self._groups[decision.owner]
        student = make_student(self._teacher, (group,), Plan({group.name: count})).module
        module = module_to_training_layout(student, self._device).eval()
        until = min(self._first_call(member.layer) for member in group.members)
        # norms in front of the first change see what they saw: their statistics stay
        norms = tuple(
            part
            for name, part in module.named_modules()
            if isinstance(part, _BatchNorm)
            and part.running_mean is not None
            and self._tape.first.get(name, -1) >= until
        )
        return _Variant(decision, module, until, norms=norms)

    def _first_call(self, name: str) -> int:
        """The number of the first call of this module, or of the one that it, or this parameter, is a part of."""
        while name not in self._tape.first:
            name = name.rpartition(".")[0]
        return self._tape.first[name]

    def _ranges_of_layers(self) -> Mapping[str, Tensor]:
        """Layer name -> [2], the smallest and the largest of the layer's inputs in the teacher; 0 lies between."""
        ranges: dict[str, Tensor] = {}

        def look(name: str) -> Callable[[nn.Module, tuple[object, ...]], None]:
            def hook(_layer: nn.Module, args: tuple[object, ...]) -> None:
                if args and isinstance(args[0], Tensor):
                    low, high = torch.aminmax(args[0])
                    old = ranges.get(name, torch.zeros(2, device=low.device))
                    ranges[name] = torch.stack([torch.minimum(old[0], low), torch.maximum(old[1], high)])

            return hook

        layers = {name: part for name, part in self._copy.named_modules() if kind_of(part)}
        hooks = [layer.register_forward_pre_hook(look(name)) for name, layer in layers.items()]
        try:
            for batch in self._batches:
                self._tape.record(self._copy, batch)
        finally:
            for handle in hooks:
                handle.remove()
        return ranges


def _forward(layer: nn.Module, weight: Tensor, rounded: bool = False) -> Callable[[Tensor], Tensor]:
    """What `layer` computes with another weight, and with inputs rounded to bfloat16."""

    def forward(inputs: Tensor) -> Tensor:
        inputs = inputs.bfloat16().to(inputs.dtype) if rounded else inputs
        if isinstance(layer, nn.Linear):
            return F.linear(inputs, weight, layer.bias)
        return layer._conv_forward(inputs, weight, layer.bias)  # type: ignore[operator, no-any-return]

    return forward


def _log_answers(outputs: Tensor) -> Tensor:
    return outputs.double().log_softmax(-1)


def _divergence(expected: Tensor, got: Tensor) -> float:
    """The sum over the inputs of KL(expected || got) of logarithms of answers [B, K], in nats."""
    each = F.kl_div(got, expected, reduction="none", log_target=True).sum(-1)
    return float(each.nan_to_num(nan=CEILING_NATS, posinf=CEILING_NATS).clamp(0.0, CEILING_NATS).sum())
