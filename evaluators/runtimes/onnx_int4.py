"""Weights in 4 bits as ONNX files hold them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def int4_tensor(name: str, codes: NDArray[np.integer[Any]]) -> Any:
    """Return an initializer of 4-bit numbers, two to a byte.

    `onnx.helper` writes such numbers as a list of varints, in which most bytes take two: a file is half again as large.

    Args:
        name: Of the initializer.
        codes: Whole numbers from -8 to 7, of any shape.
    """
    from onnx import TensorProto, helper

    nibbles = codes.astype(np.int8).view(np.uint8).ravel() & 15
    nibbles = np.append(nibbles, np.zeros(nibbles.size % 2, np.uint8))
    packed = nibbles[0::2] | nibbles[1::2] << 4  # the first of a pair in the low half, as onnx.proto says
    return helper.make_tensor(name, TensorProto.INT4, codes.shape, packed.tobytes(), raw=True)
