"""What every axis must do, as a test class that a package which brings one runs against itself.

class TestMyAxis(AxisConformance):
    def make_axis(self): return MyAxis(some_ground())
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

from ..spaces.axes.base import Axis, Choice, Number, Parameter, Value
from ..spaces.plan import Plan, Recovery


class AxisConformance:
    """Subclass it under a name that begins with Test and fill in `make_axis`; pytest does the rest."""

    def make_axis(self) -> Axis:
        """The axis under test, over a ground where it has something to decide; equal ones at each call."""
        raise NotImplementedError("make_axis: return your axis")

    def test_its_name_is_an_identifier(self) -> None:
        assert self.make_axis().name.isidentifier()

    def test_its_parameters_are_legal_and_the_same_each_time(self) -> None:
        axis = self.make_axis()
        parameters = axis.parameters()
        assert parameters, "over this ground it must have something to decide"
        assert axis.parameters() == parameters == self.make_axis().parameters()
        for name, parameter in parameters.items():
            assert name.isidentifier()
            if isinstance(parameter, Number):
                assert math.isfinite(parameter.low) and math.isfinite(parameter.high)
                assert parameter.low <= parameter.high
                assert parameter.low > 0 or not parameter.log
            else:
                assert isinstance(parameter, Choice)
                assert parameter.options and len(set(parameter.options)) == len(parameter.options)

    def test_all_values_give_a_plan_that_survives_json(self) -> None:
        axis = self.make_axis()
        for values in self._values(axis):
            plan = axis.apply(Plan(), values)
            assert Plan.from_json(plan.to_json()) == plan
            assert axis.apply(Plan(), values) == plan, "the same values give the same plan"
            assert axis.apply(plan, values) == plan, "applied again, nothing changes"

    def test_it_leaves_the_decisions_of_other_axes(self) -> None:
        axis = self.make_axis()
        before = Plan(recovery=Recovery(temperature=3.5))
        parts = ("channels", "bits", "patterns", "recovery")
        changed = {
            part
            for values in self._values(axis)
            for part in parts
            if getattr(axis.apply(before, values), part) != getattr(before, part)
        }
        assert len(changed) == 1, f"an axis decides over one part of the plan, this one over {sorted(changed)}"

    def test_what_is_left_out_has_its_reason(self) -> None:
        for entry in self.make_axis().left_out():
            assert entry.name and entry.reason and "\n" not in entry.reason

    def _values(self, axis: Axis) -> Iterator[dict[str, Value]]:
        """The low, middle and high value of every parameter: together, and each against the middle of the others."""
        parameters = axis.parameters()
        ends = {name: _ends(parameter) for name, parameter in parameters.items()}
        for i in range(3):
            yield {name: values[i] for name, values in ends.items()}
        middle = {name: values[1] for name, values in ends.items()}
        for name, value in itertools.chain.from_iterable(((n, v) for v in _all(p)) for n, p in parameters.items()):
            yield {**middle, name: value}


def _ends(parameter: Parameter) -> tuple[Value, Value, Value]:
    if isinstance(parameter, Number):
        return parameter.low, (parameter.low + parameter.high) / 2, parameter.high
    options = parameter.options
    return options[0], options[len(options) // 2], options[-1]


def _all(parameter: Parameter) -> tuple[Value, ...]:
    return _ends(parameter) if isinstance(parameter, Number) else parameter.options
