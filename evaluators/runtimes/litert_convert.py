"""A network as a LiteRT graph in float32, in which every tensor that a layer makes carries the layer's name."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...quieting import quietly

WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "CONV_3D", "FULLY_CONNECTED", "BATCH_MATMUL")
"""Operators that hold a layer's weights, as their second input."""


def convert(module: Any, layers: Iterable[str], inputs: NDArray[Any], batch: int) -> bytes:
    """Return the file of a network, with inputs and outputs as the network has them.

    Args:
        module: The network (torch.nn.Module in eval mode on the CPU).
        layers: Names of the modules to be found again, in the order they run.
        inputs: Inputs [M, ...], of the numbers that the network takes.
        batch: Inputs at a time. Where it is 1, the batch dimension is left free if the graph then answers for two
            inputs what it answers for each alone.
    """
    import torch

    from ...compression.fuse import fused, norm_pairs

    example = torch.from_numpy(np.resize(inputs, (batch, *inputs.shape[1:])))
    with silently():
        import litert_torch

        litert_torch.config.show_progress = False
        # folded first: the converter traces the network four times, and the fewer operators the faster it is
        folded = fused(module, norm_pairs(module, example))
        content = litert_torch.convert(folded, (example,)).model_content()
    graph = Graph(content)
    weights = folded.state_dict()
    graph.name_tensors({name: weights[f"{name}.weight"].numpy() for name in layers})
    fixed = graph.content()
    if batch != 1:
        return fixed
    graph.free_batch()
    free = graph.content()
    return free if _agree(fixed, free, inputs[:2]) else fixed


class Graph:
    """The only subgraph of a LiteRT file, to be changed.

    Attributes:
        model: The file.
        tensors: Of the subgraph.
        operators: Of the subgraph.
        kinds: The type of each operator.
    """

    def __init__(self, content: bytes) -> None:
        """Read a file.

        Args:
            content: Its bytes.
        """
        from ai_edge_litert.tools import flatbuffer_utils

        self.model: Any = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
        self.tensors: list[Any] = self.model.subgraphs[0].tensors
        self.operators: list[Any] = self.model.subgraphs[0].operators
        self.kinds = [str(flatbuffer_utils.opcode_to_name(self.model, op.opcodeIndex)) for op in self.operators]

    def content(self) -> bytes:
        """Return the file's bytes."""
        from ai_edge_litert.tools import flatbuffer_utils

        return bytes(flatbuffer_utils.convert_object_to_bytearray(self.model))

    def is_constant(self, tensor: int) -> bool:
        """Return whether a tensor is stored in the file; -1, an input left out, is not."""
        return tensor >= 0 and self.model.buffers[self.tensors[tensor].buffer].data is not None

    def is_computed_float(self, tensor: int) -> bool:
        """Return whether a tensor is a float32 input or activation."""
        from ai_edge_litert.schema_py_generated import TensorType

        return self.tensors[tensor].type == TensorType.FLOAT32 and not self.is_constant(tensor)

    def constant(self, tensor: int, dtype: Any = np.float32) -> NDArray[Any]:
        """Return what a constant tensor holds."""
        data = self.model.buffers[self.tensors[tensor].buffer].data
        return np.frombuffer(bytes(data), dtype).reshape(self.tensors[tensor].shape)

    def name_tensors(self, weights: dict[str, NDArray[Any]]) -> None:
        """Name the output of a layer's operator as the layer, and all else by its operator's type and place.

        The converter's own names are made of Python classes, are long, and say of a fused operator only one of the
        modules it comes from; so layers are known by weight.

        Args:
            weights: Layer name -> its weight [out, in, ...].
        """
        left = dict(weights)
        for index, (op, kind) in enumerate(zip(self.operators, self.kinds, strict=True)):
            name = f"{kind.lower()}#{index}"  # no module is called so
            if kind in WEIGHTED and self.is_constant(op.inputs[1]):
                held = self.constant(op.inputs[1])
                found = next((layer for layer, weight in left.items() if _is_same(held, weight)), None)
                if found is not None:
                    del left[found]
                    name = found
            for place, tensor in enumerate(op.outputs):
                self.tensors[tensor].name = (f"{name}:{place}" if place else name).encode()
            for place, tensor in enumerate(op.inputs):
                if self.is_constant(tensor):
                    self.tensors[tensor].name = f"{name}/{place}".encode()
        for tensor in self.model.subgraphs[0].inputs:
            self.tensors[tensor].name = b"input"

    def free_batch(self) -> None:
        """Let the first dimension, now 1, be any: reshapes and slices take theirs from what they read."""
        for op, kind in zip(self.operators, self.kinds, strict=True):
            reads, makes = (list(self.tensors[end[0]].shape) for end in (op.inputs, op.outputs))
            if kind == "RESHAPE" and _keeps_first(reads, makes):
                self._replace(op, 1, [-1, *makes[1:]])
                op.builtinOptions = None  # an old form of the same, which would have to agree
                op.builtinOptionsType = 0
            if len(reads) < 2 or len(makes) < 2 or reads[0] != 1 or makes[0] != 1:
                continue
            if kind == "SLICE" and self.is_constant(op.inputs[2]):
                self._replace(op, 2, [-1, *self.constant(op.inputs[2], np.int32)[1:]])
                self.tensors[op.outputs[0]].shapeSignature = [-1, *makes[1:]]  # else LiteRT keeps the batch of 1
            elif kind == "STRIDED_SLICE" and len(reads) == len(makes):
                op.builtinOptions.beginMask |= 1
                op.builtinOptions.endMask |= 1
        graph = self.model.subgraphs[0]
        for tensor in (*graph.inputs, *graph.outputs):
            shape = self.tensors[tensor].shape
            self.tensors[tensor].shapeSignature = [-1, *shape[1:]]

    def _replace(self, op: Any, place: int, values: Iterable[int]) -> None:
        # an int32 input of its own for an operator: constants are shared between operators
        import copy

        tensor = copy.copy(self.tensors[op.inputs[place]])
        buffer = copy.copy(self.model.buffers[tensor.buffer])
        data = np.array(list(values), np.int32)
        buffer.data = data.view(np.uint8)
        tensor.buffer, tensor.shape = len(self.model.buffers), [len(data)]
        tensor.name = f"{self.tensors[op.outputs[0]].name.decode()}/{place}:free".encode()
        self.model.buffers.append(buffer)
        op.inputs[place] = len(self.tensors)
        self.tensors.append(tensor)


