"""Aids: what a teacher shows beside its outputs, and how a student is taught by it.

Three of them, each a distance without unit and with a weight of its own in `Recovery`:

- attention: where the network looks. Of values with channels it is the sum of their squares over channels, as a unit
  vector over positions (Zagoruyko and Komodakis 2017, arXiv:1612.03928, section 3.1), and the distance is squared. Of
  attention it is the weights, averaged over heads, and the distance is the divergence of the student's from the
  teacher's (Wang et al. 2020, arXiv:2002.10957, section 3.1). Any number of channels and heads goes with any other.
- hidden: the values themselves, compared through a linear map that is learned with the student and then thrown away
  (Romero et al. 2015, arXiv:1412.6550, section 2.2).
- relation: which examples of a batch the network finds alike, by the cosines of their features (Tung and Mori 2019,
  arXiv:1907.09682, section 3.1). It has no parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from ..spaces.inputs import Inputs, call
from ..spaces.spec import Recovery
from .places import Places, places_in
from .projections import Projections
from .taps import Tapped, read_taps, tapped

LEAST = 1e-6
"""Lengths and shares below this count as this much, so that gradients stay numbers."""


@dataclass(frozen=True)
class Shown:
    """What a network shows of one batch, of the aids that were asked for.

    Attributes:
        aids: Their names.
        attention: One map for each place, sums of squares [B, ...] at each position, or weights of attention
            [B, ..., L, S]; None where a student has none.
        hidden: One value for each point, [B, ..., D]; None as above.
        relation: Cosines of the features of all pairs of examples, [B, B]; empty if not asked for.
        weighs: Whether maps are weights of attention.
    """

    aids: frozenset[str]
    attention: tuple[Tensor | None, ...] = ()
    hidden: tuple[Tensor | None, ...] = ()
    relation: Tensor = field(default_factory=lambda: torch.empty(0))
    weighs: bool = False

    @property
    def nbytes(self) -> int:
        """Bytes of all of it."""
        parts = [*self.attention, *self.hidden, self.relation]
        return sum(part.nbytes for part in parts if part is not None)

    def kept(self, dtype: torch.dtype) -> Shown:
        """Return it in another format, cut off from what computed it."""

        def plain(parts: Sequence[Tensor | None]) -> tuple[Tensor | None, ...]:
            return tuple(None if part is None else part.detach().to(dtype) for part in parts)

        relation = self.relation.detach()  # small, and its differences are too
        return Shown(self.aids, plain(self.attention), plain(self.hidden), relation, self.weighs)


def show(aids: frozenset[str], places: Places, found: Tapped, features: Tensor) -> Shown:
    """Return what a network shows of a batch.

    Args:
        aids: Which aids are asked for.
        places: Where it was looked into.
        found: What was there.
        features: The inputs of its last linear layer, [B, ..., D]; empty where it has none, and its last point counts.
    """
    last = [value for value in found.streams if value is not None]
    whole = features if features.numel() or not last else last[-1]
    return Shown(
        aids,
        _attention(places, found) if "attention" in aids else (),
        _channels_last(places, found) if "hidden" in aids else (),
        _cosines(whole) if "relation" in aids and whole.numel() else torch.empty(0),
        bool(places.attentions),
    )


def apart(aid: str, student: Shown, teacher: Shown, projections: Projections) -> Tensor:
    """Return how far a student is from its teacher in one aid, averaged over the places that both have; 0 without any.

    Where a student looks at smaller images, what the teacher shows is averaged over the positions that become one.

    Args:
        aid: Its name.
        student: What it shows.
        teacher: What it shows of the same batch.
        projections: Map the student's hidden values to the teacher's.
    """
    if aid == "relation":
        return _relations_apart(student.relation, teacher.relation.to(student.relation.device))
    distances = []
    for i, (own, wanted) in enumerate(zip(getattr(student, aid), getattr(teacher, aid), strict=True)):
        if own is None or wanted is None:
            continue
        own, wanted = own.float(), wanted.float()
        if aid == "attention" and student.weighs:
            if own.shape == wanted.shape:
                distances.append(_weights_apart(own, wanted))
        elif aid == "attention":
            if (fitting := _pooled(wanted[..., None], own[..., None])) is not None:
                distances.append((_unit(own) - _unit(fitting)).square().sum(1).mean())
        elif (fitting := _pooled(wanted, own)) is not None:
            mapped = projections.mapped(i, own, fitting)
            distances.append(F.mse_loss(mapped, fitting) / fitting.square().mean().clamp_min(LEAST))
    return torch.stack(distances).mean() if distances else torch.zeros(())


class StudentAids:
    """A student's side of the aids that it is taught with; one without aids is run as it is.

    Attributes:
        projections: Its learned maps.
    """

    def __init__(self, recovery: Recovery, module: nn.Module, places: Places | None) -> None:
        """Prepare for a student on its device.

        Args:
            recovery: How it is taught.
            module: The student, made of a copy of its teacher's graph.
            places: Where its teacher is looked into; None without aids.
        """
        self.projections = Projections()
        self._recovery, self._module = recovery, module
        self._found: Tapped | None = None
        if places is not None:
            assert isinstance(module, fx.GraphModule)
            found = places_in(module, places)
            self._places = found if "attention" in recovery.aids else found.without_attention()
            self._network = tapped(module, self._places)

    def run(self, inputs: Inputs) -> Any:
        """Return the student's outputs for a batch."""
        if not self._recovery.aids:
            return call(self._module, inputs)
        self._found = read_taps(call(self._network, inputs))
        return self._found.outputs

    def added_to(self, loss: Tensor, teacher: Shown, features: Tensor) -> Tensor:
        """Return a loss with the weighted distances of all aids in it.

        Args:
            loss: Of the outputs.
            teacher: What it shows of the batch that ran last.
            features: The student's, [B, ..., D].
        """
        if self._found is None:
            return loss
        own = show(self._recovery.aids, self._places, self._found, features)
        self._found = None
        for aid in sorted(self._recovery.aids):
            loss = loss + self._recovery.weight(aid) * apart(aid, own, teacher, self.projections).to(loss.device)
        return loss


