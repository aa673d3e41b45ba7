"""What every axis must do, as a test class that a package which brings one runs against it."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import asdict

import torch
from torch import nn

from ..spaces.axes.base import STAGES, Axis, Decision
from ..spaces.context import SpaceContext
from ..spaces.network import look_at_network
from ..spaces.plan import Plan
from ..spaces.space import Space
from ..spaces.spec import StudentSpec
from ..spaces.target import Capabilities
from ..spaces.variables import Variable


@functools.cache  # groups take a second to find, and no axis changes what it is given
def sample_context() -> SpaceContext:
    """Return the context of a small convolutional network on a target that can use all bit-widths and patterns."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(3, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.SiLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(64, 64, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(64, 10),
        ).eval()
    found = look_at_network(network, torch.zeros(1, 3, 8, 8))
    can = Capabilities((32, 16, 8), (4,), 8, ("unstructured", "2:4"))
    return SpaceContext(found.layers, found.groups, can, found.modules, storage_counts=True)


class AxisConformance:
    """Subclass it under a name that begins with Test and fill in `make_axis`; pytest does the rest."""

    def make_axis(self) -> Axis:
        """Return the axis under test."""
        raise NotImplementedError("make_axis: return your axis")

    def make_context(self) -> SpaceContext:
        """Return a context where the axis has something to decide."""
        return sample_context()

    def test_it_is_an_axis_with_a_usable_name(self) -> None:
        """It has all parts of the seam."""
        axis = self.make_axis()
        parts = {*Axis.__annotations__, *(name for name in vars(Axis) if not name.startswith("_"))}
        missing = sorted(parts - set(dir(axis)))
        assert not missing, f"an axis also has {', '.join(missing)}: see autocompress.spaces.axes.base"
        assert axis.name.isidentifier()
        assert axis.stage in STAGES
        assert isinstance(axis.always, bool)

    def test_its_variables_are_legal_and_the_same_each_time(self) -> None:
        """Names are unique, options differ, the first one leaves all of the teacher."""
        axis, context = self.make_axis(), self._context()
        variables = axis.variables(context)
        assert variables, "over this context it must have something to decide"
        assert variables == axis.variables(context) == self.make_axis().variables(context)
        assert len({v.name for v in variables}) == len(variables)
        known = {layer.name for layer in context.all_layers}
        for variable in variables:
            assert variable.axis == axis.name
            assert variable.role
            assert len(set(variable.options)) == len(variable.options)
            assert set(variable.layers) <= known
            assert 0 <= variable.depth <= 1
            assert variable.parts[0] == 1.0
            assert all(0 <= part <= 1 for part in variable.parts)
            if variable.kind == "ordered":
                assert list(variable.parts) == sorted(variable.parts, reverse=True), "each later option compresses more"
            if variable.kind == "number":
                assert variable.bounds is not None
                assert variable.bounds.low <= float(variable.options[0]) <= variable.bounds.high
                assert variable.bounds.low > 0 or not variable.bounds.log
            else:
                assert len(variable.options) > 1, "a variable with one option decides nothing"

    def test_the_first_options_leave_the_teacher_as_it_is(self) -> None:
        """Applied without any decision, it changes nothing but the target of a file."""
        axis, context = self.make_axis(), self._context()
        assert asdict(axis.apply(context, StudentSpec(), [])) | {"target": ""} == asdict(StudentSpec())

    def test_every_option_gives_a_legal_plan_that_survives_json(self) -> None:
        """Plans are repaired once and for all, and the same plan gives the same student."""
        space, anew = self._space(), self._space()
        for plan in self._plans(space):
            legal = space.repair(plan)
            assert space.repair(legal) == legal, "what is legal needs no repair"
            assert Plan.from_json(legal.to_json()) == legal
            assert space.spec(legal) == space.spec(plan)
            assert anew.spec(plan) == space.spec(plan), "the same plan gives the same student"

    def test_options_do_something(self) -> None:
        """Some option of every variable in the network changes the student."""
        axis, context = self.make_axis(), self._context()
        for variable in axis.variables(context):
            if variable.in_network:
                its = StudentSpec(student=context.network_of(variable.layers))
                specs = {axis.apply(context, its, [(variable, option)]) for option in variable.options[1:]}
                assert specs - {its}, f"no option of {variable.name} changes the student"

    def test_repair_keeps_to_its_own_variables(self) -> None:
        """What it returns are its own variables with options that they have."""
        axis, context = self.make_axis(), self._context()
        decisions = [(v, v.options[-1]) for v in axis.variables(context)]
        for variable, option in axis.repair(context, StudentSpec(), decisions):
            assert variable.axis == axis.name
            assert variable.legal(option) == option

    def test_it_leaves_the_decisions_of_other_axes(self) -> None:
        """An axis decides over one part of the student."""
        axis, context = self.make_axis(), self._context()
        changed = {
            part
            for decisions in self._decisions(axis.variables(context))
            for part, value in asdict(axis.apply(context, StudentSpec(), decisions)).items()
            if value != asdict(StudentSpec())[part]
        }
        if "bits" in changed:
            changed.discard("activations")  # how what is multiplied with few bits is rounded belongs to them
        assert len(changed) <= 1, f"an axis decides over one part of the student, this one over {sorted(changed)}"

    def test_what_is_left_out_has_its_reason(self) -> None:
        """Each entry is one line."""
        for entry in self.make_axis().left_out(self._context()):
            assert entry.name and entry.reason and "\n" not in entry.reason

    def _context(self) -> SpaceContext:
        from dataclasses import replace

        context = self.make_context()
        return replace(context, axes=tuple(dict.fromkeys((*context.axes, self.make_axis().name))))

    def _space(self) -> Space:
        return Space(self._context(), [self.make_axis()])

    def _plans(self, space: Space) -> Iterator[Plan]:
        """Yield each option alone, all last options together, and options that nobody offers."""
        for variable in space:
            options = variable.options if variable.bounds is None else (variable.bounds.low, variable.bounds.high)
            yield from (Plan({variable.name: option}) for option in options)
            yield Plan({variable.name: -1})
        yield Plan({variable.name: variable.options[-1] for variable in space})
        yield Plan({"no such variable": 1})

    def _decisions(self, variables: tuple[Variable, ...]) -> Iterator[list[Decision]]:
        for variable in variables:
            yield from ([(variable, option)] for option in variable.options[1:])
        yield [(variable, variable.options[-1]) for variable in variables if len(variable.options) > 1]
