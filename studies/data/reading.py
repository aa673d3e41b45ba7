"""How the batches of a user's loader become inputs and labels."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import default_collate

from ...errors import DataError
from ...spaces.graph.interface import ONE_INPUT, Interface, Style
from ...spaces.inputs import Inputs, count_of, tensors_of
from .one_shape import Item, OneShape, as_tensor

LABELS = ("labels", "label", "targets", "target", "y")
"""Keys of items that are mappings, under which their labels are looked for in this order."""
OUTPUT = "output"
"""What files call their answer."""
IGNORED = -100
"""What labels that have one number for each position are filled up with."""


@dataclass(frozen=True)
class Reading:
    """How the batches of a user's loader become inputs and labels.

    Attributes:
        interface: The names of the inputs, where a batch names them.
        shape: What inputs that differ in length, or in height and width, are brought to.
        own_labels: Whether items without labels are their own: tokens, of which the next is to be told.
    """

    interface: Interface = ONE_INPUT
    shape: OneShape = field(default_factory=OneShape)
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
        raw, labels = self.parts(batch, split)
        found = _label(self._own(raw, split), len(raw[0]), split) if labels is None else labels
        made, found = self.shape.batch(raw, found, IGNORED)
        return (made[0] if len(made) == 1 else made), found

    def parts(self, batch: Any, split: str) -> Item:
        """Return the inputs, [B, ...] each, and the labels [B, ...] of a batch in whatever shape they have.

        Args:
            batch: What a loader gave.
            split: What it is of, for messages.

        Raises:
            DataError: It is anything else than inputs and labels.
        """
        given, labels = _halves(batch, split, len(self.interface.names))
        raw = tuple(as_input(part, f"{split} inputs") for part in self._in_order(given, split))
        if len({len(part) for part in raw}) > 1:
            raise DataError(f"{split} inputs of one batch hold {[len(part) for part in raw]} examples: they must agree")
        return raw, None if labels is None else _label(labels, len(raw[0]), split)

    def collate(self, items: list[Any]) -> Any:
        """Return items as one batch, after they were brought to one shape; lists of numbers are tensors."""
        if self.shape.differs:
            return default_collate([self.item(item) for item in items])
        if isinstance(items[0], Mapping):
            return default_collate([{key: as_tensor(value) for key, value in item.items()} for item in items])
        return default_collate(items)

    def _in_order(self, given: Any, split: str) -> tuple[Any, ...]:
        names = self.interface.names
        if isinstance(given, Mapping):
            missing = [name for name in names if name not in given]
            if missing:
                had = ", ".join(map(str, given))
                raise DataError(f"{split} items have no {missing[0]!r}, only {had}: all must agree")
            return tuple(given[name] for name in names)
        raw = tuple(given) if isinstance(given, list | tuple) else (given,)
        if len(raw) != len(names):
            raise DataError(f"{split} items have {len(raw)} inputs, others have {len(names)}: all must agree")
        return raw

    def _own(self, raw: Sequence[Tensor], split: str) -> Tensor:
        """Return the tokens of a batch as its labels; those that its mask leaves out do not count."""
        if not self.own_labels:
            raise DataError(
                f"{split} items have no labels: give (input, label) pairs, or mappings with a key {LABELS[0]!r}"
            )
        named = dict(zip(self.interface.names, raw, strict=True))
        mask = named.pop("attention_mask", None)
        whole = (part for part in named.values() if not part.is_floating_point() and part.dtype != torch.bool)
        tokens = named.get("input_ids", next(whole, None))
        if tokens is None:
            raise DataError(f"{split} items have no labels, and no tokens that could be: give tokens as whole numbers")
        return tokens if mask is None or mask.shape != tokens.shape else tokens.masked_fill(mask == 0, IGNORED)

    def item(self, item: Any) -> Any:
        """Return an item that was brought to one shape."""
        given: Any = item[0] if isinstance(item, list | tuple) and len(item) == 1 else item
        inputs: Any = given
        label: Any = None
        if isinstance(given, Mapping):
            key = next((key for key in LABELS if key in given), None)
            inputs, label = {k: v for k, v in given.items() if k != key}, given.get(key)
        elif isinstance(given, list | tuple) and len(given) > 1:
            inputs, label = given[:-1] if len(given) > 2 else given[0], given[-1]
        if label is None and self.own_labels and not isinstance(inputs, Mapping):
            label = inputs
        elif label is None and self.own_labels and "attention_mask" not in inputs:  # a mask is filled up, and says it
            label = inputs.get("input_ids", next(iter(inputs.values())))
        found, known = self.shape.inputs(inputs, label, self.interface.names, IGNORED)
        return found if known is None else (found, known)


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
        tensors = [name for name, value in given.items() if _are_numbers(value)]
        if not tensors:
            raise DataError(f"{split} items have no tensors among {', '.join(map(str, given)) or 'nothing'}: give some")
        _check_names(tensors, split)
        any_name = any_name and all(isinstance(name, str) for name in tensors)
        known = [name for name in tensors if name in {p.name for p in parameters}] or (tensors if any_name else [])
        if OUTPUT in (known or tensors):
            raise DataError(f"{split} items have an input named {OUTPUT!r}, as files call their answer: rename it")
        if known:
            return Interface(tuple(known), "keywords", output)
        return Interface(tuple(tensors), "mapping", output)
    if isinstance(given, list | tuple):
        if len(given) == 1:
            return Interface(("input",), "positional", output)
        style: Style = "positional" if many or len(places) >= len(given) else "sequence"
        names = places[: len(given)] if style == "positional" and not many and OUTPUT not in places else []
        return Interface(tuple(names or [f"input_{i}" for i in range(len(given))]), style, output)
    return Interface(("input",), "positional", output)


def _are_numbers(value: Any) -> bool:
    return value.dtype.kind in "biuf" if isinstance(value, np.ndarray) else isinstance(value, Tensor | list)


def dtype_of(value: Tensor) -> str:
    """Return the name of a tensor's number format, such as "float32"."""
    return str(value.dtype).removeprefix("torch.")


