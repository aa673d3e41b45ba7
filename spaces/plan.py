"""A plan: one point of the space. Immutable, hashable, JSON both ways."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Pattern:
    """A sparsity pattern of one layer's weights, which keeps the layer's shape.

    kind: "unstructured" (the `rate` smallest weights of the layer are zero) or "2:4" (two of every four
    consecutive inputs are zero, rate 0.5). A dense layer has no pattern at all.
    """

    kind: str
    rate: float


@dataclass(frozen=True)
class Recovery:
    """How the student is taught after it was shrunk (Hinton et al. 2015, arXiv:1503.02531, section 2).

    temperature: softens both outputs. alpha: weight of the teacher's outputs against the labels, 0 to 1.
    learning_rate: peak of the schedule. feature_weight: weight of matching the input of the last layer.
    quantization_aware: fake quantization in the second half of the training, for layers below 16 bits.
    """

    temperature: float = 4.0
    alpha: float = 0.7
    learning_rate: float = 0.02
    feature_weight: float = 0.0
    quantization_aware: bool = False


@dataclass(frozen=True)
class Plan:
    """What becomes of the teacher.

    channels: group name -> channels kept, for groups that shrink. bits: layer name -> 16, 8 or 4, for layers
    that are not 32. patterns: layer name -> pattern, for layers that are not dense. recovery: None when the
    student is not trained at all. target: the one its file is for, where a study chooses among several; else empty.
    An empty plan is the teacher as it is.
    """

    channels: Mapping[str, int] = field(default_factory=dict)
    bits: Mapping[str, int] = field(default_factory=dict)
    patterns: Mapping[str, Pattern] = field(default_factory=dict)
    recovery: Recovery | None = None
    target: str = ""

    def __post_init__(self) -> None:
        for name in ("channels", "bits", "patterns"):
            object.__setattr__(self, name, dict(sorted(getattr(self, name).items())))

    def __hash__(self) -> int:
        return hash(self.to_json())

    def to_dict(self) -> dict[str, Any]:
        """A dict of plain JSON types, empty parts included; the target only where there is one."""
        found: dict[str, Any] = {
            "channels": dict(self.channels),
            "bits": dict(self.bits),
            "patterns": {k: [p.kind, p.rate] for k, p in self.patterns.items()},
            "recovery": None if self.recovery is None else vars(self.recovery).copy(),
        }
        return found | ({"target": self.target} if self.target else {})

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no spaces; equal plans give equal text."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Plan:
        """The inverse of `to_dict`."""
        recovery = data["recovery"]
        return cls(
            channels=data["channels"],
            bits=data["bits"],
            patterns={k: Pattern(kind, rate) for k, (kind, rate) in data["patterns"].items()},
            recovery=None if recovery is None else Recovery(**recovery),
            target=data.get("target", ""),
        )

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """The inverse of `to_json`."""
        return cls.from_dict(json.loads(text))

    def key(self) -> str:
        """16 hexadecimal digits that name this plan in caches and folders."""
        return _digest(self.to_json())

    def shape_key(self) -> str:
        """The key of what decides latency: channels, bits, patterns and target, not how the student is taught."""
        return replace(self, recovery=None).key()

    def training_key(self) -> str:
        """The key of what decides the trained weights: bits count only when training sees them."""
        aware = self.recovery is not None and self.recovery.quantization_aware
        return replace(self, bits=self.bits if aware else {}, target="").key()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
