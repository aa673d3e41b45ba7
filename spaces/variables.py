"""Decision variables: the places where a plan decides, and what can be decided there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

Option = int | float | str
"""What can be chosen at a variable: a JSON scalar."""
Value = float | str
"""A number or the name of an option, as a sampler draws it."""
Kind = Literal["ordered", "unordered", "number"]


@dataclass(frozen=True)
class Number:
    """A real number in [low, high], on a linear or logarithmic scale."""

    low: float
    high: float
    log: bool = False

    def clip(self, value: float) -> float:
        """Return the nearest number of the range with three significant digits.

        Plans that differ by less than the third digit count as one plan.
        """
        return min(self.high, max(self.low, _rounded(value)))


@dataclass(frozen=True)
class Variable:
    """One place where a plan decides.

    Attributes:
        axis: Name of the axis that made the variable.
        subject: What it decides about: a group, a layer, a setting. Empty where the axis has one variable.
        role: The part that the subject plays in the network. Variables of one role are alike.
        kind: "ordered" when each later option compresses more, "unordered" when options have no order, "number" for
            any number in `bounds`.
        options: What can be chosen. The first option leaves the teacher as it is, or is the default of a number.
        parts: What each option leaves of the teacher's size, 1.0 for the first option. Same length as `options`; even
            steps where an ordered variable gives none.
        families: Options of one family are of one sort ("unstructured", "2:4"). Same length as `options`.
        layers: Names of the layers that it is about, in order of execution. Empty for decisions about training or
            deployment, which lie at no place of the network.
        depth: Place in the network, 0.0 at the input and 1.0 at the output.
        bounds: Range of a number; None for other kinds.
        searched: The options that a search may draw, of unordered variables and numbers; all if empty.
        coupled: Whether an option may force the options of other variables, so that its effect cannot be told alone.
        names: What options are called in words, of those whose value does not say it: (option, name).
    """

    axis: str
    subject: str
    role: str
    kind: Kind
    options: tuple[Option, ...]
    parts: tuple[float, ...] = ()
    families: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    depth: float = 0.5
    bounds: Number | None = None
    searched: tuple[Option, ...] = ()
    coupled: bool = False
    names: tuple[tuple[Option, str], ...] = ()
    _index: Mapping[Option, int] = field(init=False, repr=False, compare=False, hash=False, default_factory=dict)

    def __post_init__(self) -> None:
        if not self.options:
            raise ValueError(f"variable {self.name!r} has no options; give at least the one that changes nothing")
        if self.kind == "ordered" and self.searched:
            raise ValueError(f"variable {self.name!r}: a search draws all options of a row; leave out `searched`")
        count = len(self.options)
        even = tuple(1 - i / count if self.kind == "ordered" else 1.0 for i in range(count))
        for name, default in (("parts", even), ("families", ("",) * count)):
            if not getattr(self, name):
                object.__setattr__(self, name, default)
            elif len(getattr(self, name)) != count:
                raise ValueError(f"variable {self.name!r} has {count} options; give as many {name}")
        object.__setattr__(self, "_index", {option: i for i, option in enumerate(self.options)})

    @cached_property
    def name(self) -> str:
        """The name, unique within a space: "channels:layer1.0.conv1", "recovery:alpha", "target"."""
        return f"{self.axis}:{self.subject}" if self.subject else self.axis

    @property
    def in_network(self) -> bool:
        """Whether it decides about a place of the network."""
        return bool(self.layers) and self.kind != "number"

    @property
    def in_stream(self) -> bool:
        """Whether it decides about channels that several layers write into, as residual streams are."""
        return self.role.startswith(("stream", "embedding"))

    @property
    def is_searched(self) -> bool:
        """Whether a search draws it at all."""
        return not self.searched if self.kind == "number" else len(self.drawn) > 1

    @property
    def drawn(self) -> tuple[Option, ...]:
        """The options that a search may draw."""
        return self.searched or self.options

    def index(self, option: Option | None) -> int:
        """Return the number of `option`, of the nearest one where there is no such option, 0 for None."""
        if option is None:
            return 0
        if option in self._index:
            return self._index[option]
        if isinstance(option, str):
            return 0
        numbers = [(abs(o - option), i) for i, o in enumerate(self.options) if not isinstance(o, str)]
        return min(numbers)[1] if numbers else 0

    def shown(self, option: Option) -> Option:
        """Return what users are shown of an option: itself, or text where some options have names in words."""
        return dict(self.names).get(option, str(option)) if self.names else option

    def legal(self, option: Option) -> Option:
        """Return `option` if it can be chosen here, else the nearest that can."""
        if self.bounds is not None:
            default = float(self.options[0])
            value = float(option) if not isinstance(option, str) else default
            found = self.bounds.clip(value) if math.isfinite(value) else default
            # a default may have more digits than plans are told apart by
            return default if found == _rounded(default) else found
        return self.options[self.index(option)]


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")
