"""Learned linear maps from a student's hidden values to its teacher's, which are thrown away when it is taught."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

RATE = 1e-3
"""The peak learning rate of the maps, which follows the student's schedule. They begin as the best there are."""
FIT_ROWS = 4096
"""At most so many positions of a batch say with which map a training begins."""
RIDGE = 1e-4
"""Of the mean square of the student's channels, what is added to the variance of each: those that hardly change would
else get weights beyond what float32 can tell apart."""


class Projections:
    """The maps of one training, one for each place.

    Each is made when its place is first compared: the least-squares map of that batch, so that a student whose channels
    are some of the teacher's is not pulled away from them. Then it is trained, by Adam without decay.
    """

    def __init__(self) -> None:
        self._maps: dict[int, nn.Linear] = {}
        self._optimizers: dict[int, torch.optim.Optimizer] = {}
        self._earlier: dict[int, Any] = {}

    def mapped(self, place: int, student: Tensor, teacher: Tensor) -> Tensor:
        """Return a student's values [..., D'] as the teacher's [..., D].

        Args:
            place: Number of the place.
            student: Its values there.
            teacher: Its values at the same positions.
        """
        if place not in self._maps:
            made = fitted(student, teacher)
            self._maps[place] = made
            self._optimizers[place] = torch.optim.Adam(made.parameters(), lr=RATE)
            if (earlier := self._earlier.pop(place, None)) is not None:
                made.load_state_dict(earlier["weights"])
                self._optimizers[place].load_state_dict(earlier["optimizer"])
        found: Tensor = self._maps[place](student)
        return found

    def optimizers(self, factor: float) -> tuple[torch.optim.Optimizer, ...]:
        """Return what trains the maps.

        Args:
            factor: Of the peak learning rate.
        """
        for optimizer in self._optimizers.values():
            optimizer.param_groups[0]["lr"] = RATE * factor
        return tuple(self._optimizers.values())

    def state(self) -> dict[int, Any]:
        """Return what a checkpoint holds of the maps, by place; empty where there are none."""
        made = {
            place: {"weights": one.state_dict(), "optimizer": self._optimizers[place].state_dict()}
            for place, one in self._maps.items()
        }
        return self._earlier | made

    def load(self, state: dict[int, Any]) -> None:
        """Go on with the maps of a checkpoint."""
        self._earlier = dict(state)


@torch.no_grad()
def fitted(student: Tensor, teacher: Tensor) -> nn.Linear:
    """Return the linear map with the least squared error from a student's values to a teacher's (ridge regression).

    Args:
        student: [..., D'].
        teacher: [..., D], at the same positions.
    """
    own, wanted = student.flatten(0, -2).double(), teacher.flatten(0, -2).double()
    step = -(-len(own) // FIT_ROWS)
    own, wanted = own[::step], wanted[::step]
    ridge = (RIDGE * len(own) * own.square().mean()).clamp_min(1e-12)
    means = own.mean(0), wanted.mean(0)
    own, wanted = own - means[0], wanted - means[1]
    square = own.T @ own
    square.diagonal().add_(ridge)
    weight = torch.linalg.solve(square, own.T @ wanted).T
    # not the default values of a new layer, which would draw random numbers of the student's
    made = nn.Linear(own.shape[1], wanted.shape[1], device="meta").to_empty(device=student.device)
    made.weight.copy_(weight)
    made.bias.copy_(means[1] - weight @ means[0])
    return made
