"""The numbers that a specification asks of a file, in the form that its target has."""

from __future__ import annotations

from dataclasses import replace

from ..spaces.spec import StudentSpec
from ..spaces.target import Capabilities, ways_on
from .runtimes.base import BuildRequest, Ranges


def with_numbers(request: BuildRequest, spec: StudentSpec, trained: Ranges, can: Capabilities) -> BuildRequest:
    """Return a request with the bits of a student, and how its activations are quantized.

    Args:
        request: Of the student's float file.
        spec: The student's. One for several targets has forms of recurrent layers that not all of them have.
        trained: Layer name -> range of its inputs, as quantization-aware training has learned it.
        can: What the target of the file can use.
    """
    bits, asked = spec.realised(spec.bits), spec.realised(spec.activations)
    nodes = (node for node in request.model.graph.node if node.name in request.recurrent)
    kinds = {request.recurrent[node.name]: node.op_type.lower() for node in nodes}
    return replace(request, bits=bits, activations=ways_on(can, bits, asked, kinds), trained=trained)
