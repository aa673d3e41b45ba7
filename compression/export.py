"""Students as ONNX files, fast.

The teacher is exported once, and each student's weights and shapes are written into that graph. One export takes
seconds; a rewrite takes milliseconds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from ..errors import ExportError, one_line
from ..quieting import quietly
from ..spaces.graph.folding import folded
from .fuse import fused, norm_pairs

OPSET = 21
"""The first opset with 4-bit weights."""


@dataclass(frozen=True)
class Template:
    """The teacher's graph, ready to take a student's weights.

    Attributes:
        model: An onnx.ModelProto, with a free batch dimension where the network allows it.
        batch: Batch size of the example that it was exported with; 1 leaves the batch dimension free.
        pairs: Layers, and the batch norms folded into them.
        sources: Name of an initializer -> (name of the parameter that it holds, whether transposed).
        layers: Name of a node -> name of its layer.
    """

    model: Any
    batch: int
    pairs: tuple[tuple[str, str], ...]
    sources: Mapping[str, tuple[str, bool]]
    layers: Mapping[str, str]

    def write(self, student: nn.Module) -> Any:
        """Return the student's onnx.ModelProto: this graph with the student's weights and channel counts in it."""
        import onnx
        from onnx import numpy_helper

        small = fused(student, self.pairs)
        weights = {**dict(small.named_parameters()), **dict(small.named_buffers())}
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        for initializer in model.graph.initializer:
            if initializer.name in self.sources:
                name, transposed = self.sources[initializer.name]
                value = weights[name].detach().float().cpu().numpy()
                value = np.ascontiguousarray(value.T if transposed else value)
                initializer.CopyFrom(numpy_helper.from_array(value, initializer.name))
        for node in model.graph.node:
            if node.op_type == "Conv" and node.name in self.layers:
                for attribute in node.attribute:
                    if attribute.name == "group":
                        module: Any = small.get_submodule(self.layers[node.name])
                        attribute.i = module.groups
        return model


def make_template(
    teacher: nn.Module, example_input: torch.Tensor, exact: bool = False, symbolic_batch: bool = False
) -> Template:
    """Export a network as a template.

    Parameters are replaced by random numbers first: an exporter drops what happens to be zero or one, and equal
    values could not be told apart when initializers are traced back to their parameters. Where an exporter stores
    parameters in another form (attention's joint projection, split in three), they cannot be traced back.

    Args:
        teacher: The network, in eval mode.
        example_input: [1, ...] for a free batch size, [B, ...] for batches of B.
        exact: Whether the weights stay what they are; the template then writes this one network only.
        symbolic_batch: Whether the batch is a symbol while it is traced, whatever the example's is. The file then
            computes shapes that depend on it, as those of class tokens do.

    Raises:
        ExportError: The network has an operator that cannot be exported; the message names it.
    """
    try:
        pairs = norm_pairs(teacher, example_input)
    except Exception as error:
        raise ExportError(f"the teacher cannot be exported: {_reason(error)}") from error
    noisy = folded(fused(teacher, pairs)) if exact else _randomised(fused(teacher, pairs))
    model = export_onnx(noisy, example_input, symbolic_batch)
    values = {name: t.detach().float().numpy() for name, t in (*noisy.named_parameters(), *noisy.named_buffers())}
    sources = _trace_back(model, values)
    _free_shapes(model)
    readers = {s: name.rpartition(".")[0] for s, (name, _) in sources.items() if name.endswith(".weight")}
    nodes = [n for n in model.graph.node if n.op_type in ("Conv", "Gemm", "MatMul")]
    layers = {n.name: readers[n.input[1]] for n in nodes if n.input[1] in readers}
    return Template(model, 1 if symbolic_batch else len(example_input), pairs, {} if exact else sources, layers)


def export_onnx(module: nn.Module, example_input: torch.Tensor, symbolic_batch: bool = False) -> Any:
    """Export a network with torch's exporter, without traces of the machine that it runs on.

    Args:
        module: The network; it is put into eval mode.
        example_input: [B, ...]; the file is for batches of this size.
        symbolic_batch: Whether the file is for batches of any size instead.

    Returns:
        An onnx.ModelProto.

    Raises:
        ExportError: The network has an operator that cannot be exported; the message names it.
    """
    try:
        with quietly(stdout=False):
            program = torch.onnx.export(
                module.eval(),
                (example_input,),
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                input_names=["input"],
                output_names=["output"],
                dynamic_shapes=({0: torch.export.Dim("batch")},) if symbolic_batch else None,
            )
    except Exception as error:
        raise ExportError(f"the teacher cannot be exported to ONNX: {_reason(error)}") from error
    assert program is not None
    model = program.model_proto
    del model.metadata_props[:]
    for node in model.graph.node:
        del node.metadata_props[:]  # the exporter's stack traces: paths of the machine it ran on
        node.doc_string = ""
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]
    del model.graph.metadata_props[:]
    return model


def _randomised(module: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.rand(parameter.shape, generator=generator) * 0.1 + 0.01)
        for name, buffer in module.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer.copy_(torch.rand(buffer.shape, generator=generator) * 0.1 + 0.5)
    return module


def _trace_back(model: Any, values: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, tuple[str, bool]]:
    """Return initializer -> (parameter that it holds, whether transposed)."""
    from onnx import numpy_helper

    found: dict[str, tuple[str, bool]] = {}
    for initializer in model.graph.initializer:
        array = numpy_helper.to_array(initializer)
        if initializer.name in values and values[initializer.name].shape == array.shape:
            found[initializer.name] = (initializer.name, False)
            continue
        if array.dtype != np.float32 or array.size < 2:
            continue
        for name, value in values.items():
            if value.shape == array.shape and np.array_equal(value, array):
                found[initializer.name] = (name, False)
            elif value.ndim == 2 and value.T.shape == array.shape and np.array_equal(value.T, array):
                found[initializer.name] = (name, True)
    return found


def _free_shapes(model: Any) -> None:
    """Let the batch size and the channel counts of reshapes follow from their inputs."""
    import onnx
    from onnx import numpy_helper

    inferred = onnx.shape_inference.infer_shapes(model)
    known = (*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output)
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in known}
    constants = {i.name: i for i in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type != "Reshape" or node.input[1] not in constants or node.input[0] not in shapes:
            continue
        old = shapes[node.input[0]]
        new = [int(d) for d in numpy_helper.to_array(constants[node.input[1]])]
        if 0 in old or min(new, default=0) < 1:
            continue
        axis = 1 if len(old) >= 4 else len(old) - 1
        name = f"{node.name}_shape"
        model.graph.initializer.append(numpy_helper.from_array(np.array(free_reshape(old, new, axis)), name))
        node.input[1] = name
        for attribute in node.attribute:
            if attribute.name == "allowzero":
                attribute.i = 0
    used = {name for node in model.graph.node for name in node.input}
    kept = [i for i in model.graph.initializer if i.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    del model.graph.value_info[:]
    for value in (*model.graph.input, *model.graph.output):
        dims = value.type.tensor_type.shape.dim
        if len(dims) and dims[0].dim_value == 1:
            dims[0].dim_param = "batch"


def free_reshape(old: list[int], new: list[int], axis: int) -> list[int]:
    """Return `new` with 0 (copy) for a leading batch dimension and -1 for the dimension that channels flow into.

    The dimensions are matched in runs of equal product. The run that holds `axis` of `old` gets the -1, at its largest
    dimension.

    Args:
        old: Shape before a reshape.
        new: Shape after it, of the same product.
        axis: Dimension of `old` that channels lie in.
    """
    free = list(new)
    i = j = 0
    while i < len(old) and j < len(new):
        first_i, first_j, left, right = i, j, old[i], new[j]
        i, j = i + 1, j + 1
        while left != right:
            if left < right:
                left, i = left * old[i], i + 1
            else:
                right, j = right * new[j], j + 1
        # dimensions of 1 that follow belong to the run that needs them to reach the axis
        while i < len(old) and old[i] == 1 and (j >= len(new) or new[j] != 1):
            i += 1
        if first_i <= axis < i:
            free[max(range(first_j, j), key=lambda k: new[k])] = -1
    if old[0] == new[0] == 1 and free[0] != -1:
        free[0] = 0
    return free


def _reason(error: BaseException) -> str:
    """Return one line that names the operator, dug out of the chain of an exporter's errors."""
    texts = []
    seen: BaseException | None = error
    while seen is not None:
        texts.append(str(seen))
        seen = seen.__cause__ or seen.__context__
    for pattern in (r"No ONNX function found for <OpOverload\(op='([^']+)'", r"No ONNX function found for ([\w.:]+)"):
        for text in texts:
            if match := re.search(pattern, text):
                return f"operator {match[1]} has no ONNX form; replace it in the network"
    lines = [line.strip() for line in texts[-1].splitlines() if line.strip()]
    operator = next((m[0] for t in texts for m in [re.search(r"aten[.:]+[\w.]+", t)] if m), "")
    return f"{operator + ': ' if operator else ''}{one_line(lines[0] if lines else error)}"
