"""From a student to a Core ML package: float16 layer by layer, weights of fewer bits, weights without their zeros."""

from __future__ import annotations

import contextlib
import copy
import io
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import MeasurementError
from ...quieting import quietly
from ...spaces.graph.devices import moved
from .base import BuildRequest

LAYER_OPERATORS = ("conv", "linear")
"""What layers become in MIL, the language of Core ML's programs."""
_FEWEST_ZEROS = 0.25
"""Share of zeros from which float weights are stored without them: a mask costs one bit for each weight."""


def convert(request: BuildRequest, folder: Path, path: Path) -> None:
    """Write the package that `CoreMl.build` describes.

    Args:
        request: The student and what is asked for.
        folder: For what is made on the way.
        path: Where the package is to lie; nothing lies there yet.

    Raises:
        MeasurementError: A layer is not in the program. Whatever coremltools raises is raised too.
    """
    import coremltools
    import torch
    from coremltools.optimize import coreml as optimize

    bits = {layer: request.bits.get(layer, 32) for layer in (*request.layers.values(), *request.bits)}
    given = request.one_input("coreml")
    example = torch.from_numpy(np.zeros((request.batch, *given.shape[1:]), given.dtype))
    taken = np.float32 if example.is_floating_point() else np.int32  # Core ML has no longer whole numbers
    program = torch.export.export(moved(copy.deepcopy(request.module), "cpu").eval(), (example,)).run_decompositions({})
    widths, owners = _marked(program, bits)
    passes = coremltools.PassPipeline.DEFAULT
    passes.remove_passes({"common::const_deduplication"})  # layers of equal weights may differ in bits
    model = coremltools.convert(
        program,
        convert_to="mlprogram",
        minimum_deployment_target=coremltools.target.iOS18,
        compute_precision=coremltools.transform.FP16ComputePrecision(lambda operator: widths[_mark(operator)] < 32),
        inputs=[coremltools.TensorType("input", tuple(example.shape), taken)],
        outputs=[coremltools.TensorType("output", dtype=np.float32)],
        pass_pipeline=passes,
        package_dir=str(folder / f"float{path.suffix}"),
        skip_model_load=True,
    )
    sparse, coded = {}, {}
    missing = set(request.bits)
    for operator in (o for function in model._mil_program.functions.values() for o in function.operations):
        layer = owners.get(_mark(operator)) if operator.op_type in LAYER_OPERATORS else None
        if layer is None:
            continue
        missing.discard(layer)
        if bits[layer] < 16:
            coded[operator.name] = optimize.OpLinearQuantizerConfig(
                mode="linear_symmetric", dtype=f"int{bits[layer]}", granularity="per_channel", weight_threshold=0
            )
        elif np.mean(operator.weight.val == 0) >= _FEWEST_ZEROS:
            sparse[operator.name] = optimize.OpThresholdPrunerConfig(
                threshold=0.0, minimum_sparsity_percentile=0.0, weight_threshold=0
            )
    if missing:
        raise MeasurementError(f"Core ML's program has no layer {sorted(missing)[0]!r}; leave it out of the bits")
    with contextlib.ExitStack() as stack:
        for compress, operators in ((optimize.linear_quantize_weights, coded), (optimize.prune_weights, sparse)):
            if operators:
                model = compress(model, optimize.OptimizationConfig(op_name_configs=operators))
                # coremltools keeps its copies until the process ends: a search would fill the disk
                stack.callback(shutil.rmtree, model.package_path, ignore_errors=True)
        model.save(str(path))
    (path / "executorch_debug_handle_mapping.json").unlink(missing_ok=True)  # our marks: of no use to the user


def _marked(program: Any, bits: Mapping[str, int]) -> tuple[dict[int | None, int], dict[int | None, str]]:
    # Marks every operator of an exported program (torch.export.ExportedProgram) with the number of the operator with
    # weights that it goes with: itself, or the latest before it. As debug handles, which coremltools carries through
    # all its rewriting, the marks survive the fusion of norms and the casts of mixed precision. Returns mark -> bits,
    # and mark -> layer for the operators that are layers.
    signature = program.graph_signature
    sources = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    widths: dict[int | None, int] = {None: max(bits.values(), default=32)}  # before any layer
    owners: dict[int | None, str] = {}
    marks: dict[Any, int] = {}
    for number, node in enumerate(program.graph.nodes):
        if node.op != "call_function":
            continue
        if "max_pool" in str(node.target) and len(node.args) == 2:
            node.args = (*node.args, node.args[1])  # the stride that torch leaves out and coremltools asks for
        read = [sources[i.name] for i in node.all_input_nodes if i.name in sources and i.meta["val"].ndim > 1]
        mark = max((marks[i] for i in node.all_input_nodes if i in marks), default=None)
        if read:
            layer = read[0].removesuffix(".weight")
            widths[number] = bits.get(layer, widths[mark])  # weights that are no layer: as what comes before
            if layer in bits:
                owners[number] = layer
            mark = number
        if mark is not None:
            marks[node] = node.meta["debug_handle"] = mark
    return widths, owners


def _mark(operator: Any) -> int | None:
    # the mark of an operator (of coremltools' own program, MIL); None for one before any layer
    from coremltools.converters.mil.mil.scope import ScopeSource

    handles: list[int | None] = operator.scopes.get(ScopeSource.EXIR_DEBUG_HANDLE) or [None]
    return handles[0]


@contextlib.contextmanager
def silently() -> Iterator[None]:
    """Meanwhile, drop what coremltools advises on versions and parts, and its progress bars.

    The bars go to the standard error, which `quietly` leaves alone.
    """
    with quietly(stdout=False), contextlib.redirect_stderr(io.StringIO()):
        yield
