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
from torch.nn.modules.conv import _ConvNd

from ..errors import ExportError, one_line
from ..quieting import quietly
from ..spaces.graph.folding import folded
from ..spaces.graph.input_names import as_given
from ..spaces.inputs import Inputs, count_of, tensors_of
from .free_batch import free_by_comparison, free_shapes
from .fuse import fused, norm_pairs
from .node_layers import layers_and_tables
from .spelled_attention import spelled_out
from .template_numbers import Key, Lesson, Use, constants_of, learned, numbers_of, places_of, rewrite, same_places
from .template_weights import without_weights
from .trace_back import Row, put_together, recurrent_layers, rows_of, trace_back, written

OPSET = 21
"""The first opset with 4-bit weights."""
LESSONS = 8
"""Students that a template learns from: where they do not suffice, more would not."""


@dataclass(frozen=True)
class Template:
    """The teacher's graph, ready to take a student's weights.

    Attributes:
        model: An onnx.ModelProto, with a free batch dimension where the network allows it. An exact one has all of its
            network's weights, any other only those that no parameter was found for.
        batch: Batch size of the example that it was exported with; 1 leaves the batch dimension free.
        pairs: Layers, and the batch norms folded into them.
        sources: Name of an initializer -> (name of the parameter that it holds, whether transposed).
        layers: Name of a node -> name of its layer.
        own: The teacher's numbers and those of its graph, as it was exported.
        seen: The same of students that had to be exported by themselves.
        numbers: What was learned of them: constants of the graph -> numbers of the student.
        rows: Name of an initializer -> rows of parameters that it is put together of.
        tables: Name of a node -> the embedding whose rows it looks up.
        recurrent: Name of a node -> the recurrent layer that it runs; those of a stack share theirs.
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
    tables: Mapping[str, str] = field(default_factory=dict)
    recurrent: Mapping[str, str] = field(default_factory=dict)

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
            if node.op_type in ("Conv", "ConvTranspose"):
                parameter, _ = self.sources.get(node.input[1], ("", False))
                # of several layers with one weight the graph names one; their groups are as many
                module: Any = small.get_submodule(self.layers.get(node.name, parameter.rpartition(".")[0]))
                for attribute in node.attribute:
                    if attribute.name == "group" and isinstance(module, _ConvNd):
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
        if not alike or not same_places(self.own, export.own) or len(self.seen) == LESSONS:
            return self
        places, at = places_of(student), [0]
        for node in nodes:
            read = [self.sources[i][0] for i in node.input if i in self.sources]
            at.append(next((places[name] for name in read if name in places), at[-1]))
        seen = (*self.seen, export.own)
        return replace(self, seen=seen, numbers=learned(self.own, seen, places, at[1:]))


def make_template(
    teacher: nn.Module,
    example_input: Inputs,
    exact: bool = False,
    symbolic_batch: bool = False,
    compared_with: Inputs | None = None,
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
        compared_with: An example of another batch, from which it shows what in the graph is the batch, and is freed.

    Raises:
        ExportError: The network has an operator that cannot be exported; the message names it. Or the batch cannot be
            freed by comparing.
    """
    try:
        pairs = norm_pairs(teacher, example_input)
    except Exception as error:
        raise ExportError(f"the teacher cannot be exported: {_reason(error)}") from error
    noisy = folded(fused(teacher, pairs)) if exact else _randomised(fused(teacher, pairs))
    model = export_onnx(noisy, example_input, symbolic_batch)
    values = _values(noisy)
    sources = trace_back(model, values)
    rows = rows_of(model, values, sources, exact)
    own = Lesson(numbers_of(teacher), constants_of(model))
    if compared_with is None:
        free_shapes(model)
    else:
        free_by_comparison(model, export_onnx(noisy, compared_with))
    layers, tables = layers_and_tables(model, noisy, sources)
    batch = 1 if symbolic_batch or compared_with is not None else count_of(example_input)
    recurrent = recurrent_layers(model, sources, rows)
    if exact:
        sources, rows = {}, {}
    else:
        model = without_weights(model, sources.keys() | rows.keys())
    return Template(model, batch, pairs, sources, layers, own, rows=rows, tables=tables, recurrent=recurrent)


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
    try:
        program = _exported(module.eval(), example_input, symbolic_batch)
    except Exception as error:
        # it knows attention of four dimensions alone, and takes another order in memory for granted
        plain = spelled_out(module)
        try:
            if plain is None:
                raise
            program = _exported(plain, example_input, symbolic_batch)
        except Exception:
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


def _exported(module: nn.Module, example_input: Inputs, symbolic_batch: bool) -> Any:
    batch = torch.export.Dim("batch")
    free = tuple({0: batch} for _ in tensors_of(example_input))
    with quietly(stdout=False):
        return torch.onnx.export(
            module,
            tensors_of(example_input),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=input_names(module, example_input),
            output_names=["output"],
            dynamic_shapes=free if symbolic_batch else None,
        )


def input_names(module: nn.Module, example_input: Inputs) -> list[str]:
    """Return the names of a network's inputs: a captured one knows what the user calls them, any other has "input"."""
    count = len(tensors_of(example_input))
    if isinstance(module, fx.GraphModule):
        return [as_given(str(node.target)) for node in module.graph.nodes if node.op == "placeholder"]
    return ["input"] if count == 1 else [f"input_{i}" for i in range(count)]


def _values(module: nn.Module) -> dict[str, np.ndarray[Any, Any]]:
    # numpy has no bfloat16; positions, indices and masks stay whole numbers and truth values
    tensors = {name: value.detach().cpu() for name, value in (*module.named_parameters(), *module.named_buffers())}
    found = {n: value.float() if value.is_floating_point() else value for n, value in tensors.items()}
    return {name: value.numpy() for name, value in found.items()}


def _randomised(module: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.rand(parameter.shape, generator=generator) * 0.1 + 0.01)
        for name, buffer in module.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer.copy_(torch.rand(buffer.shape, generator=generator) * 0.1 + 0.5)
    return module


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
