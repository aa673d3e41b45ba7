"""The flat space: one parameter for each variable, as a user of Optuna would write it down."""

from __future__ import annotations

from collections.abc import Mapping

import optuna

from autocompress.search.propose.profile import option_of, parameter_of
from autocompress.search.propose.samplers import distribution
from autocompress.spaces.plan import Plan
from autocompress.spaces.space import Space
from autocompress.spaces.variables import Value, Variable


def teaching(space: Space) -> tuple[Variable, ...]:
    """Return the variables outside the network that a search draws: how students are taught."""
    return tuple(v for v in space.variables if not v.in_network and v.is_searched)


def precisions(space: Space) -> tuple[int, ...]:
    """Return the bit-widths that can be chosen somewhere, widest first; 32 alone without such a choice."""
    return tuple(int(bits) for bits in space.options("bits")) or (32,)


def flat_parameters(space: Space) -> dict[str, optuna.distributions.BaseDistribution]:
    """Return what Optuna draws: the number of an option for each place in the network, and how to teach."""
    return {
        **{v.name: optuna.distributions.IntDistribution(0, len(v.options) - 1) for v in space.network},
        **{v.name: distribution(parameter_of(v)) for v in teaching(space)},
    }


def plan_of(space: Space, drawn: Mapping[str, Value]) -> Plan:
    """Return the trained plan that drawn parameters stand for."""
    taught = {v.name: option_of(v, drawn[v.name]) for v in teaching(space)}
    return space.assemble([int(drawn[v.name]) for v in space.network], space.taught.changed(taught))
