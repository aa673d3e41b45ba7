"""The joint space: every decision that this task and its targets really allow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from ..errors import PluginError, UnknownName
from .axes.base import STAGES, Axis, Decision
from .axes.registry import AXES, DEFAULT
from .context import SpaceContext
from .groups import LeftOut
from .plan import Plan
from .spec import StudentSpec
from .union import of_one_network, told_apart
from .variables import Option, Variable

CACHED = 20_000
"""Plans whose repaired form is kept; then all are forgotten."""

Indices = tuple[int, ...]
"""The number of the option at each network variable of a space."""


class Space:
    """The variables of a task and its targets, and what plans over them mean.

    Attributes:
        context: What the space stands on.
        axes: The kinds of decisions, in the order in which they are applied.
        variables: All variables, those of one axis together.
        network: The variables that decide about places of the network, which solvers, exchanges and crossovers work
            on. A design is written as one number of an option for each of them (`Indices`).
    """

    def __init__(self, context: SpaceContext, axes: Sequence[Axis]) -> None:
        """Find the variables of these axes.

        Args:
            context: What the space stands on.
            axes: In any order; they are applied by their stages.
        """
        self.context = context
        self.axes = tuple(sorted(axes, key=lambda axis: STAGES.index(axis.stage)))
        self._of = {axis.name: told_apart(context, axis.variables(context)) for axis in self.axes}
        self.variables: tuple[Variable, ...] = tuple(v for axis in self.axes for v in self._of[axis.name])
        self._named = {variable.name: variable for variable in self.variables}
        self.network = tuple(variable for variable in self.variables if variable.in_network)
        self._names = tuple(variable.name for variable in self.network)
        self._network_names = frozenset(self._names)
        self._known: dict[Plan, tuple[Plan, StudentSpec]] = {}
        self.taught = Plan({v.name: v.drawn[0] for v in self.variables if v.options[0] not in v.drawn})

    def __iter__(self) -> Iterator[Variable]:
        """Iterate over all variables."""
        return iter(self.variables)

    def variable(self, name: str) -> Variable | None:
        """Return the variable of this name, None where there is none."""
        return self._named.get(name)

    def of(self, axis: str) -> tuple[Variable, ...]:
        """Return the variables of one axis."""
        return self._of.get(axis, ())

    def options(self, axis: str) -> tuple[Option, ...]:
        """Return the options that some variable of this axis has, those that leave most first."""
        parts = {o: part for v in self.of(axis) for o, part in zip(v.options, v.parts, strict=True)}
        return tuple(sorted(parts, key=lambda option: -parts[option]))

    def repair(self, plan: Plan) -> Plan:
        """Return the nearest plan that is legal in this space.

        Unknown variables are dropped, unknown options become the nearest known ones, and each axis may change what
        does not go with the decisions of the axes before it.
        """
        return self._legal(plan)[0]

    def spec(self, plan: Plan) -> StudentSpec:
        """Return what a plan does to the teacher, after `repair`."""
        return self._legal(plan)[1]

    def indices(self, plan: Plan) -> Indices:
        """Return the option that `plan` takes at each network variable, the nearest one where it takes none."""
        choices = plan.choices
        return tuple(v.index(choices.get(n)) for v, n in zip(self.network, self._names, strict=True))

    def assemble(self, indices: Sequence[int], like: Plan) -> Plan:
        """Return the legal plan with these options at the network variables; all others are those of `like`."""
        choices = {name: option for name, option in like.choices.items() if name not in self._network_names}
        for variable, i in zip(self.network, indices, strict=True):
            if i:
                choices[variable.name] = variable.options[i]
        return self.repair(Plan(choices))

    def uniform(self, options: Mapping[str, Option], like: Plan | None = None) -> Plan:
        """Return the plan that treats all variables of an axis alike, as one would do by hand.

        Args:
            options: Axis -> what every variable of it takes: a float for the option that leaves about this part of
                the teacher, 0.0 to 1.0; or an option, where the variable has it, else its first one.
            like: The plan that all other decisions are taken from; the teacher if None.
        """
        choices = dict((like or Plan()).choices)
        for axis, wanted in options.items():
            for variable in self.of(axis):
                choices[variable.name] = _nearest(variable, wanted)
        return self.repair(Plan(choices))

    def left_out(self) -> tuple[LeftOut, ...]:
        """Return what is not offered here, with the reasons."""
        return tuple(entry for axis in self.axes for entry in axis.left_out(self.context))

    def _legal(self, plan: Plan) -> tuple[Plan, StudentSpec]:
        if plan not in self._known:
            if len(self._known) >= CACHED:
                self._known.clear()
            found = self._applied(plan)
            self._known[plan] = found
            self._known[found[0]] = found
        return self._known[plan]

    def _applied(self, plan: Plan) -> tuple[Plan, StudentSpec]:
        spec = StudentSpec()
        choices: dict[str, Option] = {}
        for axis in self.axes:
            decisions: Sequence[Decision] = [
                (v, v.legal(plan.choices[v.name]) if v.name in plan.choices else v.options[0])
                for v in self._of[axis.name]
            ]
            decisions = [(v, o) for v, o in axis.repair(self.context, spec, decisions) if o != v.options[0]]
            spec = axis.apply(self.context, spec, decisions)
            choices |= {v.name: o for v, o in decisions}
        return Plan(choices), of_one_network(self.context, spec)


def build_space(context: SpaceContext, axes: Sequence[str] = DEFAULT) -> Space:
    """Return the space over the named axes and those that are part of every space.

    Args:
        context: What the space stands on; its `axes` become those named here.
        axes: Names of axes, of the project's or of installed packages.

    Raises:
        UnknownName: An axis or a kept layer that does not exist.
        PluginError: An axis that cannot be loaded.
    """
    known = {layer.name for layer in context.all_layers}
    for name in context.keep:
        if name not in known:
            raise UnknownName("layer", name, known)
    context = replace(context, axes=tuple(axes))
    made = {name: AXES.make(name) for name in dict.fromkeys(axes)}
    for name, axis in AXES.make_all().items():
        # a broken package must not end the searches that do not ask for its axis
        if name not in made and not isinstance(axis, PluginError) and axis.always:
            made[name] = axis
    return Space(context, tuple(made.values()))


def _nearest(variable: Variable, wanted: Option) -> Option:
    if not isinstance(wanted, float):
        return wanted if wanted in variable.options else variable.options[0]
    at = min(range(len(variable.parts)), key=lambda i: (abs(variable.parts[i] - wanted), i))
    return variable.options[at]
