"""A model repository for NVIDIA's Triton Inference Server: a folder for each model, in it one for each version."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import AutoCompressError, UsageError
from ...files import read_json, remove, write_bytes
from ...spaces.target import PerTarget, Target
from ..report.entry import Entry
from ..report.front import Front
from ..store.samples import read_arrays
from .checksums import NAME, write_checksums
from .contents import write_bundle
from .record import FileRecord, Record, read_record
from .replacing import refuse_to_lose, written_before
from .templates import Ready, filled

BACKENDS = {
    "onnxruntime": 'backend: "onnxruntime"',
    "openvino": 'backend: "openvino"',
    "tensorrt": 'backend: "tensorrt"',
}
"""Runtime -> what serves its files."""
TYPES = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "int8": "INT8",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
}
CONFIG = "config.pbtxt"
"""What the server is told of a model. Each version of ours has written it."""
MOST = 128
"""Inputs in a batch that the server may gather, where a file leaves its batch open."""


@dataclass(frozen=True)
class Tensor:
    """One input or output of a file, as the server is told of it.

    Attributes:
        name: As the file has it.
        dtype: As NumPy names it.
        dims: Without the batch where the server may choose that, else with it.
    """

    name: str
    dtype: str
    dims: tuple[int, ...]


def write_repository(front: Front, entry: Entry, out: Path) -> PerTarget[Path]:
    """Write a model into a repository, as a new version where a model of this name is there already.

    The model is named after the study, and the target where there are several. Each version is a bundle of its own.

    Args:
        front: The front.
        entry: The model.
        out: The repository.

    Returns:
        The model files, by target.

    Raises:
        UsageError: The server has no backend for the runtime, or a file would be lost that no version wrote.
        StorageError: A file of the study is gone, or the disk is full or cannot be written.
    """
    unknown = sorted({name.partition("@")[0] for name in entry.trial.measured} - BACKENDS.keys())
    if unknown:
        raise UsageError(f"Triton has no backend for files of {unknown[0]}; allowed: {', '.join(BACKENDS)}")
    several = len(entry.trial.measured) > 1
    found: dict[str, Path] = {}
    for name in entry.trial.measured:
        own = f"{front.folder.name}_{name}" if several else front.folder.name
        model = out / re.sub(r"[^A-Za-z0-9_.-]", "_", own)
        version = max((int(p.name) for p in model.glob("*") if p.name.isdigit()), default=0) + 1
        folder = model / str(version)
        refuse_to_lose(model, (CONFIG, "labels.txt", NAME), written_before(model, CONFIG))
        try:
            found[name] = write_bundle(front, entry, folder, only=name)[name]
            _write_config(model, folder, name)
        except AutoCompressError:
            remove(folder)
            raise
    return found


def _write_config(model: Path, version: Path, target: str) -> None:
    record = read_record(version)
    said = record.files[target]
    labels: list[str] = read_json(version / "labels.json")
    batch = fixed_batch(version / said.file, said.target)
    inputs, output = _tensors(version, record, target, batch)
    named = "" if not labels or record.kind != "classification" else "labels.txt"
    if named:
        lines = (" ".join(label.split()) or "-" for label in labels)
        write_bytes(model / named, "".join(f"{label}\n" for label in lines).encode())
    text = filled(
        "config.pbtxt.j2",
        name=_text(model.name),
        backend=Ready(BACKENDS[said.target.runtime]),
        file=_text(said.file),
        batch=Ready(str(0 if batch else MOST)),
        gathers=batch is None,
        inputs=[_words(tensor) for tensor in inputs],
        output=_words(output),
        labels=_text(named) if named else "",
        kind=Ready("KIND_CPU" if said.target.device == "cpu" else "KIND_GPU"),
        parameters=_parameters(said),
    )
    write_bytes(model / CONFIG, text.encode())
    write_checksums(model, deep=False)


def fixed_batch(path: Path, target: Target) -> int | None:
    """Return the batch that a file is made for; None where it takes any."""
    if path.suffix != ".onnx":
        return None
    import onnx

    first: Any = onnx.load(path, load_external_data=False).graph.input[0].type.tensor_type.shape.dim[0]
    return int(first.dim_value) if first.WhichOneof("value") == "dim_value" else None


def _tensors(version: Path, record: Record, target: str, batch: int | None) -> tuple[Sequence[Tensor], Tensor]:
    arrays = read_arrays(version / "samples.npz") or {}
    if record.samples is None or f"answer:{target}" not in arrays:
        raise UsageError("the study kept no samples, so the shapes of inputs and outputs are not known: search anew")
    first = (batch,) if batch else ()
    inputs = []
    for name in record.samples.inputs:
        part = arrays[f"input:{name}"]
        inputs.append(Tensor(name, str(part.dtype), (*first, *part.shape[1:])))
    answer = arrays[f"answer:{target}"]
    return inputs, Tensor("output", str(np.dtype(answer.dtype)), (*first, *answer.shape[1:]))


def _words(tensor: Tensor) -> dict[str, Ready]:
    dims = ", ".join(map(str, tensor.dims)) or "1"
    return {"name": _text(tensor.name), "type": Ready(f"TYPE_{TYPES[tensor.dtype]}"), "dims": Ready(dims)}


def _parameters(said: FileRecord) -> list[tuple[Ready, Ready]]:
    threads = str(said.target.threads)
    if said.target.runtime == "onnxruntime" and said.target.device == "cpu":
        found = {"intra_op_thread_count": threads, "inter_op_thread_count": "1"}
    elif said.target.runtime == "openvino":
        found = {"NUM_STREAMS": "1", "INFERENCE_NUM_THREADS": threads}
    else:
        found = {}
    return [(_text(key), _text(value)) for key, value in found.items()]


def _text(value: str) -> Ready:
    """Return a text as a string of protobuf's text format."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return Ready(f'"{escaped}"')
