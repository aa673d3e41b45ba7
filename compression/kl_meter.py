"""How much the answers of a network change when one thing in it changes, without any training."""

from __future__ import annotations

import contextlib
import copy
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..spaces.inputs import Inputs, call, count_of, in_equal_parts, mapped, rows_of
from ..spaces.layers import kind_of, readers_of_weights
from ..spaces.recurrent import recurrent_nodes
from ..spaces.sensitivity import Question
from ..spaces.spec import StudentSpec
from ..spaces.target import INT8_TOP
from .edits import Parent
from .fake_quant import FakeQuantizer
from .graph_norms import norms_as_modules
from .losses import Divergence
from .masks import mask_of
from .norms import estimating, norms_of
from .passes import inputs_at_once
from .precision import module_to_training_layout, to_training_layout, training_device
from .recover import Stopped
from .student import make_student
from .tape import Tape

BATCH = 64
NUMBERS = 2**25
"""Numbers of the outputs of one pass; answers that hold many come fewer at a time."""
PIECE = 2**23
"""Numbers of outputs whose divergence is computed at once: about 0.5 GB in double precision, with what is between."""
CEILING_NATS = 1000.0
"""The divergence of an input whose outputs are no numbers any more, and the most that one input can count."""
TAPE_BYTES = 2**29

Forward = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class _Variant:
    """A network that differs from the teacher by one decision.

    Attributes:
        question: The decision.
        module: The network.
        until: Number of the module call from which on it differs.
        forwards: What layers compute meanwhile.
        norms: Batch norms whose statistics are estimated anew.
        fake: Fake quantization that is on meanwhile.
    """

    question: Question
    module: nn.Module
    until: int
    forwards: Sequence[tuple[nn.Module, Forward]] = ()
    norms: tuple[_BatchNorm, ...] = field(default=())
    fake: FakeQuantizer | None = None

    @contextlib.contextmanager
    def applied(self) -> Iterator[nn.Module]:
        """Let the layers compute as the variant does."""
        for layer, forward in self.forwards:
            layer.__dict__["forward"] = forward
        if self.fake is not None:
            self.fake.switch_on()
        try:
            yield self.module
        finally:
            for layer, _ in self.forwards:
                del layer.__dict__["forward"]
            if self.fake is not None:
                self.fake.switch_off()