def answers(content: bytes, inputs: NDArray[Any]) -> NDArray[Any]:
    """Return what a file in float32 answers for all inputs at once."""
    interpreter = make_interpreter(content)
    first = interpreter.get_input_details()[0]
    with silently():
        interpreter.resize_tensor_input(first["index"], inputs.shape)
        interpreter.allocate_tensors()
    # the converter makes whole numbers of 64 bits to such of 32
    interpreter.set_tensor(first["index"], np.ascontiguousarray(inputs, first["dtype"]))
    interpreter.invoke()
    output: NDArray[Any] = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return output


def make_interpreter(content: bytes, **settings: Any) -> Any:
    """Return an interpreter of a file's bytes, on the threads of this process."""
    import torch

    with silently():
        from ai_edge_litert.interpreter import Interpreter

        return Interpreter(model_content=content, num_threads=torch.get_num_threads(), **settings)


def fingerprint(module: Any, layers: Iterable[str], batch: int) -> bytes:
    """Return a digest of all that `convert` makes a file from."""
    import hashlib

    digest = hashlib.blake2b(repr((id(module), module, tuple(layers), batch)).encode())
    for name, tensor in module.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.digest()


@contextlib.contextmanager
def silently() -> Iterator[None]:
    """Meanwhile, drop warnings, and whatever is written to the standard error.

    LiteRT's C++ code writes its progress to the file descriptor itself, whatever Python's logging says, so that
    `quietly` does not reach it. Errors are raised, not written.
    """
    try:
        kept = os.dup(2)
    except OSError:  # already closed
        kept = -1
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        if kept >= 0:
            os.dup2(nowhere, 2)
        with quietly(stdout=False):
            yield
    finally:
        if kept >= 0:
            os.dup2(kept, 2)
            os.close(kept)
        os.close(nowhere)


def _keeps_first(reads: list[int], makes: list[int]) -> bool:
    # Whether the first dimension that a reshape makes may follow from the others: it is the batch, or the batch and
    # what lies below it in one, as where the tokens [N, T] of all inputs look their rows up together as [N * T].
    if not reads or not makes or -1 in makes or reads == makes == [1]:
        return False
    return 1 in (reads[0], makes[0]) or reads[0] == makes[0]


def _is_same(held: NDArray[Any], weight: NDArray[Any]) -> bool:
    # whether `held`, of a LiteRT operator, is a layer's weight [out, in, ...] with its channels moved to the end
    forms = [np.moveaxis(weight, 1, -1), np.moveaxis(weight, 0, -1)]
    return any(f.squeeze().shape == held.squeeze().shape and np.array_equal(f.squeeze(), held.squeeze()) for f in forms)


def _agree(fixed: bytes, free: bytes, inputs: NDArray[Any]) -> bool:
    if len(inputs) < 2:
        return False
    try:
        together = answers(free, inputs)
    except RuntimeError:  # something in it is made for one input, such as a class token
        return False
    alone = np.concatenate([answers(fixed, one[None]) for one in inputs])
    near = 1e-4 * max(1.0, float(np.abs(alone).max()))
    return together.shape == alone.shape and float(np.abs(together - alone).max()) <= near
