"""A tape: what every module call of one forward pass gave.

Passes which differ only from some call on need not compute what came before it.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ..spaces.graph.capture import every_layer_called
from ..spaces.inputs import Inputs, call, mapped

Call = Callable[[str, Callable[..., Any], Any, Any], Any]


class Tape:
    """Records a pass of one network, and plays its beginning to that network or to copies with other weights.

    Calls of modules are numbered in the order in which they begin, containers' too. Only outputs that are tensors, and
    that nothing changed in place afterwards, can be played; what cannot is computed again.

    Attributes:
        first: Module name -> number of its first call.
    """

    def __init__(self, limit_bytes: int) -> None:
        """Make an empty tape that holds outputs up to `limit_bytes`; what comes after them is not kept."""
        self.first: dict[str, int] = {}
        self._limit = limit_bytes
        self._forget()

    def _forget(self) -> None:
        self._ends: list[int] = []
        self._given: list[Tensor | None] = []
        self._versions: list[int] = []
        self._storages: set[int] = set()
        self._bytes = 0
        self._at = 0

    @torch.no_grad()
    def record(self, module: nn.Module, inputs: Inputs) -> Tensor:
        """Return the outputs of `module` for `inputs` [B, ...], and keep every call. What was on the tape is gone."""
        self._forget()
        with _around_calls(module, self._recorded), every_layer_called():
            outputs: Tensor = call(module, mapped(torch.clone, inputs))  # some networks normalise their inputs in place
        for i, (given, version) in enumerate(zip(self._given, self._versions, strict=True)):
            if given is not None and given._version != version:
                self._given[i] = None
        return outputs

    @torch.no_grad()
    def play(self, module: nn.Module, inputs: Inputs, until: int) -> Tensor:
        """Return the outputs of a network for the inputs that were recorded.

        Args:
            module: The recorded network, or a copy of it in which something was changed.
            inputs: The recorded inputs, [B, ...].
            until: Number of the first call that is computed; earlier ones are answered from the tape.
        """
        self._at = 0
        with _around_calls(module, functools.partial(self._played, until)), every_layer_called():
            outputs: Tensor = call(module, mapped(torch.clone, inputs))
        return outputs

    def _recorded(self, name: str, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        number = len(self._ends)
        self.first.setdefault(name, number)
        self._ends.append(0)
        self._given.append(None)
        self._versions.append(0)
        given = forward(*args, **kwargs)
        self._ends[number] = len(self._ends)
        if isinstance(given, Tensor) and self._has_room(given):
            self._given[number], self._versions[number] = given, given._version
        return given

    def _played(self, until: int, name: str, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        number = self._at
        if number < until:
            given, end = self._given[number], self._ends[number]
            if given is not None and end <= until:
                self._at = end
                return given
            self._at = number + 1
        return forward(*args, **kwargs)

    def _has_room(self, given: Tensor) -> bool:
        storage = given.untyped_storage()
        if storage.data_ptr() in self._storages:  # a container gives what its last module gave
            return True
        if self._bytes + storage.nbytes() > self._limit:
            self._bytes = self._limit  # a smaller one later on is of no use: the way to it is computed anyway
            return False
        self._storages.add(storage.data_ptr())
        self._bytes += storage.nbytes()
        return True


@contextlib.contextmanager
def _around_calls(module: nn.Module, call: Call) -> Iterator[None]:
    """Let calls of `module` and of the modules in it go through `call`, with their names and what they would run."""
    kept = []
    try:
        for name, part in module.named_modules():
            kept.append((part, part.__dict__.get("forward")))
            part.__dict__["forward"] = _through(call, name, part.forward)
        yield
    finally:
        for part, own in kept:
            if own is None:
                part.__dict__.pop("forward", None)
            else:
                part.__dict__["forward"] = own


def _through(call: Call, name: str, forward: Callable[..., Any]) -> Callable[..., Any]:
    def through(*args: Any, **kwargs: Any) -> Any:
        return call(name, forward, args, kwargs)

    return through
