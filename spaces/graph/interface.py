"""How a network is called, and which of its outputs counts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from ..inputs import Inputs, tensors_of

PREFERRED = ("logits", "out", "output", "prediction")
"""Names of outputs that are taken, in this order, where nothing else is said."""

Style = Literal["positional", "keywords", "mapping", "sequence"]
Name = str | int
"""What an input is called: a parameter of the network, or a key of the mapping that it takes."""


class UnclearOutput(ValueError):
    """A network gives several outputs, and nothing says which of them counts."""


@dataclass(frozen=True)
class Interface:
    """How a network is called, and which of its outputs counts.

    Attributes:
        names: Of its inputs, in the order in which they are kept.
        style: How they are given: one after the other, by their names, or as one mapping or one list.
        output: Name or number of the output that counts; None takes the only one, or the one that by its name or place
            is the answer of the network: `logits`, `out`, or the first of a tuple.
    """

    names: tuple[Name, ...] = ("input",)
    style: Style = "positional"
    output: str | int | None = None

    def call(self, network: nn.Module, inputs: Inputs) -> Tensor:
        """Return the output of a network that counts.

        Raises:
            UnclearOutput: It cannot be told which that is.
        """
        return self.output_of(self.given(network, inputs))

    def given(self, network: nn.Module, inputs: Inputs) -> Any:
        """Return all that a network gives."""
        parts = tensors_of(inputs)
        if self.style == "positional":
            return network(*parts)
        if self.style == "sequence":
            return network(list(parts))
        if self.style == "mapping":
            return network(dict(zip(self.names, parts, strict=True)))
        return network(**dict(zip(map(str, self.names), parts, strict=True)))

    def others(self, given: Any) -> list[Name]:
        """Return the names or numbers of tensors that a network gave beside the one that counts, but for a loss."""
        if isinstance(given, Tensor):
            return []
        counts, named = self.output_of(given), _by_name(given)
        items: Iterable[tuple[Name, Any]] = enumerate(given) if named is None else named.items()
        return [n for n, value in items if isinstance(value, Tensor) and value is not counts and n != "loss"]

    def output_of(self, given: Any) -> Tensor:
        """Return the tensor that counts out of what a network gave."""
        named = _by_name(given)
        if isinstance(given, Tensor) and self.output is None:
            return given
        if isinstance(self.output, str):
            if not isinstance((named or {}).get(self.output), Tensor):
                raise UnclearOutput(f"no output {self.output!r} among {_names(given, named)}")
            return (named or {})[self.output]  # type: ignore[no-any-return]
        if isinstance(self.output, int):
            values = list((named or {}).values()) if named else given
            if not isinstance(values, list | tuple) or not -len(values) <= self.output < len(values):
                raise UnclearOutput(f"no output number {self.output} in {_names(given, named)}")
            if not isinstance(values[self.output], Tensor):
                raise UnclearOutput(f"output number {self.output} is a {type(values[self.output]).__name__}, no tensor")
            return values[self.output]  # type: ignore[no-any-return]
        if named is not None:
            tensors = {name: value for name, value in named.items() if isinstance(value, Tensor) and name != "loss"}
            chosen = next((name for name in PREFERRED if name in tensors), None)
            if chosen is None and len(tensors) == 1:
                chosen = next(iter(tensors))
            if chosen is not None:
                return tensors[chosen]
        elif isinstance(given, list | tuple) and given and isinstance(given[0], Tensor):
            return given[0]
        if isinstance(given, list | tuple) and given and isinstance(given[0], Mapping):
            keys = ", ".join(map(str, given[0]))
            raise UnclearOutput(
                f"the network gives {keys} for each input, as object detectors do: wrap it so that "
                "its heads give one tensor, with a loss and a metric of your own (kind=None); decoding stays outside"
            )
        raise UnclearOutput(f"the network gives {_names(given, named)}: say which counts by output=...")


ONE_INPUT = Interface()
"""One tensor in, one answer out."""


class Called(nn.Module):
    """A network as one that takes tensors one after the other, and gives one."""

    def __init__(self, network: nn.Module, interface: Interface) -> None:
        """Wrap a network. It stays what it is."""
        super().__init__()
        self.network, self._interface = network, interface

    def forward(self, *parts: Tensor) -> Tensor:
        """Return the output of the network that counts."""
        return self._interface.call(self.network, parts)


def _by_name(given: Any) -> dict[str, Any] | None:
    if isinstance(given, Mapping):
        return {str(name): value for name, value in given.items()}
    if dataclasses.is_dataclass(given) and not isinstance(given, type):
        return {f.name: getattr(given, f.name) for f in dataclasses.fields(given)}
    if isinstance(given, tuple) and (fields := getattr(given, "_fields", ())):
        found = {name: getattr(given, name) for name in fields}
        # the answer of a named tuple without a telling name is its first, as of any tuple
        return found if any(name in found for name in PREFERRED) else None
    return None


def _names(given: Any, named: dict[str, Any] | None) -> str:
    if named is not None:
        return f"outputs {', '.join(named)}"
    if isinstance(given, list | tuple):
        return f"{len(given)} outputs"
    return f"a {type(given).__name__}"
