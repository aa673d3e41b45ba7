"""The meter: its figures are those that anybody finds who changes one thing in a copy of the teacher."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from nets import CAN_MORE, net, sensitivity_space, space_over
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from autocompress.compression.edits import Parent
from autocompress.compression.fake_quant import FakeQuantizer
from autocompress.compression.first_look import outputs_with_bits
from autocompress.compression.masks import mask_of
from autocompress.compression.sensitivity import measure_sensitivity
from autocompress.compression.student import make_student
from autocompress.spaces.axes.base import AxisDefaults, Decision
from autocompress.spaces.axes.patterns import pattern_of
from autocompress.spaces.context import SpaceContext
from autocompress.spaces.layers import find_layers
from autocompress.spaces.sensitivity import Sensitivity
from autocompress.spaces.space import Space
from autocompress.spaces.spec import StudentSpec
from autocompress.spaces.target import Capabilities
from autocompress.spaces.variables import Variable
from autocompress.studies.data.images import ImageData


@pytest.fixture(autouse=True)
def float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exact arithmetic wherever the tests run."""
    monkeypatch.setattr("autocompress.compression.precision._cpu_has_fast_bf16", lambda: False)


def nats_of(found: Sensitivity, row: str) -> dict[object, float]:
    return {m.option: m.nats for m in found.rows[row]}


def divergence(expected: Tensor, got: Tensor) -> float:
    """KL(expected || got) of logits [N, K], the mean over N: by its definition."""
    p, q = expected.double().softmax(1), got.double().softmax(1)
    return float((p * (p.log() - q.log())).sum(1).mean())


def test_an_outsider_finds_the_same_figures_for_a_layer() -> None:
    digits = net("digits")
    inputs = digits.inputs(70)  # two batches
    found = measure_sensitivity(digits.model, sensitivity_space(digits, ("bits", "pattern"), "layer2.0.conv1"), inputs)
    with torch.no_grad():
        expected = digits.model(inputs)

        def answers(width: int | None, pattern: str = "") -> Tensor:
            model = copy.deepcopy(digits.model)
            layer = model.get_submodule("layer2.0.conv1")
            assert isinstance(layer, nn.Conv2d)
            seen: list[Tensor] = []
            layer.register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
            model(inputs)
            low, high = min(0.0, float(seen[0].min())), max(0.0, float(seen[0].max()))
            if pattern:
                layer.weight.mul_(mask_of(layer.weight, pattern_of(pattern)))
            elif width == 16:
                layer.weight.copy_(layer.weight.bfloat16().float())
                layer.register_forward_pre_hook(lambda _m, args: (args[0].bfloat16().float(),))
            elif width is not None:
                top = 2 ** (width - 1) - 1
                scale = layer.weight.abs().amax((1, 2, 3), keepdim=True) / top
                layer.weight.copy_((layer.weight / scale).round().clamp(-top, top) * scale)
                step = (high - low) / 255
                zero = round(-low / step)
                if width == 8:
                    layer.register_forward_pre_hook(
                        lambda _m, args: ((((args[0] / step).round() + zero).clamp(0, 255) - zero) * step,)
                    )
            return model(inputs)

        bits, patterns = nats_of(found, "bits:layer2.0.conv1"), nats_of(found, "pattern:layer2.0.conv1")
        assert set(bits) == {16, 8, 4} and len(patterns) == 6
        for width, nats in bits.items():
            assert nats == pytest.approx(divergence(expected, answers(width)), rel=0.02), width
        for pattern, nats in patterns.items():
            assert nats == pytest.approx(divergence(expected, answers(None, pattern)), rel=1e-3), pattern


