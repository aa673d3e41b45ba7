"""Which technique a trial is, what its training took, and which techniques a study asks for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ..errors import UnknownName
from .technique_kinds.facts import EIGHT, SIXTEEN, SpaceFacts
from .technique_kinds.kind import TechniqueKind, parts_of
from .technique_kinds.quantization import TEACHER
from .technique_kinds.registry import BY_NAME, TECHNIQUES
from .trial import Trial


@dataclass(frozen=True)
class Coverage:
    """How many layers a network has that can be in 8 and in 16 bits, as seen in the trials of a study.

    Attributes:
        eight: Number of layers in 8 bits, of the student with most of them.
        sixteen: The same with 16.
        recurrent: Names of the recurrent layers whose bits are decided: how their inputs are rounded follows from bits.
    """

    eight: int = 0
    sixteen: int = 0
    recurrent: frozenset[str] = frozenset()

    @classmethod
    def of(cls, trials: Iterable[Trial], facts: SpaceFacts) -> Coverage:
        """Return the coverage that these trials show, in a space of which this is known."""
        of_teacher = [list(t.spec.bits.values()) for t in trials if not t.spec.student]  # others have other layers
        counts = [(bits.count(EIGHT), bits.count(SIXTEEN)) for bits in of_teacher]
        eight, sixteen = (max((c[i] for c in counts), default=0) for i in range(2))
        return cls(eight, sixteen, facts.recurrent)

    def all_in(self, bits: Mapping[str, int]) -> int | None:
        """Return 32, 16 or 8 where every layer that can be is in so many bits, None for anything between."""
        found = list(bits.values())
        if not found:
            return 32
        if EIGHT in found and set(found) <= {EIGHT, SIXTEEN} and found.count(EIGHT) == self.eight:
            return EIGHT
        return SIXTEEN if set(found) == {SIXTEEN} and len(found) == self.sixteen else None


def technique_of(trial: Trial, coverage: Coverage) -> TechniqueKind | None:
    """Return which technique a trial is, None for all else.

    What was made to show a technique carries its name. Any other trial is told by what was done to the teacher.
    Whoever proposed it, a student that only lost bits is one; what lost channels is one where a user would have decided
    so by hand: alike everywhere. A name that only a later version knows, or a student that such a one made, is none.
    """
    if trial.technique:
        return BY_NAME.get(trial.technique)
    if trial.warm_start is not None:
        return None
    ways = {layer: way for layer, way in trial.spec.activations.items() if layer not in coverage.recurrent}
    if ways:
        return _one_way(trial, ways, coverage)
    bits, parts = coverage.all_in(trial.spec.bits), parts_of(replace(trial.spec, activations={}))
    if bits is None:
        return None
    marked = (kind for kind in TECHNIQUES if kind.marks is not None and kind.marks.fit(trial, parts, bits))
    return next(marked, None)


def _one_way(trial: Trial, ways: Mapping[str, str], coverage: Coverage) -> TechniqueKind | None:
    """Return the technique that a trial is whose layers are all quantized in one way, with nothing else done to it.

    Every study begins with the trained network so where the target has that way; what a search tries in its course
    may be a part of the layers.
    """
    only = parts_of(trial.spec) == {"bits", "activations"} and trial.spec.recovery is None
    if not (only and trial.by_hand and ways.keys() == trial.spec.bits.keys() - coverage.recurrent):
        return None
    return next((kind for kind in TECHNIQUES if {kind.way} == set(ways.values())), None)


@dataclass(frozen=True)
class Training:
    """What the training of one model took, with that of the model whose weights it began with.

    Attributes:
        seconds: In all.
        times: Number of full trainings.
        step_bytes: Of memory that a step held at most, in any of them; None where it was not noted.
    """

    seconds: float = 0.0
    times: int = 0
    step_bytes: int | None = None


class Trainings:
    """The trainings of a study: whose training is whose, and what they took.

    A student that differs from another one in bits alone has that one's training, and it counts for both.
    """

    def __init__(self, trials: Iterable[Trial]) -> None:
        """Look at these trials, which ended."""
        self._numbered: dict[int, Trial] = {}
        self._trained: dict[tuple[str, int | None], Trial] = {}
        for trial in trials:
            self._numbered[trial.number] = trial
            if trial.spec.recovery is not None and trial.seconds.get("training", 0.0) > 0:
                key = _training_key(trial)
                if key not in self._trained or len(trial.rungs) > len(self._trained[key].rungs):
                    self._trained[key] = trial

    def of(self, trial: Trial) -> Training:
        """Return what the training behind a finished trial took."""
        if trial.spec.recovery is None:
            return Training()
        before = self._before(trial)
        earlier = Training() if before is None else self.of(before)
        owner = self._owner(trial)
        held = [found for found in (owner.train_bytes, earlier.step_bytes) if found is not None]
        seconds = owner.seconds.get("training", 0.0) + earlier.seconds
        return Training(seconds, 1 + earlier.times, max(held, default=None))

    def seconds_behind(self, trials: Iterable[Trial]) -> float:
        """Return the seconds that went into these trials, with what others did for them, each counted once."""
        found: dict[int, float] = {}
        for trial in trials:
            one: Trial | None = trial
            while one is not None:
                found[one.number] = sum(one.seconds.values())
                owner = self._owner(one)
                found.setdefault(owner.number, owner.seconds.get("training", 0.0))
                one = self._before(one)
        return sum(found.values())

    def _owner(self, trial: Trial) -> Trial:
        if trial.spec.recovery is None or trial.seconds.get("training", 0.0) > 0:
            return trial
        return self._trained.get(_training_key(trial), trial)

    def _before(self, trial: Trial) -> Trial | None:
        return None if trial.warm_start is None else self._numbered.get(trial.warm_start.number)


def _training_key(trial: Trial) -> tuple[str, int | None]:
    return trial.spec.training_key(), trial.warm_start.number if trial.warm_start else None


def asked_for(names: Sequence[str]) -> tuple[bool, tuple[TechniqueKind, ...]]:
    """Return what the key `baselines` of a study asks for.

    Args:
        names: "default", "all", "none", or techniques, with spaces or hyphens.

    Returns:
        Whether the usual models are made by hand, and which techniques besides.

    Raises:
        UnknownName: There is no such technique.
    """
    known = {kind.word: kind for kind in TECHNIQUES if kind is not TEACHER}
    found: list[TechniqueKind] = []
    for name in names:
        word = name.strip().replace(" ", "-")
        if word == "all":
            found += known.values()
        elif word in known:
            found.append(known[word])
        elif word not in ("default", "none"):
            raise UnknownName("baseline", name, ["all", "none", "default", *known])
    return bool({"default", "all"} & set(names)), tuple(dict.fromkeys(found))
