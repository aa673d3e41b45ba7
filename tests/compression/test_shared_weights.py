"""Weights that several parts of a network read: what is offered for them, and what their files hold."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import nets
import pytest
import torch
from torch import Tensor, nn

from autocompress.compression.edits import Parent
from autocompress.compression.sensitivity import measure_sensitivity
from autocompress.compression.student import make_student
from autocompress.evaluators.artifact import PARITY, ArtifactBuilder
from autocompress.evaluators.runtimes.onnx_runtime import OnnxRuntime
from autocompress.evaluators.templates import Templates
from autocompress.spaces.axes.factors import FactorsAxis
from autocompress.spaces.context import SpaceContext
from autocompress.spaces.graph.capture import capture
from autocompress.spaces.network import look_at_network
from autocompress.spaces.sensitivity import Question, questions_of
from autocompress.spaces.space import Space
from autocompress.spaces.spec import Pattern, StudentSpec
from autocompress.spaces.target import Target

TOKENS = torch.randint(0, 64, (16, 6), generator=torch.Generator().manual_seed(0))


class Shared(nn.Module):
    """Words, two layers and a last one; who has whose weight is said by the name of the case."""

    def __init__(self, case: str) -> None:
        super().__init__()
        self.words, self.head = nn.Embedding(64, 48), nn.Linear(48, 64, bias=False)
        self.first, self.second = nn.Linear(48, 48), nn.Linear(48, 48)
        if case == "head has the words":
            self.head.weight = self.words.weight
        if case == "layers have one":
            self.second.weight = self.first.weight
        self.by_function = case == "a function reads the first"

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.first(self.words(tokens)).relu()
        x = x @ self.first.weight if self.by_function else x
        return self.head(self.second(x).relu()).mean(1)


CASES = {
    "head has the words": ["first", "second"],
    "layers have one": ["head"],
    "a function reads the first": ["second", "head"],
}
"""The case, and the layers whose weights are theirs alone."""


def found(case: str) -> tuple[Parent, SpaceContext]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        graph = capture(Shared(case).eval(), TOKENS[:1])
    network = look_at_network(graph, TOKENS[:1])
    can = replace(nets.CAPABILITIES, table_bits=(16, 8, 4))
    context = SpaceContext(network.layers, network.groups, can, network.modules, storage_counts=True)
    return Parent.of(graph, network), replace(context, tables=network.tables, no_tables=network.no_tables)


@pytest.mark.parametrize("case", CASES)
def test_layers_whose_weight_is_read_elsewhere_stay_whole_and_all_else_is_looked_at(case: str) -> None:
    parent, context = found(case)
    for axis in (FactorsAxis(), nets.AXES["pattern"], nets.AXES["bits"], nets.AXES["channels"]):
        space = Space(context, [axis])
        measured = measure_sensitivity(parent.module, space, TOKENS)
        assert set(measured.known()) == set(questions_of(space))
        if isinstance(axis, FactorsAxis):
            assert [variable.subject for variable in space.network] == CASES[case]
            reasons = [entry.reason for entry in axis.left_out(context)]
            assert any("something else reads their weights" in reason for reason in reasons)


def test_zeros_of_a_shared_weight_are_measured_wherever_it_is_read() -> None:
    parent, context = found("head has the words")
    space = Space(replace(context, keep=frozenset({"first", "second"})), [nets.AXES["pattern"]])
    row = measure_sensitivity(parent.module, space, TOKENS).rows["pattern:head"]
    student = make_student(parent, StudentSpec(patterns={"head": Pattern("unstructured", 0.9)})).module
    assert (student.get_parameter("words.weight") == 0).float().mean() > 0.8
    with torch.no_grad():
        own, wanted = (m(TOKENS).double().log_softmax(-1) for m in (student, parent.module))
    nats = float((wanted.exp() * (wanted - own)).sum(-1).mean())
    assert next(m.nats for m in row if m.option == "unstructured:0.9") == pytest.approx(nats, rel=1e-4)


def test_only_as_many_networks_as_fit_into_memory_are_made_for_shared_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    parent, context = found("layers have one")
    space = Space(context, [nets.AXES["pattern"]])
    shared = [q for q in questions_of(space) if q.name.partition(":")[2] in ("first", "second")]
    assert len(shared) > 2
    monkeypatch.setattr("autocompress.compression.sensitivity.STUDENT_BYTES", 1)
    done: list[set[Question]] = [set()]
    measure_sensitivity(parent.module, space, TOKENS, keep=lambda so_far: done.append(set(so_far.known())))
    packs = [after - before for before, after in pairwise(done)]
    assert max(len(pack & set(shared)) for pack in packs) == 1
    assert max(map(len, packs)) > 1, "what needs no network of its own shares a pass of the teacher"


@pytest.mark.parametrize(
    ("case", "bits", "whole"),
    [
        ("head has the words", {"head": 4}, ["words", "first", "second"]),
        ("layers have one", {"second": 4}, ["words", "first", "head"]),
        ("layers have one", {"first": 4}, ["words", "second", "head"]),
        ("a function reads the first", {"first": 4}, ["words", "first", "second", "head"]),
    ],
)
def test_files_hold_the_bits_of_the_layer_that_was_asked_for(
    tmp_path: Path, case: str, bits: dict[str, int], whole: list[str]
) -> None:
    import onnx

    parent, context = found(case)
    templates = Templates(parent.module, TOKENS[:1], parent=parent)
    builder = ArtifactBuilder(OnnxRuntime(), Target(), templates, TOKENS, TOKENS)
    spec = StudentSpec(bits=bits)
    built = builder.build(make_student(parent, spec).module, spec, tmp_path / "model.onnx")
    assert sorted(built.bits) == sorted(bits.get(layer.name, 32) for layer in context.layers)
    assert built.difference is not None and built.difference <= PARITY
    held = [each for each in onnx.load(tmp_path / "model.onnx").graph.initializer if len(each.dims) == 2]
    floats = [each for each in held if each.data_type == onnx.TensorProto.FLOAT]
    assert len(held) - len(floats) == len(bits) and len(floats) == len(whole)


def test_networks_without_shared_weights_say_so() -> None:
    assert not any(layer.shared_with for name in nets.SMALL for layer in nets.net(name).context.layers)
