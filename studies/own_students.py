"""Students of the user's own: networks that a search may teach and compress in place of the teacher's forms."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from ..errors import AutoCompressError, DataError, one_line
from ..spaces.axes.student import AT_WIDTH, TEACHER
from ..spaces.graph.attribute_names import as_attribute
from ..spaces.graph.interface import Interface
from ..spaces.inputs import Inputs, shapes_of
from .bare import bare_network
from .models import build_model
from .tracing import captured_teacher, checked_answers

Maker = Callable[..., nn.Module] | str
"""A function that builds a network, or the name of one."""
WIDTHS = (0.75, 0.5)
"""Besides its full width, those that a function is asked for that takes one."""


class _Own(nn.Module):
    """A network under a name of its own, so that nothing in it is called like anything of another network."""

    def __init__(self, name: str, network: nn.Module) -> None:
        super().__init__()
        self._name = name
        self.add_module(name, network)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return getattr(self, self._name)(*args, **kwargs)


@dataclass(frozen=True)
class Wanted:
    """What students of the user's own must fit to.

    Attributes:
        interface: How the teacher is called.
        inputs: Some inputs, [B, ...].
        outputs: The teacher's answers to them.
        taken: Names of modules and parameters of the teacher.
    """

    interface: Interface
    inputs: Inputs
    outputs: Tensor
    taken: frozenset[str]

    @classmethod
    def of(cls, teacher: fx.GraphModule, interface: Interface, inputs: Inputs, outputs: Tensor) -> Wanted:
        """Return what fits beside a captured teacher."""
        named = (teacher.named_modules(), teacher.named_parameters(), teacher.named_buffers())
        return cls(interface, inputs, outputs, frozenset(n.partition(".")[0] for each in named for n, _ in each))

    @property
    def classes(self) -> int:
        """Size of the dimension of the outputs that holds classes."""
        return int(self.outputs.shape[1]) if self.outputs.ndim > 1 else 1

    @property
    def channels(self) -> int:
        """Of the images that come in."""
        return shapes_of(self.inputs)[0][0]


def captured_students(makers: Mapping[str, Maker], wanted: Wanted) -> dict[str, fx.GraphModule]:
    """Build students, each as a graph in which all names begin with the student's; see `Task.students`.

    The same makers give the same weights each time.

    Args:
        makers: By the names of the students.
        wanted: What they must fit to.

    Returns:
        The graphs by name. A function that takes a width gives further ones: "mobile@0.75" and "mobile@0.5".

    Raises:
        DataError: A student cannot be built, has a name that cannot be used, or does not fit the task.
        UnknownName: There is no network of a name.
    """
    found: dict[str, fx.GraphModule] = {}
    used: frozenset[str] = frozenset()
    for student, maker in makers.items():
        for name, network in _networks(student, maker, wanted):
            prefix = _prefix(name, wanted.taken | used)
            used |= {prefix}
            found[name] = _captured(name, _Own(prefix, network), wanted)
    return found


def _networks(student: str, maker: Maker, wanted: Wanted) -> Iterator[tuple[str, nn.Module]]:
    yield student, _built(student, maker, wanted, 1.0)
    if not isinstance(maker, str | nn.Module) and _width_of(maker) is not None:
        for width in WIDTHS:
            yield f"{student}{AT_WIDTH}{width:g}", _built(student, maker, wanted, width)


def _built(student: str, maker: Maker, wanted: Wanted, width: float) -> nn.Module:
    if isinstance(maker, nn.Module):
        return maker
    try:
        if isinstance(maker, str):
            return build_model(maker, wanted.classes, wanted.channels)
        full = _width_of(maker)
        arguments: dict[str, Any] = {}
        if full is inspect.Parameter.empty:
            arguments = {"width": width}
        elif full is not None and width != 1.0:
            # a whole number is a count of channels
            arguments = {"width": max(1, round(width * full)) if isinstance(full, int) and full > 1 else width * full}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network: Any = maker(**arguments)
    except AutoCompressError:
        raise
    except Exception as error:  # whatever the user's code raises
        raise DataError(f"student {student!r} cannot be built: {type(error).__name__}: {one_line(error)}") from error
    if not isinstance(network, nn.Module):
        raise DataError(f"student {student!r} is a {type(network).__name__}: let its function return a torch.nn.Module")
    return network


def _width_of(maker: Callable[..., nn.Module]) -> Any:
    """Return the full width that a function takes by name, `Parameter.empty` where it must be told; None for others.

    One whose usual width is no number has something else in mind, and is left to it.
    """
    try:
        found = inspect.signature(maker).parameters.get("width")
    except (TypeError, ValueError):  # what is built into Python need not have one
        return None
    if found is None or found.kind not in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY):
        return None
    full = found.default
    number = isinstance(full, int | float) and not isinstance(full, bool) and full > 0
    return full if number or full is inspect.Parameter.empty else None


def _prefix(name: str, taken: frozenset[str]) -> str:
    word, _, width = name.partition(AT_WIDTH)
    taken_by_graphs = as_attribute(nn.Module(), word) != word
    if not word.isidentifier() or taken_by_graphs or word == TEACHER or word in dir(nn.Module):
        raise DataError(f"a student cannot be called {word!r}: give a name of letters, digits and _ that means nothing")
    prefix = f"{word}_at_{width.replace('.', '_')}" if width else word
    if prefix in taken:
        raise DataError(f"a student cannot be called {word!r}, as another part of the task is: give it another name")
    return prefix


def _captured(name: str, network: nn.Module, wanted: Wanted) -> fx.GraphModule:
    try:
        bare = bare_network(network).network
        outputs = checked_answers(bare, wanted.interface, wanted.inputs)
        if outputs.shape != wanted.outputs.shape:
            got, expected = list(outputs.shape[1:]), list(wanted.outputs.shape[1:])
            raise DataError(f"it gives outputs {got} for an input, and the teacher {expected}: give it as many outputs")
        return captured_teacher(bare, wanted.interface, wanted.inputs, outputs)
    except AutoCompressError as error:
        said = str(error)
        if said.startswith("the teacher"):  # written about teachers, of which this student is none
            said = said.replace("the teacher's", "its").replace("the teacher", "it")
        raise DataError(f"student {name!r} does not fit the task: {said}") from error
