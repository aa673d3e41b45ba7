"""Gradual pruning: zeros come little by little, end exactly as asked, and a stopped training goes on bit by bit."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import replace
from pathlib import Path

import nets
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from autocompress.compression.distill import Lessons
from autocompress.compression.edits import Parent
from autocompress.compression.gradual import Ramp, begins_with, partial_mask
from autocompress.compression.masks import mask_of
from autocompress.compression.recover import Recoverer, Stopped
from autocompress.compression.recovered import read_checkpoint, read_weights
from autocompress.compression.schedule import Schedule
from autocompress.compression.student import make_student
from autocompress.spaces.spec import Pattern, Recovery, StudentSpec
from autocompress.studies.data.images import ImageData

CPU = torch.device("cpu")
KINDS = (Pattern("unstructured", 0.8), Pattern("2:4", 0.5), Pattern("block:4x1", 0.7))
SPEC = StudentSpec(
    patterns={name: KINDS[i] for i, name in enumerate(("conv2", "linear1", "linear2"))},
    recovery=Recovery(learning_rate=0.02, ramp="cubic"),
)
PARENT = Parent(nets.net("flatten").model, nets.net("flatten").context.groups)


def recoverer(steps: int = 20, rungs: tuple[float, ...] = (0.3, 1.0)) -> Recoverer:
    images = torch.randn(40, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    data = ImageData(images, torch.arange(40) % 10)
    lessons = Lessons(PARENT.module, "linear2", CPU)
    return Recoverer(data, lessons, Schedule(steps / 5, rungs, batch_size=8), CPU, contextlib.nullcontext)


def zeros(weights: dict[str, Tensor]) -> dict[str, int]:
    return {name: int((weights[f"{name}.weight"] == 0).sum()) for name in SPEC.patterns}


@given(st.integers(1, 3000))
def test_the_zeros_rise_from_none_to_all_of_them(total: int) -> None:
    ramp = Ramp.of(SPEC, total)
    assert ramp is not None and ramp.end < total
    changes = [step for step in range(total) if ramp.changes_at(step)]
    shares = [ramp.share(step) for step in changes]
    assert changes[-1] == ramp.end and shares[-1] == 1.0 and shares == sorted(shares)
    assert ramp.end == 0 or shares[0] == 0.0


@pytest.mark.parametrize("pattern", KINDS, ids=lambda pattern: pattern.kind)
@given(st.integers(0, 1000), st.lists(st.floats(0, 1), min_size=2, max_size=2))
def test_a_part_of_a_pattern_lies_within_a_larger_part(pattern: Pattern, seed: int, shares: list[float]) -> None:
    weight = torch.randn(8, 12, generator=torch.Generator().manual_seed(seed))
    few, many = (partial_mask(weight, pattern, share) for share in sorted(shares))
    assert bool((few >= many).all())
    assert torch.equal(partial_mask(weight, pattern, 1.0), mask_of(weight, pattern))
    assert bool((partial_mask(weight, pattern, 0.0) == 1).all())


def test_a_training_begins_dense_and_ends_with_exactly_the_zeros_that_were_asked_for(tmp_path: Path) -> None:
    teach, path = recoverer(), tmp_path / "c.pt"
    student = make_student(PARENT, begins_with(SPEC))
    assert not student.masks
    teach.recover(student, SPEC, 0, path, lambda: False)
    early = zeros((read_checkpoint(path) or {})["module"])
    teach.recover(make_student(PARENT, begins_with(SPEC)), SPEC, 1, path, lambda: False)
    late, weights = zeros(read_weights(path)), read_weights(path)
    wanted = zeros(make_student(PARENT, SPEC).module.state_dict())
    assert late == wanted and all(0 < early[name] < late[name] for name in late)
    for name, pattern in SPEC.patterns.items():
        weight = weights[f"{name}.weight"]
        assert torch.equal(mask_of(weight, pattern), (weight != 0).float()), "in the shape of its pattern"


@pytest.mark.parametrize("stops", [1, 4, 5, 11, 12, 17])
def test_a_stopped_training_goes_on_as_if_it_had_not_been(tmp_path: Path, stops: int) -> None:
    teach = recoverer(rungs=(1.0,))
    teach.recover(make_student(PARENT, begins_with(SPEC)), SPEC, 0, tmp_path / "straight.pt", lambda: False)
    asked = itertools.count()
    with pytest.raises(Stopped):
        teach.recover(make_student(PARENT, begins_with(SPEC)), SPEC, 0, tmp_path / "c.pt", lambda: next(asked) >= stops)
    teach.recover(make_student(PARENT, begins_with(SPEC)), SPEC, 0, tmp_path / "c.pt", lambda: False)
    one, other = read_weights(tmp_path / "straight.pt"), read_weights(tmp_path / "c.pt")
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_only_students_with_zeros_are_taught_by_a_ramp_and_others_keep_their_keys() -> None:
    net = nets.net("digits")
    plain = net.space
    gradual = nets.space_over(
        replace(net.context, recovery=Recovery(ramp="cubic"), storage_counts=True), "channels", "pattern", "recovery"
    )
    for options in ({"recovery": "full"}, {"recovery": "full", "channels": 8}):
        plan = plain.uniform(options)
        assert gradual.spec(plan).key() == plain.spec(plan).key()
    zeros_too = gradual.spec(gradual.uniform({"recovery": "full", "pattern": "2:4"}))
    assert zeros_too.patterns and zeros_too.recovery is not None and zeros_too.recovery.ramp == "cubic"
    without = replace(zeros_too, recovery=replace(zeros_too.recovery, ramp=""))
    assert zeros_too.training_key() != without.training_key() and zeros_too.shape_key() == without.shape_key()
