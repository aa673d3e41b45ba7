"""What a technique is: how it is carried out on a space, what it needs of it, and how its trials are told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields

from ...spaces.axes.bits import FULL
from ...spaces.spec import Recovery, StudentSpec
from ..propose.by_hand import Design
from ..trial import Trial
from .context import DesignContext
from .facts import Need, SpaceFacts

USUAL_TEACHING = frozenset(
    {"temperature", "alpha", "learning_rate", "feature_weight", "quantization_aware", "optimizer", "learned_steps"}
)
"""Settings of a recovery that a search may draw, or a study have, beside any technique."""
BESIDE = frozenset({"recovery", "target"})
"""Parts of a specification that do not change the network."""
STEP_OF = "step of "
"""Before the name of a technique, in trials that only are on the way to one of its models."""

Steps = Sequence[Design]
"""Students of which each begins with the trained weights of the one before; the last is what the technique makes."""


@dataclass(frozen=True)
class Marks:
    """By what a trial that does not carry a technique's name is told to be one.

    All that is known of it must be named here. So a student with anything besides, such as what a later version can
    do to a network, is no trial of the technique.

    Attributes:
        parts: Names of the parts of its specification that are not empty, but for the recovery and the target.
        bits: Of all layers that can be in so many, 32, 16 or 8.
        taught: Whether it is taught at all.
        tells: Decides on all else.
        teaching: Settings of its recovery that may be other than by default, beside the usual ones.
    """

    parts: frozenset[str] = frozenset()
    bits: int = FULL
    taught: bool = False
    tells: Callable[[Trial, Recovery], bool] = lambda trial, recovery: True
    teaching: frozenset[str] = frozenset()

    def fit(self, trial: Trial, parts: frozenset[str], bits: int) -> bool:
        """Tell whether a trial is one.

        Args:
            trial: The trial, which began with the teacher's weights or new ones.
            parts: What `parts_of` says of its specification.
            bits: What all its layers have that can.
        """
        recovery = trial.spec.recovery
        if (parts, bits, recovery is not None) != (self.parts, self.bits, self.taught):
            return False
        if recovery is None:
            return True
        return _changed(recovery) <= USUAL_TEACHING | self.teaching and self.tells(trial, recovery)


@dataclass(frozen=True, eq=False)
class TechniqueKind:
    """One technique.

    Attributes:
        name: In tables, studies and trials; it never changes once a version was published. No commas.
        meaning: What is done, in one line.
        designs: Yields its settings, the likeliest first. A setting is the design of its student, after those of the
            students whose weights it begins with, if any.
        needs: What the space must offer.
        marks: By what its trials are told where they do not carry its name; None where only those that do are.
        narrows: Whether its students get as narrow as the budget asks for, so that a miss leads to a further setting.
        sequence: Whether it does one thing after the other, as a search does all together. It goes on with its settings
            until it has had as much time as the search.
        way: How it quantizes the activations of all layers of few bits, where that is all that it does.
    """

    name: str
    meaning: str
    designs: Callable[[DesignContext], Iterator[Steps]] = field(repr=False)
    needs: tuple[Need, ...] = field(default=(), repr=False)
    marks: Marks | None = field(default=None, repr=False)
    narrows: bool = False
    sequence: bool = False
    way: str = ""

    @property
    def word(self) -> str:
        """The name as it is written on a command line."""
        return self.name.replace(" ", "-")

    def why_not(self, facts: SpaceFacts) -> str:
        """Return why it cannot be tried in a study, empty where it can."""
        found = next((reason for need in self.needs if (reason := need(facts))), "")
        return f"not offered here: {found}" if found else ""


def parts_of(spec: StudentSpec) -> frozenset[str]:
    """Return the names of what a specification does to the network: its parts that are not empty."""
    return _changed(spec) - BESIDE


def on_labels(recovery: Recovery) -> bool:
    """Tell whether a student learns from labels alone."""
    return recovery.alpha == 0 and recovery.feature_weight == 0


def _changed(value: StudentSpec | Recovery) -> frozenset[str]:
    default = type(value)()
    return frozenset(f.name for f in fields(value) if getattr(value, f.name) != getattr(default, f.name))
