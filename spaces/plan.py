"""A plan: one point of a space."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from .variables import Option


@dataclass(frozen=True)
class Plan:
    """What is decided: variable name -> option, for the variables that do not have their first option.

    Immutable and hashable. An empty plan is the teacher as it is. `Space.repair` makes any plan legal for a space,
    and `Space.spec` says what a plan does to the teacher.
    """

    choices: Mapping[str, Option] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "choices", dict(sorted(self.choices.items())))

    def __hash__(self) -> int:
        return hash(tuple(self.choices.items()))

    def of(self, axis: str) -> dict[str, Option]:
        """Return the choices of one axis: what they are about (a group, a layer, a setting) -> option."""
        first = f"{axis}:"
        return {
            name.removeprefix(first): option
            for name, option in self.choices.items()
            if name == axis or name.startswith(first)
        }

    def changed(self, choices: Mapping[str, Option]) -> Plan:
        """Return this plan with other options for the variables named in `choices`."""
        return Plan({**self.choices, **choices})

    def without(self, *axes: str) -> Plan:
        """Return this plan with the first option at every variable of these axes."""
        return Plan({name: o for name, o in self.choices.items() if name.partition(":")[0] not in axes})

    def to_json(self) -> str:
        """Return canonical JSON: sorted keys and no spaces, so that equal plans give equal text."""
        return json.dumps(self.choices, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Return the plan that `to_json` wrote."""
        return cls(json.loads(text))

    def key(self) -> str:
        """Return 16 hexadecimal digits that name this plan in caches and folders."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]