def _check_names(names: Sequence[Any], split: str) -> None:
    """Refuse keys that no input of a file can be called by."""
    for name in names:
        if not isinstance(name, str | int) or name == "":
            raise DataError(f"{split} items have an input named {name!r}: name inputs by text or whole numbers")
    if len({str(name) for name in names}) < len(names):
        keys = ", ".join(map(repr, names))
        raise DataError(f"{split} items have inputs named {keys}, alike when written: give each a name of its own")


def described(value: Any) -> str:
    """Return what something that ought to be a tensor is, in words."""
    if isinstance(value, Tensor):
        return f"{dtype_of(value)} {list(value.shape)}"
    if isinstance(value, list | tuple) and value and isinstance(value[0], str):
        return "text"
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
    if isinstance(batch, Tensor | np.ndarray):
        return batch, None
    raise DataError(
        f"{split} items must be (input, label) pairs or mappings, got {type(batch).__name__}: return a pair"
    )


def _tensor(value: Any, what: str) -> Tensor:
    try:
        found: Tensor = torch.as_tensor(value).detach().cpu()
    except Exception:
        raise DataError(f"{what} must be tensors, got {described(value)}: convert them to numbers") from None
    if found.layout != torch.strided or found.is_nested:
        raise DataError(f"{what} are sparse or nested tensors: give dense ones, such as .to_dense() of them")
    return found


def as_input(given: Any, what: str) -> Tensor:
    """Return an input as a tensor on the CPU: float32, int64 or bool.

    Args:
        given: A tensor or what becomes one, [B, ...].
        what: What it is, for messages.

    Raises:
        DataError: It cannot be an input.
    """
    value = _tensor(given, what)
    if value.is_complex():
        raise DataError(f"{what} are {described(value)}: give real numbers, such as torch.view_as_real of them")
    if value.ndim < 1:
        raise DataError(f"{what} must be tensors [N, ...], got {described(value)}: return a batch")
    if value.dtype == torch.uint8:
        raise DataError(
            f"{what} are {described(value)}, which networks do not take: give float tensors, scaled as the "
            "teacher was trained on, or .long() of tokens"
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


def check_finite(inputs: Inputs, split: str, which: str) -> None:
    """Refuse NaN and infinity.

    Args:
        inputs: Of some items.
        split: What they are of, for the message.
        which: The items, for the message.

    Raises:
        DataError: There are some.
    """
    if not all(bool(torch.isfinite(part).all()) for part in tensors_of(inputs)):
        raise DataError(f"the {split} split has NaN or infinite inputs in {which}: mend them")


def size_bytes(inputs: Inputs) -> int:
    """Return the bytes of a batch of inputs in memory."""
    return sum(part.numel() * part.element_size() for part in tensors_of(inputs)) if count_of(inputs) else 0
