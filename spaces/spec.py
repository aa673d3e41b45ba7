"""A student's specification: what a plan does to the teacher, as data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeVar

from .factors import Factor, names_of_parts

T = TypeVar("T")

BLOCK = "block:4x1"
"""The kind of pattern whose zeros are blocks of four outputs at one input."""


STATIC, DYNAMIC, FLOAT = "static", "dynamic", "float"
"""How activations of a layer of few bits are quantized: over a range from calibration, over the range of each batch as
it comes, or not at all; its weights have a scale for each output channel, or with "float" for each `GROUP` of them."""
GROUP = 32
"""Weights of one output that share a scale in a layer of float activations."""


@dataclass(frozen=True)
class Pattern:
    """A sparsity pattern of one layer's weights, which keeps the layer's shape.

    Attributes:
        kind: "unstructured" (the `rate` smallest weights of the layer are zero), "2:4" (two of every four
            consecutive inputs are zero, rate 0.5) or "block:4x1" (whole blocks of four consecutive outputs are zero at
            an input). A dense layer has no pattern at all.
        rate: Part of the weights that is zero, 0 to 1.
    """

    kind: str
    rate: float


WITH_UPDATES, ADAPTERS = ("lora", "qlora"), "adapters"
TUNES = ("full", "classifier", "bitfit", *WITH_UPDATES, ADAPTERS)
"""What a recovery may train: all weights; the last layer; biases, norms and the last layer (Ben Zaken et al. 2021,
arXiv:2106.10199); or those and an update of low rank for each other layer (Hu et al. 2021, arXiv:2106.09685), over
weights as they are, or kept in 8 bits meanwhile; or those and adapters, which stay in the network (Houlsby et al. 2019,
arXiv:1902.00751)."""
WITH_RANK = (*WITH_UPDATES, ADAPTERS)
"""Those with something of low rank: updates, or adapters."""
ADAMW_PART = 0.15
"""Of a learning rate of SGD, what AdamW takes: its peak of 0.003 was best where that of SGD was 0.02."""


AIDS = ("attention", "hidden", "relation")
"""What a teacher can show beside its outputs; each has a weight in `Recovery`, called after it."""


@dataclass(frozen=True)
class Recovery:
    """How a student is taught after it was shrunk (Hinton et al. 2015, arXiv:1503.02531, section 2).

    Attributes:
        temperature: Softens the outputs of teacher and student.
        alpha: Weight of the teacher's outputs against the labels, 0 to 1.
        learning_rate: Peak of the schedule, as SGD takes it; see `peak_rate`.
        feature_weight: Weight of matching the inputs of the last layer.
        quantization_aware: Whether layers below 16 bits train with fake quantization in the second half.
        fresh: Whether the student begins with new random weights in place of the teacher's.
        optimizer: "sgd" or "adamw", which takes a part of the learning rate.
        tune: Which weights are trained, one of `TUNES`. All others stay as they are.
        rank: Of the updates of "lora" and "qlora"; channels of the bottleneck of "adapters".
        attention_weight: Weight of looking where the teacher looks; this and the next two: see `compression.aids`.
        hidden_weight: Weight of matching what lies within the network, through a learned projection.
        relation_weight: Weight of finding the same examples of a batch alike.
        ramp: "cubic" where the zeros of patterns come little by little while the student is taught; empty where they
            are there from the start. See `compression.gradual`.
        early: Whether the student begins with the weights that the teacher had early in its own training.
        learned_steps: Whether fake quantization learns the ends of its grids. See `compression.learned_steps`.
    """

    temperature: float = 4.0
    alpha: float = 0.7
    learning_rate: float = 0.02
    feature_weight: float = 0.0
    quantization_aware: bool = False
    fresh: bool = False
    optimizer: str = "sgd"
    tune: str = "full"
    rank: int = 8
    attention_weight: float = 0.0
    hidden_weight: float = 0.0
    relation_weight: float = 0.0

    @property
    def aids(self) -> frozenset[str]:
        """Which of `AIDS` the student is taught with."""
        return frozenset(aid for aid in AIDS if self.weight(aid) > 0)

    def weight(self, aid: str) -> float:
        """Return the weight of one of `AIDS`."""
        return float(getattr(self, f"{aid}_weight"))

    def aids_in_words(self) -> str:
        """Return the aids with their weights, each behind a comma."""
        return "".join(f", {aid} {self.weight(aid):.3g}" for aid in AIDS if aid in self.aids)

    ramp: str = ""
    early: bool = False
    learned_steps: bool = False

    @property
    def kept_adapters(self) -> Recovery | None:
        """What decides the adapters that stay in the network, None where there are none."""
        return Recovery(tune=ADAPTERS, rank=self.rank) if self.tune == ADAPTERS else None

    @property
    def peak_rate(self) -> float:
        """The peak of the schedule that the optimizer really takes."""
        return self.learning_rate * (ADAMW_PART if self.optimizer == "adamw" else 1.0)

    def parts(self) -> dict[str, float | bool | str]:
        """Return the settings by name; what came with a later version only where it is not the default.

        So keys of students that were taught before stay what they were.
        """
        found = dict(vars(self))
        if not self.fresh:
            del found["fresh"]
        if self.optimizer == Recovery.optimizer:
            del found["optimizer"]
        if self.tune == Recovery.tune:
            del found["tune"]
        if self.rank == Recovery.rank:
            del found["rank"]
        for aid in AIDS:
            if not self.weight(aid):
                del found[f"{aid}_weight"]
        if not self.ramp:
            del found["ramp"]
        for name in ("early", "learned_steps"):
            if not found[name]:
                del found[name]
        return found


FIRST_PARTS = frozenset({"channels", "bits", "patterns", "recovery", "target", "replacements"})
"""Parts of a specification that stand in its key always."""


@dataclass(frozen=True)
class StudentSpec:
    """What becomes of the teacher. An empty specification is the teacher as it is.

    Axes fill it in (see `spaces.axes.base`); `compression` and `evaluators` carry it out. Edits of the module come in
    one order, that of `compression.edits`; patterns follow.

    Parts that came with later versions stand in keys only where they are not empty, so that keys of students that were
    trained and measured before stay what they were.

    Attributes:
        replacements: Module name -> class of `torch.nn` that takes no arguments, such as "Hardswish". Only modules
            without weights can be replaced.
        dropped: Names of the blocks that are dropped, sorted (see `spaces.graph.block`).
        size: Pixels of the shorter side of images, or tokens of sequences, that it looks at; 0 for all. It still
            takes inputs of the full size (see `spaces.graph.resized`).
        student: Name of the network of the user's own that it is cut from; empty for the teacher. Names of all other
            parts are then those of that network.
        channels: Group name -> channels kept, for groups that shrink.
        patterns: Layer name -> pattern, for layers that are not dense.
        bits: Layer name -> 16, 8 or 4, for layers that are not 32.
        factors: Layer name -> what stands in its place, for layers that are two smaller ones (see `spaces.factors`).
        recovery: How the student is taught; None when it is not trained at all.
        target: Name of the target that its file is for, where each plan chooses one; empty where it is for all.
        activations: Layer name -> `DYNAMIC` or `FLOAT`, for linear layers of few bits whose activations are not
            quantized over ranges that are known before the file runs.
    """

    channels: Mapping[str, int] = field(default_factory=dict)
    bits: Mapping[str, int] = field(default_factory=dict)
    patterns: Mapping[str, Pattern] = field(default_factory=dict)
    recovery: Recovery | None = None
    target: str = ""
    replacements: Mapping[str, str] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    size: int = 0
    student: str = ""
    activations: Mapping[str, str] = field(default_factory=dict)
    factors: Mapping[str, Factor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("channels", "bits", "patterns", "replacements", "activations", "factors"):
            found = getattr(self, name)
            object.__setattr__(self, name, dict(sorted(found.items())) if len(found) > 1 else dict(found))
        object.__setattr__(self, "dropped", tuple(sorted(set(self.dropped))))

    def __hash__(self) -> int:
        return hash(self.to_json())

    def to_json(self) -> str:
        """Return canonical JSON: sorted keys and no spaces, so that equal specifications give equal text."""
        patterns = {name: vars(pattern) for name, pattern in self.patterns.items()}
        recovery = None if self.recovery is None else self.recovery.parts()
        # not `asdict`, which copies every value: a search asks for thousands of keys
        said = {name: value for name, value in vars(self).items() if name in FIRST_PARTS or _counts(name, value)}
        parts = {**said, "patterns": patterns, "recovery": recovery}
        if self.factors:
            parts["factors"] = {name: vars(factor) for name, factor in self.factors.items()}
        return json.dumps(parts, sort_keys=True, separators=(",", ":"))

    def key(self) -> str:
        """Return 16 hexadecimal digits that name this specification in caches and folders."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    def structure(self) -> StudentSpec:
        """Return what becomes of the operators of the network's graph, without how wide, how fine and how well.

        Students of one structure are exported once: the sizes and numbers of the others are written into that graph.
        """
        added = self._added
        if not (self.replacements or self.dropped or self.size or self.student or self.factors or added):
            return PLAIN
        factors = {name: replace(factor, rank=0) for name, factor in self.factors.items()}
        return StudentSpec(
            replacements=self.replacements,
            dropped=self.dropped,
            size=self.size,
            student=self.student,
            factors=factors,
            recovery=added,
        )

    def realised(self, by_layer: Mapping[str, T]) -> dict[str, T]:
        """Return what is said of the teacher's layers, said of those that the student has in their place."""
        if not self.factors:
            return dict(by_layer)
        both = {name: names_of_parts(name) if name in self.factors else (name,) for name in by_layer}
        return {part: value for name, value in by_layer.items() for part in both[name]}

    @property
    def changes_network(self) -> bool:
        """Whether the student is another network, not only the teacher with other numbers in its layers."""
        return bool(self.channels) or self.structure() != PLAIN

    def shape_key(self) -> str:
        """Return the key of what decides latency: all but how the student is taught, unless that adds to it."""
        return self._shape_key

    @cached_property
    def _shape_key(self) -> str:  # asked for thousands of times while plans are looked for
        return replace(self, recovery=self._added).key()

    @property
    def _added(self) -> Recovery | None:
        return None if self.recovery is None else self.recovery.kept_adapters

    def training_key(self) -> str:
        """Return the key of what decides the trained weights. Bits count only when training sees them."""
        return self._training_key

    @cached_property
    def _training_key(self) -> str:  # asked for of all trials and all workers each time that something begins
        aware = self.recovery is not None and self.recovery.quantization_aware
        return replace(self if aware else replace(self, bits={}, activations={}), target="").key()


def _counts(name: str, value: object) -> bool:
    return bool(value) and not name.startswith("_")


PLAIN = StudentSpec()
"""The teacher as it is."""
