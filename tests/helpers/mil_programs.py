"""What is in a Core ML package.

Off a Mac nothing runs one, so its program (in MIL, Core ML's language) is computed here, operator by operator, with
torch.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor


def program(path: Path) -> Any:
    """Return the package's program in MIL, its weights turned back to float by coremltools itself."""
    import coremltools

    with contextlib.redirect_stderr(io.StringIO()):
        model = coremltools.models.MLModel(str(path), skip_model_load=True)
        return coremltools.optimize.coreml.decompress_weights(model)._mil_program.functions["main"]


def weights(path: Path) -> list[NDArray[Any]]:
    """Return the weights of all convolutions and linear layers, in order."""
    return [o.weight.val.astype(np.float32) for o in program(path).operations if o.op_type in ("conv", "linear")]


def computed(path: Path, inputs: NDArray[Any]) -> NDArray[Any]:
    """Return what the package makes of `inputs` by the meaning of its operators, rounded where they say float16."""
    function = program(path)
    values: dict[str, Tensor] = {"input": torch.from_numpy(inputs)}
    for operator in function.operations:
        if operator.op_type == "const":
            continue
        given = {k: v if isinstance(v, list | tuple) else [v] for k, v in operator.inputs.items()}
        fixed = {k: v[0].val for k, v in given.items() if v[0] is not None and v[0].val is not None}
        tensors = {k: [values[v.name] for v in vs] for k, vs in given.items() if vs[0].name in values}
        out = MEANING[operator.op_type](tensors, fixed)
        half = "fp16" in operator.outputs[0].dtype.__name__
        values[operator.outputs[0].name] = out.half().float() if half else out
    return values[function.outputs[0].name].numpy()


def _float(array: Any) -> Tensor:
    return torch.tensor(np.asarray(array), dtype=torch.float32)


def _conv(t: Mapping[str, list[Tensor]], c: Mapping[str, Any]) -> Tensor:
    assert c["pad_type"] in ("custom", "valid")
    before_h, after_h, before_w, after_w = (int(p) for p in c["pad"])
    x = F.pad(t["x"][0], (before_w, after_w, before_h, after_h)) if c["pad_type"] == "custom" else t["x"][0]
    bias = _float(c["bias"]) if "bias" in c else None
    strides, dilations = ([int(n) for n in c[key]] for key in ("strides", "dilations"))
    return F.conv2d(x, _float(c["weight"]), bias, strides, 0, dilations, int(c["groups"]))


def _norm(t: Mapping[str, list[Tensor]], c: Mapping[str, Any]) -> Tensor:
    mean, variance, gamma, beta = (_float(c[key]) for key in ("mean", "variance", "gamma", "beta"))
    return F.batch_norm(t["x"][0], mean, variance, gamma, beta, eps=float(c["epsilon"]))


def _both(t: Mapping[str, list[Tensor]], c: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    x, y = (t[k][0] if k in t else _float(c[k]) for k in ("x", "y"))
    return x, y


MEANING: dict[str, Callable[[Mapping[str, list[Tensor]], Mapping[str, Any]], Tensor]] = {
    "conv": _conv,
    "linear": lambda t, c: F.linear(t["x"][0], _float(c["weight"]), _float(c["bias"]) if "bias" in c else None),
    "batch_norm": _norm,
    "relu": lambda t, c: F.relu(t["x"][0]),
    "relu6": lambda t, c: F.relu6(t["x"][0]),
    "clip": lambda t, c: t["x"][0].clamp(float(c["alpha"]), float(c["beta"])),
    "cast": lambda t, c: t["x"][0].float(),
    "logical_not": lambda t, c: 1 - t["x"][0],
    "add": lambda t, c: torch.add(*_both(t, c)),
    "mul": lambda t, c: torch.mul(*_both(t, c)),
    "reshape": lambda t, c: t["x"][0].reshape([int(n) for n in c["shape"]]),
    "reduce_mean": lambda t, c: t["x"][0].mean([int(a) for a in c["axes"]], bool(c["keep_dims"])),
    "concat": lambda t, c: torch.cat(t["values"], int(c["axis"])),
    "max_pool": lambda t, c: F.max_pool2d(
        t["x"][0], [int(n) for n in c["kernel_sizes"]], [int(n) for n in c["strides"]]
    ),
}
