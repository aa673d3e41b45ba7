"""The operators of a file as it was written, before a runtime joins some of them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path


def written_operators(path: Path) -> dict[str, int]:
    """Return operator type -> count, of an ONNX file, without constants; empty for every other form.

    What runs is counted by `Runtime.inspect`. The difference is what the runtime fused or left out.

    Args:
        path: The file.
    """
    if path.suffix != ".onnx":
        return {}
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    return dict(sorted(Counter(node.op_type for node in graph.node if node.op_type != "Constant").items()))