def _attention(places: Places, found: Tapped) -> tuple[Tensor | None, ...]:
    if places.attentions:
        return found.attentions
    return tuple(
        None if value is None or value.ndim < 3 else _energies(value, dim)
        for value, dim in zip(found.streams, places.channel_dims, strict=True)
    )


def _energies(value: Tensor, channel_dim: int) -> Tensor | None:
    """Return the squares of a value summed over channels at each position, [B, ...]; None for one position."""
    energies = value.float().square().sum(_dim(value, channel_dim))
    return energies if energies[0].numel() > 1 else None


def _unit(energies: Tensor) -> Tensor:
    return F.normalize(energies.flatten(1), dim=1, eps=LEAST)


def _pooled(wanted: Tensor, own: Tensor) -> Tensor | None:
    """Return a teacher's values [B, ..., D] at the positions of a student's; None where these are none of an image."""
    if wanted.shape[:-1] == own.shape[:-1]:
        return wanted
    if wanted.ndim != 4 or own.ndim != 4:
        return None
    size = own.shape[1], own.shape[2]
    return F.adaptive_avg_pool2d(wanted.movedim(-1, 1), size).movedim(1, -1)


def _channels_last(places: Places, found: Tapped) -> tuple[Tensor | None, ...]:
    return tuple(
        None if value is None else value.movedim(_dim(value, dim), -1) if value.ndim > 2 else value
        for value, dim in zip(found.streams, places.channel_dims, strict=True)
    )


def _dim(value: Tensor, channel_dim: int) -> int:
    # images have their channels first where nothing says otherwise, and sequences last
    return channel_dim or (1 if value.ndim > 3 else -1)


def _cosines(features: Tensor) -> Tensor:
    units = F.normalize(features.float().flatten(1), dim=1, eps=LEAST)
    return units @ units.T


def _relations_apart(own: Tensor, wanted: Tensor) -> Tensor:
    if own.shape != wanted.shape or not own.numel():
        return own.new_zeros(())
    # each example is like itself, unless its features are nothing but zeros
    return F.mse_loss(own, wanted) / wanted.square().mean().clamp_min(1 / len(wanted))


def _weights_apart(own: Tensor, wanted: Tensor) -> Tensor:
    return (wanted * (wanted.clamp_min(LEAST).log() - own.clamp_min(LEAST).log())).sum(-1).mean()
