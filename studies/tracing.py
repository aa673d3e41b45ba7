"""A bare teacher becomes a graph that answers as it does."""

from __future__ import annotations

import os
import traceback
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ..errors import DataError, ExportError, one_line
from ..spaces.graph.capture import capture
from ..spaces.graph.interface import Interface, UnclearOutput
from ..spaces.graph.single_precision import OTHERS, in_single_precision
from ..spaces.inputs import Inputs, call, count_of, joined, mapped, rows_of, shapes_of

TOLERANCE = 1e-4
"""Largest difference of a graph from its network, relative to the largest output."""
COARSE = 0.05
"""The same, where the network computes in 16 bits."""
SMALLEST = 1e-2
"""An output that counts as the largest where all are smaller: float32 differs by 1e-5 where what was added is large."""


@torch.no_grad()
def answers(graph: nn.Module, inputs: Inputs) -> Tensor:
    """Return what a captured network gives for inputs [B, ...], float32."""
    outputs: Tensor = call(graph, mapped(torch.clone, inputs))  # some networks normalise their inputs in place
    return outputs.float()


def checked_answers(network: nn.Module, interface: Interface, inputs: Inputs) -> Tensor:
    """Return what a bare teacher gives for inputs [B, ...], and refuse one that does not answer each by itself.

    Args:
        network: The bare teacher, in eval mode on the CPU.
        interface: How it is called.
        inputs: Of the validation split.

    Raises:
        DataError: It cannot take the inputs, gives no usable numbers, does not give the same twice, or lets its answer
            to one input depend on the others of a batch.
    """
    outputs = _called(network, interface, inputs)
    if not outputs.is_floating_point() or outputs.ndim < 1 or len(outputs) != count_of(inputs):
        got = f"{str(outputs.dtype).removeprefix('torch.')} {list(outputs.shape)}"
        raise DataError(
            f"the teacher must give floating outputs [N, ...], got {got} for {count_of(inputs)} inputs: wrap it so "
            "that each input has an answer of its own"
        )
    if not bool(torch.isfinite(outputs).all()):
        raise DataError("the teacher gives NaN or infinite outputs on validation inputs: check its weights")
    tolerance = _tolerance(network, interface, inputs)
    if (off := _difference(_called(network, interface, inputs), outputs)) > tolerance:
        raise DataError(
            f"the teacher gives other outputs for the same inputs (by {off:.2g} of the largest): take randomness, such "
            "as dropout that is on in eval mode, out of its forward pass"
        )
    few = min(4, count_of(inputs))
    norms = [n for n, m in network.named_modules() if isinstance(m, _BatchNorm) and m.running_mean is None]
    cause = f"norms without running statistics (track_running_stats=False): {', '.join(norms[:3])}; " if norms else ""
    try:
        alone = [_called(network, interface, rows_of(inputs, slice(i, i + 1))) for i in range(few)]
    except DataError as error:
        raise DataError(f"{cause}{error}") from error
    if any(part.shape != outputs[:1].shape for part in alone):
        raise DataError(
            f"the teacher gives outputs {list(alone[0].shape)} for one input, {list(outputs.shape)} for "
            f"{len(outputs)}: each input must have an answer of its own"
        )
    if (off := _difference(torch.cat(alone), outputs[:few])) > max(10 * TOLERANCE, tolerance):
        raise DataError(
            f"the teacher's answer to an input depends on the others of its batch (by {off:.2g} of the largest "
            f"output), so its accuracy would be that of no single image: {cause}make each answer its own"
        )
    return outputs.float()


def captured_teacher(network: nn.Module, interface: Interface, inputs: Inputs, expected: Tensor) -> fx.GraphModule:
    """Return a bare teacher as a graph in single precision that answers as it does.

    Args:
        network: The bare teacher, in eval mode on the CPU. Its layers become the graph's.
        interface: How it is called.
        inputs: Some inputs, [B, ...].
        expected: Its answers to them.

    Raises:
        ExportError: Its forward pass cannot be traced, or does something else when it is traced.
    """
    tolerance = _tolerance(network, interface, inputs)
    try:
        example = rows_of(inputs, slice(0, 1))
        graph = in_single_precision(capture(network, _in_own_format(network, interface, example), interface))
        got = answers(graph, joined([inputs] * 3))[: count_of(inputs)]
    except Exception as error:  # torch.export raises errors of many kinds
        raise ExportError(
            f"the teacher cannot be traced, as exported files need it{line_of(error, network)}: {_cause(error)}; "
            "take branches on values, and what torch.export does not know, out of its forward pass"
        ) from error
    off = _difference(got, expected) if got.shape == expected.shape else float("inf")
    if not off <= tolerance:
        raise ExportError(
            f"the teacher answers differently when it is traced (by {off:.2g} of the largest output): its forward pass "
            "must not depend on anything but its inputs"
        )
    return graph


