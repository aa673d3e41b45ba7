"""What a student is taught with: the teacher's outputs, computed once, and the loss that uses them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from ..errors import UsageError
from ..spaces.inputs import Inputs, call
from ..spaces.spec import AIDS, Recovery
from .aids import Shown, show
from .losses import CLASSIFICATION, Losses
from .places import Places, find_places
from .precision import autocast_context, to_training_layout
from .taps import Tapped, read_taps, tapped

LIMIT_BYTES = 2 * 2**30
"""The most that is kept of answers in memory. Beyond it the teacher is asked again."""


@dataclass(frozen=True)
class Lesson:
    """What the teacher says of one batch.

    Attributes:
        outputs: [B, ...].
        features: The inputs of its last layer, [B, ..., D].
        shown: What it shows beside, of the aids that were asked for.
    """

    outputs: Tensor
    features: Tensor
    shown: Shown = field(default_factory=lambda: Shown(frozenset()))

    @property
    def nbytes(self) -> int:
        """Bytes of all of it."""
        return self.outputs.nbytes + self.features.nbytes + self.shown.nbytes


@dataclass
class Lessons:
    """The teacher's answers by (seed, epoch, step), kept in memory where the data says that batches repeat exactly.

    The teacher runs once for each batch of the epoch plan, not once for each trial.

    Attributes:
        teacher: The trained network, on `device`.
        last_layer: Name of the linear layer whose inputs are the features; None when there is none.
        device: Where it runs.
        precise: Whether its answers are measured numbers; they are then computed and kept in float32.
        offered: The aids that students may ask for.
    """

    teacher: nn.Module
    last_layer: str | None
    device: torch.device
    precise: bool = False
    offered: frozenset[str] = frozenset()
    _kept: dict[tuple[int, int, int], Lesson] = field(default_factory=dict)
    _kept_bytes: int = 0

    @cached_property
    def places(self) -> Places:
        """Where the teacher is looked into, which is a captured graph where there are aids."""
        return find_places(self._graph)

    @cached_property
    def _tapped(self) -> fx.GraphModule:
        return tapped(self._graph, self.places.without_attention())

    @cached_property
    def _attending(self) -> fx.GraphModule:
        return tapped(self._graph, self.places)

    @property
    def _graph(self) -> fx.GraphModule:
        assert isinstance(self.teacher, fx.GraphModule), "aids look into captured graphs"
        return self.teacher

    def check_offered(self, example_input: Inputs) -> None:
        """Refuse aids that this teacher cannot give.

        Args:
            example_input: [1, ...], of each input.

        Raises:
            UsageError: It has nothing of the kind.
        """
        if not self.offered:
            return
        shown = self.lesson(0, 0, example_input, keep=False, aids=frozenset(AIDS)).shown
        given = {
            "attention": any(part is not None for part in shown.attention),
            "hidden": any(part is not None for part in shown.hidden),
            "relation": shown.relation.numel() > 0,
        }
        for aid in sorted(self.offered):
            if not given[aid]:
                allowed = ", ".join(other for other, gives in given.items() if gives) or "none"
                raise UsageError(
                    f"[recovery] aids names {aid!r}, and the teacher has nothing to show of it; it can show: {allowed}"
                )

    def lesson(
        self, epoch: int, step: int, inputs: Inputs, keep: bool, seed: int = 0, aids: frozenset[str] = frozenset()
    ) -> Lesson:
        """Return the teacher's answer to one batch.

        Args:
            epoch: Number of the epoch.
            step: Number of the batch within it.
            inputs: The batch, [B, ...] each.
            keep: Whether (seed, epoch, step) always gives this batch, so that the answer may be kept.
            seed: Of the order of the batches.
            aids: What the teacher shows beside its outputs.
        """
        place = seed, epoch, step
        known = self._kept.get(place) if keep else None
        if known is not None and aids <= known.shown.aids:
            return known
        if known is not None:
            aids |= known.shown.aids  # students that are taught with other aids take turns
        with torch.no_grad():
            tapping = FeatureTap(self.teacher, self.last_layer)
            with autocast_context(self.device, self.precise), tapping as tap:
                given = self._answer(to_training_layout(inputs, self.device), aids)
            shown = show(aids, self.places, given, tap.features) if aids else Shown(aids)
        # half the memory; distillation of logits does not see the difference
        kept = torch.float32 if self.precise else torch.bfloat16
        features = tap.features.detach().to(torch.bfloat16)
        lesson = Lesson(given.outputs.detach().to(kept), features, shown.kept(kept))
        size = self._kept_bytes + lesson.nbytes - (0 if known is None else known.nbytes)
        if keep and size <= LIMIT_BYTES:
            self._kept[place], self._kept_bytes = lesson, size
        return lesson

    def _answer(self, inputs: Inputs, aids: frozenset[str]) -> Tapped:
        if not aids:
            return Tapped(call(self.teacher, inputs), (), ())
        return read_taps(call(self._attending if "attention" in aids else self._tapped, inputs))


class FeatureTap:
    """A context that catches the inputs of one layer.

    Attributes:
        features: The latest inputs of the layer, [B, ..., D]; empty before it ran.
    """

    def __init__(self, module: nn.Module, layer: str | None) -> None:
        """Prepare for a layer of `module`; None, and one that it lacks as another network, catches nothing."""
        self.features = torch.empty(0)
        self._module = _part(module, layer) if layer else None

    def __enter__(self) -> FeatureTap:
        if self._module is not None:
            self._handle = self._module.register_forward_pre_hook(self._catch)
        return self

    def __exit__(self, *_: object) -> None:
        if self._module is not None:
            self._handle.remove()

    def _catch(self, _module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.features = inputs[0]


def _part(module: nn.Module, name: str) -> nn.Module | None:
    try:
        return module.get_submodule(name)
    except AttributeError:
        return None


def distillation_loss(
    recovery: Recovery,
    outputs: Tensor,
    labels: Tensor,
    lesson: Lesson,
    features: Tensor,
    kept_features: Sequence[int] | None,
    losses: Losses = CLASSIFICATION,
) -> Tensor:
    """Return the loss that a student is taught by.

    It is alpha * (divergence from the teacher) + (1 - alpha) * (loss against the labels) + feature_weight * (distance
    of features). For a classifier the divergence is T^2 KL(teacher / T || student / T), and the loss cross-entropy. The
    distance is the mean square error over the teacher's mean square, so that it has no unit. After Hinton et al. 2015
    (arXiv:1503.02531, section 2) and Romero et al. 2015 (arXiv:1412.6550), without an adapter, as the student's
    channels are some of the teacher's.

    Args:
        recovery: T, alpha and feature_weight.
        outputs: The student's, [B, ...].
        labels: [B, ...].
        lesson: The teacher's outputs [B, ...] and features [B, ..., D].
        features: The student's, [B, ..., D'].
        kept_features: Which of the teacher's D features the student still has; None for all.
        losses: Of the task.
    """
    outputs = outputs.float()
    loss = outputs.new_zeros(())
    if recovery.alpha < 1:
        loss = loss + (1 - recovery.alpha) * losses.hard(outputs, labels)
    if recovery.alpha > 0:
        apart = losses.divergence(outputs, lesson.outputs.float(), labels, recovery.temperature)
        loss = loss + recovery.alpha * apart
    if recovery.feature_weight > 0 and features.numel():
        wanted = lesson.features.float()
        if kept_features is not None:
            wanted = wanted[..., list(kept_features)]
        if wanted.shape == features.shape:
            distance = F.mse_loss(features.float(), wanted) / wanted.square().mean().clamp_min(1e-8)
            loss = loss + recovery.feature_weight * distance
    return loss
