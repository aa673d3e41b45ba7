"""How much the channels of a study's groups matter, kept so that every process and every later run cuts alike."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ...errors import StorageError
from ...spaces.groups import Group
from .samples import read_arrays, write_arrays

FILE = "importance.npz"
"""In the folder of a study that has a criterion of its own."""


@dataclass(frozen=True, eq=False)
class Importance:
    """The importance of channels.

    Attributes:
        criterion: That they were rated by.
        channels: Group name -> importance [channels]; channels of larger importance are kept longer.
    """

    criterion: str
    channels: Mapping[str, NDArray[np.float32]]

    @classmethod
    def of(cls, criterion: str, groups: Sequence[Group]) -> Importance:
        """Return the importance that these groups have."""
        return cls(criterion, {group.name: group.importance.float().numpy() for group in groups})

    def knows(self, groups: Sequence[Group]) -> bool:
        """Tell whether any of these groups was rated: earlier versions rated the teacher's alone."""
        return any(group.name in self.channels for group in groups)

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that name this importance."""
        found = hashlib.sha256()
        for name, values in sorted(self.channels.items()):
            found.update(f"{name} {len(values)}".encode() + np.ascontiguousarray(values, "<f4").tobytes())
        return found.hexdigest()[:16]

    def given_to(self, groups: Sequence[Group]) -> tuple[Group, ...]:
        """Return groups of one network with this importance.

        Raises:
            StorageError: It is that of another network.
        """
        if any(len(self.channels.get(group.name, ())) != group.channels for group in groups):
            raise StorageError(f"{FILE} of this study rates the channels of another network; restore it from a copy")
        return tuple(replace(group, importance=torch.from_numpy(self.channels[group.name])) for group in groups)


def write_importance(study: Path, importance: Importance) -> None:
    """Keep the importance of channels.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    groups = {f"group:{name}": values for name, values in importance.channels.items()}
    write_arrays(study / FILE, {"criterion": np.array(importance.criterion), **groups})


def read_importance(study: Path) -> Importance | None:
    """Return the importance of channels that a study keeps; None where it keeps none.

    Raises:
        StorageError: The file cannot be read.
    """
    kept = read_arrays(study / FILE)
    if kept is None:
        return None
    groups = {name.removeprefix("group:"): v for name, v in kept.items() if name.startswith("group:")}
    if "criterion" not in kept or any(v.ndim != 1 or v.dtype != np.float32 for v in groups.values()):
        raise StorageError(f"{study / FILE}: holds no importance of channels; restore it from a copy")
    return Importance(str(kept["criterion"]), groups)
