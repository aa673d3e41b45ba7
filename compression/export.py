"""Students as ONNX files, fast.

The teacher is exported once, and each student's weights and shapes are written into that graph. One export takes
seconds; a rewrite takes milliseconds. Numbers in the graph whose origin is not known yet are learned of the first
students, which are exported by themselves (see `template_numbers`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from ..errors import ExportError, one_line
from ..quieting import quietly
from ..spaces.graph.folding import folded
from ..spaces.inputs import Inputs, count_of, tensors_of
from .fuse import fused, norm_pairs
from .template_numbers import Key, Lesson, Use, constants_of, learned, numbers_of, places_of, rewrite
from .trace_back import Row, put_together, rows_of, trace_back, written

OPSET = 21
"""The first opset with 4-bit weights."""
LESSONS = 8
"""Students that a template learns from: where they do not suffice, more would not."""


@dataclass(frozen=True)
class Template:
    """The teacher's graph, ready to take a student's weights.

    Attributes:
        model: An onnx.ModelProto, with a free batch dimension where the network allows it.
        batch: Batch size of the example that it was exported with; 1 leaves the batch dimension free.
        pairs: Layers, and the batch norms folded into them.
        sources: Name of an initializer -> (name of the parameter that it holds, whether transposed).
        layers: Name of a node -> name of its layer.
        own: The teacher's numbers and those of its graph, as it was exported.
        seen: The same of students that had to be exported by themselves.
        numbers: What was learned of them: constants of the graph -> numbers of the student.
        rows: Name of an initializer -> rows of parameters that it is put together of.
    """

    model: Any
    batch: int
    pairs: tuple[tuple[str, str], ...]
    sources: Mapping[str, tuple[str, bool]]
    layers: Mapping[str, str]
    own: Lesson
    seen: tuple[Lesson, ...] = ()
    numbers: Mapping[Use, Key] = field(default_factory=dict)
    rows: Mapping[str, tuple[Row, ...]] = field(default_factory=dict)

    def write(self, student: nn.Module) -> Any:
        """Return the student's onnx.ModelProto: this graph with the student's weights and channel counts in it."""
        import onnx

        small = fused(student, self.pairs)
        values = _values(small)
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        for initializer in model.graph.initializer:
            if initializer.name in self.sources:
                name, transposed = self.sources[initializer.name]
                initializer.CopyFrom(written(initializer, values[name], transposed))
            elif initializer.name in self.rows:
                initializer.CopyFrom(put_together(initializer, self.rows[initializer.name], values))
        for node in model.graph.node:
            if node.op_type == "Conv" and node.name in self.layers:
                for attribute in node.attribute:
                    if attribute.name == "group":
                        module: Any = small.get_submodule(self.layers[node.name])
                        attribute.i = module.groups
        if self.numbers:
            given = numbers_of(student)
            now = constants_of(model)
            # what follows from its input, by -1 or 0, stays
            rewrite(model, {u: given[k] for u, k in self.numbers.items() if now[u] == self.own.constants[u]})
        return model

    def taught(self, student: nn.Module, export: Template) -> Template:
        """Return this template, with what a student's own export shows of the numbers in it.

        Args:
            student: A student that it did not write right.
            export: Made of the student alone, in the same way as this one.
        """
        nodes = self.model.graph.node
        alike = [n.op_type for n in nodes] == [n.op_type for n in export.model.graph.node]
        if not alike or self.own.constants.keys() != export.own.constants.keys() or len(self.seen) == LESSONS:
            return self
        places, at = places_of(student), [0]
        for node in nodes:
            read = [self.sources[i][0] for i in node.input if i in self.sources]
            at.append(next((places[name] for name in read if name in places), at[-1]))
        seen = (*self.seen, export.own)
        return replace(self, seen=seen, numbers=learned(self.own, seen, places, at[1:]))


def make_template(
    teacher: nn.Module, example_input: Inputs, exact: bool = False, symbolic_batch: bool = False
) -> Template:
    """Export a network as a template.

    Parameters are replaced by random numbers first: an exporter drops what happens to be zero or one, and equal
    values could not be told apart when initializers are traced back to their parameters. Where an exporter stores
    parameters in another form (attention's joint projection, split in three and turned over), they cannot be.

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
    values = _values(noisy)
    sources = trace_back(model, values)
    rows = {} if exact else rows_of(model, values, sources)
    own = Lesson(numbers_of(teacher), constants_of(model))
    _free_shapes(model)
    readers = {s: name.rpartition(".")[0] for s, (name, _) in sources.items() if name.endswith(".weight")}
    nodes = [n for n in model.graph.node if n.op_type in ("Conv", "Gemm", "MatMul")]
    layers = {n.name: readers[n.input[1]] for n in nodes if n.input[1] in readers}
    batch = 1 if symbolic_batch else count_of(example_input)
    return Template(model, batch, pairs, {} if exact else sources, layers, own, rows=rows)


def export_onnx(module: nn.Module, example_input: Inputs, symbolic_batch: bool = False) -> Any:
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
    batch = torch.export.Dim("batch")
    free = tuple({0: batch} for _ in tensors_of(example_input))
    try:
        with quietly(stdout=False):
            program = torch.onnx.export(
                module.eval(),
                tensors_of(example_input),
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                input_names=input_names(module, example_input),
                output_names=["output"],
                dynamic_shapes=free if symbolic_batch else None,
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


def input_names(module: nn.Module, example_input: Inputs) -> list[str]:
    """Return the names of a network's inputs: a captured network knows them, any other has "input"."""
    count = len(tensors_of(example_input))
    if isinstance(module, fx.GraphModule):
        return [str(node.target) for node in module.graph.nodes if node.op == "placeholder"]
    return ["input"] if count == 1 else [f"input_{i}" for i in range(count)]


def _values(module: nn.Module) -> dict[str, np.ndarray[Any, Any]]:
    tensors = (*module.named_parameters(), *module.named_buffers())
    return {name: tensor.detach().float().cpu().numpy() for name, tensor in tensors}


def _randomised(module: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.rand(parameter.shape, generator=generator) * 0.1 + 0.01)
        for name, buffer in module.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer.copy_(torch.rand(buffer.shape, generator=generator) * 0.1 + 0.5)
    return module


def _free_shapes(model: Any) -> None:
    """Let the batch size and the channel counts of reshapes follow from their inputs."""
    import onnx
    from onnx import numpy_helper

    inferred = onnx.shape_inference.infer_shapes(model)
    known = (*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output)
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in known}
    constants = {i.name: i for i in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in ("GRU", "LSTM", "RNN"):
            # a state of zeros, of the batch of the example, is what there is without one
            zeros = {n for n in node.input[5:7] if n in constants and not numpy_helper.to_array(constants[n]).any()}
            node.input[:] = ["" if name in zeros else name for name in node.input]
        if node.op_type != "Reshape" or node.input[1] not in constants or node.input[0] not in shapes:
            continue
        old = shapes[node.input[0]]
        new = [int(d) for d in numpy_helper.to_array(constants[node.input[1]])]
        if 0 in old or not old or min(new, default=0) < 1:
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
    """Return `new` with 0 (copy) for leading dimensions of 1, and -1 for the dimension that channels flow into.

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
    for k, (before, after) in enumerate(zip(old, new, strict=False)):
        if before != after:
            break
        if before == 1 and free[k] != -1:  # the batch, which recurrent layers have behind the steps
            free[k] = 0
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