def test_an_outsider_finds_the_same_figures_for_a_group() -> None:
    digits = net("digits")
    inputs, space = digits.inputs(70), sensitivity_space(digits, ("channels",), "layer2.0.conv1")
    found = measure_sensitivity(digits.model, space, inputs)
    group = next(g for g in space.context.groups if g.name == "layer2.0.conv1")
    behind = [layer.name for layer in space.context.layers]
    behind = behind[behind.index(group.name) :]
    figures = nats_of(found, f"channels:{group.name}")
    assert len(figures) >= 2
    for count, nats in figures.items():
        student = make_student(Parent(digits.model, space.context.groups), StudentSpec({group.name: count})).module
        batches: dict[str, list[tuple[Tensor, Tensor]]] = {}
        norms = {n: m for n, m in student.named_modules() if isinstance(m, nn.BatchNorm2d)}
        late = [n for n in norms if n.replace("bn", "conv").replace("shortcut.1", "shortcut.0") in behind]
        assert 0 < len(late) < len(norms), "norms in front of the group keep what they have"
        with torch.no_grad():
            for half in inputs.tensor_split(2):
                for n in late:
                    norms[n].train().momentum = 1.0
                student(half)
                for n in late:
                    mean, var = norms[n].running_mean, norms[n].running_var
                    assert mean is not None and var is not None
                    batches.setdefault(n, []).append((mean.clone(), var.clone()))
            for n, halves in batches.items():
                norms[n].eval().running_mean = torch.stack([mean for mean, _ in halves]).mean(0)
                norms[n].running_var = torch.stack([var for _, var in halves]).mean(0)
            assert nats == pytest.approx(divergence(digits.model(inputs), student(inputs)), rel=1e-3)


def test_what_changes_nothing_does_no_harm() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)).eval()
    with torch.no_grad():
        model[1].weight.copy_(model[1].weight.bfloat16().float())
        model[1].weight.mul_(mask_of(model[1].weight, pattern_of("2:4")))
    inputs = torch.randn(8, 64).bfloat16().float()
    context = SpaceContext(find_layers(model, inputs[:1]), (), CAN_MORE, storage_counts=True)
    found = measure_sensitivity(model, space_over(context, "bits", "pattern"), inputs)
    first, last = nats_of(found, "bits:1"), nats_of(found, "bits:3")
    assert first[16] == 0.0 and last[16] > 0
    zeros = nats_of(found, "pattern:1")
    assert zeros["2:4"] == 0.0 and zeros["unstructured:0.5"] == 0.0 and zeros["unstructured:0.9"] > 0
    assert found.order("bits") == ("bits:1", "bits:3") or first[4] > last[4]


class Activations(AxisDefaults):
    """An axis of the kind that a plug-in brings: another activation in place of each."""

    name = "activation"

    def variables(self, context: SpaceContext) -> tuple[Variable, ...]:
        return tuple(
            Variable(self.name, m.name, "activation", "unordered", (m.type, "Hardswish", "Identity"), layers=("6",))
            for m in context.modules
            if m.type == "ReLU"
        )

    def apply(self, context: SpaceContext, spec: StudentSpec, decisions: Sequence[Decision]) -> StudentSpec:
        return replace(spec, replacements={variable.subject: str(option) for variable, option in decisions})


def test_an_outsider_finds_the_same_figures_for_a_module_that_is_replaced() -> None:
    grouped, inputs = net("grouped"), net("grouped").inputs(16)
    space = Space(grouped.context, [Activations()])
    found = measure_sensitivity(grouped.model, space, inputs)
    assert set(found.rows) == {"activation:2", "activation:5"}
    for name, (norms, kind) in {"5": ((), "Identity"), "2": ((4,), "Hardswish")}.items():
        model = copy.deepcopy(grouped.model)
        model.set_submodule(name, getattr(nn, kind)())
        with torch.no_grad():
            for i in norms:  # only the norm behind the change sees something else
                model.get_submodule(str(i)).train().momentum = 1.0
                model(inputs)
                model.get_submodule(str(i)).eval()
            expected = divergence(grouped.model(inputs), model(inputs))
        assert nats_of(found, f"activation:{name}")[kind] == pytest.approx(expected, rel=1e-3, abs=1e-9)
        assert expected > 0