class KLMeter:
    """Measures divergences of single decisions from one teacher.

    Attributes:
        bytes: Of the teacher's weights.
    """

    def __init__(
        self,
        parent: Parent,
        inputs: Inputs,
        soft: Divergence,
        stop: Callable[[], bool],
        weight_top: int = INT8_TOP,
    ) -> None:
        """Look at a copy of a teacher.

        Args:
            parent: The teacher, in eval mode.
            inputs: [M, ...] each, looked at a batch at a time.
            soft: How far answers are from the teacher's, at a temperature of 1.
            stop: Asked before every forward pass of a variant.
            weight_top: Largest code of weights that targets multiply in 8 bits.
        """
        self._parent, self._soft, self._stop, self._device = parent, soft, stop, training_device()
        self._top = weight_top
        copied = norms_as_modules(copy.deepcopy(parent.module))  # as students have them: calls are counted
        self._copy = module_to_training_layout(copied, self._device).eval()
        self._readers = readers_of_weights(self._copy)
        self.bytes = sum(p.numel() * p.element_size() for p in parent.module.parameters())
        self._inputs, given = count_of(inputs), to_training_layout(inputs, self._device)
        few = min(BATCH, NUMBERS // max(1, numbers_of_answer(self._copy, given)))
        most = max(2, inputs_at_once(self._copy, given, few))
        # equal parts: a batch norm cannot learn from a batch of one input
        parts = max(1, min(-(-self._inputs // most), self._inputs // 2))
        self._batches = in_equal_parts(given, parts)
        self._tape = Tape(TAPE_BYTES)
        self._ranges = self._ranges_of_layers()

    def makes_student(self, spec: StudentSpec) -> bool:
        """Tell whether a decision is measured with a network of its own, which takes as much memory as the teacher."""
        return spec.changes_network or any(self._others_read(name) for name in spec.patterns)

    def measure(self, pack: Mapping[Question, StudentSpec]) -> dict[Question, float]:
        """Return the divergence of each of these decisions in nats.

        Raises:
            Stopped: `stop()` came true.
        """
        variants = [self._variant(question, spec) for question, spec in pack.items()]
        students = [v for v in variants if v.norms] if self._inputs > 1 else []
        with estimating([norm for variant in students for norm in variant.norms]):
            for _ in self._passes(students):
                pass
        sums = dict.fromkeys(pack, 0.0)
        for question, nats in self._passes(variants):
            sums[question] += nats
        return {question: total / self._inputs for question, total in sums.items()}

    def _passes(self, variants: Sequence[_Variant]) -> Iterator[tuple[Question, float]]:
        """Yield (decision, sum of the divergences over a batch), batch by batch; the teacher's own pass is shared."""
        for batch in self._batches if variants else ():
            expected = self._tape.record(self._copy, batch)
            for variant in variants:
                if self._stop():
                    raise Stopped
                with variant.applied() as module:
                    nats = self._nats(self._tape.play(module, batch, variant.until), expected)
                yield variant.question, nats
            del expected

    def _nats(self, got: Tensor, expected: Tensor) -> float:
        """Return the sum of the divergences of a batch of outputs [B, ...], which is computed in double precision."""
        rows = max(1, PIECE // max(1, expected[0].numel()))
        pieces = zip(torch.split(got, rows), torch.split(expected, rows), strict=True)
        return _capped(torch.cat([self._soft(own.double(), other.double(), 1.0) for own, other in pieces]))

    def _variant(self, question: Question, spec: StudentSpec) -> _Variant:
        if spec.changes_network:
            return self._student(question, spec)
        if any(self._others_read(name) for name in spec.patterns):
            return _Variant(question, self._made(spec), 0)  # the zeros are there for them too
        if read := recurrent_nodes(self._copy).keys() & spec.bits.keys():
            fake = FakeQuantizer(self._copy, spec.bits, activations=spec.activations, weight_top=self._top)
            return _Variant(question, self._copy, min(self._calls_before(name) for name in read), fake=fake)
        touched = dict.fromkeys((*spec.patterns, *spec.bits))
        forwards = [(self._copy.get_submodule(name), self._numbers(name, spec)) for name in touched]
        return _Variant(question, self._copy, min(self._tape.first[name] for name in touched), forwards)

    def _numbers(self, name: str, spec: StudentSpec) -> Forward:
        """Return what a layer computes with other numbers in it."""
        layer = self._copy.get_submodule(name)
        weight = layer.weight
        assert isinstance(weight, Tensor)
        if name in spec.patterns:
            return _forward(layer, weight.detach() * mask_of(weight.detach(), spec.patterns[name]))
        if spec.bits[name] == 16 and isinstance(layer, nn.Embedding):
            return functools.partial(F.embedding, weight=weight.detach().half().to(weight.dtype))
        if spec.bits[name] == 16:
            return _forward(layer, weight.detach().bfloat16().to(weight.dtype), rounded=True)
        bits = {name: spec.bits[name]}
        fake = FakeQuantizer(self._copy, bits, activations=spec.activations, weight_top=self._top)
        fake.ranges |= {name: self._ranges[name]} if name in self._ranges else {}
        fake.switch_on()
        forward: Forward = layer.forward
        fake.switch_off()
        return forward

    def _student(self, question: Question, spec: StudentSpec) -> _Variant:
        module = self._made(spec)
        changed = {member.layer for g in self._parent.groups if g.name in spec.channels for member in g.members}
        firsts = [self._first_call(name) for name in (*changed, *spec.replacements, *spec.factors)]
        until = min([*firsts, *([self._first_missing(module)] if spec.dropped else []), *([0] if spec.size else [])])
        # norms in front of the first change see what they saw: their statistics stay
        behind = {part for name, part in module.named_modules() if self._tape.first.get(name, -1) >= until}
        return _Variant(question, module, until, norms=tuple(n for n in norms_of(module) if n in behind))

    def _made(self, spec: StudentSpec) -> nn.Module:
        return module_to_training_layout(make_student(self._parent, spec).module, self._device).eval()

    def _others_read(self, name: str) -> bool:
        return len(self._readers.get(id(self._copy.get_submodule(name).weight), ())) > 1

    def _first_call(self, name: str) -> int:
        """Return the number of the first call of this module, or of the one that it, or this parameter, is in."""
        while name not in self._tape.first:
            name = name.rpartition(".")[0]
        return self._tape.first[name]

    def _calls_before(self, recurrent: str) -> int:
        """Return the number of the first call after this recurrent layer, which is no module."""
        assert isinstance(self._copy, fx.GraphModule)
        first, nodes = recurrent_nodes(self._copy)[recurrent][0], self._copy.graph.nodes
        # the call of the whole network is the first one
        before = itertools.takewhile(lambda node: node is not first, nodes)
        return 1 + len([node for node in before if node.op == "call_module"])

    def _first_missing(self, student: nn.Module) -> int:
        """Return the number of the first call that a student without some blocks lacks."""
        both = [_called(self._copy), _called(student)]
        # the call of the whole network is the first one
        return 1 + next((i for i, (own, its) in enumerate(zip(*both, strict=False)) if own != its), len(both[1]))

    def _ranges_of_layers(self) -> Mapping[str, Tensor]:
        """Return layer name -> [2], the least and the largest of the layer's inputs in the teacher; 0 lies between."""
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


@torch.no_grad()
def numbers_of_answer(network: nn.Module, inputs: Inputs) -> int:
    """Return how many numbers a network in eval mode gives for one input, the first of some."""
    answer: Tensor = call(network, mapped(torch.clone, rows_of(inputs, slice(0, 1))))
    return answer.numel()


def _called(module: nn.Module) -> list[str]:
    nodes = module.graph.nodes if isinstance(module, fx.GraphModule) else ()
    return [node.name for node in nodes if node.op == "call_module"]


def _forward(layer: nn.Module, weight: Tensor, rounded: bool = False) -> Forward:
    """Return what `layer` computes with another weight; with inputs rounded to bfloat16 if `rounded`."""

    def forward(inputs: Tensor) -> Tensor:
        inputs = inputs.bfloat16().to(inputs.dtype) if rounded else inputs
        if isinstance(layer, nn.Linear):
            return F.linear(inputs, weight, layer.bias)
        return layer._conv_forward(inputs, weight, layer.bias)  # type: ignore[operator, no-any-return]

    return forward


def _capped(each: Tensor) -> float:
    """Return the sum of the divergences of examples [B]; one whose answers are no numbers has the most that counts."""
    return float(each.nan_to_num(nan=CEILING_NATS, posinf=CEILING_NATS).clamp(0.0, CEILING_NATS).sum())
