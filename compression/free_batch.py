"""Graphs of a fixed batch become graphs of any: numbers in them that are the batch follow from their inputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ExportError


def free_shapes(model: Any) -> None:
    """Let the batch size and the channel counts of reshapes follow from their inputs, in place.

    Args:
        model: A graph (onnx.ModelProto) that was exported for a batch of one.
    """
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
    drop_unused(model)
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


def free_by_comparison(model: Any, other: Any) -> None:
    """Let the numbers that differ between two exports of one network follow from their inputs, in place.

    Both are of one network, at two batches, so that what differs is the batch. All other numbers stay.

    Args:
        model: A graph (onnx.ModelProto), which is changed.
        other: The same network at another batch.

    Raises:
        ExportError: Something else than a dimension of a reshape depends on the batch.
    """
    from onnx import numpy_helper

    stored, theirs = ({i.name: i for i in m.graph.initializer} for m in (model, other))
    if [n.op_type for n in model.graph.node] != [n.op_type for n in other.graph.node]:
        raise ExportError("the network does something else at another batch")
    for node, twin in zip(model.graph.node, other.graph.node, strict=True):
        forms = [[part.SerializeToString() for part in n.attribute] for n in (node, twin)]
        if forms[0] != forms[1]:
            raise ExportError(f"{node.op_type} has another form at another batch")
        for slot, (name, same) in enumerate(zip(node.input, twin.input, strict=True)):
            if name not in stored or stored[name].raw_data == theirs[same].raw_data:
                continue
            values, found = (numpy_helper.to_array(i) for i in (stored[name], theirs[same]))
            differs = np.atleast_1d(values != found) if values.shape == found.shape else np.zeros(0, dtype=bool)
            if node.op_type != "Reshape" or slot != 1 or differs.sum() != 1:
                raise ExportError(f"{node.op_type} depends on the batch by a constant")
            shape = values.copy()
            shape[differs] = -1
            node.input[1] = f"{node.name}_shape"
            model.graph.initializer.append(numpy_helper.from_array(shape, node.input[1]))
    drop_unused(model)
    del model.graph.value_info[:]
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"


def drop_unused(model: Any) -> None:
    """Take constants that no node reads out of a graph (onnx.ModelProto), in place."""
    used = {name for node in model.graph.node for name in node.input}
    kept = [i for i in model.graph.initializer if i.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
