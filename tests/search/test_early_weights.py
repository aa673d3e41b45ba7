"""Students that begin with the weights their teacher had early in its training, with its trained channels and zeros."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nets
import pytest
import torch
from small_tasks import Knows, inputs, splits
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from autocompress import Task
from autocompress.compression.edits import Parent, edited
from autocompress.compression.masks import mask_of
from autocompress.compression.student import make_student
from autocompress.errors import DataError, StorageError, TrialFailed, UsageError
from autocompress.search.asked import check_starts
from autocompress.search.evaluate.checkpoints import (
    checkpoint_path,
    first_accuracy,
    recovered_student,
    start_student,
)
from autocompress.search.evaluate.evaluation import evaluate
from autocompress.search.evaluate.job import Job
from autocompress.search.executors.base import ExecutorContext
from autocompress.search.identity import check_identity
from autocompress.search.prepare.space import lay_context
from autocompress.search.trial import WarmStart
from autocompress.spaces.axes.recovery import START
from autocompress.spaces.network import Network
from autocompress.spaces.plan import Plan
from autocompress.spaces.spec import Pattern, Recovery, StudentSpec
from autocompress.studies.study_file import StudyFile
from autocompress.studies.tracing import answers

EARLY = Recovery(early=True)


def task(early: Any = None, teacher: nn.Module | None = None) -> Task:
    return Task(teacher or Knows(), **splits(), early_weights=early)


def young(network: nn.Module | None = None) -> dict[str, Tensor]:
    """The weights of a teacher before it knew much."""
    state = (network or Knows()).state_dict()
    generator = torch.Generator().manual_seed(3)
    return {name: 0.3 * torch.randn(value.shape, generator=generator) for name, value in state.items()}


def normed() -> nn.Module:
    network = Knows()
    parametrizations.weight_norm(network.inner)
    return network


@pytest.mark.parametrize("make", [Knows, normed])
@pytest.mark.parametrize("kept", ["mapping", "file"])
def test_they_become_those_of_the_graph_that_the_teacher_becomes(
    make: Callable[[], nn.Module], kept: str, tmp_path: Path
) -> None:
    state, network = young(make()), make().eval()
    torch.save(state, tmp_path / "early.pt")
    given = task(state if kept == "mapping" else tmp_path / "early.pt", make())
    network.load_state_dict(state)
    with torch.no_grad():
        wanted = network(inputs(9))
    for prepared in (given.prepared(), given.bare().prepared()):
        assert prepared.early is not None
        trained = answers(prepared.teacher, inputs(9))
        assert not torch.allclose(trained, wanted, atol=0.1), "the teacher is the trained one"
        prepared.teacher.load_state_dict(prepared.early)
        torch.testing.assert_close(answers(prepared.teacher, inputs(9)), wanted)
    assert task().prepared().early is None


@pytest.mark.parametrize(
    ("early", "said"),
    [
        ({"inner.weight": torch.zeros(6, 6)}, "early_weights: has no weights 'inner.bias'"),
        ({**young(), "more": torch.zeros(1)}, "early_weights: weights 'more' have no place"),
        ({**young(), "head.bias": torch.zeros(9)}, r"early_weights: weights 'head.bias' have shape \[9\]"),
        ({**young(), "head.bias": 3.0}, "early_weights: 'head.bias' is no tensor"),
        ({**young(), "head.bias": torch.full((4,), torch.nan)}, "early_weights: with them, the teacher gives NaN"),
        ("nowhere.pt", "no checkpoint nowhere.pt"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(early: Any, said: str) -> None:
    with pytest.raises(DataError, match=said) as refused:
        task(early).bare().prepared()
    assert "\n" not in str(refused.value)


def test_a_study_goes_on_with_the_early_weights_that_it_was_begun_with(tmp_path: Path) -> None:
    check_identity(tmp_path, task().prepared())
    check_identity(tmp_path, task(young()).prepared())  # which it can be given later
    check_identity(tmp_path, task().prepared())
    with pytest.raises(StorageError, match="begun with another early weights"):
        check_identity(tmp_path, task({**young(), "head.bias": torch.ones(4)}).prepared())


def test_a_student_has_the_channels_and_zeros_of_the_trained_teacher_and_early_values() -> None:
    net = nets.net("digits")
    state = young(net.model)
    early = nets.shaken(net.student().module, seed=1)
    early.load_state_dict({n: s for n, s in state.items() if n in early.state_dict() and s.ndim > 1}, strict=False)
    parent = Parent(net.model, net.context.groups, early=early.state_dict())
    channels = {group.name: group.channels // 2 for group in net.context.groups}
    layer = next(x.name for x in net.context.layers if x.kind == "linear")
    spec = StudentSpec(channels, patterns={layer: Pattern("unstructured", 0.5)}, recovery=Recovery())
    usual, begun = make_student(parent, spec), make_student(parent, replace(spec, recovery=EARLY))
    assert torch.equal(usual.masks[layer], begun.masks[layer]) and usual.stayed_inputs == begun.stayed_inputs
    wanted, _ = edited(Parent(early, net.context.groups), spec)
    for name, value in begun.module.state_dict().items():
        masked = name == f"{layer}.weight"
        assert torch.equal(value, wanted.state_dict()[name] * (begun.masks[layer] if masked else 1)), name
    with pytest.raises(TrialFailed, match=r"give Task\(early_weights=...\)"):
        make_student(Parent(net.model, net.context.groups), replace(spec, recovery=EARLY))


def test_a_search_draws_them_only_where_its_study_asks_for_them() -> None:
    net = nets.net("digits")
    network = Network(net.context.layers, net.context.groups, (), ())
    for starts, searched in (((), False), (("teacher", "early"), True)):
        settings = StudyFile().changed("recovery", **({"starts": starts} if starts else {}))
        space = nets.space_over(lay_context(network, settings), "channels", "recovery")
        (variable,) = (v for v in space.variables if v.name == START)
        assert variable.is_searched == searched and variable.drawn == (starts or ("teacher",))
        spec = space.spec(space.taught.changed({START: "early"}))
        assert spec.recovery is not None and spec.recovery.early == searched and not spec.recovery.fresh
        assert space.spec(Plan({START: "early"})) == StudentSpec(), "who is not taught begins with nothing"
    asked = StudyFile().changed("recovery", starts=("teacher", "early"))
    check_starts(asked, task(young()))
    with pytest.raises(UsageError, match=r"\[recovery\] starts names 'early', and the task has no early weights"):
        check_starts(asked, task())
    with pytest.raises(UsageError, match="starts"):
        StudyFile().changed("recovery", starts=("early", "early"))


def test_its_training_begins_with_them_and_its_first_look_with_the_teachers(opened_context: ExecutorContext) -> None:
    context = opened_context.context
    teacher = context.task.teacher
    early = {name: torch.zeros_like(value) for name, value in teacher.state_dict().items()}
    context = replace(context, task=replace(context.task, early=early))
    spec = StudentSpec({context.network.groups[0].name: 8}, recovery=EARLY)
    student = start_student(context, spec, None).module
    assert all(not value.any() for value in student.state_dict().values())
    usual = replace(spec, recovery=Recovery())
    assert first_accuracy(context, spec, None) == first_accuracy(context, usual, None)


@pytest.mark.slow
def test_a_trial_of_zeros_that_come_little_by_little_and_early_weights_goes_its_way(
    opened_context: ExecutorContext, tmp_path: Path
) -> None:
    """Two rungs in one process, the file in another: it has exactly the zeros that were asked for."""
    given = opened_context.context
    early = {name: value.clone() for name, value in given.task.teacher.state_dict().items()}
    context = replace(given, task=replace(given.task, early=early))
    layers = [layer.name for layer in given.network.layers if layer.weights >= 512]
    patterns = {name: Pattern("block:4x1", 0.7) for name in layers}
    spec = StudentSpec(patterns=patterns, recovery=Recovery(ramp="cubic", early=True, alpha=0.61))
    looks = [evaluate(context, Job(961, spec, "rung", rung)).accuracy for rung in (0, 1)]
    built = evaluate(context, Job(961, spec, "build"))
    assert not built.failure and looks[1] is not None
    assert built.measured["onnxruntime"].accuracy == pytest.approx(looks[1], abs=0.05)
    state = recovered_student(context, spec).module.state_dict()
    for name, pattern in patterns.items():
        weight = state[f"{name}.weight"]
        assert torch.equal(mask_of(weight, pattern), (weight != 0).float())
    warm = WarmStart(961, spec, checkpoint_path(context.folder, spec, 1).name)
    other = StudentSpec({context.network.groups[0].name: 8}, recovery=Recovery(ramp="cubic"))
    assert evaluate(context, Job(962, other, "look", warm_start=warm)).warm is not None
    without = evaluate(given, Job(963, replace(spec, recovery=Recovery(early=True)), "rung", 0))
    assert "give Task(early_weights=...)" in without.failure
