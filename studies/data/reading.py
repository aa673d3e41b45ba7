"""How the batches of a user's loader become inputs and labels."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import default_collate

from ...errors import DataError
from ...spaces.graph.interface import ONE_INPUT, Interface, Style
from ...spaces.inputs import Inputs, count_of, tensors_of

LABELS = ("labels", "label", "targets", "target", "y")
"""Keys of items that are mappings, under which their labels are looked for in this order."""
IGNORED = -100
"""What labels that have one number for each position are filled up with."""


@dataclass(frozen=True)
class Reading:
    """How the batches of a user's loader become inputs and labels.

    Attributes:
        interface: The names of the inputs, where a batch names them.
        length: The second dimension of inputs that differ in it: shorter ones are filled up with zeros, longer ones are
            cut. None leaves all as they are.
        own_labels: Whether items without labels are their own: tokens, of which the next is to be told.
    """

    interface: Interface = ONE_INPUT
    length: int | None = None
    own_labels: bool = False

    def batch(self, batch: Any, split: str) -> tuple[Inputs, Tensor]:
        """Return the inputs, [B, ...] each, and the labels [B, ...] of a batch.

        Floating numbers become float32, and whole numbers int64, which stand for tokens or categories.

        Args:
            batch: What a loader gave.
            split: What it is of, for messages.

        Raises:
            DataError: It is anything else than inputs and labels.
        """
        given, labels = _halves(batch, split, len(self.interface.names))
        if isinstance(given, Mapping):
            missing = [name for name in self.interface.names if name not in given]
            if missing:
                raise DataError(
                    f"{split} items have no {missing[0]!r}, only {', '.join(map(str, given))}: all must agree"
                )
            given = tuple(given[name] for name in self.interface.names)
        raw = tuple(given) if isinstance(given, list | tuple) else (given,)
        if len(raw) != len(self.interface.names):
            raise DataError(
                f"{split} items have {len(raw)} inputs, others have {len(self.interface.names)}: all must agree"
            )
        parts = tuple(self._fitted(_input(part, split)) for part in raw)
        if len({len(part) for part in parts}) > 1:
            raise DataError(
                f"{split} inputs of one batch hold {[len(part) for part in parts]} examples: they must agree"
            )
        if labels is None:
            if not self.own_labels:
                raise DataError(
                    f"{split} items have no labels: give (input, label) pairs, or mappings with a key {LABELS[0]!r}"
                )
            labels = parts[0]
        found = _label(labels, len(parts[0]), split)
        if self.length is not None and found.ndim == 2 and not found.is_floating_point():
            found = self._fitted(found, IGNORED)
        return (parts[0] if len(parts) == 1 else parts), found

    def collate(self, items: list[Any]) -> Any:
        """Return items as one batch, after they were brought to one length."""
        if self.length is None:
            return default_collate(items)
        return default_collate([self._item(item) for item in items])

    def _item(self, item: Any) -> Any:
        if isinstance(item, Mapping):
            return {k: self._one(v, IGNORED if k in LABELS else 0) for k, v in item.items()}
        if isinstance(item, list | tuple) and len(item) > 1:
            given = item[0] if isinstance(item[0], Mapping | list | tuple) else None
            first = self._item(given) if isinstance(given, Mapping) else None
            inputs = [first] if first is not None else [self._one(part, 0) for part in item[:-1]]
            return (*inputs, self._one(item[-1], IGNORED))
        return item

    def _one(self, value: Any, fill: int) -> Any:
        if isinstance(value, list) and value and isinstance(value[0], int | float):
            value = torch.tensor(value)
        if isinstance(value, Tensor) and value.ndim >= 1:
            return self._fitted(value[None], fill)[0]
        return value

    def _fitted(self, part: Tensor, fill: int = 0) -> Tensor:
        if self.length is None or part.ndim < 2:
            return part
        missing = self.length - part.shape[1]
        if missing <= 0:
            return part[:, : self.length]
        return F.pad(part, (0, 0) * (part.ndim - 2) + (0, missing), value=fill)


PAIRS = Reading()
"""Batches that are pairs of one tensor and labels."""


def interface_of(teacher: nn.Module, batch: Any, output: str | int | None, split: str) -> Interface:
    """Find out how a network takes the inputs of a batch.

    Args:
        teacher: The network.
        batch: What a loader gave.
        output: Name or number of the output that counts; see `Interface`.
        split: What the batch is of, for messages.

    Raises:
        DataError: The batch cannot be told apart into inputs and labels, or the network takes none of them.
    """
    parameters = list(inspect.signature(teacher.forward).parameters.values())
    places = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    many = any(p.kind == p.VAR_POSITIONAL for p in parameters)
    required = sum(p.default is p.empty for p in parameters if p.name in places)
    given, _ = _halves(batch, split, None if required < 2 else required)
    if isinstance(given, Mapping):
        any_name = any(p.kind == p.VAR_KEYWORD for p in parameters)
        tensors = [str(name) for name, value in given.items() if isinstance(value, Tensor | list)]
        known = [name for name in tensors if any_name or name in {p.name for p in parameters}]
        if known:
            return Interface(tuple(known), "keywords", output)
        return Interface(tuple(tensors), "mapping", output)
    if isinstance(given, list | tuple):
        if len(given) == 1:
            return Interface(("input",), "positional", output)
        style: Style = "positional" if many or len(places) >= len(given) else "sequence"
        names = places[: len(given)] if style == "positional" and not many else []
        return Interface(tuple(names or [f"input_{i}" for i in range(len(given))]), style, output)
    return Interface(("input",), "positional", output)


def described(value: Any) -> str:
    """Return what something that ought to be a tensor is, in words."""
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    return type(value).__name__


def _halves(batch: Any, split: str, inputs: int | None) -> tuple[Any, Any]:
    """Return the inputs of a batch and its labels, None where it has none."""
    if isinstance(batch, Mapping):
        key = next((key for key in LABELS if key in batch), None)
        return {k: v for k, v in batch.items() if k != key}, None if key is None else batch[key]
    if isinstance(batch, list | tuple):
        if len(batch) == 1:
            return batch[0], None
        if len(batch) == 2:
            return batch[0], batch[1]
        if inputs is not None and len(batch) == inputs + 1:
            return tuple(batch[:-1]), batch[-1]
        raise DataError(
            f"{split} items have {len(batch)} parts: give (input, label) pairs, with a tuple or a mapping where there "
            "are several inputs"
        )
    if isinstance(batch, Tensor):
        return batch, None
    raise DataError(
        f"{split} items must be (input, label) pairs or mappings, got {type(batch).__name__}: return a pair"
    )


def _tensor(value: Any, what: str) -> Tensor:
    try:
        found: Tensor = torch.as_tensor(value)
    except Exception:
        raise DataError(f"{what} must be tensors, got {described(value)}: convert them") from None
    return found


def _input(given: Any, split: str) -> Tensor:
    value = _tensor(given, f"{split} inputs")
    if value.is_complex():
        raise DataError(f"{split} inputs are {described(value)}: give real numbers, such as torch.view_as_real of them")
    if value.ndim < 1:
        raise DataError(f"{split} inputs must be tensors [N, ...], got {described(value)}: return a batch")
    if value.dtype == torch.uint8:
        raise DataError(
            f"{split} inputs are {described(value)}, which networks do not take: give float tensors, scaled as the "
            "teacher was trained on"
        )
    if value.is_floating_point():
        return value.float()
    return value if value.dtype == torch.bool else value.long()


def _label(given: Any, count: int, split: str) -> Tensor:
    value = _tensor(given, f"{split} labels")
    if value.is_complex() or value.ndim < 1 or len(value) != count:
        raise DataError(
            f"{split} labels must be [N, ...] for {count} inputs, got {described(value)}: one for each input"
        )
    return value.float() if value.is_floating_point() else value.long()


def size_bytes(inputs: Inputs) -> int:
    """Return the bytes of a batch of inputs in memory."""
    return sum(part.numel() * part.element_size() for part in tensors_of(inputs)) if count_of(inputs) else 0
