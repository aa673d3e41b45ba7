"""What a study's space offers, as far as techniques ask: from the space itself, or from what its folder keeps of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...spaces.axes.bits import RECURRENT
from ...spaces.axes.channels import ChannelsAxis
from ...spaces.axes.recovery import AWARE
from ...spaces.axes.registry import SCALED, SIZES
from ...spaces.space import Space
from ...spaces.variables import Option

EIGHT, SIXTEEN = 8, 16


@dataclass(frozen=True)
class SpaceFacts:
    """What can be decided in a study.

    Attributes:
        options: Axis -> the options that some variable of it has; axes without variables are left out.
        most: Axis -> the largest number of options that one variable of it has.
        reasons: Name of what is not offered -> why.
        gradual: Whether zeros come little by little while a student is taught.
        recurrent: Names of the recurrent layers whose bits are decided.
    """

    options: Mapping[str, frozenset[Option]]
    most: Mapping[str, int]
    reasons: Mapping[str, str]
    gradual: bool = False
    recurrent: frozenset[str] = frozenset()

    @classmethod
    def of(cls, space: Space) -> SpaceFacts:
        """Return the facts of a space."""
        return _facts(
            ((variable.axis, variable.options) for variable in space),
            (name for variable in space if variable.role == RECURRENT for name in variable.layers),
            {entry.name: entry.reason for entry in space.left_out()},
            bool(space.context.recovery.ramp),
        )

    @classmethod
    def read(cls, described: Mapping[str, Any], gradual: bool = False) -> SpaceFacts:
        """Return the facts of what `describe_space` wrote; none at all where it is empty.

        Args:
            described: What it wrote.
            gradual: Whether zeros come little by little.
        """
        variables = described.get("variables", [])
        return _facts(
            ((variable["axis"], variable["options"]) for variable in variables),
            (name for variable in variables if variable["role"] == RECURRENT for name in variable["layers"]),
            {entry["name"]: entry["reason"] for entry in described.get("left_out", [])},
            gradual,
        )

    def offers(self, axis: str, option: Option) -> bool:
        """Tell whether some variable of an axis has this option."""
        return option in self.options.get(axis, ())


def _facts(
    variables: Iterable[tuple[str, Sequence[Option]]],
    recurrent: Iterable[str],
    reasons: Mapping[str, str],
    gradual: bool,
) -> SpaceFacts:
    options: dict[str, frozenset[Option]] = {}
    most: dict[str, int] = {}
    for axis, offered in variables:
        options[axis] = options.get(axis, frozenset()) | set(offered)
        most[axis] = max(most.get(axis, 0), len(offered))
    return SpaceFacts(options, most, reasons, gradual, frozenset(recurrent))


Need = Callable[[SpaceFacts], str]
"""Returns why a study does not offer something that a technique needs, empty where it does."""


def bits(width: int) -> Need:
    """Return the need of layers in so many bits."""

    def missing(facts: SpaceFacts) -> str:
        why = facts.reasons.get(f"{width} bits", "win nothing on this target")
        return "" if facts.offers("bits", width) else f"{width} bits {why}"

    return missing


def zeros(kind: str, option: str) -> Need:
    """Return the need of layers with zeros in their weights.

    Args:
        kind: Of the pattern, as `spaces.spec.Pattern` has it.
        option: The option of the axis that stands for it.
    """

    def missing(facts: SpaceFacts) -> str:
        why = facts.reasons.get(f"pattern {kind}", "no decision of this study sets weights to zero")
        return "" if facts.offers("pattern", option) else why

    return missing


def way(option: str) -> Need:
    """Return the need of layers whose activations are quantized in a way of their own."""

    def missing(facts: SpaceFacts) -> str:
        why = facts.reasons.get(f"{option} activations", "no axis of this study decides how activations are quantized")
        return "" if facts.offers("ranges", option) else why

    return missing


def axis(name: str, otherwise: str, what: str = "") -> Need:
    """Return the need of an axis that decides something here.

    Args:
        name: Of the axis.
        otherwise: What is said of a study without it.
        what: How the names begin of what it leaves out, where it is there and this network gives it nothing to decide.
    """

    def missing(facts: SpaceFacts) -> str:
        if name in facts.options:
            return ""
        reasons = (why for left, why in facts.reasons.items() if what and f"{left} ".startswith(f"{what} "))
        return next(reasons, otherwise)

    return missing


def narrower(facts: SpaceFacts) -> str:
    """Tell why no student can have fewer channels."""
    return "" if facts.options.keys() & set(SIZES) else "no axis of this study makes a network narrower"


def twice_narrower(facts: SpaceFacts) -> str:
    """Tell why no student can get narrower again after it did once."""
    most = max((facts.most.get(name, 0) for name in SIZES), default=0)
    return narrower(facts) or ("" if most > 2 else "no group of channels can shrink more than once")


def asked_in_recovery(key: str, option: str) -> Need:
    """Return the need of what students have only where a study's section `[recovery]` names it.

    Args:
        key: Of the section, such as "ways".
        option: The option of the axis `recovery` that stands for it.
    """
    return lambda facts: "" if facts.offers("recovery", option) else f"[recovery] {key} of this study does not name it"


def scaled_together(facts: SpaceFacts) -> str:
    """Tell why depth, width and the size of inputs cannot shrink together."""
    there = sum(bool(facts.options.keys() & kind) for kind in SCALED)
    return "" if there > 1 else "of depth, width and the size of inputs this study decides at most one"


def trained_bits(facts: SpaceFacts) -> str:
    """Tell why no student can be trained with fake quantization."""
    taught = facts.options.get("recovery")
    # of studies that keep nothing of their teaching nothing is known
    return "" if taught is None or AWARE in taught else "no layer of this target is trained with fake quantization"


def one_mask(facts: SpaceFacts) -> str:
    """Tell why students of this study that have the same zeros at their end do not have them from their start."""
    return "zeros of this study come little by little" if facts.gradual else ""


eight_bits, sixteen_bits = bits(EIGHT), bits(SIXTEEN)
own_counts = axis(ChannelsAxis.name, "no axis of this study gives each group of channels a count of its own")
