"""The techniques that one would use by hand, and which of them a trial is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ..errors import UnknownName
from ..spaces.spec import PLAIN
from .trial import Trial

EIGHT, SIXTEEN = 8, 16


class Technique(StrEnum):
    """What is done to a network without a search, in the order in which a table shows it."""

    TEACHER = "teacher"
    SIXTEEN_BITS = "16 bits"
    INT8_AFTER = "int8 after training"
    INT8_WHILE = "int8 while training"
    PRUNING = "pruning alone"
    DISTILLATION = "distillation alone"
    PRUNE_QUANTIZE = "prune then quantize"
    QUANTIZE_PRUNE = "quantize then prune"
    TUTORIALS = "pipeline of tutorials"

    @property
    def word(self) -> str:
        """The name as it is written on a command line."""
        return self.value.replace(" ", "-")

    @property
    def in_words(self) -> str:
        """What is done, in one line."""
        return MEANING[self]


MEANING: Mapping[Technique, str] = {
    Technique.TEACHER: "the trained network as it is",
    Technique.SIXTEEN_BITS: "every layer in 16 bits",
    Technique.INT8_AFTER: "every layer in 8 bits, ranges from calibration data, no training",
    Technique.INT8_WHILE: "every layer in 8 bits, trained with fake quantization, taught by the teacher",
    Technique.PRUNING: "all groups keep the same part of their channels, trained on labels alone",
    Technique.DISTILLATION: "a narrower network with new weights, taught by the teacher",
    Technique.PRUNE_QUANTIZE: "pruned alike everywhere and taught by the teacher, then 8 bits",
    Technique.QUANTIZE_PRUNE: "8 bits with training first, then pruned alike everywhere and trained again",
    Technique.TUTORIALS: "pruned alike everywhere, trained on labels alone, then 8 bits without training",
}
SEQUENCES = (Technique.PRUNE_QUANTIZE, Technique.QUANTIZE_PRUNE, Technique.TUTORIALS)
"""Those that do one thing after the other, as a search does all together."""


@dataclass(frozen=True)
class Coverage:
    """How many layers a network has that can be in 8 and in 16 bits, as seen in the trials of a study.

    Attributes:
        eight: Number of layers in 8 bits, of the student with most of them.
        sixteen: The same with 16.
    """

    eight: int = 0
    sixteen: int = 0

    @classmethod
    def of(cls, trials: Iterable[Trial]) -> Coverage:
        """Return the coverage that these trials show."""
        counts = [(list(t.spec.bits.values()).count(EIGHT), list(t.spec.bits.values()).count(SIXTEEN)) for t in trials]
        return cls(max((c[0] for c in counts), default=0), max((c[1] for c in counts), default=0))

    def all_in(self, bits: Mapping[str, int]) -> int | None:
        """Return 32, 16 or 8 where every layer that can be is in so many bits, None for anything between."""
        found = list(bits.values())
        if not found:
            return 32
        if EIGHT in found and set(found) <= {EIGHT, SIXTEEN} and found.count(EIGHT) == self.eight:
            return EIGHT
        return SIXTEEN if set(found) == {SIXTEEN} and len(found) == self.sixteen else None


def technique_of(trial: Trial, coverage: Coverage) -> Technique | None:
    """Return which technique a trial is, None for all else.

    It is told by what was done to the teacher. Only sequences of two trainings carry their name with them, since their
    students are the same and differ in what they began with. Whoever proposed it, a student that only lost bits is one;
    what lost channels is one where a user would have decided so by hand: alike everywhere.
    """
    if trial.technique:
        return Technique(trial.technique)
    spec = trial.spec
    bits, recovery = coverage.all_in(spec.bits), spec.recovery
    if spec.patterns or spec.structure() != PLAIN or bits is None or trial.warm_start is not None:
        return None
    if not spec.channels:
        if recovery is None:
            return {32: Technique.TEACHER, 16: Technique.SIXTEEN_BITS, 8: Technique.INT8_AFTER}[bits]
        return Technique.INT8_WHILE if recovery.quantization_aware and bits == EIGHT else None
    if not trial.by_hand or recovery is None or recovery.quantization_aware:
        return None
    on_labels = recovery.alpha == 0 and recovery.feature_weight == 0
    if bits == 32 and recovery.fresh:
        return None if on_labels else Technique.DISTILLATION
    if recovery.fresh:
        return None
    if on_labels:
        return {32: Technique.PRUNING, 8: Technique.TUTORIALS}.get(bits)
    return Technique.PRUNE_QUANTIZE if bits == EIGHT else None


@dataclass(frozen=True)
class Training:
    """What the training of one model took, with that of the model whose weights it began with.

    Attributes:
        seconds: In all.
        times: Number of full trainings.
    """

    seconds: float = 0.0
    times: int = 0


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
        return Training(self._owner(trial).seconds.get("training", 0.0) + earlier.seconds, 1 + earlier.times)

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


def asked_for(names: Sequence[str]) -> tuple[bool, tuple[Technique, ...]]:
    """Return what the key `baselines` of a study asks for.

    Args:
        names: "default", "all", "none", or techniques, with spaces or hyphens.

    Returns:
        Whether the usual models are made by hand, and which techniques besides.

    Raises:
        UnknownName: There is no such technique.
    """
    known = {technique.word: technique for technique in Technique if technique is not Technique.TEACHER}
    found: list[Technique] = []
    for name in names:
        word = name.strip().replace(" ", "-")
        if word == "all":
            found += known.values()
        elif word in known:
            found.append(known[word])
        elif word not in ("default", "none"):
            raise UnknownName("baseline", name, ["all", "none", "default", *known])
    return bool({"default", "all"} & set(names)), tuple(dict.fromkeys(found))