def remarks_on_other_outputs(network: nn.Module, interface: Interface, inputs: Inputs) -> list[str]:
    """Return a line about what a teacher gives beside the output that counts, none where it gives nothing or was asked.

    Args:
        network: The bare teacher, in eval mode on the CPU.
        interface: How it is called.
        inputs: Some inputs, [B, ...], which it takes.
    """
    if interface.output is not None:
        return []
    with torch.no_grad():
        one = rows_of(inputs, slice(0, 1))
        given = interface.given(network, mapped(torch.clone, _in_own_format(network, interface, one)))
    others = ", ".join(repr(name) if isinstance(name, str) else f"number {name}" for name in interface.others(given))
    if not others:
        return []
    return [f"careful: students and files have one of the teacher's outputs alone, not {others}; output=... says which"]


@torch.no_grad()
def _called(network: nn.Module, interface: Interface, inputs: Inputs) -> Tensor:
    try:
        return interface.call(network, mapped(torch.clone, _in_own_format(network, interface, inputs)))
    except UnclearOutput as error:
        raise DataError(f"the teacher: {error}") from error
    except Exception as error:
        shapes = " and ".join(str([count_of(inputs), *shape]) for shape in shapes_of(inputs))
        raise DataError(
            f"the teacher cannot take {count_of(inputs)} validation inputs of shape {shapes}: "
            f"{type(error).__name__}: {one_line(error)}"
        ) from error


def _in_own_format(network: nn.Module, interface: Interface, inputs: Inputs) -> Inputs:
    """Return inputs in the number format that a network of other than single precision takes."""
    kinds = {p.dtype for p in network.parameters() if p.is_floating_point()}
    if not kinds & set(OTHERS):
        return inputs
    try:
        with torch.no_grad():
            interface.call(network, rows_of(inputs, slice(0, 1)))
        return inputs  # it casts them by itself
    except Exception:
        kind = next(p.dtype for p in network.parameters() if p.is_floating_point())
        return mapped(lambda part: part.to(kind) if part.is_floating_point() else part, inputs)


def computes_in_16_bits(network: nn.Module, interface: Interface, inputs: Inputs) -> bool:
    """Tell whether a network has a format of 16 bits anywhere between its inputs and its outputs, as autocast has.

    Args:
        network: The bare teacher, in eval mode on the CPU.
        interface: How it is called.
        inputs: Some inputs, [B, ...].
    """
    with _FormatsSeen() as seen:
        _called(network, interface, inputs)
    return bool(seen.formats & {torch.bfloat16, torch.float16})


class _FormatsSeen(TorchDispatchMode):
    """Collects the number formats of all that is computed meanwhile."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.formats: set[torch.dtype] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        self.formats |= {part.dtype for part in tree_leaves(found) if isinstance(part, Tensor)}
        return found


def _tolerance(network: nn.Module, interface: Interface, inputs: Inputs) -> float:
    return COARSE if computes_in_16_bits(network, interface, inputs) else TOLERANCE


def line_of(error: Exception, network: nn.Module) -> str:
    """Return " (net.py, line 7: `...`)", the last line of the network's own code that an error came through.

    Args:
        error: What was raised while the network ran.
        network: The network; its own code is that of its modules, but for torch's.

    Returns:
        The line in words, empty where there is none.
    """
    own = {type(module).forward.__code__.co_filename for module in network.modules()}
    frames = traceback.extract_tb(error.__traceback__)
    found = [f for f in frames if f.filename in own and f"{os.sep}torch{os.sep}nn{os.sep}" not in f.filename]
    return f" ({Path(found[-1].filename).name}, line {found[-1].lineno}: `{found[-1].line}`)" if found else ""


def _cause(error: Exception) -> str:
    if type(error).__name__ == "GuardOnDataDependentSymNode":
        return "what it does next depends on values that it computed"
    return f"{type(error).__name__}: {one_line(error)}"


def _difference(got: Tensor, expected: Tensor) -> float:
    got, expected = got.float(), expected.float()
    return float((got - expected).abs().max() / expected.abs().max().clamp_min(SMALLEST)) if got.numel() else 0.0