class Encoder(nn.Module):
    """A transformer of torch's own layer, which has a fused path past its modules."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        answers: Tensor = self.head(self.encoder(x).mean(1))
        return answers


def test_layers_of_a_fused_transformer_are_changed_like_any_others() -> None:
    torch.manual_seed(0)
    model, inputs = Encoder().eval(), torch.randn(32, 5, 16)
    before = torch.backends.mha.get_fastpath_enabled()
    context = SpaceContext(find_layers(model, inputs[:1]), (), CAN_MORE, storage_counts=True)
    assert "encoder.linear1" in {layer.name for layer in context.layers}
    found = measure_sensitivity(model, space_over(context, "bits"), inputs)
    assert all(nats_of(found, f"bits:{name}")[4] > 1e-6 for name in ("encoder.linear1", "encoder.linear2", "head"))
    fake = FakeQuantizer(model, {"encoder.linear1": 4})
    data = ImageData(inputs, torch.zeros(32, dtype=torch.long))
    rows = torch.arange(32)
    plain, rough = (
        outputs_with_bits(model, quantizer, inputs, data, rows, torch.device("cpu"))
        for quantizer in (FakeQuantizer(model, {}), fake)
    )
    assert not torch.equal(plain, rough), "a look sees the bits"
    assert torch.backends.mha.get_fastpath_enabled() == before


class Widest(TorchDispatchMode):
    """Notes the bytes of the largest tensor in double precision that is made meanwhile."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for part in tree_leaves(found):
            if isinstance(part, Tensor) and part.dtype == torch.float64:
                self.bytes = max(self.bytes, part.nbytes)
        return found


def test_large_answers_are_compared_a_piece_at_a_time() -> None:
    torch.manual_seed(0)
    layer, inputs = nn.Conv2d(1, 8, 3, padding=1), torch.randn(6, 1, 512, 512)
    model = nn.Sequential(layer).eval()
    context = SpaceContext(find_layers(model, inputs[:1]), (), Capabilities((32, 16), (), 8))
    with Widest() as seen:
        found = measure_sensitivity(model, space_over(context, "bits"), inputs)
    assert 0 < seen.bytes <= 2**26, "each of the 6 answers is 16 MiB"
    with torch.no_grad():
        expected = model(inputs)
        layer.weight.copy_(layer.weight.bfloat16().float())
        got = model(inputs.bfloat16().float())
    nats = [divergence(expected[i : i + 1], got[i : i + 1]) for i in range(6)]
    assert nats_of(found, "bits:0")[16] == pytest.approx(sum(nats) / 6, rel=1e-2)


def test_answers_in_small_batches_and_pieces_have_the_same_divergence(monkeypatch: pytest.MonkeyPatch) -> None:
    digits, row = net("digits"), "bits:layer2.0.conv1"
    inputs, space = digits.inputs(7), sensitivity_space(digits, ("bits", "channels"), "layer2.0.conv1")
    whole = nats_of(measure_sensitivity(digits.model, space, inputs), row)
    monkeypatch.setattr("autocompress.compression.kl_meter.PIECE", 20)  # two answers of ten numbers
    assert nats_of(measure_sensitivity(digits.model, space, inputs), row) == pytest.approx(whole, rel=1e-9)
    monkeypatch.setattr("autocompress.compression.kl_meter.NUMBERS", 20)
    learned_from: set[int] = set()

    def look(module: nn.Module, args: Any) -> None:
        if isinstance(module, nn.BatchNorm2d) and module.training:
            learned_from.add(len(args[0]))

    handle = nn.modules.module.register_module_forward_pre_hook(look)
    fewer = nats_of(measure_sensitivity(digits.model, space, inputs), row)
    handle.remove()
    assert fewer == pytest.approx(whole, rel=1e-2)
    assert learned_from == {2, 3}, "norms learn nothing from one"
