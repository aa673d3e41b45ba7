"""What a program of ExecuTorch holds, read from its file: what delegates run in which precision, and what is left."""

from __future__ import annotations

import importlib.util
import json
import re
import struct
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...temporary import temporary_folder

OUTSIDE = "portable kernels"
"""In place of a precision, for operators that no delegate has taken."""
DELEGATE = "XnnpackBackend"

# Where its parts lie: `ExtendedHeader` in executorch/runtime/schema/extended_header.h and `XNNHeader` in
# executorch/backends/xnnpack/runtime/XNNHeader.h. All numbers are little-endian.
_PROGRAM_MAGIC, _PROGRAM_HEADER = b"eh00", struct.Struct("<8x4sIQQQ")
_KNOWS_ALL = 32  # bytes: earlier headers do not say how long the segments are
_XNNPACK_MAGIC, _XNNPACK_HEADER = b"XH00", struct.Struct("<4x4sHII")
_SCHEMAS = {"program": "exir/_serialize/program.fbs", DELEGATE: "backends/xnnpack/serialization/schema.fbs"}
_PRECISIONS = {"fp32": "f32", "fp16": "f16", "qint8": "int8", "quint8": "int8", "qdint8": "dynamic int8"}


def operators(path: Path) -> dict[str, int]:
    """Return "operator in precision" -> count, in all delegates, and "operator in portable kernels" for the rest.

    Raises:
        ValueError: The file is no such program; the message is unspecific.
        OSError: It cannot be read.
    """
    data = path.read_bytes()
    program, segments = _program(data)
    found: Counter[str] = Counter()
    for plan in program["execution_plan"]:
        for delegate in plan["delegates"]:
            found[f"{delegate['id']} delegate"] += 1
            if delegate["id"] == DELEGATE:
                found.update(_delegated(_payload(program, delegate["processed"], segments)))
        names = [operator["name"] for operator in plan["operators"]]
        for instruction in (i for chain in plan["chains"] for i in chain["instructions"]):
            if instruction["instr_args_type"] == "KernelCall":
                found[f"{names[instruction['instr_args']['op_index']]} in {OUTSIDE}"] += 1
    return dict(sorted(found.items()))


def missing_bytes(path: Path) -> int:
    """Return by how much a file is too short for what its header promises.

    Raises:
        ValueError: It is no program.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_PROGRAM_HEADER.size)
    if len(head) < _PROGRAM_HEADER.size or head[4:6] != b"ET":
        raise ValueError("it is not a program of ExecuTorch")
    magic, length, size, base, rest = _PROGRAM_HEADER.unpack(head)
    if magic != _PROGRAM_MAGIC:
        return 0
    promised = max(size, base + rest if length >= _KNOWS_ALL else base)
    return int(max(0, promised - path.stat().st_size))


def _program(data: bytes) -> tuple[Any, bytes]:
    magic, _, size, base, _ = _PROGRAM_HEADER.unpack_from(data)
    if magic != _PROGRAM_MAGIC:
        return _decoded("program", data), b""
    return _decoded("program", data[:size]), data[base:]


def _payload(program: Mapping[str, Any], processed: Mapping[str, Any], segments: bytes) -> bytes:
    if processed["location"] == "INLINE":
        return bytes(program["backend_delegate_data"][processed["index"]]["data"])
    segment = program["segments"][processed["index"]]
    return segments[segment["offset"] : segment["offset"] + segment["size"]]


def _delegated(payload: bytes) -> Iterator[str]:
    # "operator in precision" for every node that XNNPACK runs: that of its input, or, of a conversion, its output
    magic, _, start, size = _XNNPACK_HEADER.unpack_from(payload)
    graph = _decoded(DELEGATE, payload[start : start + size] if magic == _XNNPACK_MAGIC else payload)
    kinds = {}
    for value in (entry["xvalue_union"] for entry in graph["xvalues"]):
        tensor = value.get("tensor_value", value)
        kind = tensor["datatype"].removeprefix("xnn_datatype_")
        kinds[tensor["id_out"]] = _PRECISIONS.get(kind, kind)
    for node in graph["xnodes"]:
        name = node["xnode_union_type"].removeprefix("XNN")
        fields = node["xnode_union"]
        roles = ("output_id",) if name == "Convert" else ("input1_id", "input_id", "query_id", "output_id")
        tensor = next(fields[role] for role in roles if role in fields)
        yield f"{name} in {kinds[tensor]}"


def _decoded(schema: str, data: bytes) -> Any:
    # a flatbuffer as JSON, by the compiler and the schemas that ExecuTorch brings along
    found = importlib.util.find_spec("executorch")
    assert found is not None and found.submodule_search_locations
    home = Path(next(iter(found.submodule_search_locations)))
    suffix = ".exe" if (home / "data" / "bin" / "flatc.exe").exists() else ""
    with temporary_folder() as folder:
        binary = folder / "graph.bin"
        binary.write_bytes(data)
        command = [str(home / "data" / "bin" / f"flatc{suffix}"), "--json", "--strict-json", "--defaults-json"]
        command += ["--raw-binary", "-o", str(folder), str(home / _SCHEMAS[schema]), "--", str(binary)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        written = binary.with_suffix(".json")
        if done.returncode or not written.exists():
            raise ValueError(f"flatc cannot read its {schema}: {(done.stderr or done.stdout)[:200]}")
        # bounds of an activation function may be infinite, which flatc writes as JSON does not know it
        return json.loads(re.sub(r":\s*(-?inf|-?nan)\b", r': "\1"', written.read_text()))
